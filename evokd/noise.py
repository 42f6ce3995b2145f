"""Which kept texts likely have a wrong label, by what students say of them. Knows no students."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evokd.errors import MissingExtra
from evokd.records import Prediction

NOISY = "likely mislabelled"
FOLDS = 3
FEWEST = 20  # texts; of fewer nothing is said
CLEAN = 0.5  # a text stays from this probability on that its loss is of the small ones
TINY = 1e-4  # the least probability that a loss is taken of


def losses(answers: Sequence[str], said: Sequence[Prediction]) -> NDArray[np.float64]:
    """Return -log of the probability of every answer, or of the most that it may have.

    A prediction says how likely its own answer is, and by how much that leads.
    """
    likely = [
        one.confidence if one.predicted == answer else one.confidence - one.margin
        for answer, one in zip(answers, said, strict=True)
    ]
    return -np.log(np.clip(np.array(likely, dtype=np.float64), TINY, 1.0))


def by_mixture(answers: Sequence[str], said: Sequence[Prediction]) -> list[int]:
    """Return the texts of the larger losses, where the losses fall into two heaps (FreeAL,
    arXiv 2311.15614).

    Args:
        said: of a student that was trained on them: it learns wrong labels last.
    """
    if len(answers) < FEWEST:
        return []
    try:
        from sklearn.mixture import GaussianMixture
    except ImportError as exc:
        raise MissingExtra("train", exc) from exc
    column = losses(answers, said)[:, None]
    fitted = GaussianMixture(2, reg_covar=1e-4, random_state=0).fit(column)
    small = int(fitted.means_[:, 0].argmin())
    clean = fitted.predict_proba(column)[:, small]
    # The narrow heap of small losses says of the very smallest that they are not its own.
    return [i for i, p in enumerate(clean) if p < CLEAN and column[i, 0] > fitted.means_[small, 0]]


def by_folds(answers: Sequence[str], said: Sequence[Prediction]) -> list[int]:
    """Return the texts that are contradicted as surely as right ones are confirmed (confident
    learning, arXiv 1911.00068).

    Args:
        said: each of a student that was not trained on the text.
    """
    pairs = list(zip(answers, said, strict=True))
    agreed = [one.confidence for answer, one in pairs if one.predicted == answer]
    if len(answers) < FEWEST or not agreed:
        return []
    usual = float(np.mean(agreed))
    return [
        i for i, (answer, one) in enumerate(pairs)
        if one.predicted != answer and one.confidence >= usual
    ]  # fmt: skip


def folds(count: int, *, seed: int) -> list[NDArray[np.int64]]:
    """Return a random part of the numbers from 0 on, for each of FOLDS students to be asked."""
    return np.array_split(np.random.default_rng(seed).permutation(count), FOLDS)
