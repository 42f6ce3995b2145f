"""Which student is the final one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_run import make_task
from fakes import FakeLearner
from test_arms_run import TWO, Grown

from evokd.ledger import Ledger
from evokd.runfiles import RunFiles
from evokd.stages import Stages
from evokd.watch import Silent


def chosen(folder: Path, method: dict[str, Any], dev: int) -> str:
    """Return the final student's name where the final training goes wrong."""
    made = Grown(folder, make_task(folder / "task", dev=dev, loop=TWO, method=method))
    bad = FakeLearner(made.task.names, spoil=lambda number, examples: examples[:1] * 3)
    ledger = Ledger(made.file, attempt=False)
    stages = Stages(made.task, made.data, RunFiles(made.folder), ledger, None, bad, Silent())  # type: ignore[arg-type]
    try:
        record = stages.final_student()
    finally:
        ledger.close()
    final, best = record["dev_macro_f1"].values()
    assert final < best - 0.03
    assert (made.folder / "student").is_dir()
    assert bool(record.get("agreement")) == made.task.method.trust
    return str(record["chosen"]).split()[0]


@pytest.mark.parametrize(
    ("method", "dev", "name"),
    [
        ({}, 6, "round"),
        ({"trust": False}, 0, "round"),
        ({}, 0, "final"),  # the teacher's favourites are in its dev set too
    ],
)
def test_a_spoilt_final_training_loses_to_the_best_round_on_a_fair_dev(
    method: dict[str, Any], dev: int, name: str, tmp_path: Path
) -> None:
    assert chosen(tmp_path, method, dev) == name
