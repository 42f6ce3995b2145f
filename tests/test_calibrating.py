"""What is fitted on dev: thresholds and temperature, by the kind of task."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import f1_score

from evokd.answers import write_labels
from evokd.calibrating import Calibration, calibrate, rejects_below
from evokd.calibration import (
    HALF,
    LEAST,
    fit_temperature_each,
    fit_thresholds,
    tempered_each,
)
from evokd.scores import calibration_error
from evokd.task import Task

SAID = arrays(np.float32, (12, 2), elements=st.floats(0, 1, width=32))
TRUE = arrays(np.bool_, (12, 2))


def make_task(kind: str, **export: float) -> Task:
    fields = {"name": "t", "kind": kind, "domain": "d", "labels": {"a": "", "b": ""}}
    return Task.model_validate({**fields, "data": {"seed": "s.jsonl"}, "export": export})


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


@settings(max_examples=40, deadline=None)
@given(said=SAID, true=TRUE)
def test_a_threshold_is_as_good_as_any(said: np.ndarray, true: np.ndarray) -> None:
    for column, threshold in enumerate(fit_thresholds(said, true)):
        mine, right = said[:, column].astype(np.float64), true[:, column]
        if min(right.sum(), (~right).sum()) < LEAST:
            assert threshold == HALF
            continue
        assert 0 < threshold < 1
        reached = f1_score(right, mine >= threshold)
        for other in np.linspace(0.001, 0.999, 23):
            assert reached >= f1_score(right, mine >= other) - 1e-9


def test_of_equally_good_thresholds_the_one_nearest_to_a_half_is_taken() -> None:
    said = np.array([[0.9]] * LEAST + [[0.2]] * 10, np.float32)
    assert fit_thresholds(said, said > 0.5) == [0.5]
    low = np.array([[0.3]] * LEAST + [[0.1]] * 10, np.float32)
    assert fit_thresholds(low, low > 0.2)[0] == pytest.approx(0.2)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_of_many_labels_is_found(temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(-1, 2, (3000, 3))
    true = rng.random(logits.shape) < sigmoid(logits)
    said = sigmoid(logits * temperature)
    assert fit_temperature_each(said, true) == pytest.approx(temperature, rel=0.1)
    assert calibration_error(sigmoid(logits), true) < 0.03
    if temperature > 1:
        assert calibration_error(said, true) > 2 * calibration_error(
            tempered_each(said, temperature), true
        )


def test_nothing_is_fitted_for_entities() -> None:
    assert calibrate(make_task("ner"), [[]], ["[]"], by="gold dev") == Calibration()


@pytest.mark.parametrize("kind", ["classification", "multilabel"])
def test_nothing_is_fitted_on_what_the_student_was_trained_on(kind: str) -> None:
    said, answers = np.array([[0.6, 0.4]] * 9, np.float32), ["a"] * 9
    assert calibrate(make_task(kind), said, answers, by="the seed examples") == Calibration()


def test_a_teachers_dev_never_makes_the_student_surer_and_is_named() -> None:
    said = np.array([[0.6, 0.4], [0.4, 0.6]] * 20, np.float32)
    fitted = calibrate(make_task("classification"), said, ["a", "b"] * 20, by="teacher-made dev")
    assert fitted.temperature == 1
    assert fitted.record["by"] == "teacher-made dev"
    by_people = calibrate(make_task("classification"), said, ["a", "b"] * 20, by="gold dev")
    assert by_people.temperature < 1
    assert by_people.record["ece_after"] < by_people.record["ece"] == pytest.approx(0.4)


@pytest.mark.parametrize(("share", "below"), [(0.0, 0), (0.05, 1), (0.1, 2), (0.5, 10)])
def test_a_share_of_dev_sets_when_no_label_is_given(share: float, below: int) -> None:
    scores = np.random.default_rng(1).uniform(0.5, 1, 20)
    said = np.stack([scores, 1 - scores], axis=1)
    task = make_task("classification", unanswered=share)
    fitted = calibrate(task, said, ["a"] * 20, by="gold dev")
    assert fitted.temperature < 1, "the temperature does not move the threshold"
    assert (scores < fitted.reject).sum() == below
    assert fitted.record.get("reject", 0.0) == fitted.reject
    assert rejects_below(np.ones(20), 0.5) < 1


def test_a_label_that_no_text_lacks_has_no_threshold_to_tune() -> None:
    said = np.array([[0.9, 0.2]] * LEAST + [[0.8, 0.1]] * 10, np.float32)
    answers = [write_labels(["a", "b"])] * LEAST + [write_labels(["a"])] * 10
    fitted = calibrate(make_task("multilabel"), said, answers, by="gold dev")
    assert fitted.thresholds["a"] == HALF
    assert fitted.thresholds["b"] != HALF
    assert fitted.record["too_rare"] == ["a"]


def test_rare_labels_are_named_and_get_a_half() -> None:
    said = np.array([[0.3, 0.3]] * 6 + [[0.1, 0.1]] * 20, np.float32)
    answers = [write_labels(["a"])] * 4 + [write_labels(["a", "b"])] * 2 + [write_labels([])] * 20
    fitted = calibrate(make_task("multilabel"), said, answers, by="gold dev")
    assert fitted.record["too_rare"] == ["b"]
    assert fitted.thresholds["b"] == HALF
    low, high = tempered_each(np.array([[0.1, 0.3]]), fitted.temperature)[0]
    assert low < fitted.thresholds["a"] <= high
    assert fitted.record["by"] == "gold dev"
