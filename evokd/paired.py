"""Is one way better than another? Bootstrap intervals of paired differences. Knows no runs.

Every way was run with the same seeds and scored on the same texts, so that what seeds and texts
do to all of them cancels out. Both are resampled: the texts with all seeds as they are, and the
seeds with all texts; what each does to the mean is added. Seeds that are drawn from n seeds vary by
(n-1)/n of what seeds do, and how far that is is itself a guess from n: what they do is taken
sqrt(n/(n-1)) times, and as often again as Student's t with n-1 degrees of freedom is wider than a
normal at the interval's ends (n=3: 2.2 times). Of equal ways a difference is then told in 2 to 8 of
100 comparisons, whether trainings vary or texts do, from two seeds on (`tests/test_paired.py`).

A score is a ratio of sums over texts: 2 * hits over (right answers + given answers). That is the
accuracy where a text has one answer, and micro F1 where it has several.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
LEVEL = 0.95
METHOD = (
    f"percentile bootstrap, {LEVEL:.0%}, {RESAMPLES} resamples: of the texts that are scored, plus"
    " of the seeds, over both of which the arms are paired (the seeds' part is widened by"
    " sqrt(n/(n-1)) * t(n-1)/normal, as n is small)"
)
CHUNK = 4_000_000  # counts in memory at once
Counts = NDArray[np.float64]
"""Of every text of one scoring: twice its hits, and what they are divided by; [texts, 2]."""
Verdict = Literal["paid", "did not pay", "cannot be told"]


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better the first way is, with the interval of it.

    Attributes:
        diff: difference of the mean scores.
        low, high: the 95 % interval.
        seeds: seeds that both ways have; with one, the interval speaks of the texts alone, and
            what the chance between runs may do is not in it.
    """

    diff: float
    low: float
    high: float
    seeds: int

    @property
    def verdict(self) -> Verdict:
        """What may be said: nothing of one run, nor when the interval contains zero."""
        if self.seeds < 2:
            return "cannot be told"
        if self.low > 0:
            return "paid"
        return "did not pay" if self.high < 0 else "cannot be told"


def counts(gold: Sequence[Collection[Any]], given: Sequence[Collection[Any]]) -> Counts:
    """Return the counts of a scoring: of every text, its right answers and those given.

    A text sorted into one label has one answer; one with several labels or entities has as many,
    or none.
    """
    pairs = [(set(g), set(a)) for g, a in zip(gold, given, strict=True)]
    rows = [(2 * len(right & said), len(right) + len(said)) for right, said in pairs]
    return np.array(rows, dtype=np.float64).reshape(len(rows), 2)


def ratio(counted: Counts) -> float:
    """Return the score in [0, 1]; 0 when nothing was to be found and nothing was given."""
    hits, of = counted.sum(axis=0)
    return float(hits / of) if of else 0.0


def bootstrap(
    runs: Mapping[str, Sequence[Counts]], *, seed: int, resamples: int = RESAMPLES
) -> dict[str, NDArray[np.float64]]:
    """Return mean scores over resampled seeds and texts, the same resamples for every way.

    Args:
        runs: way -> the counts of its runs, in the order of their seeds, which all ways share.
    """
    stacked = np.array([list(of) for of in runs.values()])  # [ways, seeds, texts, 2]
    seeds, texts = stacked.shape[1:3]
    rng = np.random.default_rng(seed)
    step, wider = max(1, CHUNK // texts), _wider(seeds)
    as_they_are = _scores(stacked, np.ones((1, texts)))[..., 0]  # [ways, seeds]
    means = []
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = rng.multinomial(texts, np.full(texts, 1 / texts), size=size).astype(float)
        of_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=size) / seeds
        pull = wider * (of_seeds - 1 / seeds)  # [size, seeds], each row sums to 0
        means.append(_scores(stacked, drawn).mean(axis=1) + as_they_are @ pull.T)
    return dict(zip(runs, np.concatenate(means, axis=1), strict=True))


def _scores(stacked: Counts, drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the scores where every text counts as often as it is drawn; [ways, seeds, size]."""
    hits, of = (stacked[..., part] @ drawn.T for part in (0, 1))
    made: NDArray[np.float64] = np.divide(hits, of, out=np.zeros_like(hits), where=of > 0)
    return made


def _wider(seeds: int) -> float:
    """Return how many times the pull of seeds drawn from a few is taken; one seed has none."""
    if seeds < 2:
        return 1.0
    from scipy.special import ndtri, stdtrit  # comes with what trains

    end = (1 + LEVEL) / 2
    return float((seeds / (seeds - 1)) ** 0.5 * stdtrit(seeds - 1, end) / ndtri(end))


def differences(runs: Mapping[str, Sequence[Counts]], *, seed: int = 0) -> dict[str, Difference]:
    """Return how much better the first way is than each of the others.

    Args:
        runs: way -> the counts of its runs, in the order of their seeds, which all ways share.
    """
    first, *others = runs
    resampled = bootstrap(runs, seed=seed)
    tails = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    means = {way: float(np.mean([ratio(c) for c in of])) for way, of in runs.items()}
    made = {}
    for other in others:
        low, high = np.quantile(resampled[first] - resampled[other], tails).clip(-1, 1)
        diff = means[first] - means[other]
        made[other] = Difference(diff, float(low), float(high), len(runs[other]))
    return made
