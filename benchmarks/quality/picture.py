"""Score over tokens of every arm, one SVG a task, for benchmarks/README.md."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from benchmarks.quality.cells import FULL, Cells
from benchmarks.quality.variants import VARIANTS
from evokd.comparison import averaged, whole_curve
from evokd.figures import Mark, chart
from evokd.writable import write_whole

COLOURS = ("#0072b2", "#c8500a", "#00775a", "#8e3f73", "#8a6d00", "#3b7f9e", "#6b6b6b", "#a3003b")
DASHES = ("", "7 4", "2 4")


def write_pictures(cells: Cells, folder: Path) -> list[Path]:
    """Write quality-TASK.svg beside the results for every task that has a curve."""
    written = []
    for task, about in cells.table().items():
        arms = {arm: of for arm, of in cells.arms(task).items() if arm not in (FULL, *VARIANTS)}
        text = picture(task, arms, about["full"])
        if text is not None:
            path = folder / f"quality-{task}.svg"
            write_whole(path, text)
            written.append(path)
    return written


def picture(task: str, arms: Mapping[str, Mapping[int, Any]], full: float | None) -> str | None:
    """Return the picture of a task's arms, or None when no arm has spent a token.

    An arm that spends none is a level line.
    """
    marks = {
        (arm, str(number)): [
            Mark(round(tokens), mean, arm)
            for tokens, mean, *_ in averaged([whole_curve(cell) for cell in of.values()])
        ]
        for number, (arm, of) in enumerate(arms.items())
        if any(cell["tokens"] for cell in of.values())
    }
    if not marks:
        return None
    most = max(mark.tokens or 0 for line in marks.values() for mark in line)
    for number, (arm, of) in enumerate(arms.items()):
        if not any(cell["tokens"] for cell in of.values()):
            mean = statistics.fmean(cell["score"] for cell in of.values())
            marks[arm, str(number)] = [Mark(0, mean, arm), Mark(most, mean, arm)]
    if full is not None:
        marks["full data", "full"] = [Mark(0, full, "full data"), Mark(most, full, "full data")]
    made = chart(marks)
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    style = {str(n): (COLOURS[n % len(COLOURS)], DASHES[n % len(DASHES)]) for n in range(len(arms))}
    return environment.get_template("picture.svg.j2").render(
        task=task, chart=made, style={**style, "full": ("#999999", "1 3")}
    )
