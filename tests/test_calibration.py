from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evokd.calibration import HIGHEST, fit_temperature, tempered

LOGITS = arrays(np.float64, (6, 3), elements=st.floats(-8, 8))


def softmax(logits: np.ndarray) -> np.ndarray:
    exact = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exact / exact.sum(axis=1, keepdims=True)


def drawn(temperature: float, count: int = 4000) -> tuple[np.ndarray, list[int]]:
    """Return what an over-sure student says, and labels drawn from what is really so."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (count, 4))
    true = softmax(logits)
    gold = [int(rng.choice(4, p=row)) for row in true]
    return softmax(logits * temperature), gold


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_it_too_sure_is_found(temperature: float) -> None:
    said, gold = drawn(temperature)
    assert fit_temperature(said, gold) == pytest.approx(temperature, rel=0.1)


def test_a_bound_keeps_it_from_becoming_surer() -> None:
    said, gold = drawn(0.5)
    assert fit_temperature(said, gold, lowest=1.0) == 1.0


def test_a_student_that_is_always_wrong_is_made_as_unsure_as_can_be() -> None:
    said = np.array([[0.9, 0.1]] * 5)
    assert fit_temperature(said, [1] * 5) == pytest.approx(HIGHEST)


def test_no_texts() -> None:
    with pytest.raises(ValueError, match="at least one"):
        fit_temperature(np.empty((0, 3)), [])


@given(logits=LOGITS, temperature=st.floats(0.3, 8))
def test_no_answer_changes_and_rows_sum_to_one(logits: np.ndarray, temperature: float) -> None:
    said = softmax(logits)
    after = tempered(said, temperature)
    assert np.allclose(after.sum(axis=1), 1)
    best = said.argmax(axis=1)
    rows = np.arange(len(said))
    assert np.allclose(after[rows, best], after.max(axis=1))
    assert np.allclose(tempered(said, 1.0), said, atol=1e-9)


@pytest.mark.parametrize("texts", [1, 12, 500])
def test_a_few_right_answers_make_nobody_sure(texts: int) -> None:
    said = np.array([[0.55, 0.45]] * texts)
    told = tempered(said[:1], fit_temperature(said, [0] * texts, lowest=0.01))[0, 0]
    assert told == pytest.approx((texts + 1) / (texts + 2), abs=0.02)
