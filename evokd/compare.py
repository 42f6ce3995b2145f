"""The same task by several arms and seeds, each a run of its own, at the same budget.

An arm with a seed is a cell: one run folder, up to its final student, which is scored on gold
texts that no run may look at. A cell that is there is not run again, and one that was stopped goes
on, so the same command fills what is missing.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from evokd.arms import ARMS
from evokd.cell_score import gold_texts, measure_of, scored
from evokd.comparison import MEASURES, compared, write_page
from evokd.curate import check_apart
from evokd.errors import InputError
from evokd.examples import Example
from evokd.formats.jsonl import write
from evokd.heard import Heard
from evokd.kinds import kind_of
from evokd.learner import EncoderLearner
from evokd.ledger import reading
from evokd.planning import COVER_REPLY
from evokd.run import OpenTeacher, check_folder, check_models, open_run
from evokd.runfiles import RunFiles
from evokd.shots import sample_shots
from evokd.spending import tokens
from evokd.task import Task, TaskData, explained, load_data
from evokd.teacher import Teacher, open_teacher
from evokd.watch import Silent, Tick, Watch

UNTIL_SPENT = 100  # rounds, and rounds without a better dev score: the budget ends a run before
UNCHECKED = 8  # texts without a label asked for cost about as many tokens as one with its label
FIRST_ROUND = "round 0/"


@dataclass(frozen=True, slots=True)
class Contest:
    """What is compared.

    Attributes:
        arms: names of `evokd.arms.ARMS`; the first is measured against each of the others.
        seeds: runs an arm, with the seeds from 1 on.
        tokens: that each run may spend; None is the task's own `budget.tokens`. Without either,
            rounds end a run as they always do, and the arms may differ in their cost.
        shots: seed examples a label that each run gets, drawn by its seed; None gives it all.
    """

    arms: tuple[str, ...]
    seeds: int = 5
    tokens: int | None = None
    shots: int | None = None


def compare(
    task: Task,
    contest: Contest,
    out: Path,
    *,
    watch: Watch,
    open_model: OpenTeacher | None = None,
    learner: EncoderLearner | None = None,
) -> dict[str, Any]:
    """Run the cells that are missing; write compare.json and compare.html into `out`.

    Raises:
        EvokdError: before anything is run or written, for what no cell, or any one, can be run
            with: an arm that there is not or that the task does not fit, no gold texts to score
            on, a model that cannot be used, a folder that was begun otherwise.
    """
    data = load_data(task)
    contest = replace(contest, tokens=contest.tokens or task.budget.tokens)
    _check(contest, data)
    if open_model is None:
        check_models(task)
    _check_cells(task, contest, data, out)
    cells = [(seed, arm) for seed in range(1, contest.seeds + 1) for arm in contest.arms]
    for number, (seed, arm) in enumerate(cells, start=1):
        if _result(out / f"{arm}-{seed}") is None:
            watch.stage(f"{arm}, seed {seed} ({number} of {len(cells)})")
        draw_seeds(task, contest, seed=seed, data=data, out=out)
        run_cell(
            cell_task(task, contest, arm=arm, seed=seed, data=data, out=out),
            out / f"{arm}-{seed}",
            first=out / f"{contest.arms[0]}-{seed}",
            watch=watch,
            open_model=open_model,
            learner=learner,
        )
    results = {
        arm: [_result(out / f"{arm}-{seed}") for seed in range(1, contest.seeds + 1)]
        for arm in contest.arms
    }
    record = compared(results, tokens=contest.tokens, shots=contest.shots)
    _write(out / "compare.json", json.dumps({"task": task.name, **record}, indent=2) + "\n")
    write_page(out / "compare.html", task, record)
    return record


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

    Args:
        task: of `cell_task`, behind `draw_seeds`.
        folder: of its run.
        first: of another run of the same seed, whose first answers this one hears again.
    """
    inside = _Inside(watch, measure_of(task))
    # Opened though it may be finished: that checks that it is the same comparison.
    opener = _opener(task, open_model, first)
    with open_run(task, folder, watch=inside, open_model=opener, learner=learner) as stages:
        if (done := stages.ledger.stage("compared")) is None:
            stages.train()
            done = scored(stages)
            stages.ledger.finish_stage("compared", done)
            shutil.rmtree(folder / "rounds", ignore_errors=True)
    made: dict[str, Any] = done
    return made


