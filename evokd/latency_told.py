"""The latency stage as the report tells it."""

from __future__ import annotations

from typing import Any

from evokd.figures import log_bars

LATENCY_ROWS = {
    "torch": "student, torch",
    "onnx": "student, ONNX",
    "int8": "student, INT8",
    "nano": "nano student, INT8",
    "teacher_score": "teacher, scores the labels",
    "teacher_generate": "teacher, writes the answer",
}


def latency_table(latency: dict[str, Any]) -> dict[str, Any]:
    """Return the latency stage with titles and the lengths of the bars; {} when not measured."""
    if not latency:
        return {}
    measured = {name: row for name, row in latency["latency_ms"].items() if row}
    ends = {
        f"{name} {key}": row[key]
        for name, row in measured.items()
        for key in ("p50", "p99")
        if key in row
    }
    lengths = log_bars(ends)
    rows = []
    for name, title in LATENCY_ROWS.items():
        rate = (latency.get("throughput") or {}).get(name) or {}
        loads = (latency.get("server") or {}).get(name) or {}
        bar = lengths.get(f"{name} p50", 0.0)
        rows.append(
            {
                "title": title,
                "key": name,
                "row": measured.get(name),
                "bar": bar,
                "tail": max(0.0, lengths.get(f"{name} p99", 0.0) - bar),
                "rate": rate.get("texts_per_second"),
                "loaded": loads.get("80%"),
            }
        )
    return latency | {"rows": rows}
