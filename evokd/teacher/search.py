"""Which branches of a tree of choices to look into, and when enough is known. Knows no model.

What is known of a branch bounds every choice on it: more tokens only make a text less likely. So
the likeliest choice is found without looking into branches that cannot hold it.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf

from evokd.teacher.choices import Tree

FEW = 48  # tokens of choices, about as many as a text has: "auto" works all of them out
SPEND = 8  # tokens of choices to look at even when the best choice is known
SPARE = 0.01  # of all probability: with less in the dark, no more are looked at


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
        self._looked = 0
        self._reach(0, 0.0)

    def take(self, number: int, rows: Sequence[Sequence[float]]) -> None:
        """Take in a branch: the log-probabilities of what may follow each token decoded."""
        branch = self.tree.branches[number]
        self._looked += len(branch.read)
        total = self.open.pop(number)
        total += sum(row[0] for row in (rows[:-1] if branch.below else rows))
        self.found.update(dict.fromkeys(branch.ends, total))
        if branch.below:
            for child, value in zip(branch.below, rows[-1], strict=True):
                self._reach(child, total + value)

    def wanted(self) -> list[int]:
        """Return the branches to look into next, likeliest first; none when enough is known.

        That is when no branch can hold a better choice than the best one found, and besides
        either SPEND tokens are used up or all branches together are worth at most SPARE.
        """
        if self.every or not self.open:
            return [*self.open]
        bounds = {number: self._bound(number) for number in self.open}
        likeliest_first = sorted(bounds, key=bounds.__getitem__, reverse=True)
        wanted = self._worthwhile(likeliest_first, bounds)
        found = (self._value(m, at) for m, at in self.found.items())
        if not wanted and bounds[likeliest_first[0]] > max(found, default=-inf):
            wanted = likeliest_first[:1]
        return wanted

    def result(self) -> tuple[tuple[float, ...], tuple[int, ...]]:
        """Return the choices' log-probabilities, and which of them are upper bounds."""
        bounds = {m: at for n, at in self.open.items() for m in self.tree.branches[n].members}
        known = self.found | bounds
        values = (self._value(m, known[m]) for m in range(len(self.baseline)))
        return tuple(values), tuple(sorted(bounds))

    def _worthwhile(self, likeliest_first: list[int], bounds: dict[int, float]) -> list[int]:
        """Return the likeliest branches, all but SPARE of what is possible, for SPEND tokens."""
        found = [self._value(m, at) for m, at in self.found.items()]
        top = max([*found, *bounds.values()])
        worth = [exp(bounds[number] - top) for number in likeliest_first]
        left = sum(worth)
        spare = SPARE * (left + sum(exp(value - top) for value in found))
        looked, wanted = self._looked, []
        for number, value in zip(likeliest_first, worth, strict=True):
            looked += len(self.tree.branches[number].read)
            if looked > SPEND or left <= spare:
                break
            wanted.append(number)
            left -= value
        return wanted

    def _reach(self, number: int, value: float) -> None:
        branch = self.tree.branches[number]
        if branch.after:
            self.open[number] = value
        else:
            self.found.update(dict.fromkeys(branch.ends, value))

    def _value(self, choice: int, logprob: float) -> float:
        return logprob - self.baseline[choice]

    def _bound(self, number: int) -> float:
        """Return what the best choice on a branch may come to at most."""
        at = self.open[number]
        return max(self._value(m, at) for m in self.tree.branches[number].members)
