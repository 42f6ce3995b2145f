"""The check that a quantised student is as good as the original. Pure: arrays in, a report out.

One gate for all kinds of task. What is given is a set for each text: of a classification the one
label, of a multilabel task the labels that apply, of entity tagging the spans. Agreement is what
two versions give alike as a share of what they give (Dice; both ways counted): of a classification
that is the share of texts with the same label, of those that are given one. Of entities it is the
share of tokens with the same tag, and the entities themselves are compared with the right ones.

Answers are those that are served, under the fitted temperature, thresholds and `reject`; so are the
scores, which people act on: INT8 may not move them much either.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evokd.answers import KindName, Span

PARITY = 1e-4
"""Largest difference of a probability between torch and full-precision ONNX."""
AGREEMENT = 0.99
"""Smallest agreement of INT8 and full precision."""
SCORE_SHIFT = 0.03
"""Most that INT8 may move the score of an answer, on average; sound files move it by under 0.01."""
MACRO_F1_LOSS = 0.01
"""Most macro F1 that INT8 may lose."""
LABEL_LOSS = 0.03
LABEL_LOSS_TEXTS = 2
"""A label may lose this share of its texts, or this many texts where that is more.

Where a text may have several, it may lose this much F1, or get this many more wrong where that is
more: an entity too many is no other type's loss.
"""

# Counts and shares meet the limits exactly; rounding of floats must not decide.
_SLACK = 1e-9

Item = str | Span
Given = Sequence[Collection[Item]]


@dataclass(frozen=True, slots=True)
class Version:
    """What one version of a student says of the gate's texts.

    Attributes:
        rows: probabilities, [texts, labels]; of entities [tokens of all texts, tags]. Without the
            temperature.
        given: what it gives each text when it serves: labels' names, or spans.
        scores: how sure it is of each text when it serves; see `serving.said`.
    """

    rows: NDArray[Any]
    given: Given
    scores: Sequence[float]


@dataclass(frozen=True, slots=True)
class GateReport:
    """What the gate saw.

    Attributes:
        texts: how many were compared.
        parity_max_diff: largest difference of a probability, torch against fp32 ONNX.
        agreement: of INT8 and fp32; see the module.
        macro_f1_fp32, macro_f1_int8: over the labels that the texts have.
        worst_label: the label that lost the largest share of its texts (entities); "" when none
            lost any.
        worst_label_drop: that share.
        reasons: why it did not pass, one line each; () when it passed.
        score_shift: mean difference of a text's score, INT8 against fp32.
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
    score_shift: float = 0.0


@dataclass(frozen=True, slots=True)
class _Counts:
    """Of one label: how many are right, how many should be, and how many were given."""

    hits: int
    wanted: int
    given: int

    @property
    def f1(self) -> float:
        there = self.wanted + self.given
        return 2 * self.hits / there if there else 1.0


def parity(torch: NDArray[Any], fp32: NDArray[Any]) -> float:
    """Return the largest difference between two tables of probabilities of one shape.

    Raises:
        ValueError: when the shapes differ, or the tables are empty.
    """
    if torch.shape != fp32.shape or not fp32.size:
        raise ValueError(f"expected two tables of one shape, got {torch.shape}, {fp32.shape}")
    return float(np.abs(torch.astype(np.float64) - fp32.astype(np.float64)).max())


