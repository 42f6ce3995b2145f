"""Does a text get the same probabilities alone and beside others? Some builds had bugs there.

The tokens of short texts are given to the model, not drawn from it, so that both ways see the
same ones. Rounding is not what is looked for: quantised models make much of the last bit, some a
tenth of a nat. So both ways send batches of the same size, as many builds compute few rows with
another routine than many; and how much a text alone changes by its place in the memory and by
the size of its batches is the yardstick.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
import numpy.typing as npt

from evokd.teacher.native import Engine

TOLERANCE = 0.05  # nats that always count as rounding
NOISY, MOST = 3, 0.5  # times the text's own differences that do so too, and nats that never do
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
PART, AWAY = 5, 7  # tokens of smaller batches, and of what lies in the memory before them


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the two ways are apart.

    Attributes:
        tokens: places that were compared.
        worst: the largest difference of a given token's log-probability, in nats.
        flips: places where another token is the likeliest, by more than `limit`.
        noise: the largest difference between a text alone and alone elsewhere, in nats.
    """

    tokens: int
    worst: float
    flips: int
    noise: float

    @property
    def limit(self) -> float:
        """The nats up to which a difference can be rounding."""
        return _limit(self.noise)

    @property
    def holds(self) -> bool:
        """Whether all differences can be rounding."""
        return self.worst <= self.limit and not self.flips


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
    alone = [place for text in texts for place in _alone(engine, head, text, part=ROWS)]
    elsewhere = [
        place for text in texts for place in _alone(engine, head, text, part=PART, away=AWAY)
    ]
    return judge(alone, elsewhere=elsewhere, beside=_together(engine, head, texts))


def judge(alone: Sequence[Place], *, elsewhere: Sequence[Place], beside: Sequence[Place]) -> Parity:
    """Compare what the model says of the same places in the three ways."""
    noise = max(_apart(a.given, b.given) for a, b in zip(alone, elsewhere, strict=True))
    pairs = list(zip(alone, beside, strict=True))
    return Parity(
        tokens=len(pairs),
        worst=max(_apart(a.given, b.given) for a, b in pairs),
        flips=sum(a.likeliest != b.likeliest and a.margin > _limit(noise) for a, b in pairs),
        noise=noise,
    )


def _limit(noise: float) -> float:
    return min(MOST, max(TOLERANCE, NOISY * noise))


def _alone(
    engine: Engine, head: list[int], text: list[int], *, part: int, away: int = 0
) -> list[Place]:
    """Decode one text as the only one: so many tokens at once, so far away in the memory."""
    _begin(engine, head, rows=2)
    if away:
        engine.add(head[:away], len(head), sequences=(2,), logits=0)
        engine.decode()
    found = []
    for start in range(0, len(text) - 1, part):
        tokens = text[start : start + part]
        engine.add(tokens, len(head) + start, sequences=(1,), logits=len(tokens))
        engine.decode()
        following = text[start + 1 : start + 1 + part]
        found += [_place(engine.logits(row), token) for row, token in enumerate(following)]
    return found


def _together(engine: Engine, head: list[int], texts: list[list[int]]) -> list[Place]:
    """Decode a token of each text a step, beside the chunks of a prompt that is just coming in."""
    _begin(engine, head, rows=len(texts) + 1)
    found: list[list[Place]] = [[] for _ in texts]
    beside, chunk = len(texts) + 1, ROWS - len(texts)
    for step in range(ROWS - 1):
        for row, text in enumerate(texts, start=1):
            engine.add([text[step]], len(head) + step, sequences=(row,), logits=1)
        for at in range(step * chunk, (step + 1) * chunk):
            token = head[at % len(head)]
            engine.add([token], len(head) + at, sequences=(beside,), logits=1)
        engine.decode()
        for row, text in enumerate(texts):
            found[row].append(_place(engine.logits(row), text[step + 1]))
    return [place for places in found for place in places]


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
