from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from fake_kinds import make_kind_task
from fake_run import make_task, prompts_of
from fakes import LABELS, ScriptedTeacher, texts_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evokd.answers import write_labels
from evokd.arms import Proposal, View
from evokd.calls import Calls
from evokd.curate import Known
from evokd.examples import Example
from evokd.gathering import (
    _hold_out,
    gather,
    known_texts,
    missed,
    relabelled,
    remember,
    scores_of,
)
from evokd.kinds import KINDS
from evokd.kinds.classification import Classification
from evokd.ledger import Ledger
from evokd.records import Prediction, Row
from evokd.task import load_data
from evokd.trust import agreed_on, agreement, kappa
from evokd.watch import Silent

SENTENCES = [e.text for e in texts_of(9, 4)]
DOUBTED = {"labels disagree", "not the asked label"}
REASONS = {"empty", "duplicate", "near-duplicate", "leak: test", "leak: dev", *DOUBTED}


@contextmanager
def view(folder: Path, teacher: ScriptedTeacher | None = None) -> Iterator[View]:
    ledger = Ledger(folder / "run.db")
    calls = Calls(ledger, lambda: teacher or ScriptedTeacher())
    try:
        yield View(make_task(folder / "task", dev=2), calls, "round 0", {}, Silent().progress)
    finally:
        ledger.close()


def proposals(
    texts: Sequence[str], source: str = "weather", *, origin: str = "cover"
) -> list[Proposal]:
    return [Proposal(text, origin, "f00", source) for text in texts]


