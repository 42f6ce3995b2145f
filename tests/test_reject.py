"""benchmarks.reject: what its figures mean, on numbers that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from benchmarks.reject import at, aurc, auroc, figures, show

SCORES = st.lists(st.sampled_from([0.1, 0.2, 0.5, 0.9]), min_size=1, max_size=12)


@given(SCORES, SCORES)
def test_auroc_is_the_usual_one(higher: list[float], lower: list[float]) -> None:
    said = auroc(np.array(higher), np.array(lower))
    gold = [1] * len(higher) + [0] * len(lower)
    assert said == pytest.approx(roc_auc_score(gold, higher + lower))


def test_wrong_answers_that_are_the_least_sure_cost_little() -> None:
    wrong = np.array([False, False, False, True])
    assert aurc(np.array([0.9, 0.8, 0.7, 0.1]), wrong) == pytest.approx(1 / 16)
    assert aurc(np.array([0.1, 0.2, 0.3, 0.9]), wrong) == pytest.approx(
        (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4
    )


def test_a_threshold_counts_both_sorts_of_texts() -> None:
    inside, outside = np.array([0.9, 0.6, 0.4, 0.2]), np.array([0.7, 0.1])
    right = np.array([True, False, True, False])
    assert at(0.5, inside, outside, right) == {
        "in_scope_answered": 0.5,
        "out_of_scope_answered": 0.5,
        "accuracy_of_answered_in_scope": 0.5,
        "right_of_all_answered": pytest.approx(1 / 3),
    }
    assert at(0.95, inside, outside, right)["accuracy_of_answered_in_scope"] is None


def test_figures_of_a_sure_student(capsys: pytest.CaptureFixture[str]) -> None:
    said = {
        "dev": np.array([[0.9, 0.1]] * 20),
        "test": np.array([[0.9, 0.1], [0.2, 0.8]]),
        "out": np.array([[0.55, 0.45]]),
    }
    made = figures(said, {"dev": ["a"] * 20, "test": ["a", "b"]}, ["a", "b"])
    assert made["auroc"] == made["accuracy"] == 1
    assert made["dev_0.95"]["reject"] == pytest.approx(0.9)
    assert made["at"]["0.7"]["out_of_scope_answered"] == 0
    facts = {"labels": 2, "trained_on": 9, "in_scope": 2, "out_of_scope": 1, "temperature": 1.0}
    show({**facts, "before": made, "after": made})
    assert "auroc" in capsys.readouterr().out
