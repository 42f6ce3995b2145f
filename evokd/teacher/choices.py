"""The choices of a question as trees of tokens: what they share is decoded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

Step = tuple[int, int]  # (place, token that follows there)


@dataclass(slots=True)
class Node:
    """A token of one or more choices, and which tokens follow it.

    Attributes:
        depth: tokens between it and the prompt; the prompt's own last token has -1.
        members: the choices that run through it, counted in the tree.
    """

    token: int
    depth: int
    members: list[int] = field(default_factory=list)
    follow: dict[int, None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tree:
    """Choices of one question.

    Attributes:
        numbers: which choices of the question these are.
        nodes: nodes[0] stands for the prompt's last token; the others follow level by level.
        paths: for each choice its steps, as (index of the node, token that follows it).
    """

    numbers: range
    nodes: tuple[Node, ...]
    paths: tuple[tuple[Step, ...], ...]


def trees(choices: Sequence[Sequence[int]], *, end: int | None, most: int) -> list[Tree]:
    """Return the choices in trees of at most `most` choices each.

    Args:
        choices: the tokens of each choice.
        end: the token that ends a turn, added to each choice; None adds nothing.
        most: choices that a tree may have.
    """
    starts = range(0, len(choices), most)
    return [_tree(choices, range(s, min(s + most, len(choices))), end=end) for s in starts]


def _tree(choices: Sequence[Sequence[int]], numbers: range, *, end: int | None) -> Tree:
    nodes = [Node(-1, -1, list(range(len(numbers))))]
    known: dict[Step, int] = {}
    at = [0] * len(numbers)
    paths: list[list[Step]] = [[] for _ in numbers]
    for depth in range(max(len(choices[n]) for n in numbers)):
        for member, number in enumerate(numbers):
            if depth >= len(choices[number]):
                continue
            step = (at[member], choices[number][depth])
            if step not in known:
                known[step] = len(nodes)
                nodes.append(Node(step[1], depth))
            paths[member].append(step)
            at[member] = known[step]
            nodes[at[member]].members.append(member)
    for member, place in enumerate(at):
        if end is not None:
            paths[member].append((place, end))
    for place, token in (step for path in paths for step in path):
        nodes[place].follow[token] = None
    return Tree(numbers, tuple(nodes), tuple(map(tuple, paths)))