words = st.sampled_from(
    [*SENTENCES, *(t.upper() for t in SENTENCES), *(t + "s" for t in SENTENCES)]
)
anything = (
    words
    | st.sampled_from(["", "  ", "123 !?", "😀", "a"])
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
)
many = st.lists(
    st.builds(
        Proposal, anything, st.sampled_from(["cover", "hard", "pool"]), st.none() | st.just("f0"),
        st.sampled_from([*LABELS, "group 1", "pool"]),
    ),
    max_size=25,
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(many, st.integers(0, 3), st.lists(words, max_size=3))
def test_every_proposal_becomes_exactly_one_row(
    tmp_path_factory: pytest.TempPathFactory,
    proposed: list[Proposal],
    dev: int,
    leaks: list[str],
) -> None:
    known = Known()
    for text in leaks:
        known.add(text, "test")
    with view(tmp_path_factory.mktemp("gather")) as seen:
        rows = gather(seen, 0, proposed, known, dev=dev)
    assert [(r.example.text, r.example.origin, r.call, r.source) for r in rows] == [
        (p.text, p.origin, p.call, p.source) for p in proposed
    ]
    for row in rows:
        assert (row.split is None) == (row.reason in REASONS)
        assert row.reason is None or row.split is None
        labelled = row.split is not None or row.reason in DOUBTED
        off = row.example.origin == "cover" and row.source != row.example.label
        assert not (row.split and off)
        assert row.reason != "not the asked label" or off
        assert (row.example.label in LABELS) == labelled
        assert len(row.example.soft) == (len(LABELS) if labelled else 0)
    held = [row for row in rows if row.split == "dev"]
    assert all(row.source == row.example.label for row in held)
    kept = Counter(row.example.label for row in rows if row.split)
    for label, count in Counter(row.example.label for row in held).items():
        assert count <= min(dev, 0.3 * kept[label])


def test_leaks_and_disagreements_are_dropped_and_named(tmp_path: Path) -> None:
    data = load_data(make_task(tmp_path / "task", dev=2))
    leaks = [data.test[0].text, f"{data.test[1].text}s", data.dev[0].text.upper()]
    fresh = [p for e in texts_of(8, 20) for p in proposals([e.text], e.label)]
    with view(tmp_path) as seen:
        known = known_texts(data, seen.calls.ledger)
        proposed = [*proposals([data.seed[0].text, *leaks]), *fresh]
        rows = gather(seen, 0, proposed, known, dev=0)
    assert [r.reason for r in rows[:4]] == ["duplicate", "leak: test", "leak: test", "leak: dev"]
    reasons = Counter(r.reason for r in rows[4:])
    assert reasons["labels disagree"] > 2
    assert reasons[None] > 40
    assert reasons.keys() == {"labels disagree", None}


def test_an_edited_seed_is_excused_its_seed_and_nothing_else(tmp_path: Path) -> None:
    data = load_data(make_task(tmp_path / "task", dev=2))
    near = [f"{e.text}s" for e in (data.seed[0], data.test[1])]
    with view(tmp_path) as seen:
        known = known_texts(data, seen.calls.ledger)
        rows = gather(seen, 0, proposals(near, LABELS[0], origin="edited"), known, dev=0)
    assert "near-duplicate" not in {row.reason for row in rows}
    assert rows[1].reason == "leak: test"


def test_a_text_of_another_label_is_dropped_only_where_a_label_was_asked_for(
    tmp_path: Path,
) -> None:
    music = [e.text for e in texts_of(8, 30, ["music"])]
    proposed = proposals(music[:10]) + proposals(music[10:20], "music")
    proposed += proposals(music[20:], "weather", origin="hard")
    with view(tmp_path) as seen:
        rows = gather(seen, 0, proposed, Known(), dev=0)
    sure = [row for row in rows if row.reason != "labels disagree"]
    assert {row.example.label for row in sure} == {"music"}
    fates = {(r.example.origin, r.source, r.split, r.reason) for r in sure}
    assert fates == {
        ("cover", "weather", None, "not the asked label"),
        ("cover", "music", "train", None),
        ("hard", "weather", "train", None),
    }


def test_a_text_of_another_label_is_kept_as_what_it_is_where_that_is_wanted(
    tmp_path: Path,
) -> None:
    music = [e.text for e in texts_of(8, 20, ["music"])]
    proposed = proposals(music[:10]) + proposals(music[10:], "music")
    with view(tmp_path) as seen:
        rows = gather(seen, 0, proposed, Known(), dev=0)
        assert relabelled(seen.task, rows) == rows
        method = seen.task.method.model_copy(update={"relabel": True})
        task = seen.task.model_copy(update={"method": method})
        kept = relabelled(task, rows)
    sure = [row for row in kept if row.reason != "labels disagree"]
    fates = {(r.example.origin, r.source, r.example.label, r.split) for r in sure}
    assert fates == {
        ("relabelled", "weather", "music", "train"),
        ("cover", "music", "music", "train"),
    }
    # How far writer and labeller agree does not change with what becomes of a text.
    assert agreement(kept) == agreement(rows)
    assert agreed_on(kept) == agreed_on(rows)
    labels_in = Classification(task).labels_in
    assert kappa(kept, labels_in) == kappa(rows, labels_in)


@pytest.mark.parametrize(("kind", "none"), [("multilabel", "[]"), ("ner", "[]")])
def test_what_was_given_no_label_at_all_is_not_relabelled(
    kind: str, none: str, tmp_path: Path
) -> None:
    task = make_kind_task(tmp_path, kind, method={"relabel": True})
    other = write_labels(["music"]) if kind == "multilabel" else '[[0, 4, "music"]]'
    rows = [
        Row(0, Example("play", label, "cover"), None, "not the asked label", None, "alarm")
        for label in (none, other)
    ]
    assert [row.split for row in relabelled(task, rows)] == [None, "train"]


def test_what_is_dropped_by_curation_never_reaches_the_teacher(tmp_path: Path) -> None:
    data = load_data(make_task(tmp_path / "task", dev=2))
    teacher = ScriptedTeacher()
    leaks = [e.text for e in (*data.test, *data.dev)]
    with view(tmp_path, teacher) as seen:
        known = known_texts(data, seen.calls.ledger)
        gather(seen, 0, proposals([*leaks, *SENTENCES]), known, dev=0)
    assert len(teacher.asked) == 2 * len(SENTENCES)
    shown = "\n".join(prompts_of(tmp_path / "run.db"))
    assert not [text for text in leaks if text in shown]


def test_dev_is_at_most_thirty_percent_and_agreed_by_writer_and_labeller(tmp_path: Path) -> None:
    texts = {label: [e.text for e in texts_of(7, 30, [label])] for label in LABELS}
    proposed = proposals(texts["weather"]) + proposals(texts["alarm"], "music", origin="hard")
    proposed += proposals(texts["music"], "group 1", origin="hard")
    with view(tmp_path) as seen:
        rows = gather(seen, 0, proposed, Known(), dev=1000)
    held = [r for r in rows if r.split == "dev"]
    assert {r.example.label for r in held} == {"weather"}
    assert {r.example.label for r in rows if r.split == "train"} == set(LABELS)
    kept = sum(r.split is not None and r.example.label == "weather" for r in rows)
    assert len(held) == int(0.3 * kept)
    assert not [r for r in rows if r.split == "dev" and r.reason]


def test_no_label_of_several_loses_more_than_its_share(tmp_path: Path) -> None:
    rows = [
        Row(0, Example(f"text {i}", write_labels(names), "cover"), "train", None, None, source)
        for i, (names, source) in enumerate(
            [({"alarm", "music"}, "alarm"), ({"alarm", "music"}, "music"), ({"weather"}, "weather")]
            * 20
        )
    ]
    kind = KINDS["multilabel"](make_task(tmp_path / "task"))
    held = [row for row in _hold_out(kind, rows, 1000, seed=0) if row.split == "dev"]
    counts = Counter(name for row in held for name in kind.labels_in(row.example.label))
    assert counts == {"alarm": 12, "music": 12, "weather": 6}


def test_the_same_texts_are_held_out_every_time(tmp_path: Path) -> None:
    made = []
    texts = [e.text for e in texts_of(7, 12, ["weather"])]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        with view(tmp_path / name) as seen:
            made.append(gather(seen, 0, proposals(texts), Known(), dev=3))
    assert made[0] == made[1]
    assert any(row.split == "dev" for row in made[0])


def test_labelled_texts_are_remembered_kept_or_not() -> None:
    known = Known()
    rows = [
        Row(0, Example("wake me at seven", "alarm"), "train"),
        Row(0, Example("play a jazz song", "music"), None, "labels disagree"),
        Row(0, Example("how sunny is it", ""), None, "near-duplicate"),
        Row(0, Example("is it raining", ""), None, "entities: no json"),
        Row(0, Example("will it storm", ""), None, "budget"),
    ]
    remember(known, rows)
    assert [row.example.text in known for row in rows] == [True, True, False, True, False]


def test_predictions_give_the_lead_over_the_next(tmp_path: Path) -> None:
    kind = Classification(make_task(tmp_path))
    made = kind.predictions(np.array([[0.2, 0.7, 0.1], [0.5, 0.1, 0.4]]))
    assert [p.predicted for p in made] == ["alarm", "weather"]
    assert [p.confidence for p in made] == pytest.approx([0.7, 0.5])
    assert [p.margin for p in made] == pytest.approx([0.5, 0.1])


def test_missed_counts_by_what_was_expected() -> None:
    def pair(origin: str, predicted: str) -> tuple[Row, Prediction]:
        row = Row(1, Example("x", "a", origin), "train")
        return row, Prediction(predicted, 0.9, 0.8)

    tested = [pair("hard", "b"), pair("hard", "a"), pair("easy", "a")]
    assert missed(tested) == {"hard": [1, 2], "easy": [0, 1]}
    assert missed([]) == {}


def test_scores_of_follows_the_order_of_the_labels(tmp_path: Path) -> None:
    class Student:
        def predict(self, texts: Sequence[str]) -> np.ndarray:
            return np.array([[0.1, 0.8, 0.1], [0.6, 0.3, 0.1]], dtype=np.float32)

    examples = [Example("one", "alarm"), Example("two", "music")]
    made = scores_of(Student(), examples, Classification(make_task(tmp_path)))
    assert made["accuracy"] == 0.5
    assert made["per_label"]["alarm"]["recall"] == 1
    assert made["confusion"] == ((0, 0, 0), (0, 1, 0), (1, 0, 0))
