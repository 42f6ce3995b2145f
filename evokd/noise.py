"""Which kept texts likely have a wrong label, by what students say of them. Knows no students."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from evokd.errors import MissingExtra
from evokd.records import Prediction

NOISY = "likely mislabelled"
FOLDS = 3
FEWEST = 20  # texts; of fewer nothing is said
CLEAN = 0.5  # a text stays from this probability on that its loss is of the small ones
TINY = 1e-4  # the least probability that a loss is taken of
NONE = ("",)  # the label of an answer without one
LabelsIn = Callable[[str], Sequence[str]]


def alone(answer: str) -> tuple[str, ...]:
    """Return the one label that an answer names."""
    return (answer,)


def likely(answers: Sequence[str], said: Sequence[Prediction]) -> NDArray[np.float64]:
    """Return the probability of every answer, or the most that it may have.

    A prediction says how likely its own answer is, and by how much that leads.
    """
    return np.array(
        [
            one.confidence if one.predicted == answer else one.confidence - one.margin
            for answer, one in zip(answers, said, strict=True)
        ],
        dtype=np.float64,
    )


def losses(answers: Sequence[str], said: Sequence[Prediction]) -> NDArray[np.float64]:
    """Return -log of what is `likely`."""
    return -np.log(np.clip(likely(answers, said), TINY, 1.0))


def by_mixture(
    answers: Sequence[str],
    said: Sequence[Prediction],
    labels_in: LabelsIn = alone,
    *,
    sure_of_none: bool = True,
) -> list[int]:
    """Return the texts of the larger losses, where the losses fall into two heaps (FreeAL,
    arXiv 2311.15614).

    Two heaps can be fitted to any losses, so only a text that the student answers otherwise is one
    of the larger ones.

    Args:
        said: of a student that was trained on them: it learns wrong labels last.
        labels_in: gives the labels that an answer names.
        sure_of_none: as in `by_folds`.
    """
    if len(answers) < FEWEST:
        return []
    try:
        from sklearn.mixture import GaussianMixture
    except ImportError as exc:
        raise MissingExtra("train", exc) from exc
    column = losses(answers, said)[:, None]
    if np.ptp(column) < TINY:
        return []
    fitted = GaussianMixture(2, reg_covar=1e-4, random_state=0).fit(column)
    small = int(fitted.means_[:, 0].argmin())
    clean = fitted.predict_proba(column)[:, small]
    # The narrow heap of small losses says of the very smallest that they are not its own.
    large = [
        i for i, p in enumerate(clean)
        if p < CLEAN and column[i, 0] > fitted.means_[small, 0]
        and (sure_of_none or labels_in(said[i].predicted))
    ]  # fmt: skip
    return _half_at_most(_contradicted(large, answers, said), answers, said, labels_in)


def by_folds(
    answers: Sequence[str],
    said: Sequence[Prediction],
    labels_in: LabelsIn = alone,
    *,
    sure_of_none: bool = True,
) -> list[int]:
    """Return the texts that are given another answer as surely as its own texts are (confident
    learning, arXiv 1911.00068: a threshold a label, the mean probability of it among its texts).

    Args:
        said: each of a student that was not trained on the text.
        labels_in: gives the labels that an answer names.
        sure_of_none: whether the student says how sure it is of an answer without labels; if not,
            such an answer contradicts nothing.
    """
    if len(answers) < FEWEST:
        return []
    usual = _usual(answers, said, labels_in)
    if not sure_of_none:
        usual |= dict.fromkeys(NONE, np.inf)
    sure = [
        i for i, one in enumerate(said)
        if one.confidence >= max(usual[name] for name in labels_in(one.predicted) or NONE)
    ]  # fmt: skip
    return _half_at_most(_contradicted(sure, answers, said), answers, said, labels_in)


def _usual(
    answers: Sequence[str], said: Sequence[Prediction], labels_in: LabelsIn
) -> dict[str, float]:
    """Return the mean probability of every label's texts to have the answer that they have.

    A label without such texts is never sure enough.
    """
    known: dict[str, list[float]] = defaultdict(list)
    for answer, p in zip(answers, likely(answers, said), strict=True):
        if p > 0:  # of another answer than its own a tagger does not say how likely it is
            for name in labels_in(answer) or NONE:
                known[name].append(float(p))
    return defaultdict(lambda: np.inf, {name: float(np.mean(ps)) for name, ps in known.items()})


def _contradicted(
    numbers: Sequence[int], answers: Sequence[str], said: Sequence[Prediction]
) -> list[int]:
    return [i for i in numbers if said[i].predicted != answers[i]]


def _half_at_most(
    numbers: Sequence[int],
    answers: Sequence[str],
    said: Sequence[Prediction],
    labels_in: LabelsIn,
) -> list[int]:
    """Return the numbers without the least sure ones that are over half of a label's texts.

    A student that does not know a label contradicts all of its texts, right or wrong.
    """
    labels = [labels_in(answer) or NONE for answer in answers]
    free = {name: n // 2 for name, n in Counter(n for given in labels for n in given).items()}
    made = []
    for i in sorted(numbers, key=lambda i: -said[i].margin):
        if all(free[name] for name in labels[i]):
            made.append(i)
            for name in labels[i]:
                free[name] -= 1
    return sorted(made)


def folds(count: int, *, seed: int) -> list[NDArray[np.int64]]:
    """Return a random part of the numbers from 0 on, for each of FOLDS students to be asked."""
    return np.array_split(np.random.default_rng(seed).permutation(count), FOLDS)
