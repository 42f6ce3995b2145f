"""Where the marks of the report's pictures stand, in percent of their box. Draws nothing itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FINAL_AT = 97.0  # the final student has a column of its own, right of the rounds
ROUNDS_END = 86.0
HEAT = (0.0, 0.05, 0.15, 0.3, 0.5)  # shares above which a cell is one step darker


@dataclass(frozen=True, slots=True)
class Mark:
    """A measured point: tokens (None for the final student), a score in [0, 1], what it is."""

    tokens: int | None
    score: float
    name: str
    hollow: bool = False


@dataclass(frozen=True, slots=True)
class Point:
    """A mark's place: percent from the left and from the top."""

    x: float
    y: float
    name: str
    score: float
    hollow: bool


@dataclass(frozen=True, slots=True)
class Line:
    """One measure over the run; `key` names its colour and shape."""

    name: str
    key: str
    points: tuple[Point, ...]

    @property
    def path(self) -> str:
        """The points as SVG's polyline takes them; hollow ones are not on the way."""
        return " ".join(f"{p.x:.2f},{p.y:.2f}" for p in self.points if not p.hollow)


@dataclass(frozen=True, slots=True)
class Tick:
    """A number on an axis."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines with their axes."""

    lines: tuple[Line, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]


def chart(marks: Mapping[tuple[str, str], Sequence[Mark]]) -> Chart | None:
    """Place scores over tokens; None when there are none.

    Args:
        marks: (name, key) of a line -> its marks in order.
    """
    every = [mark for line in marks.values() for mark in line]
    if not every:
        return None
    most = max((m.tokens or 0 for m in every), default=0) or 1
    low = min(0.8, math.floor(min(m.score for m in every) * 10) / 10)

    def place(mark: Mark) -> Point:
        x = FINAL_AT if mark.tokens is None else ROUNDS_END * mark.tokens / most
        y = 100 * (1 - (mark.score - low) / (1 - low))
        return Point(round(x, 2), round(y, 2), mark.name, mark.score, mark.hollow)

    lines = tuple(
        Line(name, key, tuple(place(m) for m in line)) for (name, key), line in marks.items()
    )
    step = 0.1 if low > 0.4 else 0.2
    levels = [1 - step * n for n in range(int((1 - low) / step + 1e-9) + 1)]
    return Chart(
        tuple(line for line in lines if line.points),
        tuple(Tick(round(ROUNDS_END * t / most, 2), short(t)) for t in _round_numbers(most)),
        tuple(Tick(round(100 * (1 - v) / (1 - low), 2), f"{100 * v:.0f}") for v in levels),
    )


def log_bars(values: Mapping[str, float]) -> dict[str, float]:
    """Return the length of every bar in percent, on a log scale that starts at a power of ten."""
    above = [v for v in values.values() if v > 0]
    if not above:
        return dict.fromkeys(values, 0.0)
    low = math.floor(math.log10(min(above)) - 1e-9)
    high = max(math.ceil(math.log10(max(above))), low + 1)
    return {
        name: round(100 * (math.log10(v) - low) / (high - low), 2) if v > 0 else 0.0
        for name, v in values.items()
    }


def heat(confusion: Sequence[Sequence[int]]) -> list[list[tuple[int, int]]]:
    """Return (count, step of darkness from 0 to 5) of every cell, by its share of the row."""
    made = []
    for row in confusion:
        total = sum(row) or 1
        made.append([(count, sum(count / total > limit for limit in HEAT)) for count in row])
    return made


def short(number: float) -> str:
    """Return a number as an axis shows it: 1500 is "1.5 k", with a narrow space."""
    for size, unit in ((1e6, "\u202fM"), (1e3, "\u202fk")):
        if abs(number) >= 0.9995 * size:  # which is rounded up to it
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


def _round_numbers(most: int) -> list[int]:
    """Return 0 and a few round numbers up to `most`."""
    rough = most / 4
    unit = 10 ** math.floor(math.log10(rough)) if rough >= 1 else 1
    step = int(next((m * unit for m in (1, 2, 5) if m * unit >= rough), 10 * unit))
    return list(range(0, most + 1, max(1, step)))
