"""Labelled texts like a given one, to label it by (LLMaAA, arXiv 2310.19596).

By TF-IDF of runs of letters, which needs no words and no encoder.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evokd.errors import MissingExtra
from evokd.examples import Example
from evokd.task import Task

SURE = 0.9  # probability of its label from which on a written text may be shown
MOST = 5000  # texts that are looked through; the last ones

Demonstrations = tuple[tuple[str, str], ...]
"""Texts with their answers, as a prompt shows them."""


def sure(examples: Sequence[Example], task: Task) -> list[Example]:
    """Return the examples whose answer a prompt may show as right.

    The user's own, and those whose label the teacher finds likely; a label that an arm set is
    nobody's finding. Entities have no probability: they count where two readings were joined, of
    which what stayed in doubt is not kept, and not where an arm moved them.
    """
    twice = task.kind == "ner" and task.method.second_opinion and len(task.names) > 1

    def is_sure(one: Example) -> bool:
        if one.soft:
            return max(one.soft) >= SURE
        return one.origin == "seed" or (twice and one.origin != "edited")

    return [e for e in examples if e.label and is_sure(e)][-MOST:]


def nearest(
    texts: Sequence[str], examples: Sequence[Example], *, count: int
) -> list[Demonstrations]:
    """Return for every text the `count` examples most like it, the most like last.

    What stands last is nearest to the question, and a model reads it best.
    """
    if not texts or not examples or not count:
        return [()] * len(texts)
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError as exc:
        raise MissingExtra("train", exc) from exc
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), dtype=np.float32)
    known = vectorizer.fit_transform([e.text for e in examples])
    likeness = (vectorizer.transform(texts) @ known.T).toarray()
    order = np.argsort(likeness, axis=1, kind="stable")[:, -count:]
    return [tuple((examples[i].text, examples[i].label) for i in row) for row in order]
