from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from evokd.answers import KindName, Span
from export import gate
from export.gate import GateReport, Version, compare

LABELS = ["a", "b", "c", "never"]
Table = NDArray[np.float32]


def table(answers: str) -> Table:
    """Return probabilities that answer one of a, b, c per letter."""
    rows = np.full((len(answers), len(LABELS)), 0.1, np.float32)
    for row, answer in enumerate(answers):
        rows[row, LABELS.index(answer)] = 0.7
    return rows


def judge(gold: str, *, torch: Table, fp32: Table, int8: Table) -> GateReport:
    one, other = (
        Version(rows, [[LABELS[i]] for i in rows.argmax(axis=1)], rows.max(axis=1).tolist())
        for rows in (fp32, int8)
    )
    right = [[label] for label in gold]
    return compare(right, kind="classification", labels=LABELS, torch=torch, fp32=one, int8=other)


def check(gold: str, fp32: str, int8: str) -> GateReport:
    before = table(fp32)
    return judge(gold, torch=before, fp32=before, int8=table(int8))


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
    report = judge("abc" * 10, torch=torch, fp32=fp32, int8=fp32)
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
    gold = "abc" * 10
    assert not judge(gold, torch=fp32, fp32=fp32, int8=broken).passed
    assert not judge(gold, torch=broken, fp32=fp32, int8=fp32).passed


@pytest.mark.parametrize(
    ("shift", "passes"), [(0.9 * gate.SCORE_SHIFT, True), (1.1 * gate.SCORE_SHIFT, False)]
)
def test_scores_may_not_move_much_though_the_answers_stay(shift: float, passes: bool) -> None:
    fp32 = table("abc" * 10)
    int8 = np.where(fp32 > 0.5, fp32 - 2 * shift, fp32)
    int8[::2] = fp32[::2]
    report = judge("abc" * 10, torch=fp32, fp32=fp32, int8=int8)
    assert report.score_shift == pytest.approx(shift, abs=1e-6)
    assert report.agreement == 1
    assert report.passed is passes
    assert passes or report.reasons[0].startswith("INT8 moves scores")


def test_of_answers_that_may_be_withheld_those_given_must_agree() -> None:
    gold: Sets = [{"a"}] * 300
    some: Sets = [{"a"}] * 100 + [set()] * 200
    assert check_sets(gold, some, some, kind="classification").agreement == 1
    report = check_sets(gold, some, gold, kind="classification")
    assert not report.passed
    assert report.agreement == pytest.approx(200 / 400)


def test_tables_that_do_not_fit_are_a_bug() -> None:
    for gold, torch, int8 in (("", "", ""), ("a", "ab", "a"), ("a", "a", "ab"), ("ab", "a", "a")):
        with pytest.raises(ValueError, match="expected"):
            judge(gold, torch=table(torch), fp32=table(gold[:1]), int8=table(int8))


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


Sets = list[set[str]]


def check_sets(gold: Sets, fp32: Sets, int8: Sets, *, kind: KindName = "multilabel") -> GateReport:
    rows = np.full((len(gold), len(LABELS)), 0.5, np.float32)
    return compare(
        gold,
        kind=kind,
        labels=LABELS,
        torch=rows,
        fp32=Version(rows, fp32, [0.5] * len(fp32)),
        int8=Version(rows, int8, [0.5] * len(int8)),
    )


def test_of_several_labels_those_given_must_agree() -> None:
    gold: Sets = [{"a", "b"}, {"c"}, set()] * 100
    assert check_sets(gold, gold, gold).passed
    # 3 of 300 labels are no longer given: 1 % of one version's, half of that of both.
    fewer = [{"b"} if i < 9 and i % 3 == 0 else labels for i, labels in enumerate(gold)]
    report = check_sets(gold, gold, fewer)
    assert report.passed
    assert report.agreement == pytest.approx(1 - 3 / 597)
    assert (report.worst_label, report.worst_label_drop) == ("a", 0.03)


def test_where_nothing_is_ever_given_all_agree() -> None:
    report = check_sets([set()] * 3, [set()] * 3, [set()] * 3)
    assert report.passed
    assert (report.agreement, report.macro_f1_fp32) == (1, 1)


@pytest.mark.parametrize(
    ("texts", "wrong", "passes"), [(50, 3, True), (50, 4, False), (10, 2, True), (10, 3, False)]
)
def test_labels_that_are_given_wrongly_count_against_a_label(
    texts: int, wrong: int, passes: bool
) -> None:
    gold: Sets = [{"a"}] * texts + [set()] * 50 + [{"b"}] * 2000 + [{"c"}] * 2000
    more: Sets = [*gold[:texts], *[{"a"}] * wrong, *gold[texts + wrong :]]
    report = check_sets(gold, gold, more)
    assert report.agreement > gate.AGREEMENT
    assert any(reason.startswith("a: loses") for reason in report.reasons) is not passes
    assert report.worst_label == ""


def test_a_label_that_no_text_has_must_not_appear() -> None:
    gold: Sets = [{"a"}] * 1000
    assert check_sets(gold, gold, [{"a", "never"}] * 2 + gold[2:]).passed
    report = check_sets(gold, gold, [{"a", "never"}] * 3 + gold[3:])
    assert report.reasons == ("never: loses 100.0 points of F1",)


def test_of_entities_the_tags_must_agree_and_words_and_type_be_right() -> None:
    tags = np.eye(3, dtype=np.float32)[[0, 1, 2, 0] * 50]
    gold = [[Span(0, 4, "place")]] * 50

    def judged(given: list[list[Span]], rows: Table = tags) -> GateReport:
        return compare(
            gold,
            kind="ner",
            labels=["place"],
            torch=tags,
            fp32=Version(tags, gold, [1.0] * len(gold)),
            int8=Version(rows, given, [1.0] * len(given)),
        )

    assert judged(gold).passed
    shorter = judged([[Span(0, 3, "place")]] * 3 + gold[3:])
    assert shorter.agreement == 1
    assert "place: loses 6.0 points of F1" in shorter.reasons
    assert judged([[Span(0, 3, "place")]] * 2 + gold[2:]).worst_label_drop == 0.04
    other = tags.copy()
    other[:3] = other[0]
    assert judged(gold, other).agreement == pytest.approx(198 / 200)
    other[8:11] = other[0]
    assert "98.0% of tokens" in judged(gold, other).reasons[0]
