"""The choices of a question as a tree of tokens: what they share is decoded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """A question in tokens.

    Attributes:
        prompt: at least one token.
        choices: each without the end of the turn.
        baseline: the prompt about an empty text, empty when nothing is taken off.
        every: work out every choice; None means where they are few.
    """

    prompt: Tokens
    choices: tuple[Tokens, ...]
    baseline: Tokens = ()
    every: bool | None = None


@dataclass(slots=True)
class Branch:
    """Tokens of one or more choices up to the next fork, or to the end of a choice.

    Attributes:
        parent: index of the branch that it grows from; -1 for the root, which has no tokens and
            stands for the prompt's last token.
        depth: tokens before it.
        members: the choices that run through it.
        ends: those of them that end with its last token.
        below: indices of the branches that follow.
        after: which tokens may follow each token that must be decoded; none when it is known
            whole as soon as its first token is.
    """

    parent: int
    depth: int
    tokens: Tokens
    members: tuple[int, ...]
    ends: tuple[int, ...]
    below: tuple[int, ...] = ()
    after: tuple[Tokens, ...] = ()

    @property
    def read(self) -> Tokens:
        """The tokens to decode: the last of a choice is never needed."""
        return self.tokens if self.below else self.tokens[:-1]


@dataclass(frozen=True, slots=True)
class Tree:
    """The choices of one question.

    Attributes:
        branches: the root first, each one before those below it.
        lengths: tokens of each choice, the end of the turn included where it is needed.
        size: tokens to decode for all choices.
        deepest: tokens to decode for the longest choice.
        forks: tokens of all branches that have others below.
    """

    branches: tuple[Branch, ...]
    lengths: tuple[int, ...]
    size: int
    deepest: int
    forks: int


def tree(choices: Sequence[Sequence[int]], *, end: int | None) -> Tree:
    """Return the tree of choices that are given as tokens.

    Args:
        choices: the tokens of each choice; at least one choice.
        end: the token that ends a turn. It is added to each choice where one is the beginning
            of another, for then it tells them apart; elsewhere it would cost a token a choice to
            learn what is certain. None adds nothing.
    """
    whole = [tuple(choice) for choice in choices]
    if end is not None and _one_begins_another(whole):
        whole = [(*choice, end) for choice in whole]
    branches: list[Branch] = []
    _grow(branches, whole, range(len(whole)), parent=-1, start=0, stop=0)
    return Tree(
        tuple(branches),
        tuple(map(len, whole)),
        size=sum(len(b.read) for b in branches),
        deepest=max(b.depth + len(b.read) for b in branches),
        forks=sum(len(b.tokens) for b in branches if b.below),
    )


def _one_begins_another(whole: Sequence[Tokens]) -> bool:
    """Say whether a choice is empty, or the beginning of another."""
    ordered = sorted(set(whole))  # what begins with a choice stands right behind it
    return not all(ordered) or any(b[: len(a)] == a for a, b in pairwise(ordered))


def _grow(
    branches: list[Branch],
    whole: Sequence[Tokens],
    members: Sequence[int],
    *,
    parent: int,
    start: int,
    stop: int,
) -> int:
    """Add the branch of the members' tokens from `start` to `stop`, and all below it."""
    tokens = whole[members[0]][start:stop]
    ends = tuple(m for m in members if len(whole[m]) == stop)
    branch = Branch(parent, start, tokens, tuple(members), ends)
    number = len(branches)
    branches.append(branch)
    following: dict[int, list[int]] = {}
    for m in members:
        if len(whole[m]) > stop:
            following.setdefault(whole[m][stop], []).append(m)
    branch.below = tuple(
        _grow(branches, whole, group, parent=number, start=stop, stop=_fork(whole, group, stop))
        for group in following.values()
    )
    branch.after = tuple((token,) for token in tokens[1:])
    if following:
        branch.after += (tuple(following),)
    return number


def _fork(whole: Sequence[Tokens], group: Sequence[int], start: int) -> int:
    """Return how many tokens a group shares that shares the token at `start`."""
    low, high = min(whole[m] for m in group), max(whole[m] for m in group)
    return next((i for i in range(start, len(low)) if low[i] != high[i]), len(low))
