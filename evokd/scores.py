"""How good answers are: accuracy, macro F1, per label, confusion, calibration. Knows no models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypedDict, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evokd.answers import read_spans
from evokd.errors import InputError

T = TypeVar("T")
Floats = NDArray[Any]
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
        """Return them as JSON types only."""
        return asdict(self)


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
    scores = score_sets([[g] for g in gold], [[p] for p in predicted], labels)
    number = {label: i for i, label in enumerate(labels)}
    confusion = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(confusion, ([number[g] for g in gold], [number[p] for p in predicted]), 1)
    ece = None
    if probabilities is not None:
        right = np.array([g == p for g, p in zip(gold, predicted, strict=True)])
        ece = calibration_error(np.asarray(probabilities).max(1), right)
    return replace(scores, confusion=tuple(map(tuple, confusion.tolist())), ece=ece)


def score_spans(gold: Sequence[str], predicted: Sequence[str], types: Sequence[str]) -> Scores:
    """Compare entities strictly: only the right type in the right place counts.

    The same as seqeval's strict mode, but for offsets: they need no tokens, and a type that occurs
    nowhere still counts in the mean, as everywhere in evokd. Support counts entities.

    Args:
        gold: the answer for each text, as `evokd.answers.write_spans` writes it.
        predicted: what was answered, in the order of `gold`.
        types: all entity types of the task.

    Raises:
        InputError: when there are no texts, or an entity's type is not one of the task's.
    """
    wanted, given = (list(map(read_spans, answers)) for answers in (gold, predicted))
    return score_sets(wanted, given, types, label=lambda span: span.label)


def score_sets(
    gold: Sequence[Iterable[T]],
    predicted: Sequence[Iterable[T]],
    labels: Sequence[str],
    *,
    label: Callable[[T], str] = str,
) -> Scores:
    """Compare sets of labels, or of other things, with the right ones; each counts by itself.

    Args:
        label: the label that a thing counts for.

    Returns:
        Neither confusion nor calibration error. A label that is nowhere has an F1 of 0.

    Raises:
        InputError: when there are no texts, or a label is not one of the task's.
    """
    if not gold:
        raise InputError("there are no texts to score", "give a file with at least one text")
    pairs = [({*g}, {*p}) for g, p in zip(gold, predicted, strict=True)]
    right = Counter(label(thing) for wanted, given in pairs for thing in wanted & given)
    support = Counter(label(thing) for wanted, _ in pairs for thing in wanted)
    answered = Counter(label(thing) for _, given in pairs for thing in given)
    unknown = sorted({*support, *answered} - {*labels})
    if unknown:
        raise InputError(f"unknown label '{unknown[0]}'; known labels: {', '.join(labels)}")
    per_label = {name: _of_label(right[name], support[name], answered[name]) for name in labels}
    return Scores(
        accuracy=sum(wanted == given for wanted, given in pairs) / len(pairs),
        macro_f1=sum(scores["f1"] for scores in per_label.values()) / len(labels),
        micro_f1=_of_label(right.total(), support.total(), answered.total())["f1"],
        per_label=per_label,
        confusion=(),
        ece=None,
        n=len(pairs),
    )


def calibration_error(said: Floats, right: NDArray[np.bool_]) -> float:
    """Return the gap between what was said and what was so, weighted by how many fall in a bin.

    Args:
        said: probabilities of any shape; of a bin the mean is taken.
        right: of the same shape, whether each came true.
    """
    flat = said.astype(np.float64).ravel()
    bins = np.minimum((flat * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=flat - right.ravel(), minlength=BINS)
    return float(np.abs(gaps).sum() / len(flat))


def _of_label(right: int, support: int, answered: int) -> LabelScores:
    return LabelScores(
        precision=right / max(answered, 1),
        recall=right / max(support, 1),
        f1=2 * right / max(support + answered, 1),
        support=support,
    )
