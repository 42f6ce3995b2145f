"""How good answers are: accuracy, macro F1, per label, confusion, calibration. Knows no models."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evokd.errors import InputError

BINS = 15  # of the calibration error


class LabelScores(TypedDict):
    """One label's scores in [0, 1], and how many texts have it by gold."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of one set of answers.

    Attributes:
        accuracy: share of texts whose whole answer is right.
        macro_f1: mean F1 over all labels of the task; a label never right counts as 0.
        micro_f1: F1 of all labels counted together; of a classification the accuracy.
        per_label: label -> its precision, recall, F1 and support.
        confusion: counts as [gold][predicted], in the order of the labels; () where a text may
            have several.
        ece: expected calibration error of the top answer over 15 bins; None without
            probabilities.
        n: number of texts.
        answered: share of texts that were given an answer; None where every text is.
        accuracy_answered: share of right ones among those; None where there are none.
    """

    accuracy: float
    macro_f1: float
    micro_f1: float
    per_label: dict[str, LabelScores]
    confusion: tuple[tuple[int, ...], ...]
    ece: float | None
    n: int
    answered: float | None = None
    accuracy_answered: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads, made of JSON types only."""
        return asdict(self)

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Scores:
        """Return the scores that `to_dict` gave, also after a round trip through JSON."""
        confusion = tuple(tuple(row) for row in saved["confusion"])
        return cls(**{**saved, "confusion": confusion})


def score(
    gold: Sequence[str],
    predicted: Sequence[str],
    labels: Sequence[str],
    probabilities: ArrayLike | None = None,
) -> Scores:
    """Compare predicted labels with gold ones.

    Args:
        labels: all labels of the task; their order is that of `confusion`.
        probabilities: of every label, [texts, labels], for the calibration error.

    Raises:
        InputError: when there are no texts, or a label is not one of the task's.
    """
    if not gold:
        raise InputError("there are no texts to score", "give a file with at least one text")
    unknown = sorted({*gold, *predicted} - set(labels))
    if unknown:
        raise InputError(f"unknown label '{unknown[0]}'; known labels: {', '.join(labels)}")
    number = {label: i for i, label in enumerate(labels)}
    confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
    for g, p in zip(gold, predicted, strict=True):
        confusion[number[g], number[p]] += 1
    right, support, answered = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    precision = right / np.maximum(answered, 1)
    recall = right / np.maximum(support, 1)
    f1 = 2 * right / np.maximum(support + answered, 1)
    hits = np.array([g == p for g, p in zip(gold, predicted, strict=True)])
    return Scores(
        accuracy=float(hits.mean()),
        macro_f1=float(f1.mean()),
        micro_f1=float(hits.mean()),
        per_label={
            label: LabelScores(
                precision=float(precision[i]),
                recall=float(recall[i]),
                f1=float(f1[i]),
                support=int(support[i]),
            )
            for i, label in enumerate(labels)
        },
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        ece=None if probabilities is None else _calibration_error(hits, np.asarray(probabilities)),
        n=len(gold),
    )


def score_sets(
    gold: Sequence[Collection[str]], predicted: Sequence[Collection[str]], labels: Sequence[str]
) -> Scores:
    """Compare sets of labels with the right ones; every label of a text counts by itself.

    Raises:
        InputError: when there are no texts, or a label is not one of the task's.
    """
    if not gold:
        raise InputError("there are no texts to score", "give a file with at least one text")
    unknown = sorted({name for given in (*gold, *predicted) for name in given} - set(labels))
    if unknown:
        raise InputError(f"unknown label '{unknown[0]}'; known labels: {', '.join(labels)}")
    pairs = list(zip(map(set, gold), map(set, predicted), strict=True))
    per_label, counts = {}, np.zeros(3, dtype=np.int64)
    for name in labels:
        hits = sum(name in g and name in p for g, p in pairs)
        support, answered = (sum(name in pair[i] for pair in pairs) for i in (0, 1))
        counts += (hits, support, answered)
        per_label[name] = label_scores(hits, support, answered)
    return Scores(
        accuracy=sum(g == p for g, p in pairs) / len(pairs),
        macro_f1=float(np.mean([scores["f1"] for scores in per_label.values()])),
        micro_f1=label_scores(*map(int, counts))["f1"],
        per_label=per_label,
        confusion=(),
        ece=None,
        n=len(pairs),
    )


def label_scores(hits: int, support: int, answered: int) -> LabelScores:
    """Return the scores of a label given right `hits` times, wanted `support`, given `answered`."""
    return LabelScores(
        precision=hits / max(answered, 1),
        recall=hits / max(support, 1),
        f1=2 * hits / max(support + answered, 1),
        support=support,
    )


def _calibration_error(hits: NDArray[np.bool_], probabilities: NDArray[Any]) -> float:
    """Return the mean gap between confidence and accuracy, weighted by the texts in each bin."""
    sure = probabilities.max(1)
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=sure - hits, minlength=BINS)
    return float(np.abs(gaps).sum() / len(hits))
