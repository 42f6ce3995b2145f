from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from export import gate
from export.gate import GateReport, compare

LABELS = ["a", "b", "c", "never"]
Table = NDArray[np.float32]


def table(answers: str) -> Table:
    """Return probabilities that answer one of a, b, c per letter."""
    rows = np.full((len(answers), len(LABELS)), 0.1, np.float32)
    for row, answer in enumerate(answers):
        rows[row, LABELS.index(answer)] = 0.7
    return rows


def check(gold: str, fp32: str, int8: str) -> GateReport:
    before = table(fp32)
    return compare(LABELS, list(gold), torch=before, fp32=before, int8=table(int8))


def test_the_same_answers_pass() -> None:
    report = check("abc" * 100, "abc" * 100, "abc" * 100)
    assert report.passed
    assert report.texts == 300
    assert report.parity_max_diff == 0
    assert report.agreement == report.macro_f1_fp32 == report.macro_f1_int8 == 1
    assert report.reasons == ()
    assert (report.worst_label, report.worst_label_drop) == ("", 0)


@pytest.mark.parametrize(
    ("step", "passes"), [(0.9 * gate.PARITY, True), (1.1 * gate.PARITY, False)]
)
def test_parity_with_torch(step: float, passes: bool) -> None:
    fp32 = table("abc" * 10)
    torch = fp32.astype(np.float64)
    torch[3, 1] += step
    report = compare(LABELS, list("abc" * 10), torch=torch, fp32=fp32, int8=fp32)
    assert report.passed is passes
    assert report.parity_max_diff == pytest.approx(step, rel=1e-3)


def test_agreement_may_fall_to_the_limit_and_no_further() -> None:
    # Wrong either way, so that only agreement changes.
    gold = "a" * 196 + "b" * 4
    assert check(gold, "a" * 196 + "cccc", "a" * 196 + "aacc").passed
    report = check(gold, "a" * 196 + "cccc", "a" * 196 + "aaac")
    assert not report.passed
    assert report.agreement == pytest.approx(0.985)
    assert [reason.partition(" on ")[0] for reason in report.reasons] == ["INT8 agrees"]


def test_macro_f1_weighs_a_rare_label_as_much_as_a_common_one() -> None:
    gold = "a" * 990 + "b" * 10
    report = check(gold, gold, "a" * 990 + "b" * 8 + "aa")
    assert report.agreement == pytest.approx(0.998)
    assert not report.passed
    assert "macro F1" in report.reasons[0]


def test_macro_f1_equals_the_usual_one() -> None:
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(0)
    gold, fp32, int8 = ("".join(rng.choice(list("abc"), 200)) for _ in range(3))
    report = check(gold, fp32, int8)
    for given_, answers in ((report.macro_f1_fp32, fp32), (report.macro_f1_int8, int8)):
        assert given_ == pytest.approx(f1_score(list(gold), list(answers), average="macro"))


@pytest.mark.parametrize(
    ("texts", "lost", "passes"),
    [(20, 2, True), (20, 3, False), (100, 3, True), (100, 4, False)],
)
def test_no_label_may_lose_much(texts: int, lost: int, passes: bool) -> None:
    rest = "b" * 1900
    gold = "a" * texts + rest
    report = check(gold, gold, "a" * (texts - lost) + "b" * lost + rest)
    assert any(reason.startswith("label a") for reason in report.reasons) is not passes
    assert report.worst_label == "a"
    assert report.worst_label_drop == pytest.approx(lost / texts)


def test_no_numbers_never_pass() -> None:
    fp32 = table("abc" * 10)
    broken = fp32.copy()
    broken[:, 3] = np.nan
    gold = list("abc" * 10)
    assert not compare(LABELS, gold, torch=fp32, fp32=fp32, int8=broken).passed
    assert not compare(LABELS, gold, torch=broken, fp32=fp32, int8=fp32).passed


def test_tables_that_do_not_fit_are_a_bug() -> None:
    with pytest.raises(ValueError, match="expected"):
        compare(LABELS, [], torch=table(""), fp32=table(""), int8=table(""))
    with pytest.raises(ValueError, match="expected"):
        compare(LABELS, ["a"], torch=table("a"), fp32=table("ab"), int8=table("a"))


@given(st.lists(st.tuples(*[st.sampled_from("abc")] * 3), min_size=1, max_size=60))
def test_a_pass_keeps_every_promise(rows: list[tuple[str, str, str]]) -> None:
    gold, fp32, int8 = ("".join(column) for column in zip(*rows, strict=True))
    report = check(gold, fp32, int8)
    same = sum(x == y for x, y in zip(fp32, int8, strict=True))
    kept = (
        same >= 0.99 * len(rows)
        and report.macro_f1_fp32 - report.macro_f1_int8 <= 0.01 + 1e-9
        and report.parity_max_diff <= 1e-4
    )
    for label in set(gold):
        mine = [row for row in rows if row[0] == label]
        lost = sum(row[1] == label for row in mine) - sum(row[2] == label for row in mine)
        kept = kept and lost <= max(0.03 * len(mine), 2)
    assert report.passed is kept is (not report.reasons)
