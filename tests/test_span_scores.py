from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evokd.answers import Span, write_spans
from evokd.errors import InputError
from evokd.scores import Scores, score_spans

TYPES = ["artist", "place"]
A, B = Span(0, 3, "artist"), Span(8, 12, "place")


def score(gold: list[list[Span]], predicted: list[list[Span]]) -> Scores:
    return score_spans([write_spans(g) for g in gold], [write_spans(p) for p in predicted], TYPES)


def test_it_counts_only_the_right_type_in_the_right_place() -> None:
    longer, other = Span(0, 4, "artist"), Span(8, 12, "artist")
    scores = score([[A, B], [A], [A], [], [B]], [[A, B], [longer], [], [A], [other]])
    assert scores.accuracy == 1 / 5
    assert scores.n == 5
    artist = scores.per_label["artist"]
    assert artist["support"] == 3
    assert artist["precision"] == pytest.approx(1 / 4)
    assert artist["recall"] == pytest.approx(1 / 3)
    assert artist["f1"] == pytest.approx(2 / 7)
    assert scores.per_label["place"]["f1"] == pytest.approx(2 / 3)
    assert scores.macro_f1 == pytest.approx((2 / 7 + 2 / 3) / 2)
    assert scores.micro_f1 == pytest.approx(4 / 10)
    assert scores.confusion == ()
    assert scores.ece is None


def test_a_type_that_occurs_nowhere_counts_as_never_right() -> None:
    scores = score([[A]], [[A]])
    assert (scores.micro_f1, scores.macro_f1, scores.accuracy) == (1.0, 0.5, 1.0)


def test_no_entities_at_all_are_a_right_answer_and_no_f1() -> None:
    scores = score([[], []], [[], []])
    assert (scores.micro_f1, scores.macro_f1, scores.accuracy) == (0.0, 0.0, 1.0)


def test_what_cannot_be_scored_is_named() -> None:
    with pytest.raises(InputError, match="no texts"):
        score([], [])
    with pytest.raises(InputError, match="unknown label 'river'; known labels: artist, place"):
        score([[A]], [[Span(0, 3, "river")]])


def tags(spans: list[Span], length: int) -> list[str]:
    """Return the spans as BIO tags of characters, which is the only way seqeval reads."""
    made = ["O"] * length
    for span in spans:
        made[span.start : span.end] = [f"I-{span.label}"] * (span.end - span.start)
        made[span.start] = f"B-{span.label}"
    return made


@st.composite
def answers(draw: st.DrawFn) -> list[Span]:
    cuts = sorted(draw(st.sets(st.integers(0, 20), max_size=6)))
    some = [(a, b) for a, b in pairwise(cuts) if draw(st.booleans())]
    return [Span(a, b, draw(st.sampled_from(TYPES))) for a, b in some]


@settings(deadline=None)
@given(st.lists(st.tuples(answers(), answers()), min_size=1, max_size=5))
def test_it_is_what_seqeval_says_in_strict_mode(pairs: list[tuple[list[Span], list[Span]]]) -> None:
    metrics = pytest.importorskip("seqeval.metrics")
    scheme = pytest.importorskip("seqeval.scheme").IOB2
    gold, predicted = [p[0] for p in pairs], [p[1] for p in pairs]
    mine = score(gold, predicted)
    rows = [[tags(spans, 20) for spans in side] for side in (gold, predicted)]
    options = {"mode": "strict", "scheme": scheme, "zero_division": 0}
    assert mine.micro_f1 == pytest.approx(metrics.f1_score(*rows, **options))
    if any(spans for side in (gold, predicted) for spans in side):
        theirs = metrics.classification_report(*rows, output_dict=True, **options)
        for name, scores in mine.per_label.items():
            said = theirs.get(name, {"precision": 0, "recall": 0, "f1-score": 0, "support": 0})
            assert said["precision"] == pytest.approx(scores["precision"])
            assert said["recall"] == pytest.approx(scores["recall"])
            assert said["f1-score"] == pytest.approx(scores["f1"])
            assert said["support"] == scores["support"]
