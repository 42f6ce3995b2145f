"""What a comparison of arms says: a table, a sentence for every pair, a picture. Runs nothing."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evokd import __version__
from evokd.arms import ARMS
from evokd.beginning import USELESS
from evokd.figures import Chart, Mark, chart
from evokd.paired import METHOD, Difference, differences
from evokd.report import environment
from evokd.settings import FEEDBACK
from evokd.task import Task
from evokd.writable import write_whole

WITHOUT = "static"
"""The arm that does without feedback what those of FEEDBACK do with it. Against any other arm more
differs than feedback."""
UNEQUAL = 0.1  # share by which tokens may differ before the page says so
ROUNDED = 1e-5  # what `averaged` may round off
UNFED = "no text came of feedback"
ALONE = "; with one run per arm, chance between runs is not included"
MEASURES = {"accuracy": "accuracy", "micro_f1": "micro F1"}


def compared(
    results: Mapping[str, Sequence[Mapping[str, Any]]], *, tokens: int | None, shots: int | None
) -> dict[str, Any]:
    """Return the record of a comparison, in JSON types.

    Args:
        results: arm -> what its cells came to, in the order of their seeds.
    """
    first, *others = results
    counted = {arm: [np.array(c["counts"]) for c in of] for arm, of in results.items()}
    found = differences(counted)
    sample = results[first][0]
    arms = {arm: _arm(of) for arm, of in results.items()}
    measure = MEASURES[sample["measure"]]
    one, other = asked({arm: of["mean"] for arm, of in arms.items()})
    pair = found if one == first else differences({arm: counted[arm] for arm in (one, other)})
    return {
        "on": "test" if sample["on"] == "test" else "gold dev",
        "texts": len(sample["counts"]),
        "measure": measure,
        "budget_tokens": tokens,
        "shots": shots,
        "arms": arms,
        "differences": {
            f"{first}-{other}": {
                "diff": found[other].diff,
                "low": found[other].low,
                "high": found[other].high,
                "verdict": found[other].verdict,
                "says": sentence(first, other, found[other], measure),
                "tokens_to_reach": reached(arms[first]["curve"], arms[other]["mean"] - ROUNDED),
            }
            for other in others
        },
        "says": sentence(one, other, pair[other], measure)
        + _best(one, other, of=len(others))
        + _doubt(arms[one], one),
        "method": METHOD if len(results[first]) > 1 else METHOD + ALONE,
        "warnings": _warnings(arms, one),
    }


def asked(means: Mapping[str, float]) -> tuple[str, str]:
    """Return the arms that the one sentence is about, the second being what the first is set to.

    An arm with feedback and the one without, in whatever order they were given: the first arm, or
    one of FEEDBACK. Where they are not both there, the first arm and the best of the others.

    Args:
        means: arm -> mean score, in the order in which they were given.
    """
    first, *others = means
    fed = [arm for arm in (first, *FEEDBACK) if arm in FEEDBACK and arm in means]
    if fed and WITHOUT in means:
        return fed[0], WITHOUT
    return first, max(others, key=means.__getitem__)


def sentence(first: str, other: str, found: Difference, measure: str) -> str:
    """Say whether feedback paid, where it is what differs; else whether the first arm did."""
    what = "feedback" if _feedback(first, other) else first
    gap = f"{abs(100 * found.diff):.1f} points of {measure}"
    than = "more" if found.diff >= 0 else "less"
    of, alone = (" over the texts", " from one run an arm") if found.seeds < 2 else ("", "")
    bounds = f"interval{of} {_points(found.low)} to {_points(found.high)}"
    says = f"{first} has {gap} {than} than {other} ({bounds})"
    if found.verdict == "cannot be told":
        return f"whether {what} paid cannot be told{alone}: {says}"
    return f"{what} {found.verdict}: {says}"


def _feedback(one: str, other: str) -> bool:
    """Say whether feedback is what two arms differ in."""
    return one in FEEDBACK and other == WITHOUT


def _best(one: str, other: str, *, of: int) -> str:
    """Say why the other arm is the one that is named, where there are several."""
    return f"; {other} is the best of the others" if of > 1 and not _feedback(one, other) else ""


def whole_curve(cell: Mapping[str, Any]) -> list[list[float]]:
    """Return a cell's curve with its final student, which stands where its last round does."""
    return [*cell["curve"], [max(cell["tokens"], cell["curve"][-1][0]), cell["score"]]]


def averaged(runs: Sequence[Sequence[Sequence[float]]]) -> list[list[float]]:
    """Return [tokens, mean, lowest, highest] of an arm's runs wherever one of them changes.

    Args:
        runs: the curve of each run, as [tokens, score]. A run keeps a score until the next, for
            between them it has no other student; past its end it keeps its last one.
    """
    steps = [np.array(run, dtype=np.float64) for run in runs]
    places = np.unique(np.concatenate([run[:, 0] for run in steps]))
    scores = np.array(
        [run[np.searchsorted(run[:, 0], places, side="right") - 1, 1] for run in steps]
    )
    columns = (places, scores.mean(axis=0), scores.min(axis=0), scores.max(axis=0))
    rows: list[list[float]] = np.column_stack(columns).round(5).tolist()
    return rows


