"""Which prompts begin alike, so that what they share is decoded once. Knows token lists only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

WORTH = 16  # tokens: below, a head saves less than a sequence of its own costs


def common_head(prompts: Sequence[list[int]]) -> int:
    """Return how many first tokens all prompts share, the last of the shortest left out.

    That last token stays out so that each prompt has one of its own to decode: its logits say
    how the reply begins.
    """
    if not prompts:
        return 0
    low, high = min(prompts), max(prompts)
    most = min(map(len, prompts)) - 1
    return next((i for i in range(most) if low[i] != high[i]), most)


def groups(prompts: Sequence[list[int]]) -> Iterator[tuple[list[int], int]]:
    """Give the prompts' indices in groups for which one head pays, with its length in tokens.

    Each index comes once. Prompts that begin alike come together, wherever they stand.
    """
    group: list[int] = []
    shared = 0
    for i in sorted(range(len(prompts)), key=lambda i: prompts[i]):
        # One more member makes the others decode again what is no longer shared, and saves a head.
        now = common_head([prompts[group[0]][: shared + 1], prompts[i]]) if group else 0
        if group and len(group) * (shared - now) < now:
            group.append(i)
            shared = now
        else:
            if group:
                yield group, shared
            group, shared = [i], len(prompts[i]) - 1
    if group:
        yield group, shared


@dataclass(eq=False, slots=True)
class Head:
    """First tokens that several prompts share.

    Attributes:
        tokens: all of them from the beginning, those of `above` included.
        above: the shorter head that this one goes on from; None where there is none.
        first: the lowest index of the prompts that begin so.
    """

    tokens: list[int]
    above: Head | None
    first: int

    @property
    def chain(self) -> list[Head]:
        """The heads on the way to this one, shortest first, itself last."""
        before = self.above.chain if self.above else []
        return [*before, self]


def plan(prompts: Sequence[Sequence[int]], *, levels: int) -> list[tuple[int, Head | None]]:
    """Return the prompts' indices in the order of decoding, each with the longest head it has.

    A head is worth its while from WORTH tokens that need not be decoded again. Prompts that
    begin alike come together, and otherwise in their own order; so only the heads of one chain
    are needed at a time.

    Args:
        prompts: tokens of each prompt.
        levels: heads that a chain may have.
    """
    keys = [np.asarray(prompt, ">i4").tobytes() for prompt in prompts]
    order = sorted(range(len(prompts)), key=keys.__getitem__)
    found: list[Head | None] = [None] * len(prompts)
    chain: list[tuple[Head, int]] = []  # with the end of what it covers in `order`
    for low, high, size in sorted(_alike([keys[i] for i in order]), key=lambda a: (a[0], -a[1])):
        while chain and chain[-1][1] <= low:
            chain.pop()
        above = chain[-1][0] if chain else None
        saved = (size - len(above.tokens) if above else size) * (high - low - 1)
        if saved < WORTH or len(chain) == levels:
            continue
        members = order[low:high]
        head = Head(list(prompts[members[0]][:size]), above, min(members))
        chain.append((head, high))
        for i in members:
            found[i] = head
    ways = {id(h): [c.first for c in h.chain] for h in found if h is not None}
    ordered = sorted(range(len(prompts)), key=lambda i: [*ways.get(id(found[i]), []), i])
    return [(i, found[i]) for i in ordered]


def _alike(keys: Sequence[bytes]) -> Iterator[tuple[int, int, int]]:
    """Give every run of sorted prompts that share more than their neighbours do, and how much.

    Each as (start, end, tokens); the last token of the shortest is left out, as in `common_head`.
    """
    runs: list[tuple[int, int]] = []  # (start, tokens) of runs that go on, growing
    for i in range(1, len(keys) + 1):
        shared, start = _shared(keys[i - 1], keys[i]) if i < len(keys) else 0, i - 1
        while runs and runs[-1][1] > shared:
            start, size = runs.pop()
            yield start, i, size
        if shared and (not runs or runs[-1][1] < shared):
            runs.append((start, shared))


def _shared(one: bytes, other: bytes) -> int:
    """Return how many tokens two prompts share, given as four bytes each."""
    most = min(len(one), len(other)) // 4 - 1
    differ = np.frombuffer(one, np.int32)[:most] != np.frombuffer(other, np.int32)[:most]
    return int(differ.argmax()) if differ.any() else most
