"""The main job end to end with the real embedded teacher, small; and what a user does after it.

The run is made by the wheel, in another environment and from another folder.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ledger_checks import gold_learned

from evokd.ledger import Ledger, reading
from evokd.replay import replay
from evokd.run import run_task
from evokd.scores import score
from evokd.task import Task, demo_task, load_data
from evokd.watch import Silent
from serving.layout import read_manifest, verify
from serving.predictor import open_predictor

SMALL = (
    "loop.rounds=1", "loop.cover=16", "loop.conversations=3", "loop.quota=1",
    "loop.anchor=6", "selection.texts=4", "student.batch_size=4", "student.epochs=1",
    "student.final_epochs=2", "export.gate_texts=40", "export.latency_texts=10",
    "teacher.threads=1", "student.threads=1",  # the other core has the other tests
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(
    installed: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Task, Path, dict[str, Any]]:
    """A small run of the demo."""
    folder = tmp_path_factory.mktemp("demo")
    changes = [part for change in SMALL for part in ("--set", change)]
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [installed / "evokd", "demo", "--out", "run", *changes]
    subprocess.run(command, cwd=folder, env=env, check=True, capture_output=True)
    out = folder / "run"
    return demo_task(SMALL), out, json.loads((out / "summary.json").read_text())


def test_a_run_leaves_what_the_issue_names(finished: tuple[Task, Path, dict[str, Any]]) -> None:
    _, out, summary = finished
    assert json.loads((out / "summary.json").read_text()) == summary
    assert (out / "report.html").stat().st_size > 10_000
    assert summary["gate"]["passed"] in (True, False)
    assert summary["student"]["fp32"]["test_accuracy"] > 0.5
    assert summary["size_bytes"]["onnx"] > summary["size_bytes"]["int8"] > 0
    for row in ("torch", "onnx", "int8", "teacher_score", "teacher_generate"):
        assert summary["latency_ms"][row]["p50"] > 0
    assert summary["teacher"]["calls"] > 100
    assert summary["examples"]["written"] == (
        summary["examples"]["kept"] + summary["examples"]["dropped"]
    )


def test_the_student_beats_its_seeds(finished: tuple[Task, Path, dict[str, Any]]) -> None:
    summary = finished[2]
    assert summary["student"]["fp32"]["test_accuracy"] > summary["seed_only"]["test_accuracy"]


def test_what_is_served_is_what_was_scored(finished: tuple[Task, Path, dict[str, Any]]) -> None:
    task, out, summary = finished
    manifest = read_manifest(out / "student")
    verify(out / "student", manifest)
    test = load_data(task).test
    answers = [p.label for p in open_predictor(out / "student").predict([e.text for e in test])]
    scored = score([e.label for e in test], answers, task.names)
    served = "int8" if summary["gate"]["passed"] else "fp32"
    assert scored.accuracy == summary["student"][served]["test_accuracy"]


def test_no_test_or_dev_text_reached_the_teacher(
    finished: tuple[Task, Path, dict[str, Any]],
) -> None:
    task, out, _ = finished
    data = load_data(task)
    with closing(sqlite3.connect(out / "run.db")) as db:
        asked = "\n".join(request for (request,) in db.execute("SELECT request FROM calls"))
        empty = db.execute("SELECT count(*) FROM calls WHERE reply IS NULL").fetchone()[0]
    assert empty == 0
    for example in (*data.test, *data.dev):
        quoted = json.dumps(json.dumps(example.text, ensure_ascii=False), ensure_ascii=False)
        assert quoted[1:-1] not in asked


def test_nothing_like_a_test_or_dev_text_was_learned_from(
    finished: tuple[Task, Path, dict[str, Any]],
) -> None:
    task, out, _ = finished
    with reading(out / "run.db") as ledger:
        rows = ledger.rows()
    assert {"train", "dev", "gate"} <= {row.split for row in rows}
    assert gold_learned(load_data(task), rows) == []


def test_the_ledger_replays_without_the_model(
    finished: tuple[Task, Path, dict[str, Any]],
) -> None:
    ledger = Ledger(finished[1] / "run.db")
    try:
        assert replay(ledger) == ledger.rows()
    finally:
        ledger.close()


def test_the_same_command_again_asks_nothing(finished: tuple[Task, Path, dict[str, Any]]) -> None:
    task, out, summary = finished
    again = run_task(task, out, watch=Silent())
    assert again["teacher"] == summary["teacher"]
    assert again["student"] == summary["student"]
