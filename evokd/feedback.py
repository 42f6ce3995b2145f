"""What the student got right and wrong on a batch, and which of it to show to the teacher.

One conversation a cluster of mistakes: a cluster is a confusion (gold label, given label), or a
part of a large one. The most confident mistakes come first (PGKD, arXiv 2411.05045: they say most
about what the student has wrong). Beside them stand right answers of the same two labels, which
show the other side of the border (EvoKD, arXiv 2403.06414, ablation "without correct").
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evokd.kinds import Kind
from evokd.records import Prediction, Row
from evokd.shorter import LEVELS, clipped_seen, fewer
from evokd.wording import Seen, report_line, told

SHOW_WRONG, SHOW_RIGHT = 5, 3
REPORTED = 12  # labels that a report names: all of many would be most of the prompt


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

    def shorter(self, level: int, kind: str) -> Group:
        """Return what is shown of it where it has no place; see `evokd.shorter`."""
        right, wrong = (
            tuple(clipped_seen(seen, level, kind) for seen in fewer(part, level))
            for part in (self.right, self.wrong)
        )
        return Group(right, wrong)

    def within(self, asked: str, kind: str) -> Group:
        """Return what a question really shows of it: the first of either, whole."""
        for level in LEVELS:
            part = self.shorter(level, kind)
            if told(kind, part.right, part.wrong, ()) in asked:
                return Group(self.right[: len(part.right)], self.wrong[: len(part.wrong)])
        return self

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Group:
        """Read back what `to_json` made."""
        right, wrong = (tuple(Seen(*s) for s in stored[name]) for name in ("right", "wrong"))
        return cls(right, wrong)


def groups(
    tested: Sequence[tuple[Row, Prediction]], most: int, kind: Kind, *, correct: bool = True
) -> list[Group]:
    """Return at most `most` groups, the largest confusions first; [] when nothing is wrong.

    A confusion with more mistakes than one group shows gives several groups before a rarer
    confusion gives its first, in proportion to their sizes.

    Args:
        correct: show right answers beside the mistakes.
    """
    right, wrong = _parted(tested, kind)
    by_pair: dict[tuple[str, str], list[Seen]] = defaultdict(list)
    for seen in wrong:
        by_pair[kind.confusion(seen)].append(seen)
    made = []
    shown: Counter[tuple[str, str]] = Counter()
    for pair in _turns({pair: len(m) for pair, m in by_pair.items()}, most):
        start = shown[pair]
        shown[pair] += SHOW_WRONG
        beside = _nearest_right(right, pair) if correct else ()
        made.append(Group(beside, tuple(by_pair[pair][start : shown[pair]])))
    return made


def confident(
    tested: Sequence[tuple[Row, Prediction]], most: int, kind: Kind, *, correct: bool = True
) -> list[Group]:
    """Return at most `most` groups of the most confident mistakes, whatever they confuse (PGKD).

    They are dealt out in turn, so that every group has some of the surest; right answers beside
    them are of the labels in the group.
    """
    right, wrong = _parted(tested, kind)
    count = min(most, -(-len(wrong) // SHOW_WRONG))
    made = []
    for n in range(count):
        mistakes = wrong[n::count][:SHOW_WRONG]
        pairs = dict.fromkeys(label for seen in mistakes for label in kind.confusion(seen))
        made.append(Group(_nearest_right(right, pairs) if correct else (), tuple(mistakes)))
    return made


def borderline(tested: Sequence[tuple[Row, Prediction]], most: int, kind: Kind) -> list[Group]:
    """Return at most `most` groups of the right answers that it was least sure of, and no mistakes.

    For a batch without mistakes. They are dealt out in turn, as in `confident`.
    """
    right, _ = _parted(tested, kind)
    near = _by_margin(right, right)
    count = min(most, -(-len(near) // SHOW_WRONG))
    return [Group(tuple(near[n::count][:SHOW_WRONG]), ()) for n in range(count)]


def report(
    per_label: Mapping[str, Mapping[str, float]],
    tested: Sequence[tuple[Row, Prediction]],
    kind: Kind,
) -> list[str]:
    """Return a line each for the labels that do worst, as `wording.report_line` words them.

    Args:
        per_label: label -> its scores on dev, of which texts stay unseen. Of a label without texts
            there nothing is known, and nothing is said.
        tested: mistakes on the last texts, which say what a label is taken for.
    """
    taken: dict[str, Counter[str]] = defaultdict(Counter)
    for row, said in tested:
        seen = Seen(row.example.text, row.example.label, said.predicted)
        if not seen.right:
            label, given = kind.confusion(seen)
            taken[label][given] += given != label and given in per_label
    known = [name for name in per_label if per_label[name]["support"]]
    worst = sorted(known, key=lambda name: per_label[name]["f1"])[:REPORTED]
    lines = []
    for name in worst:
        most = max(taken[name], key=taken[name].__getitem__, default=None)
        often = most if most and taken[name][most] else None
        lines.append(report_line(name, per_label[name]["f1"], often))
    return lines


def _parted(
    tested: Sequence[tuple[Row, Prediction]], kind: Kind
) -> tuple[dict[str, list[tuple[float, Seen]]], list[Seen]]:
    """Return right answers by label, each with its margin, and mistakes, the surest first."""
    right: dict[str, list[tuple[float, Seen]]] = defaultdict(list)
    wrong: list[tuple[float, Seen]] = []
    for row, said in tested:
        seen = Seen(row.example.text, row.example.label, said.predicted)
        if not seen.right:
            wrong.append((said.confidence, seen))
            continue
        for label in kind.labels_in(seen.label):
            right[label].append((said.margin, seen))
    wrong.sort(key=_first, reverse=True)
    return right, [seen for _, seen in wrong]


def _nearest_right(
    right: Mapping[str, list[tuple[float, Seen]]], labels: Iterable[str]
) -> tuple[Seen, ...]:
    """Return the right answers that it was least sure of: they lie nearest to the border."""
    return tuple(_by_margin(right, labels)[:SHOW_RIGHT])


def _by_margin(right: Mapping[str, list[tuple[float, Seen]]], labels: Iterable[str]) -> list[Seen]:
    near = sorted((entry for label in labels for entry in right.get(label, ())), key=_first)
    return [seen for _, seen in dict.fromkeys(near)]


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
