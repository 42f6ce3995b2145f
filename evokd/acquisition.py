"""Which unlabelled texts are worth a label: those that the student is least sure of, and unlike.

The least sure texts alone are often of one kind, and the second of a kind teaches little. So many
of them are looked at, grouped by meaning, and one of each group is taken: diverse mini-batch active
learning (Zhdanov 2019, arXiv 1901.05954), without its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evokd.ledger import Ledger
from evokd.records import Prediction

LOOKED_AT = 25  # times as many texts as are chosen; measured in benchmarks/LOG.md
Predict = Callable[[Sequence[str]], Sequence[Prediction]]
Embed = Callable[[Sequence[str]], Any]


def least_sure(
    texts: Sequence[str], *, most: int, predict: Predict, embed: Embed, seed: int
) -> list[str]:
    """Return texts that the student is little sure of and that are unlike each other.

    Args:
        most: how many, at most.
        predict: says what the student answers; not called when there is nothing to choose.
        embed: gives vectors of texts, [texts, hidden], that are near where meanings are.
        seed: of the grouping.
    """
    if not texts or not most:
        return []
    confidence = [said.confidence for said in predict(texts)]
    likely = [texts[i] for i in np.argsort(confidence, kind="stable")[: LOOKED_AT * most]]
    if len(likely) <= most:
        return likely
    chosen = _one_of_each(np.asarray(embed(likely)), most, seed)
    rest = [i for i in range(len(likely)) if i not in chosen]
    return [likely[i] for i in [*chosen, *rest][:most]]


def untried(texts: Sequence[str], *, ledger: Ledger, known: Container[str]) -> list[str]:
    """Return the unlabelled texts that the run has not had yet, each once."""
    if not texts:
        return []
    # Near-duplicates and leaks are dropped unlabelled; they must not come up every round.
    tried = {row.example.text for row in ledger.rows() if row.example.origin == "pool"}
    return [t for t in dict.fromkeys(texts) if t not in tried and t not in known]


def _one_of_each(vectors: NDArray[Any], groups: int, seed: int) -> list[int]:
    """Group vectors by direction (k-means), and return the number nearest to each centre."""
    from sklearn.cluster import KMeans

    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.maximum(lengths, 1e-12)
    groups = min(groups, len(np.unique(unit.round(6), axis=0)))
    found = KMeans(n_clusters=groups, n_init=3, random_state=seed).fit(unit)
    away = found.transform(unit)
    members = [np.flatnonzero(found.labels_ == group) for group in range(groups)]
    return [int(of[away[of, group].argmin()]) for group, of in enumerate(members) if len(of)]
