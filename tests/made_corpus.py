"""A made-up corpus for tests of the embedded teacher's training: no public data set is needed."""

from __future__ import annotations

import random
import re
from functools import cache
from typing import Any

from evokd.demo.training import corpus
from evokd.demo.training.conversations import MAKERS
from evokd.demo.training.drawing import Corpus
from evokd.demo.training.tagged import Tagged, inventories
from evokd.demo.training.turns import Tree

END = "<|im_end|>"
WORDS = "please can you the a for me now some more new red loud long early cheap nearby friend's"


def labels_of(source: str) -> list[str]:
    """Return every label of a public set."""
    about: dict[str, Any] = corpus.resource("definitions.json")
    return list(about[source]["labels"])


@cache
def made_up_rows() -> tuple[corpus.Row, ...]:
    """Return 12 texts of every label that definitions.json knows, half A and half B alike."""
    rng = random.Random(0)
    rows: list[corpus.Row] = []
    for source in corpus.SETS:
        for label in labels_of(source):
            own = re.sub(r"[_/]|(?<=[a-z])(?=[A-Z])", " ", label).lower()
            for i in range(12):
                filler = rng.sample(WORDS.split(), rng.randint(1, 9))
                text = f"{own if i % 3 else ''} add remind remove {' '.join(filler)} {i}".strip()
                rows.append(corpus.Row(source, f"{text} {len(rows)}", label, "AB"[i % 2]))
                rows.append(corpus.Row(source, f"{text} x{len(rows)}", label, "AB"[i % 2]))
    return tuple(rows)


@cache
def made_up_tagged() -> tuple[Tagged, ...]:
    """Return texts with one to three entities of every set's types, half A and half B alike."""
    rng = random.Random(0)
    rows = []
    for about in ("types", "fine"):
        for source, types in inventories(about).items():
            members = sorted({member for kind in types for member in kind.members})
            for number, member in enumerate(members * 8):
                pieces = []
                for label in (member, *rng.sample(members, rng.randint(0, 2))):
                    words = " ".join(rng.sample(WORDS.split(), rng.randint(1, 3)))
                    filler = " ".join(rng.sample(WORDS.split(), rng.randint(1, 4)))
                    pieces += [(f"{filler} ", ""), (f"{label.title()} {words}", label), (", ", "")]
                pieces.append((f"then {len(rows)}.", ""))
                rows.append(Tagged(source, tuple(pieces), "AB"[number % 2]))
    return tuple(rows)


@cache
def made_up_corpus() -> Corpus:
    """Return the rows' half A as the training takes it."""
    return Corpus(made_up_rows(), made_up_tagged())


@cache
def some_trees() -> tuple[Tree, ...]:
    """Return four trees of each kind of conversations."""
    rng = random.Random(1)
    return tuple(make(made_up_corpus(), rng) for make in MAKERS.values() for _ in range(4))
