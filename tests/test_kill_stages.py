"""kill -9 in every stage of a real run, then the same command: what was finished is not lost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from test_demo_run import SMALL

from evokd.ledger import Ledger
from evokd.replay import replay

STAGES = "SELECT count(*) FROM stages WHERE name = '{}'"
POINTS = [
    "SELECT count(*) > 5 FROM calls WHERE reply IS NOT NULL",
    "SELECT count(*) > 150 FROM calls WHERE reply IS NOT NULL",
    STAGES.format("round 0 texts"),
    "SELECT count(*) FROM rounds WHERE number = 0 AND result IS NOT NULL",
    "SELECT count(*) FROM rounds WHERE number = 1",
    STAGES.format("round 1 texts"),
    "SELECT count(*) FROM rounds WHERE number = 1 AND result IS NOT NULL",
    STAGES.format("final"),
    STAGES.format("gate_texts"),
    STAGES.format("export"),
    STAGES.format("scores"),
    STAGES.format("latency"),
]


def start(out: Path) -> subprocess.Popen[bytes]:
    code = "from evokd.cli import main; main()"
    changes = [part for change in SMALL for part in ("--set", change)]
    command = [sys.executable, "-c", code, "demo", "--out", str(out), *changes]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def reached(database: Path, question: str) -> bool:
    with contextlib.suppress(sqlite3.OperationalError), closing(sqlite3.connect(database)) as db:
        return bool(db.execute(question).fetchone()[0])
    return False


def finished_calls(database: Path) -> dict[str, str]:
    with closing(sqlite3.connect(database)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return dict(db.execute("SELECT key, reply FROM calls WHERE reply IS NOT NULL"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_that_is_killed_in_every_stage_ends_as_usual(tmp_path: Path) -> None:
    out = tmp_path / "run"
    database = out / "run.db"
    before: dict[str, str] = {}
    for point in POINTS:
        child = start(out)
        while child.poll() is None and not reached(database, point):
            time.sleep(0.02)
        assert child.poll() is None, f"ended before {point}"
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        now = finished_calls(database)
        assert now.items() >= before.items()
        assert not (out / "summary.json").exists()
        before = now
    assert start(out).wait() == 0
    assert finished_calls(database).items() >= before.items()
    assert json.loads((out / "summary.json").read_text())["rounds"] == 2
    with closing(sqlite3.connect(database)) as db:
        assert db.execute("SELECT count(*) FROM calls WHERE reply IS NULL").fetchone() == (0,)
    ledger = Ledger(database, attempt=False)
    try:
        assert replay(ledger) == ledger.rows()
    finally:
        ledger.close()
