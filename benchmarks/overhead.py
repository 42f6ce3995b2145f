"""What the loop's own code costs: its share of a round, and the start of a round in a long run.

    python -m benchmarks.overhead [--rows N] [--json FILE] [--quick]

The demo's rounds, with the embedded teacher and the real student. What the teacher takes to answer
and the student to train, predict, save and load is measured and taken off; all else is the loop's
own: plans, prompts, curation, the ledger. `own_share` is that of the rounds behind the first.

Then the last round is filled up to N texts, made of the words of the texts that are kept, and the
next one is started: `start_s` is the time up to its first call. `open_s` is what a run of that
length takes to go on after it was stopped. Medians of three, in seconds.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from evokd.cpus import cpu_model, usable_cores
from evokd.learner import EncoderLearner
from evokd.loop import Loop
from evokd.run import open_run
from evokd.stages import Stages
from evokd.task import demo_task
from evokd.teacher import Teacher, open_teacher
from evokd.watch import Silent

ROWS = 50_000
ROUNDS = 3
STARTS = 3
QUICK = ("loop.cover=4", "loop.conversations=2", "loop.quota=1", "selection.texts=2")


class Stopwatch:
    """Adds up the time spent in what it is put around; what those call back is not theirs."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return the same function, on the clock."""

        def timed(*given: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return work(*given, **named)
            finally:
                self.seconds += time.perf_counter() - start

        return timed

    def off(self, back: Callable[..., Any] | None) -> Callable[..., Any] | None:
        """Return a callback that stops the clock for as long as it takes."""
        if back is None:
            return None

        def untimed(*given: Any) -> None:
            start = time.perf_counter()
            back(*given)
            self.seconds -= time.perf_counter() - start

        return untimed


class TimedTeacher:
    """The embedded teacher on the clock."""

    def __init__(self, teacher: Teacher, watch: Stopwatch) -> None:
        self._teacher, self._watch = teacher, watch
        self.name, self.fingerprint, self.close = teacher.name, teacher.fingerprint, teacher.close
        self.check = teacher.check

    def generate(self, requests: Sequence[Any], on_done: Any = None) -> Any:
        """See `Teacher`."""
        return self._watch.around(self._teacher.generate)(requests, self._watch.off(on_done))

    def score(self, requests: Sequence[Any], on_done: Any = None) -> Any:
        """See `Teacher`."""
        return self._watch.around(self._teacher.score)(requests, self._watch.off(on_done))


class TimedLearner(EncoderLearner):
    """The real student on the clock."""

    def __init__(self, task: Any, watch: Stopwatch) -> None:
        super().__init__(task)
        self._watch = watch

    def fit(self, *given: Any, on_step: Any, **named: Any) -> Any:
        """See `Learner`."""
        step = self._watch.off(on_step)
        return self._timed(self._watch.around(super().fit)(*given, on_step=step, **named))

    def load(self, folder: Path) -> Any:
        """See `Learner`."""
        return self._timed(self._watch.around(super().load)(folder))

    def embed(self, texts: Sequence[str]) -> Any:
        """See `Learner`."""
        return self._watch.around(super().embed)(texts)

    def _timed(self, fitted: Any) -> Any:
        fitted.predict = self._watch.around(fitted.predict)
        fitted.save = self._watch.around(fitted.save)
        return fitted


def measure(folder: Path, *, rows: int, quick: bool) -> dict[str, Any]:
    """Return the figures; `folder` is new and gets a run."""
    task = demo_task([f"loop.rounds={1 if quick else ROUNDS}", *(QUICK if quick else ())])
    watch = Stopwatch()
    with open_run(
        task,
        folder,
        watch=Silent(),
        open_model=lambda: TimedTeacher(open_teacher(task.teacher), watch),
        learner=TimedLearner(task, watch),
    ) as stages:
        stages._do("seed_only", "", stages.seed_only)
        _ = stages.calls.teacher  # opened before the clock runs
        shares = [_round(stages.loop, number, watch) for number in range(task.loop.rounds + 1)]
        made = {
            "rounds": shares,
            "own_share": statistics.median(s["own"] / s["all"] for s in shares[1:]),
        }
        _fill(stages, rows)
        starts = [_start(stages, task.loop.rounds + 1, watch) for _ in range(STARTS)]
    opened, started = ([pair[i] for pair in starts] for i in (0, 1))
    return made | {
        "rows": rows,
        "open_s": statistics.median(opened),
        "start_s": statistics.median(started),
    }


def _round(loop: Loop, number: int, watch: Stopwatch) -> dict[str, float]:
    watch.seconds, start = 0.0, time.perf_counter()
    loop.run_round(number)
    whole = time.perf_counter() - start
    return {"all": whole, "own": whole - watch.seconds}


def _start(stages: Stages, number: int, watch: Stopwatch) -> tuple[float, float]:
    """Open the loop as a run that goes on does, plan a round, and take the plan back."""
    start = time.perf_counter()
    loop = Loop(
        stages.task, stages.data, ledger=stages.ledger, calls=stages.calls,
        learner=stages.learner, folder=stages.files.root, watch=Silent(),
    )  # fmt: skip
    opened, watch.seconds = time.perf_counter(), 0.0
    loop.plan(number)
    planned = time.perf_counter() - opened - watch.seconds
    with closing(sqlite3.connect(stages.files.ledger)) as db, db:
        db.execute("DELETE FROM rounds WHERE number = ?", (number,))
        db.execute("DELETE FROM calls WHERE scope LIKE ?", (f"round {number}/%",))
    return opened - start, planned


def _fill(stages: Stages, count: int) -> None:
    """Add texts of random words to the last round, with what the student would have said."""
    rng = np.random.default_rng(0)
    number = stages.task.loop.rounds
    names = stages.task.names
    words = sorted(
        {w for row in stages.ledger.rows(split="train") for w in row.example.text.split()}
    )
    with closing(sqlite3.connect(stages.files.ledger)) as db, db:
        [(there, last)] = db.execute("SELECT COUNT(*), MAX(number) FROM examples").fetchall()
        for i in range(last + 1, last + 1 + max(0, count - there)):
            text = " ".join(rng.choice(words, size=rng.integers(5, 14)))
            label, said = rng.choice(names, size=2)
            db.execute(
                "INSERT INTO examples VALUES (?, ?, ?, ?, '[]', 'cover', 'train', NULL, NULL, ?)",
                (i, number, text, label, label),
            )
            db.execute("INSERT INTO predictions VALUES (?, ?, 0.8, 0.5)", (i, str(said)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the figures as JSON."""
    parser = argparse.ArgumentParser(description="What the loop's own code costs.")
    parser.add_argument("--rows", type=int, default=ROWS, help=f"texts of the run (default {ROWS})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--quick", action="store_true", help="small rounds; a smoke test")
    asked = parser.parse_args(arguments)
    rows = min(asked.rows, 500) if asked.quick else asked.rows
    with tempfile.TemporaryDirectory() as folder:
        made = measure(Path(folder) / "run", rows=rows, quick=asked.quick)
    print(
        f"the loop's own code: {made['own_share']:.1%} of a round; with {rows} texts a round starts"
        f" in {made['start_s']:.2f} s, and the run opens in {made['open_s']:.1f} s"
    )
    if asked.json:
        record = {"quick": asked.quick, "cpu": cpu_model(), "threads": usable_cores(), **made}
        asked.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
