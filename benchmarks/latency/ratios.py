"""The figures that matter, worked out of what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from benchmarks.latency.rows import TEACHER


def ratios(made: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures that matter, by p50; None where a row is missing.

    "ratio" has times of the slower over the faster. Beside it: `int8_over_torch`, a fraction;
    `student_vs_teacher_score` and `_generate`, how many times faster a text is than the teacher
    with the beginning of its prompt in memory, and with `_cold` than one that decodes it anew.
    """
    rows, served = made["latency_ms"], made["served"]

    def over(slow: str, fast: str, what: str = "p50") -> float | None:
        there = rows[slow] and rows[fast] and rows[slow].get(what)
        return rows[slow][what] / rows[fast]["p50"] if there else None

    return {
        "ratio": {
            "teacher_score_over_served": over("teacher_score", served),
            "teacher_generate_over_served": over("teacher_generate", served),
            "torch_over_int8": over("torch", "int8"),
            "served_over_nano": over(served, "nano"),
        },
        "int8_over_torch": over("int8", "torch"),
        "student_vs_teacher_score": over("teacher_score", served),
        "student_vs_teacher_generate": over("teacher_generate", served),
        "student_vs_teacher_score_cold": over("teacher_score", served, "cold"),
        "student_vs_teacher_generate_cold": over("teacher_generate", served, "cold"),
    }


def repaid(made: Mapping[str, Any], run_seconds: float | None) -> dict[str, Any]:
    """Return after how many requests the student has saved the seconds that its run took.

    Against the teacher's quicker way to answer, the beginning of its prompt in memory.
    """
    rows = made["latency_ms"]
    ways = {name: rows[name]["p50"] for name in TEACHER if rows[name]}
    if run_seconds is None:
        return {"break_even_requests": None, "break_even": None}
    way = min(ways, key=lambda name: ways[name])
    saved = (ways[way] - rows[made["served"]]["p50"]) / 1000
    return {
        "break_even_requests": math.ceil(run_seconds / saved) if saved > 0 else None,
        "break_even": {"run_seconds": run_seconds, "teacher": way, "saved_seconds": saved},
    }
