"""A row in a process of its own: seconds from its start to the first answer, and its memory.

The process is started as a user's would be; its files are in the system's cache already, as after
a restart. The teacher's memory holds the model's file where that is mapped into memory.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evokd.errors import EvokdError

HOME = Path(__file__).resolve().parents[2]
MARK = "evokd-child "


@dataclass(frozen=True, slots=True)
class Start:
    """What a process shall open, and the text that it answers first."""

    row: str
    student: str
    teacher: str
    threads: int
    labels: int | None
    text: str


def starts(what: Start, *, count: int, clock: Callable[[], float] = time.perf_counter) -> Any:
    """Return the medians over fresh processes: "cold_start_s" and "rss_mb".

    Raises:
        EvokdError: when a process ends without an answer.
    """
    seconds, memory = zip(*(_start(what, clock) for _ in range(count)), strict=True)
    return {"cold_start_s": statistics.median(seconds), "rss_mb": statistics.median(memory) / 1e6}


def _start(what: Start, clock: Callable[[], float]) -> tuple[float, int]:
    command = [sys.executable, "-P", "-m", "benchmarks.latency.child", json.dumps(asdict(what))]
    places = [str(HOME), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    began = clock()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = next((line for line in process.stdout if line.startswith(MARK)), None)
        took = clock() - began
        _, said = process.communicate()
    if line is None:
        last = (said.strip().splitlines() or ["it said nothing"])[-1]
        raise EvokdError(f"{what.row}: a process of its own ended: {last}", "is memory short?")
    return took, int(line.removeprefix(MARK))


def main() -> None:
    """Open the row, answer, say how much memory is held."""
    what = Start(**json.loads(sys.argv[1]))
    _answer(what)
    import psutil

    print(f"{MARK}{psutil.Process().memory_info().rss}", flush=True)


def _answer(what: Start) -> None:
    from benchmarks.latency.rows import TEACHER, student_rows, teacher_rows, teachers_task

    folder = Path(what.student)
    if what.row not in TEACHER:
        student_rows(folder, threads=what.threads)[what.row]().one(what.text)
        return
    from evokd.teacher import open_teacher
    from serving.layout import read_manifest

    task = teachers_task(
        read_manifest(folder), what.teacher, threads=what.threads, labels=what.labels
    )
    teacher = open_teacher(task.teacher)
    teacher_rows(task, teacher)[what.row].one(what.text)


if __name__ == "__main__":
    main()
