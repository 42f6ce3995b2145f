"""The cells measured so far, in a file that is whole at every moment, and the table they make."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality.variants import BASES, OF
from evokd.comparison import ROUNDED, averaged, reached, whole_curve
from evokd.errors import InputError
from evokd.loop import VERSION
from evokd.paired import METHOD, Difference, differences
from evokd.writable import write_whole

FULL = "full"
# Shares of full data's score up to which labelled texts of a pool are counted.
ENOUGH = (0.95, 0.97, 0.98, 0.99)


class Cells:
    """What was measured: of a task, an arm and a seed what the run came to.

    A smoke run begins anew. It and a measurement never share a file: `InputError`.
    """

    def __init__(self, path: Path, *, quick: bool) -> None:
        self.path, self.quick = path, quick
        self.cells: dict[str, Any] = {}
        if not path.exists():
            return
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["quick"] != quick:
            whose = "a smoke run" if stored["quick"] else "measured cells"
            raise InputError(f"{path}: holds {whose}", "give another --json")
        if not quick:
            self.cells = stored["cells"]

    def missing(self, task: str, arm: str, seed: int) -> bool:
        """Say whether a cell is still to be measured."""
        return f"{task}/{arm}/{seed}" not in self.cells

    def add(self, task: str, arm: str, seed: int, cell: dict[str, Any]) -> None:
        """Add a cell and write the file."""
        self.cells[f"{task}/{arm}/{seed}"] = cell
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, self.written())

    def written(self) -> str:
        """Return the file: the table to read, and one line a cell."""
        table = json.dumps(self.table(), indent=2)
        lines = [f"  {json.dumps(n)}: {json.dumps(c)}" for n, c in sorted(self.cells.items())]
        cells = ",\n".join(lines)
        return (
            f'{{"quick": {json.dumps(self.quick)}, "method": {json.dumps(METHOD)},\n'
            f'"tasks": {table},\n"cells": {{\n{cells}\n}}}}\n'
        )

    def arms(self, task: str) -> dict[str, dict[int, Any]]:
        """Return arm -> seed -> cell of a task."""
        found: dict[str, dict[int, Any]] = {}
        for name, cell in sorted(self.cells.items()):
            of, arm, seed = name.split("/")
            if of == task:
                found.setdefault(arm, {})[int(seed)] = cell
        return found

    def table(self) -> dict[str, Any]:
        """Return task -> the full-data reference, arms, and the differences of arms."""
        made = {}
        for task in dict.fromkeys(name.split("/")[0] for name in sorted(self.cells)):
            arms = self.arms(task)
            full = arms.pop(FULL, {}).get(0)
            made[task] = {
                "full": full and full["score"],
                "arms": {arm: summed(of, full) for arm, of in arms.items()},
                "differences": against_all(arms, full),
            }
        return made


def summed(cells: Mapping[int, Any], full: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return mean, deviation, seeds, tokens and share of full data of an arm's cells.

    Of a pool also how many texts were labelled when the mean curve first was at each share of
    ENOUGH of full data, or None when it never was.
    """
    scores = [cell["score"] for cell in cells.values()]
    groups = {name for cell in cells.values() for name in cell["groups"]}
    mean = statistics.fmean(scores)
    curves = [cell["labelled"] for cell in cells.values() if "labelled" in cell]
    pool = {}
    if curves and full:
        mean_curve = averaged(curves)
        needed = {f"{s:.0%}": reached(mean_curve, s * full["score"] - ROUNDED) for s in ENOUGH}
        pool = {"labelled": needed}
    return {
        **pool,
        "mean": mean,
        "std": statistics.stdev(scores) if len(scores) > 1 else 0.0,
        "seeds": len(scores),
        "tokens": statistics.fmean(cell["tokens"] for cell in cells.values()),
        "full_share": mean / full["score"] if full else None,
        "groups": {
            name: statistics.fmean(cell["groups"][name] for cell in cells.values())
            for name in sorted(groups)
        },
        "budgets": sorted({cell["budget"] for cell in cells.values()}),
        # Before cells had it, round 0 was trained for longer (benchmarks/LOG.md).
        "earlier": any(cell.get("way") != VERSION for cell in cells.values()),
    }


def against_all(
    arms: Mapping[str, Mapping[int, Any]], full: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the differences of evokd to every arm, and of a variant's own base to the variant."""
    others = {arm: of for arm, of in arms.items() if arm not in BASES}
    made = against(others, OF, full)
    for arm, base in BASES.items():
        if arm in arms and base in arms:
            made |= against({base: arms[base], arm: arms[arm]}, base, full)
    return made


def against(
    arms: Mapping[str, Mapping[int, Any]], first: str, full: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return "first-other" -> difference over the seeds that both have, and what it removes.

    Of cells with other budgets or teachers nothing can be said. `error_removed` is the share of the
    error that the other leaves above full data.
    """
    made = {}
    for other in arms:
        both = {*arms.get(first, {})} & {*arms[other]}
        shared = sorted(n for n in both if _alike(arms[first][n], arms[other][n]))
        if other == first or not shared:
            continue
        one, two = ([arms[arm][seed] for seed in shared] for arm in (first, other))
        found = differences({a: _counts(of) for a, of in ((first, one), (other, two))})[other]
        made[f"{first}-{other}"] = _told(found, one, two, full)
    return made


def _told(
    found: Difference,
    one: Sequence[Mapping[str, Any]],
    two: Sequence[Mapping[str, Any]],
    full: Mapping[str, Any] | None,
) -> dict[str, Any]:
    mean = statistics.fmean(cell["score"] for cell in two)
    left = full["score"] - mean if full else 0.0
    needed, own = (
        reached(averaged([whole_curve(cell) for cell in of]), mean - ROUNDED) for of in (one, two)
    )
    return {
        "diff": found.diff,
        "low": found.low,
        "high": found.high,
        "seeds": found.seeds,
        "verdict": found.verdict,
        "error_removed": found.diff / left if left > 0 else None,
        "tokens_to_reach": needed,
        "tokens_share": needed / own if needed is not None and own else None,
    }


def _alike(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    return all(one[name] == two[name] for name in ("budget", "teacher"))


def _counts(cells: Sequence[Mapping[str, Any]]) -> list[Any]:
    return [np.array(cell["counts"], dtype=np.float64) for cell in cells]
