"""A run of the loop that test_resume kills: argv is the task file and the run's folder."""

from __future__ import annotations

import sys
from pathlib import Path

from fake_run import grow
from fakes import FakeLearner, ScriptedTeacher

from evokd.task import load_task

if __name__ == "__main__":
    grow(load_task(Path(sys.argv[1])), Path(sys.argv[2]), ScriptedTeacher(pause=0.004),
         FakeLearner())  # fmt: skip
