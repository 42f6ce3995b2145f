"""An interrupted run that goes on equals an undisturbed one; no finished call is made again."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from fake_run import grow, make_task, replies, tables
from fakes import FakeLearner, ScriptedTeacher, Stopped

from evokd.task import Task

CHILD = Path(__file__).with_name("resume_child.py")


@dataclass(frozen=True)
class Whole:
    """A task and the ledger of its undisturbed run."""

    task: Task
    file: Path
    ledger: Path
    calls: int
    fits: int


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    task = make_task(folder / "task", pool=4)
    teacher, learner = ScriptedTeacher(), FakeLearner()
    grow(task, folder / "run", teacher, learner)
    assert teacher.answered > 120  # or the points of interruption below mean little
    file = folder / "task" / "task.yaml"
    return Whole(task, file, folder / "run" / "run.db", teacher.answered, learner.fits)


def same(ledger: Path, whole: Whole) -> None:
    ours, theirs = tables(ledger), tables(whole.ledger)
    for table in theirs:
        assert ours[table] == theirs[table], table


def finished(ledger: Path) -> dict[str, str]:
    return {key: reply for key, reply in replies(ledger).items() if reply is not None}


def until_done(whole: Whole, folder: Path, *, calls: int | None, fits: int | None) -> int:
    """Run again and again, stopped every so many calls or fits; returns how many attempts."""
    asked: Counter[str] = Counter()
    for attempt in range(1, 200):
        before = finished(folder / "run.db") if attempt > 1 else {}
        teacher = ScriptedTeacher(fail_after=calls)
        learner = FakeLearner(fail_at=fits)
        stopped = True
        with suppress(Stopped):
            grow(whole.task, folder, teacher, learner)
            stopped = False
        after = finished(folder / "run.db")
        assert before.items() <= after.items()
        assert len(after) - len(before) == teacher.answered
        asked.update(after.keys() - before.keys())
        if not stopped:
            assert set(asked.values()) == {1}
            return attempt
    raise AssertionError("it never came to its end")


@pytest.mark.parametrize("every", [9, 31, 64])
def test_stopped_every_few_calls(whole: Whole, tmp_path: Path, every: int) -> None:
    attempts = until_done(whole, tmp_path / "run", calls=every, fits=None)
    assert attempts == -(-whole.calls // every)
    same(tmp_path / "run" / "run.db", whole)


@pytest.mark.parametrize("first", [1, 2, 13, 50, 100, 119])
def test_stopped_once(whole: Whole, tmp_path: Path, first: int) -> None:
    with pytest.raises(Stopped):
        grow(whole.task, tmp_path / "run", ScriptedTeacher(fail_after=first))
    ledger = tmp_path / "run" / "run.db"
    assert len(finished(ledger)) == first
    grow(whole.task, tmp_path / "run", ScriptedTeacher())
    same(ledger, whole)


def test_stopped_at_every_training(whole: Whole, tmp_path: Path) -> None:
    # An attempt gets one training done and stops at the next.
    attempts = until_done(whole, tmp_path / "run", calls=None, fits=1)
    assert attempts == whole.fits
    same(tmp_path / "run" / "run.db", whole)


def test_a_finished_run_asks_and_trains_nothing(whole: Whole, tmp_path: Path) -> None:
    grow(whole.task, tmp_path / "run", ScriptedTeacher())
    teacher, learner = ScriptedTeacher(), FakeLearner()
    grow(whole.task, tmp_path / "run", teacher, learner)
    assert (teacher.asked, learner.log) == ([], [])
    same(tmp_path / "run" / "run.db", whole)


def start(whole: Whole, folder: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(CHILD.parent), *sys.path])}
    command = [sys.executable, str(CHILD), str(whole.file), str(folder)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)


def kill_when(child: subprocess.Popen[bytes], ledger: Path, calls: int) -> None:
    """Kill the child as soon as its ledger holds so many finished calls."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert child.poll() is None, child.communicate()[1].decode()
        with suppress(sqlite3.OperationalError):  # the file or its table is not there yet
            if ledger.exists() and len(finished(ledger)) >= calls:
                os.kill(child.pid, signal.SIGKILL)
                child.communicate()
                return
        time.sleep(0.01)  # leaves the processor to the child
    child.kill()
    raise AssertionError("the child did not come so far")


def test_kill_nine(whole: Whole, tmp_path: Path) -> None:
    """Killed three times at different stages and gone on with; the fourth attempt ends it."""
    ledger = tmp_path / "run" / "run.db"
    kept: dict[str, str] = {}
    for calls in (1, whole.calls // 3, whole.calls * 3 // 4):
        child = start(whole, tmp_path / "run")
        kill_when(child, ledger, calls)
        assert child.returncode == -signal.SIGKILL
        with closing(sqlite3.connect(ledger)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        now = finished(ledger)
        assert kept.items() <= now.items()
        assert len(now) < whole.calls
        kept = now
    last = ScriptedTeacher()
    grow(whole.task, tmp_path / "run", last)
    assert last.answered == whole.calls - len(kept)
    same(ledger, whole)
    with closing(sqlite3.connect(ledger)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("SELECT count(*) FROM attempts").fetchone() == (4,)
