"""The check that a quantised student is as good as the original. Pure: arrays in, a report out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PARITY = 1e-4
"""Largest difference of a probability between torch and full-precision ONNX."""
AGREEMENT = 0.99
"""Smallest share of texts on which INT8 and full precision name the same label."""
MACRO_F1_LOSS = 0.01
"""Most macro F1 that INT8 may lose."""
LABEL_LOSS = 0.03
LABEL_LOSS_TEXTS = 2
"""A label may lose this share of its texts, or this many texts where that is more."""

# Counts and shares meet the limits exactly; rounding of floats must not decide.
_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class GateReport:
    """What the gate saw.

    Attributes:
        texts: how many were compared.
        parity_max_diff: largest difference of a probability, torch against fp32 ONNX.
        agreement: share of texts with the same label under INT8 and fp32.
        macro_f1_fp32, macro_f1_int8: over the labels that the texts have.
        worst_label: the label that lost the largest share of its texts; "" when none lost any.
        worst_label_drop: that share.
        reasons: why it did not pass, one line each; () when it passed.
    """

    passed: bool
    texts: int
    parity_max_diff: float
    agreement: float
    macro_f1_fp32: float
    macro_f1_int8: float
    worst_label: str
    worst_label_drop: float
    reasons: tuple[str, ...]


def parity(torch: NDArray[Any], fp32: NDArray[Any]) -> float:
    """Return the largest difference between two tables of probabilities [texts, labels]."""
    return float(np.abs(torch.astype(np.float64) - fp32.astype(np.float64)).max())


def compare(
    labels: Sequence[str],
    gold: Sequence[str],
    *,
    torch: NDArray[Any],
    fp32: NDArray[Any],
    int8: NDArray[Any],
) -> GateReport:
    """Compare three versions of a student on the same texts.

    Args:
        labels: the names of the columns.
        gold: the right label of every text.
        torch, fp32, int8: probabilities [texts, labels].

    Raises:
        ValueError: when there are no texts or the shapes do not fit.
    """
    shape = (len(gold), len(labels))
    if not gold or {torch.shape, fp32.shape, int8.shape} != {shape}:
        raise ValueError(f"expected {shape}, got {torch.shape}, {fp32.shape}, {int8.shape}")
    names = list(labels)
    right = np.array([names.index(label) for label in gold])
    before, after = fp32.argmax(axis=1), int8.argmax(axis=1)
    difference = parity(torch, fp32)
    agreement = float((before == after).mean())
    f1_before, f1_after = _macro_f1(right, before), _macro_f1(right, after)
    losses = _losses(right, before, after)
    worst = max(losses, key=lambda index: losses[index] / (right == index).sum(), default=None)
    reasons = [
        *_checks(difference, agreement, f1_before - f1_after, finite=bool(np.isfinite(int8).all())),
        *_label_checks(names, right, losses),
    ]
    return GateReport(
        passed=not reasons,
        texts=len(gold),
        parity_max_diff=difference,
        agreement=agreement,
        macro_f1_fp32=f1_before,
        macro_f1_int8=f1_after,
        worst_label="" if worst is None else names[worst],
        worst_label_drop=0.0 if worst is None else losses[worst] / int((right == worst).sum()),
        reasons=tuple(reasons),
    )


def _checks(difference: float, agreement: float, loss: float, *, finite: bool) -> list[str]:
    found = [
        (finite, "INT8 gives probabilities that are no numbers"),
        # Asked this way round, a NaN does not pass.
        (difference <= PARITY, f"ONNX differs from torch by {difference:.1e} (limit {PARITY:.0e})"),
        (
            agreement >= AGREEMENT - _SLACK,
            f"INT8 agrees on {agreement:.1%} of texts (limit {AGREEMENT:.0%})",
        ),
        (
            loss <= MACRO_F1_LOSS + _SLACK,
            f"INT8 loses {100 * loss:.1f} points of macro F1 (limit {100 * MACRO_F1_LOSS:.0f})",
        ),
    ]
    return [reason for good, reason in found if not good]


def _losses(
    right: NDArray[np.int_], before: NDArray[np.int_], after: NDArray[np.int_]
) -> dict[int, int]:
    """Return label -> texts that fp32 had right in excess of INT8, where that is above 0."""
    losses = {}
    for index in np.unique(right):
        mine = right == index
        lost = int((before[mine] == index).sum()) - int((after[mine] == index).sum())
        if lost > 0:
            losses[int(index)] = lost
    return losses


def _label_checks(names: list[str], right: NDArray[np.int_], losses: dict[int, int]) -> list[str]:
    reasons = []
    for index, lost in losses.items():
        texts = int((right == index).sum())
        allowed = max(LABEL_LOSS * texts, LABEL_LOSS_TEXTS)
        if lost > allowed + _SLACK:
            reasons.append(f"label {names[index]}: loses {lost} of {texts} texts")
    return reasons


def _macro_f1(right: NDArray[np.int_], answered: NDArray[np.int_]) -> float:
    """Return the mean F1 of the labels that the texts have."""
    scores = []
    for index in np.unique(right):
        hits = int(((right == index) & (answered == index)).sum())
        scores.append(2 * hits / (int((right == index).sum()) + int((answered == index).sum())))
    return float(np.mean(scores))
