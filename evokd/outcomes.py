"""What a round came to, as it stands in the ledger, the report and the summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from evokd.diversity import diversity
from evokd.examples import Example
from evokd.gathering import missed, scores_of
from evokd.kinds import kind_of
from evokd.ledger import Ledger
from evokd.lessons import Fitted
from evokd.seeds import derive
from evokd.task import Task, TaskData


def outcome(
    task: Task,
    data: TaskData,
    *,
    ledger: Ledger,
    number: int,
    student: Fitted,
    dev: Sequence[Example],
    trained: int,
) -> dict[str, Any]:
    """Return counts, hits of the teacher's expectation, scores and tokens of a round.

    Args:
        dev: the examples that decide; a fall of its score rolls the round back.
        trained: how many examples the student was trained on.
    """
    stage = ledger.stage(f"round {number} texts")
    rows = ledger.rows(round=number)
    texts = [row.example.text for row in rows if row.split]

    def scored(examples: Sequence[Example]) -> Any:
        return scores_of(student, examples, kind_of(task)) if examples else None

    on_dev = scored(dev)
    before = [r["dev"]["macro_f1"] for r in ledger.results() if not r["rolled_back"]]
    worse = bool(before) and on_dev["macro_f1"] < max(before) - task.selection.tolerance
    return {
        "round": number,
        "written": len(rows),
        "kept": sum(row.split is not None for row in rows),
        "dropped": dict(Counter(row.reason for row in rows if row.reason)),
        "rejects": stage["rejects"],
        "weaknesses": stage["weaknesses"],
        "diversity": diversity(texts, seed=derive(task.loop.seed, "diversity", number)),
        "missed": missed(ledger.tested(number)),
        "trained_on": trained,
        "dev": on_dev,
        "gold_dev": scored(data.dev),
        "test": scored(data.test),
        "tokens": ledger.call_totals(),
        "rolled_back": worse,
    }
