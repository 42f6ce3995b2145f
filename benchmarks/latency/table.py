"""What was measured, on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.latency.scenarios import LOADS

SHORT = {
    "torch": "torch",
    "onnx": "ONNX",
    "int8": "INT8",
    "nano": "nano",
    "teacher_score": "teacher scores",
    "teacher_generate": "teacher writes",
}
WAYS = {
    "teacher_score": "the teacher scoring the labels",
    "teacher_generate": "the teacher writing the answer",
}
RANDOM = "The teacher's weights are random: its times are those of a model of its size, its answers"
RANDOM += " mean nothing."


def show(record: Mapping[str, Any], console: Console) -> None:
    """Print the times, what each row costs, and the figures that matter."""
    console.print(times(record))
    console.print(worth(record))
    for line in told(record):
        console.print(line, highlight=False)


def times(record: Mapping[str, Any]) -> Table:
    """Return the table of the scenarios."""
    loads = [f"at {load}\np99 ms" for load in LOADS]
    heads = ["p50\nms", "p90\nms", "p99\nms", "p99 in\n(95 %)", "texts/s\nat once", *loads]
    table = _table(heads, title=f"{record['cpu']}, threads: {record['threads']}")
    for name, row in record["latency_ms"].items():
        if row is None:
            table.add_row(_title(name, record), *["-"] * len(heads))
            continue
        low, high = (_number(bound, "?") for bound in row["interval"]["p99"])
        table.add_row(
            _title(name, record),
            *(_number(row[key]) for key in ("p50", "p90", "p99")),
            f"{low}-{high}",
            _number(record["throughput"][name]["texts_per_second"]),
            *(_number(found and found["p99"]) for found in record["server"][name].values()),
        )
    return table


def worth(record: Mapping[str, Any]) -> Table:
    """Return the table of accuracy and of what a row takes."""
    accuracy = f"accuracy by\n{record['labels_by'] or 'no labels'}"
    table = _table(
        ["times the\nserved one", accuracy, "MB on\ndisk", "MB in\nmemory", "start\ns", "timed"],
        caption=_caption(record),
    )
    base = record["latency_ms"][record["served"]]["p50"]
    cost = record.get("cost") or {}
    for name, row in record["latency_ms"].items():
        if row is None:
            continue
        scored, taken = record["accuracy"][name], cost.get(name) or {}
        table.add_row(
            _title(name, record),
            _number(row["p50"] / base),
            f"{scored['accuracy']:.3f} of {scored['texts']}" if scored else "-",
            *(_number(taken.get(key)) for key in ("size_mb", "rss_mb", "cold_start_s")),
            str(row["queries"]),
        )
    return table


def told(record: Mapping[str, Any]) -> list[str]:
    """Return what the figures mean, a sentence a line."""
    lines = [RANDOM] if record["random_weights"] else []
    if record["int8_over_torch"]:
        lines.append(f"INT8 takes {record['int8_over_torch']:.3f} of torch's time.")
    share = f"{record['predictor_overhead']:.1%}"
    lines.append(f"The predictor adds {share} to each run of the served model: tokens, softmax.")
    lines += [_against(name, record) for name in WAYS if record["latency_ms"][name]]
    return [*lines, break_even(record)] if record["break_even"] else lines


def _against(name: str, record: Mapping[str, Any]) -> str:
    """Return how many times as fast as a way of the teacher the student is, in words."""
    row, times_cold = record["latency_ms"][name], record[f"student_vs_{name}_cold"]
    said = (
        f"The student is {record[f'student_vs_{name}']:.1f} times as fast as {WAYS[name]},"
        f" with the beginning of its prompt in memory ({_number(row['p50'])} ms)"
    )
    if times_cold is None:
        return f"{said}."
    return f"{said}; {times_cold:.1f} times where it is decoded anew ({_number(row['cold'])} ms)."


def break_even(record: Mapping[str, Any]) -> str:
    """Return after how many requests the student has repaid its run, in words."""
    found, requests = record["break_even"], record["break_even_requests"]
    run = f"the {found['run_seconds'] / 60:.1f} minutes that its run took"
    other = "" if record["own_teacher"] else " (with another teacher)"
    if requests is None:
        return f"The student never repays {run}{other}: the teacher answers no slower."
    return (
        f"After {requests:,} requests the student has repaid {run}{other}: each saves"
        f" {1000 * found['saved_seconds']:.1f} ms of the teacher's quicker way to answer."
    )


def _table(heads: Sequence[str], **more: Any) -> Table:
    table = Table(box=box.SIMPLE_HEAD, **more)
    table.add_column("", no_wrap=True)
    for head in heads:
        table.add_column(head, justify="right")
    return table


def _title(name: str, record: Mapping[str, Any]) -> str:
    return SHORT[name] + (" (served)" if name == record["served"] else "")


def _number(value: float | None, missing: str = "-") -> str:
    """Return three digits or so."""
    if value is None:
        return missing
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _caption(record: Mapping[str, Any]) -> str:
    weights = ", random weights" if record["random_weights"] else ""
    return (
        f"teacher {record['teacher']}{weights}, asked about {record['labels']} labels; "
        f"{record['mean_tokens']:.1f} tokens a text on average"
    )
