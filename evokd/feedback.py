"""What the student got right and wrong on a batch, and which of it to show to the teacher.

One conversation a cluster of mistakes: a cluster is a confusion (gold label, given label), or a
part of a large one. The most confident mistakes come first (PGKD, arXiv 2411.05045: they say most
about what the student has wrong). Beside them stand right answers of the same two labels, which
show the other side of the border (EvoKD, arXiv 2403.06414, ablation "without correct").
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evokd.ledger import Prediction, Row
from evokd.prompts import Seen

SHOW_WRONG, SHOW_RIGHT = 5, 3


@dataclass(frozen=True, slots=True)
class Group:
    """What one conversation shows: texts the student got right, and texts it got wrong."""

    right: tuple[Seen, ...]
    wrong: tuple[Seen, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain lists for the ledger."""
        return {
            name: [[s.text, s.label, s.predicted] for s in getattr(self, name)]
            for name in ("right", "wrong")
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Group:
        """Read back what `to_json` made."""
        right, wrong = (tuple(Seen(*s) for s in stored[name]) for name in ("right", "wrong"))
        return cls(right, wrong)


def groups(tested: Sequence[tuple[Row, Prediction]], most: int) -> list[Group]:
    """Return at most `most` groups, the largest confusions first; [] when nothing is wrong.

    A confusion with more mistakes than one group shows gives several groups before a rarer
    confusion gives its first, in proportion to their sizes.
    """
    right: dict[str, list[tuple[float, Seen]]] = defaultdict(list)
    wrong: dict[tuple[str, str], list[tuple[float, Seen]]] = defaultdict(list)
    for row, said in tested:
        seen = Seen(row.example.text, row.example.label, said.predicted)
        if seen.right:
            right[seen.label].append((said.margin, seen))
        else:
            wrong[seen.label, seen.predicted].append((said.confidence, seen))
    for confident in wrong.values():
        confident.sort(key=_first, reverse=True)
    made = []
    shown: Counter[tuple[str, str]] = Counter()
    for pair in _turns({pair: len(m) for pair, m in wrong.items()}, most):
        start = shown[pair]
        shown[pair] += SHOW_WRONG
        mistakes = [seen for _, seen in wrong[pair][start : shown[pair]]]
        # The right answers it was least sure of lie nearest to the border.
        beside = sorted((entry for label in pair for entry in right[label]), key=_first)
        made.append(Group(tuple(seen for _, seen in beside[:SHOW_RIGHT]), tuple(mistakes)))
    return made


def _first(pair: tuple[float, Seen]) -> float:
    return pair[0]


def _turns(sizes: dict[tuple[str, str], int], most: int) -> list[tuple[str, str]]:
    """Return which confusion each group serves, the one with most mistakes unshown first."""
    left = dict(sizes)
    turns: list[tuple[str, str]] = []
    while left and len(turns) < most:
        pair = max(left, key=lambda p: (left[p], p))
        turns.append(pair)
        left[pair] -= SHOW_WRONG
        if left[pair] <= 0:
            del left[pair]
    return turns
