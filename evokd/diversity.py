"""How unlike each other texts are."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from math import exp, log

import numpy as np

from evokd.examples import jaccard, normalise, trigrams
from evokd.pieces import words

MOST = 200  # texts that are compared with each other; more are a sample
WORDS = 4  # longest runs of words that BLEU compares
UNMET = 0.1  # counted for runs of a length of which none is met, in place of 0


def diversity(texts: Sequence[str], *, seed: int) -> dict[str, float]:
    """Return figures of some texts, each in [0, 1]; nothing of fewer than two.

    `distinct_1` and `distinct_2` are the shares of different words and pairs of words (Li et al.
    2016; higher is more varied; both fall as texts are added; there may be no pairs). `self_bleu`
    is how much a text repeats the words of the others (see below), `nearest` the mean similarity of
    a text to the text most like it, as Jaccard of 3-grams of letters: of these two lower is more
    varied. They compare a sample of MOST texts. Words are those of `evokd.pieces.words`.
    """
    if len(texts) < 2:
        return {}
    said = [_words(text) for text in texts]
    pairs = [pair for some in said for pair in pairwise(some)]
    every = [word for some in said for word in some]
    chosen = sorted(np.random.default_rng(seed).permutation(len(texts))[:MOST])
    distinct_2 = {"distinct_2": len(set(pairs)) / len(pairs)} if pairs else {}
    return {
        "distinct_1": len(set(every)) / max(1, len(every)),
        **distinct_2,
        # A text without any word counts as one word of its own.
        "self_bleu": self_bleu([said[i] or [texts[i]] for i in chosen]),
        "nearest": _nearest([trigrams(texts[i]) for i in chosen]),
    }


def self_bleu(texts: Sequence[Sequence[str]]) -> float:
    """Return the mean BLEU of each text with all others as its references, in [0, 1].

    Self-BLEU (Zhu et al. 2018, arXiv 1802.01886): 1 where texts repeat each other, near 0 where
    they share no words. Of runs of up to WORDS words, in a shorter text of those that it has;
    smoothed as by method 1 of Chen and Cherry (2014), as is usual for it.

    Args:
        texts: the words of each; two texts at least, each with a word at least.
    """
    logs = [list[float]() for _ in texts]
    for size in range(1, WORDS + 1):
        counts = [_runs(words, size) for words in texts]
        best: defaultdict[tuple[str, ...], tuple[int, int]] = defaultdict(lambda: (0, 0))
        for count in counts:
            for run, times in count.items():
                best[run] = _two_highest(*best[run], times)
        for own, count in zip(logs, counts, strict=True):
            met = sum(_met(times, *best[run]) for run, times in count.items())
            own += [log((met or UNMET) / count.total())] if count else []
    lengths = [len(words) for words in texts]
    scores = [exp(sum(own) / len(own) + _too_short(lengths, at)) for at, own in enumerate(logs)]
    return sum(scores) / len(scores)


def _words(text: str) -> list[str]:
    """Return a text's words without its signs, in one case."""
    every = [word for run in normalise(text).split() for word in words(run)]
    return [word for word in every if word[0].isalnum()]


def _runs(words: Sequence[str], size: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[at:] for at in range(size)), strict=False))


def _two_highest(first: int, second: int, new: int) -> tuple[int, int]:
    return (new, first) if new > first else (first, max(second, new))


def _met(times: int, first: int, second: int) -> int:
    """Return how many of a text's `times` equal runs another one has, too, by the two highest."""
    return second if times == first else times


def _too_short(lengths: Sequence[int], at: int) -> float:
    """Return the log of BLEU's penalty for a text shorter than the other nearest it in length."""
    own = lengths[at]
    others = (length for other, length in enumerate(lengths) if other != at)
    nearest = min(others, key=lambda length: (abs(length - own), length))
    return min(0.0, 1 - nearest / own)


def _nearest(grams: Sequence[frozenset[str]]) -> float:
    likeness = np.zeros((len(grams), len(grams)))
    for i, one in enumerate(grams):
        for j in range(i):
            likeness[i, j] = likeness[j, i] = jaccard(one, grams[j])
    return float(likeness.max(axis=1).mean())