def reached(curve: Sequence[Sequence[float]], score: float) -> int | None:
    """Return after how many tokens a mean curve first is at a score, or None when it never is."""
    return next((round(tokens) for tokens, mean, *_ in curve if mean >= score), None)


def pictured(record: Mapping[str, Any]) -> tuple[Chart | None, dict[str, str]]:
    """Return score over tokens, a line an arm, and the corners of the band around each line."""
    marks: dict[tuple[str, str], list[Mark]] = {}
    for number, (arm, of) in enumerate(record["arms"].items()):
        ends = (1, ""), (2, " lowest"), (3, " highest")
        for column, part in ends:
            line = [Mark(round(p[0]), p[column], f"{p[0]:,.0f} tokens") for p in of["curve"]]
            marks[arm + part, f"arm-{number}"] = line
        marks[arm, f"arm-{number}"].append(Mark(None, of["mean"], "final student"))
    made = chart(marks)
    if made is None:
        return None, {}
    bands: dict[str, str] = {}
    for arm, low, high in zip(*(made.lines[part::3] for part in range(3)), strict=True):
        bands[arm.key] = f"{low.path} {' '.join(reversed(high.path.split()))}"
    return Chart(made.lines[::3], made.across, made.up), bands


def write_page(path: Path, task: Task, record: Mapping[str, Any]) -> None:
    """Write the page of a comparison, one file that asks for nothing else."""
    drawn, bands = pictured(record)
    page = environment().get_template("compare.html.j2")
    one_run = all(of["seeds"] < 2 for of in record["arms"].values())
    html = page.render(
        task=task, record=record, chart=drawn, bands=bands, one_run=one_run, version=__version__
    )
    write_whole(path, html)


def _arm(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    scores = [cell["score"] for cell in cells]
    return {
        "mean": statistics.fmean(scores),
        "std": statistics.stdev(scores) if len(scores) > 1 else 0.0,
        "seeds": len(scores),
        "tokens": statistics.fmean(cell["tokens"] for cell in cells),
        "kept": statistics.fmean(cell["kept"] for cell in cells),
        "rounds": statistics.fmean(cell["rounds"] for cell in cells),
        "doubted": sum(cell.get("doubted", False) for cell in cells),
        "useless": [cell["useless"] for cell in cells if cell.get("useless")],
        "unfed": [cell["ended"] for cell in cells if not (cell["fed"] or _without_teacher(cell))],
        "scores": scores,
        "curve": averaged([whole_curve(cell) for cell in cells]),
    }


def _without_teacher(cell: Mapping[str, Any]) -> bool:
    return bool(cell.get("doubted") or cell.get("useless"))


def _doubt(of: Mapping[str, Any], arm: str) -> str:
    """Say in how many runs of an arm its teacher, or feedback, had no part in the student."""
    told = [(of["doubted"], "the teacher was not trusted"), (len(of["useless"]), USELESS)]
    if arm in FEEDBACK:
        told.append((len(of["unfed"]), UNFED))
    return "".join(
        f"; in {count} of {of['seeds']} runs of {arm} {what}" for count, what in told if count
    )


def _warnings(arms: Mapping[str, Mapping[str, Any]], one: str) -> list[str]:
    """Say where the arms did not cost the same, and where feedback never had its turn.

    Args:
        one: the arm whose cost the others are set against, if it asks a teacher.
    """
    most = max(of["tokens"] for of in arms.values()) or 1
    asking = [arm for arm in (one, *arms) if ARMS[arm].teacher]
    made = [
        f"not at the same cost: {arm} spent {arms[arm]['tokens']:,.0f} tokens,"
        f" {asking[0]} {arms[asking[0]]['tokens']:,.0f}"
        for arm in arms
        if arm in asking and _apart(arms[arm], arms[asking[0]]) > UNEQUAL * most
    ]
    for arm, of in arms.items():
        if of["doubted"]:
            made.append(
                f"in {of['doubted']} of {of['seeds']} runs of {arm} the teacher hardly knew the"
                " labels: its student is that of seeds and definitions there, whatever the arm"
            )
        if of["useless"]:
            made.append(
                f"in {len(of['useless'])} of {of['seeds']} runs of {arm} {USELESS}"
                f" ({' or '.join(sorted({*of['useless']}))}): its student is that of seeds and"
                " definitions there"
            )
        if arm in FEEDBACK and of["unfed"]:
            made.append(
                f"in {len(of['unfed'])} of {of['seeds']} runs of {arm} {UNFED}"
                f" ({' or '.join(sorted({*of['unfed']}))})"
            )
    return made


def _apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    return float(abs(one["tokens"] - other["tokens"]))


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
