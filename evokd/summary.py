"""summary.json: the figures of a finished run, read from its records."""

from __future__ import annotations

from typing import Any

from evokd.budget import loop_tokens
from evokd.ledger import Ledger
from evokd.selection import Judge
from evokd.spending import by_step


def summarise(ledger: Ledger, *, name: str, by: Judge) -> dict[str, Any]:
    """Return the figures of a run whose stages are all recorded.

    A figure that was not measured (no test file, no INT8 that passed the gate) is None.

    Args:
        by: what decided which rounds count.
    """
    rows = ledger.rows()
    seed_only, scores = ledger.stage("seed_only"), ledger.stage("scores")
    export, latency = ledger.stage("export"), ledger.stage("latency")
    nano = ledger.stage("nano") or {}
    tested = [part["test"] for part in seed_only.values() if "test" in part]
    best_seed = max(tested, key=lambda s: float(s["accuracy"]), default=None)
    sizes = export["size_bytes"]
    return {
        "task": name,
        "selection": by,
        "seed_only": {
            **_figures({"test": best_seed}),
            "fine_tuned": _figures(seed_only["fine_tuned"]),
            "centroid": _figures(seed_only["centroid"]),
        },
        "student": {
            precision: _figures(scores.get(precision, {})) for precision in ("fp32", "int8")
        },
        "nano": _figures(nano.get("scores", {})),
        "gate": {"passed": export["passed"], "served": export["served"]},
        "calibration": _calibration(export),
        "size_bytes": {
            "onnx": sizes["onnx"],
            "int8": sizes.get("int8"),
            "nano": nano.get("size_bytes"),
        },
        "latency_ms": latency["latency_ms"],
        "latency_ratio": latency["ratio"],
        "teacher": {
            **(ledger.meta("teacher") or {}),
            **ledger.call_totals(),
            "loop_tokens": loop_tokens(ledger),
            "steps": by_step(ledger),
        },
        "examples": {
            "written": len(rows),
            "kept": sum(row.split is not None for row in rows),
            "dropped": sum(row.split is None for row in rows),
        },
        "rounds": len(ledger.results()),
        "seconds": round(ledger.seconds(), 1),
    }


def _calibration(export: dict[str, Any]) -> dict[str, Any]:
    fitted = export.get("calibration") or {}
    told = ("temperature", "ece", "ece_after", "by", "thresholds", "reject")
    return {name: fitted.get(name) for name in told}


def _figures(scored: dict[str, Any]) -> dict[str, float | None]:
    return {
        f"{name}_{measure}": scored[name].get(measure) if scored.get(name) else None
        for name in ("dev", "test")
        for measure in ("accuracy", "macro_f1", "micro_f1")
    }
