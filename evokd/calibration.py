"""Temperature scaling (Guo et al. 2017, "On calibration of modern neural networks"), thresholds.

A few texts, all answered right, do not say that the student is never wrong: one right and one wrong
answer are added to those seen (Platt 1999, section 2.2). Nor does one wrong answer of a few say
that it knows nothing: before any text is seen, the logarithm of the temperature is taken to be
normal around 0, as if PRIOR texts had said that the temperature is 1.

One number divides all logits, so that no answer changes and the probabilities come closer to how
often the student is right. Where any number of labels may apply, each label has its own yes or no:
its probability is a sigmoid, and from which probability on it applies is fitted too.

Probabilities are [texts, labels]; `applies` is a table of the same shape, true where the label is
right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

HIGHEST, STEPS = 10.0, 400
PRIOR = 4.0
"""How firmly the temperature is 1 before a text is seen: 95 of 100 are within 1/2.7 and 2.7.

In texts: as many that bend the negative log-likelihood over log T by 1 each. One of seven labels
that gets 0.9 bends it by 1.4, a yes or no of 0.9 by 0.4 (of many labels a text counts by their
mean), so that a hundred texts hardly feel it.
"""
TINY = 1e-12  # a probability of 0 has no logarithm
HALF = 0.5
LEAST = 5
"""Texts of a label that a threshold of its own needs."""

Floats = NDArray[np.floating]


def fit_temperature(probabilities: Floats, gold: Sequence[int], *, lowest: float = 0.25) -> float:
    """Return the temperature under which the right labels are likeliest.

    Args:
        probabilities: what a student says; rows sum to 1.
        gold: the right label's number of every text.
        lowest: the lowest temperature that is looked at. 1 never makes a student surer: right for
            texts that are easier than those it will meet, such as its teacher's.

    Raises:
        ValueError: when there are no texts.
    """
    rows = np.arange(len(gold))
    return _fit(lambda t: tempered(probabilities, t)[rows, list(gold)], len(gold), lowest)


def fit_temperature_each(
    probabilities: Floats, applies: NDArray[np.bool_], *, lowest: float = 0.25
) -> float:
    """Return the temperature under which every right yes and no is likeliest; as above."""

    def right(temperature: float) -> Floats:
        said = tempered_each(probabilities, temperature)
        return np.where(applies, said, 1 - said)

    return _fit(right, len(applies), lowest)


def _fit(right: Callable[[float], Floats], texts: int, lowest: float) -> float:
    """Return the temperature at which what is right, nearly always, is likeliest; see PRIOR."""
    if not texts:
        raise ValueError("a temperature needs at least one text")
    sure = (texts + 1) / (texts + 2)

    def loss(temperature: float) -> float:
        said = np.clip(right(temperature), TINY, 1 - TINY)
        seen = -(sure * np.log(said) + (1 - sure) * np.log1p(-said)).mean()
        return float(texts * seen + PRIOR * np.log(temperature) ** 2 / 2)

    tried = np.geomspace(lowest, HIGHEST, STEPS)
    best = float(tried[int(np.argmin([loss(t) for t in tried]))])
    return 1.0 if loss(1.0) <= loss(best) else best


def tempered(probabilities: Floats, temperature: float) -> Floats:
    """Return the probabilities that the same logits give under a temperature; rows sum to 1."""
    logits = np.log(np.maximum(probabilities.astype(np.float64), TINY)) / temperature
    exact = np.exp(logits - logits.max(axis=1, keepdims=True))
    made: Floats = exact / exact.sum(axis=1, keepdims=True)
    return made


def tempered_each(probabilities: Floats, temperature: float) -> Floats:
    """Return the probabilities that the same logits give under a temperature, each by itself."""
    exact = np.clip(probabilities.astype(np.float64), TINY, 1 - TINY)
    made: Floats = 1 / (1 + np.exp(-np.log(exact / (1 - exact)) / temperature))
    return made


def fit_thresholds(probabilities: Floats, applies: NDArray[np.bool_]) -> list[float]:
    """Return from which probability on each label applies: where its F1 is greatest.

    A label that fewer than LEAST texts have, or lack, gets a half. Of equally good ones the nearest
    to a half is taken; they lie midway between two probabilities that were seen.
    """
    return [
        _threshold(said.astype(np.float64), true)
        if min(true.sum(), (~true).sum()) >= LEAST
        else HALF
        for said, true in zip(probabilities.T, applies.T, strict=True)
    ]


def _threshold(said: Floats, true: NDArray[np.bool_]) -> float:
    seen = np.unique(np.append(said, (0.0, 1.0)))
    tried = np.append((seen[1:] + seen[:-1]) / 2, HALF)
    # As many texts as thresholds: counted in the sorted ones, not compared each with each.
    given, hits = (
        len(some) - np.searchsorted(np.sort(some), tried, side="left")
        for some in (said, said[true])
    )
    f1 = 2 * hits / (given + true.sum())
    best = tried[f1 >= f1.max() - TINY]
    return float(best[np.abs(best - HALF).argmin()])
