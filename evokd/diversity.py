"""How unlike each other texts are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from evokd.examples import jaccard, normalise, trigrams

MOST = 200  # texts that are compared with each other; more are a sample


def diversity(texts: Sequence[str], *, seed: int) -> dict[str, float]:
    """Return figures of some texts; nothing of fewer than two.

    `distinct_1` and `distinct_2` are the shares of different words and pairs of words (Li et al.
    2016; higher is more varied; both fall as texts are added). `nearest` is the mean similarity of
    a text to the text most like it, as Jaccard of 3-grams of letters (lower is more varied). It
    stands where others give self-BLEU, and is not the same.
    """
    if len(texts) < 2:
        return {}
    words = [normalise(text).split() for text in texts]
    pairs = [pair for some in words for pair in pairwise(some)]
    every = [word for some in words for word in some]
    chosen = np.random.default_rng(seed).permutation(len(texts))[:MOST]
    grams = [trigrams(texts[i]) for i in sorted(chosen)]
    likeness = np.zeros((len(grams), len(grams)))
    for i, one in enumerate(grams):
        for j in range(i):
            likeness[i, j] = likeness[j, i] = jaccard(one, grams[j])
    return {
        "distinct_1": len(set(every)) / max(1, len(every)),
        "distinct_2": len(set(pairs)) / max(1, len(pairs)),
        "nearest": float(likeness.max(axis=1).mean()),
    }