def cell_task(
    task: Task, contest: Contest, *, arm: str, seed: int, data: TaskData, out: Path
) -> Task:
    """Return the task of one cell; the cells differ in arm and seed.

    With a budget of tokens nothing else ends the run of an arm that asks a teacher, so that all of
    them spend the same; an arm that has no labels checked, whose texts are cheap and look at no
    student, spends it in large rounds, or it would train a hundred students where others train
    ten. Where there is no test file and dev is what scores, dev decides nothing.
    """
    changes: dict[str, Any] = {"loop": {"arm": arm, "seed": seed}, "selection": {}}
    if not data.test:
        changes["selection"]["by"] = "teacher"
    if contest.tokens is not None:
        changes["budget"] = {"tokens": contest.tokens}
        changes["selection"]["patience"] = UNTIL_SPENT
        if ARMS[arm].teacher:  # one without makes `loop.rounds` of texts
            changes["loop"]["rounds"] = max(task.loop.rounds, UNTIL_SPENT)
            if not ARMS[arm].checked and task.kind != "ner":  # entities are always asked for
                changes["loop"] |= _large_rounds(task)
    if contest.shots is not None:
        changes["data"] = {"seed": _seed_file(out, seed)}
    return task.model_copy(
        update={n: getattr(task, n).model_copy(update=c) for n, c in changes.items()}
    )


def _large_rounds(task: Task) -> dict[str, int]:
    """Return settings of `loop` with which every round is as large as the first."""
    cover = UNCHECKED * task.loop.cover
    return {"cover": cover, "conversations": len(task.names) * -(-cover // COVER_REPLY)}


def draw_seeds(task: Task, contest: Contest, *, seed: int, data: TaskData, out: Path) -> None:
    """Write the seed examples that the cells of a seed have, where they are drawn.

    Raises:
        InputError: when the file is there and holds others; it is left as it is.
    """
    if contest.shots is None:
        return
    path, examples = _seed_file(out, seed), _drawn(task, contest, data, seed).seed
    _check_drawn(path, examples, task)
    if not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        _write(path, write(examples, task.kind))


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


def _check(contest: Contest, data: TaskData) -> None:
    for arm in contest.arms:
        if arm not in ARMS:
            raise InputError(f"there is no arm '{arm}'", f"the arms are {', '.join(ARMS)}")
    if len(set(contest.arms)) < max(2, len(contest.arms)):
        raise InputError("one arm is no comparison", "for example: --arms evokd,static")
    if not gold_texts(data)[1]:
        raise InputError(
            "the task has no gold texts to score on",
            "give data.test (or data.dev): labelled texts that no run may look at",
        )


def _check_cells(task: Task, contest: Contest, data: TaskData, out: Path) -> None:
    """Refuse what a cell would be refused for when its turn came; reads only."""
    for arm in contest.arms:
        load_data(_of_arm(task, arm))
    for seed in range(1, contest.seeds + 1):
        mine = _drawn(task, contest, data, seed)
        check_apart(mine)
        if contest.shots is not None:
            _check_drawn(_seed_file(out, seed), mine.seed, task)
        for arm in contest.arms:
            cell = cell_task(task, contest, arm=arm, seed=seed, data=data, out=out)
            check_folder(RunFiles(out / f"{arm}-{seed}"), cell, mine)


def _of_arm(task: Task, arm: str) -> Task:
    """Return the task with another arm, to which its settings must fit."""
    try:
        loop = task.loop.model_dump() | {"arm": arm}
        return Task.model_validate(task.model_dump() | {"loop": loop})
    except ValidationError as invalid:
        raise explained(task.name, invalid) from None


def _drawn(task: Task, contest: Contest, data: TaskData, seed: int) -> TaskData:
    """Return the texts of a seed's cells."""
    if contest.shots is None:
        return data
    shots = sample_shots(
        data.seed, kind_of(task), shots=contest.shots, seed=seed, barred=(*data.test, *data.dev)
    )
    return data.model_copy(update={"seed": tuple(shots)})


def _seed_file(out: Path, seed: int) -> Path:
    return out / f"seed-{seed}.jsonl"


def _check_drawn(path: Path, examples: Sequence[Example], task: Task) -> None:
    if path.exists() and path.read_bytes() != write(examples, task.kind).encode("utf-8"):
        raise InputError(
            f"{path}: holds other seed examples than are drawn now", "give --out a new folder"
        )


def _result(folder: Path) -> Any:
    """Return what a cell came to, or None while it is not finished."""
    path = RunFiles(folder).ledger
    if not path.exists():
        return None
    try:
        with reading(path) as ledger:
            return ledger.stage("compared")
    except InputError:  # killed before it had tables; or no ledger, which opening the run tells
        return None


def _opener(task: Task, open_model: OpenTeacher | None, other: Path) -> OpenTeacher | None:
    """Return what opens a cell's teacher, which says again what the seed's first cell heard.

    Not where time is the budget: who need not wait for an answer would have more of it.
    """
    if task.budget.minutes is not None or _result(other) is None:
        return open_model

    def open_heard() -> Teacher:
        teacher = open_model() if open_model else open_teacher(task.teacher)
        with reading(RunFiles(other).ledger) as ledger:
            return Heard(teacher, ledger, FIRST_ROUND)

    return open_heard


def _write(path: Path, text: str) -> None:
    aside = path.with_suffix(".part")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)
