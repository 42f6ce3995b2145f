"""What a pilot of a teacher finds: shares with their intervals, costs, yields."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

Z = 1.96  # standard deviations of a 95 % interval


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many."""

    hits: int
    of: int

    @property
    def value(self) -> float:
        """The share; 0 of none."""
        return self.hits / self.of if self.of else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true share is with 95 % confidence (Wilson 1927); (0, 1) of none."""
        if not self.of:
            return 0.0, 1.0
        n, p = self.of, self.value
        middle = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
        half = Z / (1 + Z * Z / n) * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a step took: calls, their tokens (prompt, reply, really decoded), and seconds."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    decoded: int = 0
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        """Prompts and replies together: what a budget counts."""
        return self.tokens_in + self.tokens_out

    def times(self, factor: float) -> Cost:
        """Return the cost of so many times as much."""
        calls, read, written, decoded, seconds = (value * factor for value in astuple(self))
        return Cost(round(calls), round(read), round(written), round(decoded), seconds)

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(one + two for one, two in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: Cost) -> Cost:
        return self + other.times(-1)


@dataclass(frozen=True, slots=True)
class Trial:
    """A step of a round, tried.

    Attributes:
        conversations: how many were held.
        parsed: replies that could be read, of all.
        texts: how many texts they gave.
        labelled: how many of those were new and had to be labelled.
        kept: how many would be trained on.
        agreed: how many of those are of the label that they were written for.
        writing, labelling: what it took.
    """

    conversations: int
    parsed: Share
    texts: int
    labelled: int
    kept: int
    agreed: int
    writing: Cost
    labelling: Cost


@dataclass(frozen=True, slots=True)
class Fit:
    """Seconds of training: before the first step, of a step, and of answering one text."""

    start: float
    step: float
    answer: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What a pilot found.

    Attributes:
        gold: gold texts that the teacher answered right; the whole answer counts.
        sure: texts whose labelling can be trusted, gold and written ones.
        confused: (right label, label given, how often), the most frequent first.
        cover, feedback: the two ways of writing, tried; see `Trial`.
        labelling: what it took to label the gold texts.
        own: texts that are, by its own labels, of the label that it wrote them for.
        kappa: how far that is beyond chance; see `evokd.trust`.
        fit: None when no student was timed.
    """

    teacher: str
    gold: Share
    sure: Share
    confused: tuple[tuple[str, str, int], ...]
    cover: Trial
    feedback: Trial
    labelling: Cost
    fit: Fit | None = None
    own: Share = Share(0, 0)
    kappa: float = 1.0

    @property
    def parsed(self) -> Share:
        """Replies that could be read, of all that were asked for a form."""
        one, other = self.cover.parsed, self.feedback.parsed
        return Share(one.hits + other.hits, one.of + other.of)
