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

from evokd.answers import names_in, read_spans
from evokd.arms import ARMS
from evokd.comparison import MEASURES, compared, write_page
from evokd.errors import InputError
from evokd.examples import Example
from evokd.formats.jsonl import write
from evokd.heard import Heard
from evokd.kinds import kind_of
from evokd.learner import EncoderLearner
from evokd.ledger import reading
from evokd.paired import counts, ratio
from evokd.run import OpenTeacher, open_run
from evokd.runfiles import RunFiles
from evokd.shots import sample_shots
from evokd.stages import Stages
from evokd.task import Task, TaskData, load_data
from evokd.teacher import Teacher, open_teacher
from evokd.watch import Silent, Tick, Watch

UNTIL_SPENT = 100  # rounds, and rounds without a better dev score: the budget ends a run before
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
        InputError: for an arm that there is not, for a task without gold texts to score on, and
            for a folder whose runs were begun with other settings.
    """
    data = load_data(task)
    _check(contest, data)
    contest = replace(contest, tokens=contest.tokens or task.budget.tokens)
    cells = [(seed, arm) for seed in range(1, contest.seeds + 1) for arm in contest.arms]
    for number, (seed, arm) in enumerate(cells, start=1):
        if _result(out / f"{arm}-{seed}") is None:
            watch.stage(f"{arm}, seed {seed} ({number} of {len(cells)})")
        run_cell(
            cell_task(task, contest, arm=arm, seed=seed, data=data, out=out),
            out,
            first=contest.arms[0],
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
    out: Path,
    *,
    first: str,
    watch: Watch,
    open_model: OpenTeacher | None = None,
    learner: EncoderLearner | None = None,
) -> dict[str, Any]:
    """Run one cell as far as it is not run yet, and return what it came to.

    Args:
        task: of `cell_task`.
        first: the arm whose cell of the same seed lets this one hear its first answers again.
    """
    arm, seed = task.loop.arm, task.loop.seed
    folder = out / f"{arm}-{seed}"
    inside = _Inside(watch, _measure(task))
    # Opened though it may be finished: that checks that it is the same comparison.
    opener = _opener(task, open_model, out / f"{first}-{seed}")
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
    them spend the same. Where there is no test file and dev is what scores, dev decides nothing.
    """
    changes: dict[str, Any] = {"loop": {"arm": arm, "seed": seed}, "selection": {}}
    if not data.test:
        changes["selection"]["by"] = "teacher"
    if contest.tokens is not None:
        changes["budget"] = {"tokens": contest.tokens}
    if contest.tokens is not None:  # an arm without a teacher makes `loop.rounds` of texts
        changes["selection"]["patience"] = UNTIL_SPENT
        if ARMS[arm].teacher:
            changes["loop"]["rounds"] = max(task.loop.rounds, UNTIL_SPENT)
    if contest.shots is not None:
        path = out / f"seed-{seed}.jsonl"
        out.mkdir(parents=True, exist_ok=True)
        drawn = sample_shots(data.seed, kind_of(task), shots=contest.shots, seed=seed)
        _write(path, write(drawn, task.kind))
        changes["data"] = {"seed": path}
    return task.model_copy(
        update={n: getattr(task, n).model_copy(update=c) for n, c in changes.items()}
    )


def scored(stages: Stages) -> dict[str, Any]:
    """Score a cell's final student, and read from its ledger what it cost on the way."""
    on, gold = gold_texts(stages.data)
    student = stages.learner.load(stages.files.student)
    kind = kind_of(stages.task)
    said = kind.predictions(student.predict([example.text for example in gold]))
    counted = counts(
        [_facts(stages.task, example.label) for example in gold],
        [_facts(stages.task, one.predicted) for one in said],
    )
    measure = _measure(stages.task)
    results = stages.ledger.results()
    field = "test" if on == "test" else "gold_dev"
    spent = [r["tokens"]["tokens_in"] + r["tokens"]["tokens_out"] for r in results]
    curve = [
        [tokens, r[field][measure]]
        for tokens, r in zip(spent, results, strict=True)
        if not r["rolled_back"]
    ]
    before = stages.ledger.stage("seed_only")["fine_tuned"][on][measure]
    return {
        "on": on,
        "measure": measure,
        "score": ratio(counted),
        "counts": counted.astype(int).tolist(),
        "tokens": max(spent, default=0),
        "curve": [[0, before], *curve],
        "kept": len(stages.ledger.rows(split="train")),
        "rounds": len(results) - 1,
    }


def gold_texts(data: TaskData) -> tuple[str, Sequence[Example]]:
    """Return the texts that score and the name of their file: test, else dev."""
    return ("test", data.test) if data.test else ("dev", data.dev)


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
        tokens = result["tokens"]["tokens_in"] + result["tokens"]["tokens_out"]
        gold = result["test"] or result["gold_dev"]
        back = ", rolled back" if result["rolled_back"] else ""
        self.outer.note(
            f"round {result['round']}: {result['kept']} texts kept, {tokens:,} tokens so far,"
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


def _measure(task: Task) -> str:
    """Return which of `Scores` is compared."""
    return "accuracy" if task.kind == "classification" else "micro_f1"


def _facts(task: Task, answer: str) -> Sequence[Any]:
    """Return what an answer says: its labels, or of entities every span with its type."""
    return read_spans(answer) if task.kind == "ner" else names_in(answer, task.kind)


def _write(path: Path, text: str) -> None:
    aside = path.with_suffix(".part")
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)
