"""What differs by kind: reading outputs, asking the teacher, pairing mistakes."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evokd.answers import Span, read_spans, write_labels, write_spans
from evokd.calls import Calls
from evokd.kinds import KINDS, kind_of
from evokd.kinds.entities import NOTHING, OVERLAP, EntityTagging, joined
from evokd.kinds.multilabel import NOTHING as NO_CLASS
from evokd.kinds.multilabel import Multilabel
from evokd.ledger import Ledger
from evokd.prompts import VERDICTS, ask_verdict
from evokd.replies import Entities
from evokd.task import Task
from evokd.teacher import Generate, Score, Scored, Written
from evokd.watch import Silent
from evokd.wording import Seen
from serving.spans import Found

TYPES = {"artist": "who plays", "title": "what is played", "time": "when"}
TEXT = "play Blue by Joni at six"
BLUE, JONI, SIX = Span(5, 9, "title"), Span(13, 17, "artist"), Span(21, 24, "time")


def task(kind: str, labels: dict[str, str] = TYPES) -> Task:
    return Task.model_validate(
        {"name": "t", "kind": kind, "domain": "requests", "labels": labels, "data": {"seed": "s"}}
    )


class Answers:
    """A teacher that says what the test says: replies in turn, and the choice it finds best."""

    name, fingerprint = "said", "said-1"

    def __init__(self, replies: Sequence[Any] = (), best: Any = None) -> None:
        self.replies, self.best = list(replies), best
        self.asked: list[Generate | Score] = []

    def generate(self, requests: Sequence[Generate], on_done: Any = None) -> list[Written]:
        self.asked += requests
        made = []
        for i, _ in enumerate(requests):
            text = self.replies.pop(0)
            text = text if isinstance(text, str) else json.dumps(text)
            made.append(Written(text, "stop", 1, 1, 1))
            on_done(i, made[-1])
        return made

    def score(self, requests: Sequence[Score], on_done: Any = None) -> list[Scored]:
        self.asked += requests
        made = []
        for i, request in enumerate(requests):
            best = self.best(request)
            logprobs = tuple(-0.1 if c == best else -3.0 for c in request.choices)
            made.append(Scored(logprobs, 1, 1, 1))
            on_done(i, made[-1])
        return made

    def check(self, requests: Sequence[Generate | Score]) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "run.db")
    yield opened
    opened.close()


def said(*spans: Span, text: str = TEXT) -> list[dict[str, str]]:
    return [{"text": text[s.start : s.end], "type": s.label} for s in spans]


def label(ledger: Ledger, kind: str, teacher: Answers, texts: Sequence[str]) -> list[Any]:
    calls = Calls(ledger, lambda: teacher)
    return kind_of(task(kind)).label(calls, "round 0", texts, Silent().progress)


@pytest.mark.parametrize("kind", KINDS)
def test_no_answer_has_no_labels(kind: str) -> None:
    assert kind_of(task(kind)).labels_in("") == ()


# -- entities ---------------------------------------------------------------------------------


def test_entities_on_which_both_replies_agree_are_taken_without_another_question(
    ledger: Ledger,
) -> None:
    teacher = Answers([said(BLUE, JONI), said(BLUE, JONI)])
    [made] = label(ledger, "ner", teacher, [TEXT])
    assert (made.label, made.reason) == (write_spans([BLUE, JONI]), "")
    assert all(isinstance(request, Generate) for request in teacher.asked)


@pytest.mark.parametrize(
    ("verdict", "spans", "reason", "left_out"),
    [
        ("right", [BLUE, JONI], "", ()),
        ("not an entity", [JONI], "", ("not an entity",)),
        ("wrong type", [JONI], "uncertain entity", ()),  # the text is dropped, and counted as that
        ("wrong boundary", [JONI], "uncertain entity", ()),
    ],
)
def test_an_entity_of_one_reply_alone_is_asked_again(
    ledger: Ledger, verdict: str, spans: list[Span], reason: str, left_out: tuple[str, ...]
) -> None:
    teacher = Answers([said(BLUE, JONI), said(JONI)], best=lambda request: verdict)
    [made] = label(ledger, "ner", teacher, [TEXT])
    assert (made.label, made.reason) == (write_spans(spans), reason)
    assert made.left_out == left_out
    [asked] = [request for request in teacher.asked if isinstance(request, Score)]
    assert asked.choices == VERDICTS
    assert '"Blue"' in asked.messages[0].content
    assert "type title" in asked.messages[0].content


def test_the_types_are_listed_in_two_orders(ledger: Ledger) -> None:
    teacher = Answers([[], []])
    label(ledger, "ner", teacher, [TEXT])
    one, other = (r.messages[0].content for r in teacher.asked)
    assert one.index("- artist") < one.index("- time")
    assert other.index("- artist") > other.index("- time")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("I see none.", "entities: no json"),
        ([{"text": "Blue", "type": "album"}], "entities: unknown type"),
        ([{"text": "Green", "type": "title"}], "entities: not in the text"),
        ({"text": "Blue"}, "entities: no json"),
        ([{"text": "Blue"}], "entities: wrong shape"),
    ],
)
def test_a_refused_reply_says_why(ledger: Ledger, reply: Any, reason: str) -> None:
    [made] = label(ledger, "ner", Answers([reply, said(BLUE)]), [TEXT])
    assert made.reason == reason


@pytest.mark.parametrize(
    ("text", "places", "shown"),
    [
        (
            "play rome in rome",
            (5, 13),
            ("play [rome](title) in rome", "play rome in [rome](title)"),
        ),
        ("听东京,东京", (1, 4), ("听[东京](title),东京", "听东京,[东京](title)")),
    ],
)
def test_a_doubt_says_which_of_equal_words_it_is_about(
    ledger: Ledger, text: str, places: tuple[int, int], shown: tuple[str, str]
) -> None:
    length = len(text) - places[1]
    spans = [Span(at, at + length, "title") for at in places]
    teacher = Answers(
        [[said(s, text=text)[0] | {"nth": n} for n, s in enumerate(spans, 1)], []],
        best=lambda r: "right" if shown[1] in r.messages[-1].content else "not an entity",
    )
    [made] = label(ledger, "ner", teacher, [text])
    asked = [r.messages[-1].content for r in teacher.asked if isinstance(r, Score)]
    assert [a.partition('Text: "')[2].partition('"')[0] for a in asked] == [*shown]
    assert made.label == write_spans(spans[1:])


def test_a_doubt_about_words_that_stand_once_is_worded_as_it_was(ledger: Ledger) -> None:
    teacher = Answers([said(BLUE), []], best=lambda r: "right")
    label(ledger, "ner", teacher, [TEXT])
    words = TEXT[BLUE.start : BLUE.end]
    asked = ask_verdict("requests", TYPES, TEXT, words=words, label=BLUE.label)
    assert teacher.asked[-1] == Score(asked, VERDICTS)


@pytest.mark.parametrize("verdict", ["wrong boundary", "wrong type"])
def test_what_is_wrong_beside_an_entity_that_is_kept_leaves_no_doubt(verdict: str) -> None:
    longer = Span(5, 12, "title")  # "Blue by"
    made = joined(Entities((BLUE,)), Entities((longer,)), {BLUE: "right", longer: verdict})
    assert (made.label, made.reason) == (write_spans([BLUE]), "")
    assert made.left_out == (verdict,)
    apart = joined(Entities((BLUE,)), Entities((JONI,)), {BLUE: "right", JONI: verdict})
    assert (apart.label, apart.reason) == (write_spans([BLUE]), "uncertain entity")


def test_two_types_for_the_same_words_leave_a_doubt_though_both_are_called_right() -> None:
    artist = Span(BLUE.start, BLUE.end, "artist")
    for one, other in ((BLUE, artist), (artist, BLUE)):
        both = {BLUE: "right", artist: "right"}
        made = joined(Entities((one,)), Entities((other,)), both)
        assert made.reason == "uncertain entity"
        settled = joined(Entities((one,)), Entities((other,)), both | {artist: "not an entity"})
        assert (settled.label, settled.reason) == (write_spans([BLUE]), "")


spans = st.sets(st.sampled_from([BLUE, JONI, SIX, Span(5, 12, "title"), Span(5, 9, "artist")]))


@given(spans, spans, st.data())
def test_joined_entities_never_overlap_and_are_invented_by_nobody(
    one: set[Span], other: set[Span], data: st.DataObject
) -> None:
    verdicts = {s: data.draw(st.sampled_from(VERDICTS)) for s in one ^ other}
    made = joined(Entities(tuple(one)), Entities(tuple(other)), verdicts)
    found = read_spans(made.label)
    assert {*found} <= one | other
    assert all(a.end <= b.start for a, b in itertools.pairwise(found))
    assert all(verdicts.get(s, "right") == "right" for s in found)
    gone = Counter(verdicts.get(s, "right") for s in (one | other) - {*found})
    gone[OVERLAP] = gone.pop("right", 0)
    assert Counter(made.left_out) == (Counter() if made.reason else +gone)


def test_what_overlapped_in_a_reply_is_told_once() -> None:
    longer = Span(5, 12, "title")
    both = Entities((longer, JONI), None, (BLUE,))
    assert joined(both, both, {}).left_out == (OVERLAP,)
    # What only one reply left out was asked about, and is no loss where it is right.
    one, other = Entities((longer,), None, (BLUE,)), Entities((BLUE,))
    found = joined(one, other, {longer: "not an entity", BLUE: "right"})
    assert (found.label, found.left_out) == (write_spans([BLUE]), ("not an entity",))


@pytest.mark.parametrize(
    ("gold", "given", "pair"),
    [
        ([BLUE], [], ("title", NOTHING)),
        ([], [BLUE], (NOTHING, "title")),
        ([BLUE], [Span(5, 9, "artist")], ("title", "artist")),
        ([BLUE], [Span(5, 12, "title")], ("title", "title")),
        ([BLUE, JONI], [BLUE], ("artist", NOTHING)),
    ],
)
def test_a_mistake_is_paired_by_what_was_taken_for_what(
    gold: list[Span], given: list[Span], pair: tuple[str, str]
) -> None:
    seen = Seen(TEXT, write_spans(gold), write_spans(given))
    assert EntityTagging(task("ner")).confusion(seen) == pair


def test_outputs_become_answers_and_strict_scores() -> None:
    kind = EntityTagging(task("ner"))
    outputs = [[Found(5, 9, "title", 0.7), Found(13, 17, "artist", 0.9)], []]
    first, second = kind.predictions(outputs)
    assert (first.predicted, first.confidence) == (write_spans([BLUE, JONI]), 0.7)
    assert second.predicted == write_spans([])
    scores = kind.score([write_spans([BLUE, SIX]), write_spans([])], outputs)
    assert scores.accuracy == 0.5
    assert scores.micro_f1 == 0.5
    assert scores.per_label["title"]["f1"] == 1


# -- several labels ---------------------------------------------------------------------------


def test_every_label_is_asked_for_by_itself_in_two_orders(ledger: Ledger) -> None:
    teacher = Answers(best=lambda r: "yes" if "class title" in r.messages[0].content else "no")
    [made] = label(ledger, "multilabel", teacher, [TEXT])
    assert made.label == write_labels(["title"])
    assert made.reason == ""
    assert made.soft[1] > 0.9 > 0.1 > max(made.soft[0], made.soft[2])
    assert len(teacher.asked) == 2 * len(TYPES)


def test_orders_that_disagree_are_not_trusted(ledger: Ledger) -> None:
    def best(request: Score) -> str:
        shown = request.messages[0].content
        return "yes" if shown.index("- artist") < shown.index("- time") else "no"

    [made] = label(ledger, "multilabel", Answers(best=best), [TEXT])
    assert made.reason == "labels disagree"


def test_thresholds_decide_which_labels_apply() -> None:
    outputs = np.array([[0.4, 0.6, 0.2]])
    half = Multilabel(task("multilabel")).predictions(outputs)[0]
    own = Multilabel(task("multilabel"), [0.3, 0.7, 0.9]).predictions(outputs)[0]
    assert half.predicted == write_labels(["title"])
    assert own.predicted == write_labels(["artist"])
    assert half.confidence == pytest.approx(0.6)


def test_a_mistake_names_what_was_missed_and_what_was_given() -> None:
    kind = Multilabel(task("multilabel"))
    seen = Seen("x", write_labels(["artist", "time"]), write_labels(["time", "title"]))
    assert kind.confusion(seen) == ("artist", "title")
    assert kind.confusion(Seen("x", "[]", '["time"]')) == (NO_CLASS, "time")


def test_scores_of_sets() -> None:
    kind = Multilabel(task("multilabel"))
    outputs = np.array([[0.9, 0.9, 0.1], [0.1, 0.1, 0.1]])
    scores = kind.score([write_labels(["artist"]), write_labels([])], outputs)
    assert scores.accuracy == 0.5
    assert scores.micro_f1 == pytest.approx(2 / 3)
    assert scores.per_label["title"]["precision"] == 0
