"""Replaying a finished ledger: the same data set again, from its calls, without the model."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from evokd.calls import Calls
from evokd.errors import InputError
from evokd.gathering import known_texts
from evokd.holdout import write_gate_texts
from evokd.ledger import Ledger
from evokd.loop import Loop
from evokd.noise import NOISY
from evokd.records import Row
from evokd.task import Task, TaskData
from evokd.watch import Silent


def replay(ledger: Ledger) -> list[Row]:
    """Make a run's texts again from its recorded calls, prompts built and replies parsed anew.

    Raises:
        ReplayMiss: when a call that is needed is not in the ledger.
        InputError: when the ledger holds no run.
    """
    task, data = recorded_task(ledger)
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
    loop = Loop(task, data, ledger=fresh, calls=calls, learner=None, folder=Path(), watch=Silent())
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
    task = Task.model_validate({**record["settings"], "data": {"seed": "seed"}})
    return task, TaskData.from_json(texts)


def data_set(rows: Sequence[Row]) -> str:
    """Return the kept texts as JSON lines: text, label, soft, split and where it came from."""
    return "".join(
        json.dumps(
            {
                "text": row.example.text,
                "label": row.example.label,
                "soft": row.example.soft,
                "split": row.split,
                "evokd_round": row.round,
                "evokd_origin": row.example.origin,
                "evokd_call": row.call,
            },
            ensure_ascii=False,
        )
        + "\n"
        for row in rows
        if row.split
    )