def compare(
    gold: Given,
    *,
    kind: KindName,
    labels: Sequence[str],
    torch: NDArray[Any],
    fp32: Version,
    int8: Version,
) -> GateReport:
    """Compare three versions of a student on the same texts.

    Args:
        gold: what is right for every text.
        labels: all labels, or types of entities.
        torch: what `Version.rows` are under torch.

    Raises:
        ValueError: when there are no texts or the shapes do not fit.
    """
    said = (fp32.given, int8.given, fp32.scores, int8.scores)
    if not gold or {*map(len, said)} != {len(gold)}:
        raise ValueError(f"expected what is given to {len(gold)} texts, at least one")
    if int8.rows.shape != fp32.rows.shape:
        raise ValueError(f"expected {fp32.rows.shape}, got {int8.rows.shape}")
    difference = parity(torch, fp32.rows)
    agreement = _agreement(kind, fp32, int8)
    before, after = (_counts(labels, gold, version.given) for version in (fp32, int8))
    there = [name for name in labels if before[name].wanted]
    f1_before, f1_after = (_mean([c[name].f1 for name in there]) for c in (before, after))
    lost = {name: before[name].hits - after[name].hits for name in there}
    worst = max(lost, key=lambda name: lost[name] / before[name].wanted, default="")
    if not worst or lost[worst] <= 0:
        worst = ""
    finite = bool(np.isfinite(int8.rows).all())
    shift = float(np.abs(np.subtract(fp32.scores, int8.scores)).mean())
    reasons = [
        *_checks(difference, agreement, f1_before - f1_after, shift, finite=finite, of=OF[kind]),
        *_label_checks(before, after, several=kind != "classification"),
    ]
    return GateReport(
        passed=not reasons,
        texts=len(gold),
        parity_max_diff=difference,
        agreement=agreement,
        macro_f1_fp32=f1_before,
        macro_f1_int8=f1_after,
        worst_label=worst,
        worst_label_drop=lost[worst] / before[worst].wanted if worst else 0.0,
        reasons=tuple(reasons),
        score_shift=shift,
    )


OF = {"classification": "texts", "multilabel": "labels given", "ner": "tokens"}
"""What agreement is a share of."""


def _agreement(kind: KindName, one: Version, other: Version) -> float:
    if kind == "ner":
        return float((one.rows.argmax(axis=1) == other.rows.argmax(axis=1)).mean())
    pairs = [({*a}, {*b}) for a, b in zip(one.given, other.given, strict=True)]
    both = sum(len(a) + len(b) for a, b in pairs)
    return 2 * sum(len(a & b) for a, b in pairs) / both if both else 1.0


def _counts(labels: Sequence[str], gold: Given, given: Given) -> dict[str, _Counts]:
    numbers = {name: [0, 0, 0] for name in labels}
    for right, said in zip(gold, given, strict=True):
        for part, items in enumerate(({*right} & {*said}, {*right}, {*said})):
            for item in items:
                numbers[item if isinstance(item, str) else item.label][part] += 1
    return {name: _Counts(*counted) for name, counted in numbers.items()}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 1.0


def _checks(
    difference: float, agreement: float, loss: float, shift: float, *, finite: bool, of: str
) -> list[str]:
    found = [
        (finite, "INT8 gives probabilities that are no numbers"),
        # Asked this way round, a NaN does not pass.
        (difference <= PARITY, f"ONNX differs from torch by {difference:.1e} (limit {PARITY:.0e})"),
        (
            agreement >= AGREEMENT - _SLACK,
            f"INT8 agrees on {agreement:.1%} of {of} (limit {AGREEMENT:.0%})",
        ),
        (
            loss <= MACRO_F1_LOSS + _SLACK,
            f"INT8 loses {100 * loss:.1f} points of macro F1 (limit {100 * MACRO_F1_LOSS:.0f})",
        ),
        (
            shift <= SCORE_SHIFT + _SLACK,
            f"INT8 moves scores by {shift:.3f} on average (limit {SCORE_SHIFT})",
        ),
    ]
    return [reason for good, reason in found if not good]


def _label_checks(
    before: dict[str, _Counts], after: dict[str, _Counts], *, several: bool
) -> Iterator[str]:
    """Yield a reason for each label that is worse."""
    for name, was in before.items():
        now = after[name]
        lost, wrong = was.hits - now.hits, (now.given - now.hits) - (was.given - was.hits)
        if not several:
            if lost > max(LABEL_LOSS * was.wanted, LABEL_LOSS_TEXTS) + _SLACK:
                yield f"label {name}: loses {lost} of {was.wanted} texts"
        elif was.f1 - now.f1 > LABEL_LOSS + _SLACK and max(lost, wrong) > LABEL_LOSS_TEXTS:
            yield f"{name}: loses {100 * (was.f1 - now.f1):.1f} points of F1"
