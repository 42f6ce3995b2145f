"""The same task by several arms and seeds, each a run of its own, at the same budget.

An arm with a seed is a cell: one run folder, up to its final student, which is scored on gold
texts that no run may look at. A cell that is there is not run again, and one that was stopped goes
on, so the same command fills what is missing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from evokd.arms import ARMS
from evokd.cell import begun_alike, in_order, result_of, run_cell
from evokd.cell_score import gold_texts
from evokd.comparison import compared, write_page
from evokd.curate import check_apart
from evokd.errors import InputError
from evokd.examples import Example
from evokd.formats.jsonl import write
from evokd.kinds import kind_of
from evokd.learner import EncoderLearner
from evokd.planning import COVER_REPLY
from evokd.run import OpenTeacher, check_folder, check_models
from evokd.runfiles import RunFiles
from evokd.shots import sample_shots
from evokd.task import Task, TaskData, load_data
from evokd.taskfile import explained
from evokd.watch import Watch
from evokd.writable import write_whole

UNTIL_SPENT = 100  # rounds, and rounds without a better dev score: the budget ends a run before
UNCHECKED = 8  # texts without a label asked for cost about as many tokens as one with its label


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
    drawn = {seed: _drawn(task, contest, data, seed) for seed in range(1, contest.seeds + 1)}
    _check_cells(task, contest, drawn, out)
    _tell_few(task, contest, drawn[1], watch)
    order = in_order(contest.arms)
    cells = [(seed, arm) for seed in drawn for arm in order]
    for number, (seed, arm) in enumerate(cells, start=1):
        if result_of(out / f"{arm}-{seed}") is None:
            watch.stage(f"{arm}, seed {seed} ({number} of {len(cells)})")
        _write_drawn(task, contest, drawn[seed], seed, out)
        run_cell(
            cell_task(task, contest, arm=arm, seed=seed, data=data, out=out),
            out / f"{arm}-{seed}",
            first=begun_alike(out, order, seed),
            watch=watch,
            open_model=open_model,
            learner=learner,
        )
    results = {
        arm: [result_of(out / f"{arm}-{seed}") for seed in range(1, contest.seeds + 1)]
        for arm in contest.arms
    }
    record = compared(results, tokens=contest.tokens, shots=contest.shots)
    write_whole(out / "compare.json", json.dumps({"task": task.name, **record}, indent=2) + "\n")
    write_page(out / "compare.html", task, record)
    return record


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
        InputError: when a label has none, or the file is there and holds others; it is left as it
            is.
    """
    _write_drawn(task, contest, _drawn(task, contest, data, seed), seed, out)


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


def _check_cells(task: Task, contest: Contest, drawn: Mapping[int, TaskData], out: Path) -> None:
    """Refuse what a cell would be refused for when its turn came; reads only."""
    for arm in contest.arms:
        load_data(_of_arm(task, arm))
    for seed, mine in drawn.items():
        check_apart(mine)
        if contest.shots is not None:
            _check_drawn(_seed_file(out, seed), mine.seed, task)
        for arm in contest.arms:
            cell = cell_task(task, contest, arm=arm, seed=seed, data=mine, out=out)
            check_folder(RunFiles(out / f"{arm}-{seed}"), cell, mine)


def _of_arm(task: Task, arm: str) -> Task:
    """Return the task with another arm, to which its settings must fit."""
    try:
        loop = task.loop.model_dump() | {"arm": arm}
        return Task.model_validate(task.model_dump() | {"loop": loop})
    except ValidationError as invalid:
        raise explained(task.name, invalid, Task) from None


def _drawn(task: Task, contest: Contest, data: TaskData, seed: int) -> TaskData:
    """Return the texts of a seed's cells.

    Raises:
        InputError: when a label has no seed example that may be drawn.
    """
    if contest.shots is None:
        return data
    shots = sample_shots(
        data.seed, kind_of(task), shots=contest.shots, seed=seed, barred=(*data.test, *data.dev)
    )
    have = _texts_of(task, shots)
    if none := [name for name in task.names if not have[name]]:
        gold = " or ".join(f"data.{part}" for part in ("test", "dev") if getattr(data, part))
        raise InputError(
            f"data.seed has no text of {', '.join(none)} to draw: each stands in {gold} too, or"
            " under another label",
            "give data.seed other texts, or take those out of the other file",
        )
    return data.model_copy(update={"seed": tuple(shots)})


def _tell_few(task: Task, contest: Contest, drawn: TaskData, watch: Watch) -> None:
    """Note which labels have fewer texts than are to be drawn: every run has all of them."""
    have, shots = _texts_of(task, drawn.seed), contest.shots or 0
    if few := [f"{name} ({have[name]})" for name in task.names if have[name] < shots]:
        watch.note(f"fewer than {shots} texts to draw of {', '.join(few)}: every run has them all")


def _texts_of(task: Task, examples: Sequence[Example]) -> Counter[str]:
    """Return how many examples each label stands in."""
    kind = kind_of(task)
    return Counter(label for example in examples for label in kind.labels_in(example.label))


def _write_drawn(task: Task, contest: Contest, drawn: TaskData, seed: int, out: Path) -> None:
    """Write the seed examples of a seed's cells, where they are drawn and not written yet."""
    if contest.shots is None:
        return
    path = _seed_file(out, seed)
    _check_drawn(path, drawn.seed, task)
    if not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        write_whole(path, write(drawn.seed, task.kind))


def _seed_file(out: Path, seed: int) -> Path:
    return out / f"seed-{seed}.jsonl"


def _check_drawn(path: Path, examples: Sequence[Example], task: Task) -> None:
    if path.exists() and path.read_bytes() != write(examples, task.kind).encode("utf-8"):
        raise InputError(
            f"{path}: holds other seed examples than are drawn now", "give --out a new folder"
        )
