"""Which branches of a tree of choices to look into, and when enough is known. Knows no model.

What is known of a branch bounds every choice on it: more tokens only make a text less likely. So
the likeliest choice is found without looking into branches that cannot hold it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

from evokd.teacher.choices import Tree

FEW = 48  # tokens of choices, about as many as a text has: "auto" works all of them out
SPARE = 0.01  # of all probability may lie in what was not looked into


class Search:
    """The choices of one question while their log-probabilities come in.

    Attributes:
        found: the log-probability of each choice that is worked out.
        open: for each branch that nobody has looked into, the log-probability up to its first
            token; of the root it is 0.
    """

    def __init__(self, tree: Tree, *, every: bool, baseline: Sequence[float] = ()) -> None:
        """Start at the root.

        Args:
            tree: the choices.
            every: look into all branches; otherwise only where it matters.
            baseline: what will be taken off each choice's log-probability; empty means nothing.
        """
        self.tree = tree
        self.every = every
        self.baseline = baseline or (0.0,) * len(tree.lengths)
        self.found: dict[int, float] = {}
        self.open: dict[int, float] = {}
        self._reach(0, 0.0)

    def take(self, number: int, rows: Sequence[Sequence[float]]) -> None:
        """Take in a branch: the log-probabilities of what may follow each token decoded."""
        branch = self.tree.branches[number]
        total = self.open.pop(number)
        total += sum(row[0] for row in (rows[:-1] if branch.below else rows))
        self.found.update(dict.fromkeys(branch.ends, total))
        if branch.below:
            for child, value in zip(branch.below, rows[-1], strict=True):
                self._reach(child, total + value)

    def wanted(self) -> list[int]:
        """Return the branches to look into next, likeliest first; none when enough is known.

        Those left out have bounds that add up, over their choices, to less than SPARE of all
        probability, and none of them can hold the best choice.
        """
        if self.every:
            return [*self.open]
        top = max(self._value(m, at) for m, at in self._known().items())
        found = [exp(self._value(m, at) - top) for m, at in self.found.items()]
        worth = {
            number: [exp(self._value(m, at) - top) for m in self.tree.branches[number].members]
            for number, at in self.open.items()
        }
        spare = SPARE * (sum(found) + sum(map(max, worth.values())))
        least_first = sorted(worth, key=lambda number: sum(worth[number]))
        left = 0
        while left < len(least_first) and sum(worth[least_first[left]]) <= spare:
            spare -= sum(worth[least_first[left]])
            left += 1
        if left < len(worth):
            return least_first[left:][::-1]
        likeliest = max(worth, key=lambda number: max(worth[number]), default=0)
        best = max(found, default=0.0)
        return [likeliest] if worth and max(worth[likeliest]) > best else []

    def result(self) -> tuple[tuple[float, ...], tuple[int, ...]]:
        """Return the choices' log-probabilities, and which of them are upper bounds."""
        known = self._known()
        values = (self._value(m, known[m]) for m in range(len(self.baseline)))
        return tuple(values), tuple(sorted(known.keys() - self.found.keys()))

    def _known(self) -> dict[int, float]:
        """Return the log-probability of each choice, or its upper bound."""
        bounds = {m: at for n, at in self.open.items() for m in self.tree.branches[n].members}
        return self.found | bounds

    def _value(self, choice: int, logprob: float) -> float:
        return logprob - self.baseline[choice]

    def _reach(self, number: int, value: float) -> None:
        branch = self.tree.branches[number]
        if branch.after:
            self.open[number] = value
        else:
            self.found.update(dict.fromkeys(branch.ends, value))
