"""What a teacher says whatever the text, taken out of its labels: batch calibration.

A language model has favourites among the names of labels, the more the smaller it is. They show in
its mean probabilities over texts of which there are as many of every label: a label whose mean is
above the others' is one that it likes. Dividing by that mean takes the liking out (batch
calibration, Zhou et al. 2024, arXiv 2309.17249). The texts are the first that were asked for label
by label, so no gold label is needed; each label order has its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evokd.ledger import Ledger

STAGE = "label prior"
"""The stage under which a ledger keeps its prior: `question`, `priors` (a list a label order, or
None), the labels `missing` a text to tell it by, and the `scope` of the texts that told it."""
NAMED = 5  # labels that a line names
BELOW = 0.99  # of the best label that was worked out: the most that a bound may come to


def prior_of(
    said: Sequence[NDArray[Any] | None], asked_for: Sequence[str | None], names: Sequence[str]
) -> list[float] | None:
    """Return a teacher's mean probability of every label, each label's texts counting alike.

    A label without texts counts as the others do (their geometric mean, for it is divided by), or,
    where that is more, as what was said of it on their texts: it is low there as none is of it.

    Args:
        said: for every text its probabilities [labels], in the order of `names`; None where none
            were told.
        asked_for: for every text the label that it was written for, or None.

    Returns:
        Values that sum to 1, none of them zero: a text is added to each label's mean that says
        nothing. None when fewer than two labels have a text, or fewer than half of them: then the
        mean says what was asked.
    """
    by_label: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    for given, label in zip(said, asked_for, strict=True):
        if given is not None and label in by_label:
            by_label[label].append(given)
    has = np.array([bool(given) for given in by_label.values()])
    if has.sum() < max(2, len(names) / 2):
        return None
    flat = np.full(len(names), 1 / len(names))
    means = [np.mean([*given, flat], axis=0) for given in by_label.values() if given]
    prior = np.mean(means, axis=0)
    if not has.all():
        typical = np.exp(np.log(prior[has]).mean())
        prior[~has] = np.maximum(prior[~has], typical)
        prior /= prior.sum()
    return [float(p) for p in prior]


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
    if only.all():  # nothing was said
        return probabilities
    ratio[only] = np.minimum(ratio[only], BELOW * ratio[~only].max())
    scaled: NDArray[Any] = ratio / ratio.sum()
    return scaled


def lacking(
    said: Sequence[object], asked_for: Sequence[str | None], names: Sequence[str]
) -> list[str]:
    """Return the labels of which `prior_of` has no text."""
    has = {label for given, label in zip(said, asked_for, strict=True) if given is not None}
    return [name for name in names if name not in has]


def recorded(ledger: Ledger, question: str | None = None) -> list[list[float]] | None:
    """Return the prior of every label order; None before there is one.

    Args:
        question: a fingerprint of what the teacher is asked; a prior under another one counts as
            none. None takes whichever is there: a run has one question, and so one prior.
    """
    priors: list[list[float]] | None = _found(ledger, question).get("priors")
    return priors


def taken_off(ledger: Ledger, scope: str) -> list[list[float]] | None:
    """Return the prior of every label order that labels of a scope were freed of, if any was.

    None was before it was told: that was by the texts of a round, or by those held out apart,
    which come before their round.
    """
    told = str(_found(ledger, None).get("scope", "round 0"))  # older ledgers do not say
    return recorded(ledger) if _place(scope) >= _place(told) else None


def _place(scope: str) -> tuple[float, bool]:
    found = re.match(r"round (\d+)(/dev)?", scope)
    return (int(found[1]), not found[2]) if found else (math.inf, True)


def record(
    ledger: Ledger,
    priors: Sequence[Sequence[float]] | None,
    *,
    question: str,
    missing: Sequence[str] = (),
    scope: str = "round 0",
) -> None:
    """Record the prior of every label order; it holds as long as the question is the same.

    Args:
        priors: None where too few labels had texts; the next texts may tell it.
        missing: the labels that had none.
        scope: of the texts that told it; those before were labelled without.
    """
    record = {"question": question, "priors": priors, "missing": missing, "scope": scope}
    ledger.finish_stage(STAGE, record)


def told(ledger: Ledger, question: str) -> str:
    """Say of which labels there was no text to tell the prior by; "" where each had some."""
    found = _found(ledger, question)
    if not found:
        return (
            "no text was written of a label yet: what the teacher says whatever the text"
            " (method.calibrate) stays in its labels"
        )
    names = found.get("missing", ())
    if not names:
        return ""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    so = "is told by the other labels' texts alone" if found["priors"] else "stays in its labels"
    return (
        f"no text to label was written of {', '.join(names[:NAMED])}{more}: what the teacher says"
        f" whatever the text (method.calibrate) {so}"
    )


def _found(ledger: Ledger, question: str | None) -> dict[str, Any]:
    found = ledger.stage(STAGE)
    if isinstance(found, list):  # an older ledger names no question; a pilot's may be another
        found = {"question": question, "priors": found} if ledger.meta("run") else None
    if found is None or question not in (None, found["question"]):
        return {}
    of_it: dict[str, Any] = found
    return of_it
