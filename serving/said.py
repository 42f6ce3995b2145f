"""What a student says of one text, for each kind of task, as people are told it.

All of them have `given`, what the text was given, for comparing answers; `names`, the labels in it,
for counting; `score`, how sure the student is; and `guess`, its best answer as plain JSON, whether
or not it is sure enough to give it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Said(Protocol):
    """What all kinds of answer have."""

    @property
    def given(self) -> Sequence[Any]: ...  # noqa: D102
    @property
    def names(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def score(self) -> float: ...  # noqa: D102
    @property
    def windows(self) -> int: ...  # noqa: D102
    @property
    def guess(self) -> Any: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Prediction:
    """One label.

    Attributes:
        label: the likeliest label; None where its own score is below the student's `reject`.
        score: the probability of the likeliest label.
        probabilities: label -> probability, in the order of the labels; they sum to 1.
        windows: parts that the text was read in; 1 unless it is longer than the student reads.
    """

    label: str | None
    score: float
    probabilities: dict[str, float]
    windows: int

    @property
    def given(self) -> tuple[str, ...]:
        """The label, or nothing."""
        return () if self.label is None else (self.label,)

    @property
    def names(self) -> tuple[str, ...]:
        """The label, or nothing."""
        return self.given

    @property
    def guess(self) -> str:
        """The likeliest label."""
        return max(self.probabilities, key=self.probabilities.__getitem__)


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Any number of labels.

    Attributes:
        labels: those that apply, in the order of the labels.
        score: the probability that the least sure yes or no of all labels is right.
        probabilities: label -> the probability that it applies, in the order of the labels.
        windows: parts that the text was read in; 1 unless it is longer than the student reads.
    """

    labels: tuple[str, ...]
    score: float
    probabilities: dict[str, float]
    windows: int

    @property
    def given(self) -> tuple[str, ...]:
        """The labels that apply."""
        return self.labels

    @property
    def names(self) -> tuple[str, ...]:
        """The labels that apply."""
        return self.labels

    @property
    def guess(self) -> list[str]:
        """The labels that apply."""
        return list(self.labels)


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity: code points from `start` to before `end`, its type, its words, how sure it is."""

    start: int
    end: int
    label: str
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Entities:
    """The entities of a text.

    Attributes:
        entities: in the order of the text; they never overlap.
        score: the probability of the least sure token's tag, so that what may have been missed
            counts as much as what was found; 1 for a text without words.
        windows: parts that the text was read in; 1 unless it is longer than the student reads.
    """

    entities: tuple[Entity, ...]
    score: float
    windows: int

    @property
    def given(self) -> tuple[tuple[int, int, str], ...]:
        """Every entity as (start, end, type)."""
        return tuple((one.start, one.end, one.label) for one in self.entities)

    @property
    def names(self) -> tuple[str, ...]:
        """The type of every entity."""
        return tuple(one.label for one in self.entities)

    @property
    def guess(self) -> list[list[Any]]:
        """Every entity as [start, end, type]."""
        return [list(one) for one in self.given]
