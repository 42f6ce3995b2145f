from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evokd import calibration
from evokd.calibration import HIGHEST, fit_temperature, fit_temperature_each, tempered

LOGITS = arrays(np.float64, (6, 3), elements=st.floats(-8, 8))


def softmax(logits: np.ndarray) -> np.ndarray:
    exact = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exact / exact.sum(axis=1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


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
    said = np.array([[0.9, 0.1]] * 500)
    assert fit_temperature(said, [1] * 500) == pytest.approx(HIGHEST)


@pytest.mark.parametrize(("right", "wrong"), [(0, 1), (1, 1), (2, 1), (4, 1), (1, 0), (4, 0)])
def test_a_few_texts_move_it_little(right: int, wrong: int) -> None:
    said = np.array([[0.9, *[0.1 / 6] * 6]] * (right + wrong))
    fitted = fit_temperature(said, [0] * right + [1] * wrong)
    assert 1 < fitted < 1.5
    assert tempered(said, fitted)[0, 0] > 0.7
    each = np.tile([0.9, 0.1, 0.1], (right + wrong, 1))
    applies = each > 0.5
    applies[:wrong] = [False, True, False]  # two of three wrong
    assert 1 < fit_temperature_each(each, applies) < 1.5


@pytest.mark.parametrize("temperature", [0.6, 1.5, 2.5])
@pytest.mark.parametrize("texts", [100, 300])
def test_a_hundred_texts_hardly_feel_what_was_taken_to_be_so_before(
    temperature: float, texts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, gold = drawn(temperature, texts)
    rng = np.random.default_rng(1)
    logits = rng.normal(-1, 2, (texts, 5))
    applies, each = rng.random(logits.shape) < sigmoid(logits), sigmoid(logits * temperature)
    fitted = fit_temperature(said, gold), fit_temperature_each(each, applies)
    monkeypatch.setattr(calibration, "PRIOR", 0.0)
    alone = fit_temperature(said, gold), fit_temperature_each(each, applies)
    assert fitted == pytest.approx(alone, rel=15 / texts)


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
def test_right_answers_alone_make_nobody_surer_than_one_wrong_one_would(
    texts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> float:
        said = np.array([[0.55, 0.45]] * texts)
        fitted = fit_temperature(said, [0] * texts, lowest=0.01)
        return float(tempered(said[:1], fitted)[0, 0])

    most = (texts + 1) / (texts + 2)
    assert 0.549 < told() < most
    monkeypatch.setattr(calibration, "PRIOR", 0.0)
    assert told() == pytest.approx(most, abs=0.02)
