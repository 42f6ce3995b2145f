"""Which prompts begin alike, so that what they share is decoded once. Knows token lists only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


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
