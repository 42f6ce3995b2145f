from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evokd.examples import Example
from evokd.ledger import Ledger
from evokd.records import Row
from evokd.summary import summarise


def scored(accuracy: float) -> dict[str, Any]:
    return {"accuracy": accuracy, "macro_f1": accuracy / 2, "n": 4}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger whose stages are all recorded, without dev set, test set and INT8."""
    made = Ledger(tmp_path / "run.db", clock=iter([float(n) for n in range(1000)]).__next__)
    made.set_meta("teacher", {"name": "scripted", "fingerprint": "f"})
    made.finish_stage("seed_only", {"fine_tuned": {}, "centroid": {}})
    made.finish_stage("scores", {})
    made.finish_stage(
        "export",
        {"passed": False, "served": "onnx/model.onnx", "size_bytes": {"onnx": 90}},
    )
    names = ("onnx", "torch", "teacher_score", "teacher_generate")
    times = {name: {"p50": 1.5} for name in names}
    made.finish_stage("latency", {"latency_ms": times | {"int8": None}, "ratio": {}})
    made.add_rows([Row(0, Example("one", "a"), "train"), Row(0, Example("two", "b"), "dev")])
    made.add_rows([Row(-1, Example("three", "b"), "gate")])
    made.add_rows([Row(1, Example("four", ""), None, "duplicate")])
    made.set_plan(0, {})
    made.finish_round(0, {"round": 0})
    made.reserve("round 0", [("done", "generate", {}), ("in flight", "generate", {})])
    made.record("done", "said", (10, 4, 8))
    yield made
    made.close()


def test_the_fixed_names_are_there_even_when_nothing_was_measured(ledger: Ledger) -> None:
    made = summarise(ledger, name="tiny", by="teacher-made dev")
    assert made["seed_only"]["test_accuracy"] is None
    for precision in ("fp32", "int8"):
        assert made["student"][precision]["test_accuracy"] is None
        assert made["student"][precision]["test_macro_f1"] is None
    assert made["gate"]["passed"] is False
    assert made["size_bytes"] == {"onnx": 90, "int8": None, "nano": None}
    assert made["nano"]["test_accuracy"] is None
    assert made["latency_ms"]["int8"] is None
    for name in ("torch", "onnx", "teacher_score", "teacher_generate"):
        assert made["latency_ms"][name]["p50"] == 1.5
    assert made["selection"] == "teacher-made dev"


def test_counts_and_tokens(ledger: Ledger) -> None:
    made = summarise(ledger, name="tiny", by="gold dev")
    assert made["examples"] == {"written": 4, "kept": 3, "dropped": 1}
    teacher = made["teacher"]
    assert (teacher["calls"], teacher["tokens_in"], teacher["tokens_out"]) == (1, 10, 4)
    assert (teacher["name"], made["rounds"], made["selection"]) == ("scripted", 1, "gold dev")
    assert made["seconds"] > 0


def test_tokens_by_step(ledger: Ledger) -> None:
    for scope in ("round 0/dev/cover", "round 1/cover", "round 1/label 1", "gate 0/label 2"):
        ledger.reserve(scope, [(scope, "generate", {}), (f"{scope}, open", "generate", {})])
        ledger.record(scope, "said", (100, 20, 50))
    steps = summarise(ledger, name="tiny", by="gold dev")["teacher"]["steps"]
    two = {"calls": 2, "tokens_in": 200, "tokens_out": 40, "decoded": 100}
    one = {"calls": 1, "tokens_in": 10, "tokens_out": 4, "decoded": 8}  # the fixture's, of no step
    assert steps == {"cover": two, "label": two, "other": one}


@pytest.mark.parametrize(("tuned", "centroid"), [(0.6, 0.4), (0.3, 0.6)])
def test_seed_only_is_the_better_of_two(ledger: Ledger, tuned: float, centroid: float) -> None:
    ledger.finish_stage(
        "seed_only",
        {
            "fine_tuned": {"test": scored(tuned), "dev": scored(0.1)},
            "centroid": {"test": scored(centroid)},
        },
    )
    made = summarise(ledger, name="tiny", by="teacher-made dev")["seed_only"]
    assert (made["test_accuracy"], made["test_macro_f1"]) == (0.6, 0.3)
    assert made["fine_tuned"]["test_accuracy"] == tuned
    assert made["centroid"]["test_accuracy"] == centroid
    assert (made["fine_tuned"]["dev_accuracy"], made["centroid"]["dev_accuracy"]) == (0.1, None)


def test_the_student_by_precision(ledger: Ledger) -> None:
    ledger.finish_stage("scores", {"fp32": {"test": scored(0.9)}, "int8": {"dev": scored(0.8)}})
    made = summarise(ledger, name="tiny", by="teacher-made dev")["student"]
    assert (made["fp32"]["test_accuracy"], made["fp32"]["test_macro_f1"]) == (0.9, 0.45)
    assert made["fp32"]["dev_accuracy"] is None
    assert (made["int8"]["dev_accuracy"], made["int8"]["test_accuracy"]) == (0.8, None)
