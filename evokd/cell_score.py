"""What a finished cell of a comparison came to: its score on gold texts, and its cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evokd.answers import items_in
from evokd.examples import Example
from evokd.kinds import kind_of
from evokd.paired import counts, ratio
from evokd.spending import tokens
from evokd.stages import Stages
from evokd.task import Task, TaskData
from evokd.trust import was_labelled

FED = ("hard", "easy", "pool")
"""Origins of the texts that an arm with feedback asks for because of what its student says."""


def scored(stages: Stages) -> dict[str, Any]:
    """Score a cell's final student, and read from its ledger what it cost on the way."""
    on, gold = gold_texts(stages.data)
    student = stages.learner.load(stages.files.student)
    kind = kind_of(stages.task)
    said = kind.predictions(student.predict([example.text for example in gold]))
    counted = counts(
        [items_in(example.label, stages.task.kind) for example in gold],
        [items_in(one.predicted, stages.task.kind) for one in said],
    )
    measure = measure_of(stages.task)
    results = stages.ledger.results()
    field = "test" if on == "test" else "gold_dev"
    spent, rows = [tokens(r["tokens"]) for r in results], stages.ledger.rows()
    curve = [
        [so_far, r[field][measure]]
        for so_far, r in zip(spent, results, strict=True)
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
        "kept": sum(row.split == "train" for row in rows),
        # One that the budget left without a label taught nothing.
        "rounds": sum(r["written"] > r["dropped"].get("budget", 0) for r in results[1:]),
        "fed": len({row.round for row in rows if row.example.origin in FED and was_labelled(row)}),
        "ended": stages.ledger.stage("loop")["ended"],
        "useless": stages.ledger.stage("round 0 texts").get("useless", ""),
        "doubted": bool("doubt" in (stages.ledger.stage("final") or {})),
    }


def gold_texts(data: TaskData) -> tuple[str, Sequence[Example]]:
    """Return the texts that score and the name of their file: test, else dev."""
    return ("test", data.test) if data.test else ("dev", data.dev)


def measure_of(task: Task) -> str:
    """Return which of `Scores` is compared."""
    return "accuracy" if task.kind == "classification" else "micro_f1"
