"""Does a text get the same probabilities alone and beside others? Some builds had bugs there.

The tokens of short texts are given to the model, not drawn from it, so that both ways see the
same ones. Both send batches of the same number of tokens: many builds compute a few rows with
another routine than many rows, which rounds differently, and rounding is not what is looked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
import numpy.typing as npt

from evokd.teacher.native import Engine

TOLERANCE = 0.05  # nats
HEAD = "Which class does the text belong to? The classes are music, weather, food and travel.\n"
TEXTS = (
    "Play some jazz in the kitchen, please.",
    "Wann kommt der nächste Zug nach Köln?",
    "明天早上七点叫醒我。",
    '{"hard": ["book a table for two"], "easy": ["order a pizza"]}',
    "I'd like to send these shoes back; they're too small.",
    "def area(r): return 3.14159 * r ** 2",
)
ROWS = 16  # tokens of every batch, and of every text


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the two ways are apart.

    Attributes:
        tokens: places that were compared.
        worst: the largest difference of a given token's log-probability, in nats.
        flips: places where another token is the likeliest, by more than the tolerance.
    """

    tokens: int
    worst: float
    flips: int

    @property
    def holds(self) -> bool:
        """Whether the differences can be rounding."""
        return self.worst <= TOLERANCE and not self.flips


@dataclass(frozen=True, slots=True)
class Place:
    """What the model says at one place: of the token given next, and of the likeliest.

    Attributes:
        margin: how far the likeliest is ahead of the second, in nats.
    """

    given: float
    likeliest: int
    margin: float


def compare(engine: Engine) -> Parity:
    """Decode the texts both ways; the engine's memory is cleared."""
    tokens = engine.vocabulary.reply_tokens
    head = tokens(HEAD)
    texts = [list(islice(cycle(tokens(text)), ROWS)) for text in TEXTS]
    alone = [_alone(engine, head, text) for text in texts]
    return differences(alone, _together(engine, head, texts))


def differences(alone: Sequence[Sequence[Place]], beside: Sequence[Sequence[Place]]) -> Parity:
    """Compare the places of each text."""
    pairs = [
        pair
        for one, other in zip(alone, beside, strict=True)
        for pair in zip(one, other, strict=True)
    ]
    return Parity(
        tokens=len(pairs),
        worst=max(_apart(a.given, b.given) for a, b in pairs),
        flips=sum(a.likeliest != b.likeliest and a.margin > TOLERANCE for a, b in pairs),
    )


def _alone(engine: Engine, head: list[int], text: list[int]) -> list[Place]:
    """Decode one text as the only one, all its tokens at once."""
    _begin(engine, head, rows=1)
    for i, token in enumerate(text):
        engine.add([token], len(head) + i, sequences=(1,), logits=True)
    engine.decode()
    return [_place(engine.logits(i), text[i + 1]) for i in range(len(text) - 1)]


def _together(engine: Engine, head: list[int], texts: list[list[int]]) -> list[list[Place]]:
    """Decode a token of each text a step, beside the chunks of a prompt that is just coming in."""
    _begin(engine, head, rows=len(texts) + 1)
    found: list[list[Place]] = [[] for _ in texts]
    beside, chunk = len(texts) + 1, ROWS - len(texts)
    for step in range(ROWS - 1):
        for row, text in enumerate(texts, start=1):
            engine.add([text[step]], len(head) + step, sequences=(row,), logits=True)
        for at in range(step * chunk, (step + 1) * chunk):
            token = head[at % len(head)]
            engine.add([token], len(head) + at, sequences=(beside,), logits=True)
        engine.decode()
        for row, text in enumerate(texts):
            found[row].append(_place(engine.logits(row), text[step + 1]))
    return found


def _begin(engine: Engine, head: list[int], *, rows: int) -> None:
    engine.clear()
    engine.prefill(head)
    for row in range(1, rows + 1):
        engine.share(row)


def _place(row: npt.NDArray[np.float32], following: int) -> Place:
    values = row.astype(np.float64)
    total = float(values.max() + np.log(np.exp(values - values.max()).sum()))
    second, first = np.partition(values, -2)[-2:]
    return Place(float(values[following]) - total, int(values.argmax()), float(first - second))


def _apart(a: float, b: float) -> float:
    """Return the difference; what is no number is as far apart as can be."""
    return abs(a - b) if np.isfinite(a) and np.isfinite(b) else 1e9
