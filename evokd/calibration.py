"""Temperature scaling (Guo et al. 2017, "On calibration of modern neural networks").

One number divides all logits, so that no answer changes and the probabilities come closer to how
often the student is right.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

HIGHEST, STEPS = 10.0, 400
TINY = 1e-12  # a probability of 0 has no logarithm


def fit_temperature(
    probabilities: NDArray[np.floating], gold: Sequence[int], *, lowest: float = 0.25
) -> float:
    """Return the temperature under which the right labels are likeliest.

    Args:
        probabilities: what a student says, [texts, labels].
        gold: the right label's number of every text.
        lowest: the lowest temperature that is looked at. 1 never makes a student surer: right for
            texts that are easier than those it will meet, such as its teacher's.

    Raises:
        ValueError: when there are no texts.
    """
    if not len(gold):
        raise ValueError("a temperature needs at least one text")
    rows = np.arange(len(gold))

    def loss(temperature: float) -> float:
        right = tempered(probabilities, temperature)[rows, list(gold)]
        return float(-np.log(np.maximum(right, TINY)).mean())

    tried = np.geomspace(lowest, HIGHEST, STEPS)
    # The first of equals: where every answer is right, any low temperature does.
    best = float(tried[int(np.argmin([loss(t) for t in tried]))])
    return 1.0 if loss(1.0) <= loss(best) else best


def tempered(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.floating]:
    """Return the probabilities that the same logits give under a temperature; rows sum to 1."""
    logits = np.log(np.maximum(probabilities.astype(np.float64), TINY)) / temperature
    exact = np.exp(logits - logits.max(axis=1, keepdims=True))
    made: NDArray[np.floating] = exact / exact.sum(axis=1, keepdims=True)
    return made
