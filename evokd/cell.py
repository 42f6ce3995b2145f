"""One cell of a comparison: a run up to its final student, and what it heard of another one."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evokd.arms import ARMS
from evokd.cell_score import measure_of, scored
from evokd.comparison import MEASURES
from evokd.errors import InputError
from evokd.heard import Heard
from evokd.learner import EncoderLearner
from evokd.ledger import reading
from evokd.run import OpenTeacher, open_run
from evokd.runfiles import RunFiles
from evokd.spending import tokens
from evokd.task import Task
from evokd.teacher import Teacher, open_teacher
from evokd.watch import Silent, Tick, Watch

FIRST_ROUND, EVERY_ROUND = "round 0/", ""
LIKE = {"sungen": "zerogen"}
"""An arm that asks just what another one asks: it hears all of that, and has the same texts."""


def in_order(arms: Sequence[str]) -> tuple[str, ...]:
    """Return the arms in the order in which they are run: behind the one that an arm is like.

    First those that begin alike, for the others hear the first one's round 0.
    """
    made = sorted(arms, key=lambda arm: arm in ARMS and not ARMS[arm].starts_by_init)
    for arm, other in LIKE.items():
        if {arm, other} <= {*made} and made.index(arm) < made.index(other):
            made.remove(other)
            made.insert(made.index(arm), other)
    return tuple(made)


def begun_alike(folder: Path, arms: Sequence[str], seed: int) -> Path:
    """Return the run of a seed whose first answers its other runs hear again.

    The first finished one that begins as most do, else the first arm's.

    Args:
        folder: of all runs, each in one named "arm-seed".
        arms: `in_order`.
    """
    alike = [arm for arm in arms if arm not in ARMS or ARMS[arm].starts_by_init]
    runs = [folder / f"{arm}-{seed}" for arm in (*alike, arms[0])]
    return next((run for run in runs if result_of(run) is not None), runs[-1])


def run_cell(
    task: Task,
    folder: Path,
    *,
    first: Path,
    watch: Watch,
    open_model: OpenTeacher | None = None,
    learner: EncoderLearner | None = None,
) -> dict[str, Any]:
    """Run one cell as far as it is not run yet, and return what it came to.

    A teacher of whose first texts nothing can be used is not refused here: that is a result too.

    Args:
        task: of `evokd.compare.cell_task`, behind its `draw_seeds`.
        folder: of its run, with those of the other arms beside it, each named "arm-seed".
        first: of another run of the same seed, whose first answers this one hears again. One that
            is LIKE a finished one beside it hears all answers of that one in its place.
    """
    inside = _Inside(watch, measure_of(task))
    # Opened though it may be finished: that checks that it is the same comparison.
    opener = _opener(task, open_model, *_heard(task, folder, first))
    with open_run(
        task, folder, watch=inside, open_model=opener, learner=learner, refuses=False
    ) as stages:
        if (done := stages.ledger.stage("compared")) is None:
            stages.train()
            done = scored(stages)
            stages.ledger.finish_stage("compared", done)
            shutil.rmtree(folder / "rounds", ignore_errors=True)
    made: dict[str, Any] = done
    return made


def result_of(folder: Path) -> Any:
    """Return what a cell came to, or None while it is not finished."""
    path = RunFiles(folder).ledger
    if not path.exists():
        return None
    try:
        with reading(path) as ledger:
            return ledger.stage("compared")
    except InputError:  # killed before it had tables; or no ledger, which opening the run tells
        return None


class _Inside(Silent):
    """Watches one cell: its bars, its notes and a line a round are shown, the rest is not."""

    def __init__(self, outer: Watch, measure: str) -> None:
        self.outer, self.measure = outer, measure

    def progress(self, what: str, total: int) -> Tick:
        """See `evokd.watch.Watch`."""
        return self.outer.progress(what, total)

    def note(self, text: str) -> None:
        """See `evokd.watch.Watch`."""
        self.outer.note(text)

    def round(self, result: Any) -> None:
        """See `evokd.watch.Watch`."""
        spent = tokens(result["tokens"])
        gold = result["test"] or result["gold_dev"]
        back = ", rolled back" if result["rolled_back"] else ""
        self.outer.note(
            f"round {result['round']}: {result['kept']} texts kept, {spent:,} tokens so far,"
            f" {MEASURES[self.measure]} {gold[self.measure]:.3f}{back}"
        )


def _heard(task: Task, folder: Path, first: Path) -> tuple[Path, str]:
    """Return the folder of the run that a cell hears, and how the scopes start that it hears."""
    if (arm := LIKE.get(task.loop.arm)) is not None:
        other = folder.with_name(f"{arm}-{task.loop.seed}")
        if result_of(other) is not None:
            return other, EVERY_ROUND
    return first, FIRST_ROUND


def _opener(
    task: Task, open_model: OpenTeacher | None, other: Path, scope: str
) -> OpenTeacher | None:
    """Return what opens a cell's teacher, which says again what another cell heard.

    What it says costs as much of a budget of tokens as if it had been asked. Not where time is the
    budget: who need not wait for an answer would have more of it.
    """
    if task.budget.minutes is not None or result_of(other) is None:
        return open_model

    def open_heard() -> Teacher:
        teacher = open_model() if open_model else open_teacher(task.teacher)
        with reading(RunFiles(other).ledger) as ledger:
            return Heard(teacher, ledger, scope)

    return open_heard
