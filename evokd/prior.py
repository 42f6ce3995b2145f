"""What a teacher says whatever the text, taken out of its labels: batch calibration.

A language model has favourites among the names of labels, the more the smaller it is. They show in
its mean probabilities over texts of which there are as many of every label: a label whose mean is
above the others' is one that it likes. Dividing by that mean takes the liking out (batch
calibration, Zhou et al. 2024, arXiv 2309.17249). The texts are the first that were asked for label
by label, so no gold label is needed; each label order has its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evokd.ledger import Ledger

STAGE = "label prior"
"""The stage under which a ledger keeps its prior: `question` and `priors`, a list a label order."""
BELOW = 0.99  # of the best label that was worked out: the most that a bound may come to


def prior_of(
    said: Sequence[NDArray[Any] | None], asked_for: Sequence[str | None], names: Sequence[str]
) -> list[float] | None:
    """Return a teacher's mean probability of every label, each label's texts counting alike.

    Args:
        said: for every text its probabilities [labels], in the order of `names`; None where none
            were told.
        asked_for: for every text the label that it was written for, or None.

    Returns:
        Values that sum to 1, none of them zero: a text is added to each label's mean that says
        nothing. None when a label has no text, for then the mean says what was asked.
    """
    by_label: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    for given, label in zip(said, asked_for, strict=True):
        if given is not None and label in by_label:
            by_label[label].append(given)
    if not all(by_label.values()):
        return None
    flat = np.full(len(names), 1 / len(names))
    means = [np.mean([*given, flat], axis=0) for given in by_label.values()]
    return [float(p) for p in np.mean(means, axis=0)]


def without(
    prior: Sequence[float] | None, probabilities: NDArray[Any], *, bounded: Sequence[int] = ()
) -> NDArray[Any]:
    """Return probabilities [labels] without the prior; as they are where there is none.

    Args:
        bounded: labels whose probability is only an upper bound. None of them becomes the best.
    """
    if prior is None:
        return probabilities
    ratio = probabilities / np.asarray(prior)
    only = np.isin(np.arange(len(ratio)), bounded)
    ratio[only] = np.minimum(ratio[only], BELOW * ratio[~only].max())
    scaled: NDArray[Any] = ratio / ratio.sum()
    return scaled


def recorded(ledger: Ledger, question: str | None = None) -> list[list[float]] | None:
    """Return the prior of every label order; None before there is one.

    Args:
        question: a fingerprint of what the teacher is asked; a prior under another one counts as
            none. None takes whichever is there: a run has one question, and so one prior.
    """
    found = ledger.stage(STAGE)
    if isinstance(found, list):  # an older ledger names no question; a pilot's may be another
        found = {"question": question, "priors": found} if ledger.meta("run") else None
    if found is None or question not in (None, found["question"]):
        return None
    priors: list[list[float]] = found["priors"]
    return priors


def record(ledger: Ledger, priors: Sequence[Sequence[float]], *, question: str) -> None:
    """Record the prior of every label order; it holds as long as the question is the same."""
    ledger.finish_stage(STAGE, {"question": question, "priors": priors})
