"""Replaying a finished ledger: the same data set again, from its calls, without the model."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from evokd.answers import KindName
from evokd.calls import Calls
from evokd.errors import InputError, ReplayMiss
from evokd.formats import conll, jsonl
from evokd.gathering import known_texts
from evokd.holdout import write_gate_texts
from evokd.ledger import Ledger
from evokd.loop import VERSION, WAY, Loop
from evokd.noise import NOISY
from evokd.records import Row
from evokd.task import Task, TaskData
from evokd.taskfile import explained
from evokd.watch import Silent

Form = Literal["jsonl", "conll", "hf"]


def replay(ledger: Ledger) -> list[Row]:
    """Make a run's texts again from its recorded calls, prompts built and replies parsed anew.

    Raises:
        ReplayMiss: when a call that is needed is not in the ledger.
        InputError: when the ledger holds no run.
    """
    task, data = recorded_task(ledger)
    if ledger.meta("run").get(WAY) != VERSION:
        raise ReplayMiss(
            "another version of evokd made this run, and planned or read otherwise",
            "replay it with that version",
        )
    with tempfile.TemporaryDirectory() as folder:
        fresh = Ledger(Path(folder) / "replay.db")
        try:
            fresh.copy_calls(ledger)
            calls = Calls(fresh, None)
            _rounds(ledger, fresh, calls, task, data)
            if ledger.stage("gate_texts") is not None:
                write_gate_texts(task, data, fresh, calls, known_texts(data, fresh), Silent())
            return fresh.rows()
        finally:
            fresh.close()


def _rounds(ledger: Ledger, fresh: Ledger, calls: Calls, task: Task, data: TaskData) -> None:
    loop = Loop(
        task, data, ledger=fresh, calls=calls, learner=None, folder=Path(), watch=Silent(),
        refuses=False,  # a round that has a result was not refused
    )  # fmt: skip
    for result in ledger.results():
        number = int(result["round"])
        plan = ledger.plan(number)
        fresh.set_plan(number, plan)
        loop.collect(number, plan)
        if result["rolled_back"]:
            fresh.roll_back(number)
    if noise := ledger.stage("noise"):
        fresh.drop(noise["dropped"], NOISY)


def recorded_task(ledger: Ledger) -> tuple[Task, TaskData]:
    """Return the task and the texts that a run was begun with, from its ledger alone.

    Raises:
        InputError: when the ledger holds no run.
    """
    record, texts = ledger.meta("run"), ledger.meta("data")
    if record is None or texts is None:
        raise InputError(f"{ledger.path}: holds no run", "give the folder of a run")
    try:
        task = Task.model_validate({**record["settings"], "data": {"seed": "seed"}})
    except ValidationError as invalid:
        raise explained(str(ledger.path), invalid, Task) from None
    return task, TaskData.from_json(texts)


def data_set(rows: Sequence[Row], kind: KindName, form: Form = "jsonl") -> str:
    """Return the kept texts as they are read again (see `evokd.formats`).

    Args:
        form: "jsonl": text, answer, soft, split and where it came from; "hf": the same with tokens
            and ner_tags for the answer; "conll": tokens and tags alone. The last two are of
            entities.
    """
    kept = [row for row in rows if row.split]
    if form == "conll":
        return conll.write(row.example for row in kept)
    return "".join(json.dumps(_record(row, kind, form), ensure_ascii=False) + "\n" for row in kept)


def _record(row: Row, kind: KindName, form: Form) -> dict[str, object]:
    example = row.example
    if form == "hf":
        answer = jsonl.tags_of(example)
    else:
        answer = jsonl.answer_of(example, kind) | {"soft": example.soft}
    source = {"evokd_round": row.round, "evokd_origin": example.origin, "evokd_call": row.call}
    return {"text": example.text} | answer | {"split": row.split} | source
