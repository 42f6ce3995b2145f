"""A text of any length, read by a model that reads so many tokens at once. Needs numpy alone.

For models that answer for every token. A text is never silently cut: it is read in windows that
overlap, and every token is answered once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a text that is read at once, and the tokens in it whose answer is taken from it.

    Attributes:
        start: the first token that is read.
        stop: the token before which reading stops.
        first: the first token whose answer counts; `start` only where the text begins.
        last: the token before which answers stop counting; `stop` only where the text ends.
    """

    start: int
    stop: int
    first: int
    last: int


def windows(tokens: int, room: int) -> list[Window]:
    """Return the windows of a text: all of one length, overlapping by at least a quarter.

    The answer for a token is taken from the window in which it is farthest from a cut, so that
    it was read with as much around it as can be. A text that fits is one window; an empty text
    has none.

    Args:
        tokens: how many the text has, special ones left out.
        room: how many are read at once, special ones left out.
    """
    if tokens <= room:
        return [Window(0, tokens, 0, tokens)] if tokens else []
    cuts = -(-(tokens - room) // max(1, room - room // 4))
    starts = [(tokens - room) * i // cuts for i in range(cuts + 1)]
    # Halfway between two windows' middles a token is as far from the one's cut as the other's.
    turns = [0, *((one + two + room) // 2 for one, two in pairwise(starts))]
    return [
        Window(start, start + room, first, last)
        for start, first, last in zip(starts, turns, [*turns[1:], tokens], strict=True)
    ]


def frame(ids: Sequence[int], special: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the special tokens that stand before and behind a text.

    Args:
        ids: of any text that has tokens of its own.
        special: 1 at the special tokens, 0 at the others.
    """
    own = [i for i, flag in enumerate(special) if not flag]
    return list(ids[: own[0]]), list(ids[own[-1] + 1 :])


def joined(parts: Sequence[Window], rows: Sequence[Floats]) -> Floats:
    """Return what a text's windows say of its tokens, [tokens, tags].

    Args:
        rows: what each window says, [its tokens, tags], special tokens left out.
    """
    if not parts:
        return np.empty((0, 0), np.float32)
    said = [
        row[part.first - part.start : part.last - part.start]
        for part, row in zip(parts, rows, strict=True)
    ]
    return said[0] if len(said) == 1 else np.concatenate(said)
