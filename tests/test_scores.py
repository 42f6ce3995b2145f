from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from evokd.errors import InputError
from evokd.scores import Scores, score

LABELS = ["a", "b", "c", "never"]
answers = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1)


@settings(deadline=None)
@given(answers)
def test_equals_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    gold, predicted = [g for g, _ in pairs], [p for _, p in pairs]
    scores = score(gold, predicted, LABELS)
    theirs = precision_recall_fscore_support(gold, predicted, labels=LABELS, zero_division=0)
    for i, label in enumerate(LABELS):
        ours = scores.per_label[label]
        assert [ours["precision"], ours["recall"], ours["f1"]] == pytest.approx(
            [theirs[0][i], theirs[1][i], theirs[2][i]]
        )
        assert ours["support"] == theirs[3][i]
    assert scores.macro_f1 == pytest.approx(theirs[2].mean())
    assert scores.accuracy == pytest.approx(np.mean([g == p for g, p in pairs]))
    assert np.array(scores.confusion).tolist() == (
        confusion_matrix(gold, predicted, labels=LABELS).tolist()
    )
    assert scores.n == len(pairs)


@settings(deadline=None)
@given(answers, st.booleans())
def test_json_round_trip(pairs: list[tuple[str, str]], with_probabilities: bool) -> None:
    gold, predicted = [g for g, _ in pairs], [p for _, p in pairs]
    probabilities = np.full((len(pairs), 4), 0.25) if with_probabilities else None
    scores = score(gold, predicted, LABELS, probabilities)
    stored = json.loads(json.dumps(scores.to_dict()))
    confusion = tuple(map(tuple, stored["confusion"]))
    assert Scores(**{**stored, "confusion": confusion}) == scores


def test_a_label_without_a_text_counts_in_macro_f1() -> None:
    assert score(["a"], ["a"], ["a", "b"]).macro_f1 == 0.5


def test_confusion_is_gold_by_predicted() -> None:
    assert score(["a", "a"], ["b", "b"], ["a", "b"]).confusion == ((0, 2), (0, 0))


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    always_sure = [[0.9, 0.1]] * 10
    gold = ["a"] * 6 + ["b"] * 4
    assert score(gold, ["a"] * 10, ["a", "b"], always_sure).ece == pytest.approx(0.3)
    assert score(["a", "b"], ["a", "b"], ["a", "b"], np.eye(2)).ece == 0
    assert score(["a"], ["a"], ["a", "b"]).ece is None


def test_gaps_of_different_bins_do_not_cancel() -> None:
    probabilities = [[0.55, 0.45], [1.0, 0.0]]
    assert score(["a", "b"], ["a", "a"], ["a", "b"], probabilities).ece == pytest.approx(0.725)


def test_errors_say_what_is_wrong() -> None:
    with pytest.raises(InputError, match="no texts to score"):
        score([], [], ["a"])
    with pytest.raises(InputError, match="unknown label 'x'; known labels: a"):
        score(["x"], ["a"], ["a"])
