"""Conversations that teach to copy: a text repeated piece by piece, half of its words made up.

Nothing of the product asks this. But whoever copies entities from a text must first copy words,
and a model from scratch learns that far sooner where every word of an answer is copied.
"""

from __future__ import annotations

import random

from evokd.demo.training.drawing import Corpus
from evokd.demo.training.turns import Branch, Tree, said
from evokd.wording import quote

MOST_WORDS = 14


def echo_tree(corpus: Corpus, rng: random.Random) -> Tree:
    """Draw texts to be repeated in pieces of one to three words, or whole and three times."""
    size = rng.choice((1, 2, 3, 0, 0, 0, 0))
    how = f"in pieces of {size} words" if size else "three times"
    head = f"<|im_start|>user\nRepeat this text {how}. Answer with a JSON list of strings only."
    made = 1.0 if not size and rng.random() < 0.6 else 0.3
    return Tree(head, tuple(echo_branch(corpus, rng, size=size, made=made) for _ in range(12)))


def echo_branch(corpus: Corpus, rng: random.Random, *, size: int, made: float) -> Branch:
    """Draw a text, make up a share of its words, and repeat it; size 0 repeats it whole."""
    if corpus.tagged and rng.random() < 0.5:
        text = rng.choice(corpus.tagged).text
    else:
        text = rng.choice(corpus.all)
    words = [made_up(w, rng) if rng.random() < made else w for w in text.split()[:MOST_WORDS]]
    whole = " ".join(words)
    pieces = [" ".join(words[i : i + size]) for i in range(0, len(words), size)] if size else []
    asked = f"\nText: {quote(whole)}<|im_end|>\n<|im_start|>assistant\n"
    return ((asked, False), (f"{said(pieces or [whole] * 3)}<|im_end|>", True))


def made_up(word: str, rng: random.Random) -> str:
    """Return a word of the same letters in another order, as nobody has ever seen it."""
    return "".join(rng.sample(word, len(word)))
