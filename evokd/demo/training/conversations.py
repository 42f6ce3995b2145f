"""Conversations that teach a tiny model to do EvoKD, made from labelled texts alone.

A *tree* is one prompt head (the labels of a task, drawn at random) with many conversations that
continue it: label this text, write texts of a label, analyse a student's mistakes and write for
them. One module each for the kinds of task: `classes`, `applying` (multilabel), `marking` (ner).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from evokd.demo.training.applying import apply_tree
from evokd.demo.training.classes import class_tree
from evokd.demo.training.drawing import Corpus
from evokd.demo.training.echo import echo_tree
from evokd.demo.training.marking import marking_tree
from evokd.demo.training.turns import Tree

MAKERS = {"classification": class_tree, "ner": marking_tree, "multilabel": apply_tree}
SHARES = {"classification": 0.42, "ner": 0.45, "multilabel": 0.13}
"""The share of the learned tokens that each kind is given."""

LEARNED = {"classification": 1.0, "ner": 1.75, "multilabel": 0.8}
"""Tokens learned in a packed tree of each kind, as compared with classification (measured)."""

ECHOES = 0.2
"""The share of the trees that only teach to copy."""


def trees(corpus: Corpus, seed: int, among: Sequence[str] = tuple(MAKERS)) -> Iterator[Tree]:
    """Yield trees for ever; the same seed gives the same trees."""
    rng = random.Random(seed)
    while True:
        yield make_tree(corpus, rng, among=among)


def make_tree(
    corpus: Corpus,
    rng: random.Random,
    *,
    echoes: float = ECHOES,
    among: Sequence[str] = tuple(MAKERS),
) -> Tree:
    """Draw a kind and make a tree of it; without tagged texts there are no entities to mark.

    Args:
        echoes: the share of trees that only teach to copy.
        among: the kinds to draw from.
    """
    if rng.random() < echoes:
        return echo_tree(corpus, rng)
    kinds = [kind for kind in among if kind != "ner" or corpus.tagged]
    weights = [SHARES[kind] / LEARNED[kind] for kind in kinds]
    return MAKERS[rng.choices(kinds, weights)[0]](corpus, rng)
