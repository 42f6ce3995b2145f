"""The sequences of a model's memory: which share their beginning, and how much room they take.

A strand is a head that several rows go on from, or a row. What it shares with the strand above it
lies in the memory once, tagged for both, until the last of those that begin so is gone.
"""

from __future__ import annotations

from dataclasses import dataclass

from evokd.teacher.native import Engine


@dataclass(eq=False, slots=True)
class Strand:
    """A sequence of tokens on its way into the memory.

    Attributes:
        tokens: from the beginning, shared ones included.
        above: where it branches off; None for a beginning of its own.
        start: tokens that it shares with `above`.
        done: tokens that are in the memory, shared ones included.
        sequence: its number in the engine; -1 while it is not in the memory.
    """

    tokens: list[int]
    above: Strand | None = None
    start: int = 0
    done: int = 0
    sequence: int = -1
    users: int = 0  # itself, and the strands that go on from it

    @property
    def missing(self) -> int:
        """Tokens that are not in the memory yet."""
        return len(self.tokens) - self.done


class Strands:
    """All strands in the memory of an engine.

    Attributes:
        used: tokens of memory that are taken.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.used = 0
        self._free = list(range(engine.sequences - 1, -1, -1))
        self._open = 0

    @property
    def left(self) -> int:
        """Tokens of memory that are free."""
        return self.engine.cells - self.used

    @property
    def numbers(self) -> int:
        """Sequences that are free."""
        return len(self._free)

    def open(self, strand: Strand, above: Strand | None) -> None:
        """Give a strand a place in the memory, with all that `above` holds.

        The first one goes on from what the last one before it, of this call or an earlier one,
        has left in sequence 0.
        """
        strand.users, strand.above = 1, above
        if not self._open:
            self._free.remove(0)
            strand.sequence, strand.start = 0, 0
            strand.done = self.used = self.engine.resume(strand.tokens[:-1])
        else:
            strand.sequence = self._free.pop()
            strand.done = strand.start = above.done if above else 0
        self._open += 1
        if above:
            above.users += 1
            self.engine.share(strand.sequence, source=above.sequence)

    def close(self, strand: Strand) -> None:
        """Take a strand out of the memory; what others share with it stays."""
        self._open -= 1
        if self._open or strand.sequence:
            self.engine.drop(strand.sequence)
        else:
            self.engine.keep(strand.tokens[: strand.done])
        self._free.append(strand.sequence)
        strand.sequence = -1
        gone: Strand | None = strand
        while gone:
            gone.users -= 1
            if gone.users:
                break
            self.used -= gone.done - gone.start
            gone = gone.above

    def grow(self, strand: Strand, count: int) -> None:
        """Note that the next `count` tokens of a strand have been decoded."""
        strand.done += count
        self.used += count
