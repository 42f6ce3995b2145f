"""Texts for the gate: written and labelled like any other, but no student is trained on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from evokd.arms import View
from evokd.budget import loop_tokens
from evokd.calls import Calls
from evokd.curate import Known
from evokd.gathering import remember, written_apart
from evokd.kinds import kind_of
from evokd.ledger import Ledger
from evokd.planning import COVER_REPLY, texts_of
from evokd.spending import tokens
from evokd.task import Task, TaskData
from evokd.watch import Watch

GATE_ROUND = -1
BATCHES = 8  # after that a teacher has shown that it has nothing new to say
FEW = 200_000  # tokens that these texts may take, however few the loop took


def may_go_on(task: Task, taken: int, rest: int) -> bool:
    """Say whether a batch may be asked for: the gate takes as many tokens as the loop, at most.

    Of a teacher whose texts are hardly ever kept it would take many times as much. A loop may have
    been short for other reasons than thrift, so FEW are allowed, within a budget.

    Args:
        taken: tokens of the batches so far.
        rest: tokens of the loop.
    """
    return taken < max(rest, min(FEW, task.budget.tokens or FEW))


def write_gate_texts(
    task: Task, data: TaskData, ledger: Ledger, calls: Calls, known: Known, watch: Watch
) -> int:
    """Ask for texts in batches until there are `export.gate_texts`; returns how many there are.

    There are fewer where that would take more than `may_go_on` allows. Every batch is recorded when
    it is whole. The examples shown are kept training texts, a different choice in every batch, so
    that the texts vary.
    """
    wanted = task.export.gate_texts
    rest = loop_tokens(ledger)
    for number in range(BATCHES):
        have = len(ledger.rows(split="gate"))
        taken = sum(tokens(ledger.call_totals(f"gate {n}/")) for n in range(number))
        if have >= wanted or not may_go_on(task, taken, rest):
            break
        if ledger.stage(f"gate texts {number}") is not None:
            continue
        count = conversations(wanted - have, labels=len(task.names))
        plan = {
            "groups": [],
            "cover": dict.fromkeys(task.names, count),
            "examples": _examples(task, data, ledger, number),
        }
        view = View(task, calls, f"gate {number}", plan, watch.progress)
        counts: Counter[str] = Counter()
        rows = written_apart(view, GATE_ROUND, known, "gate", counts)
        with ledger.transaction():
            ledger.add_rows(rows)
            ledger.finish_stage(f"gate texts {number}", {"written": len(rows), "rejects": counts})
        remember(known, rows)
    return len(ledger.rows(split="gate"))


def conversations(texts: int, *, labels: int) -> int:
    """Return how many a label to ask for: some texts more than are missing, not all are kept."""
    return -(-texts * 6 // (5 * COVER_REPLY * labels))


def _examples(task: Task, data: TaskData, ledger: Ledger, number: int) -> Mapping[str, list[Any]]:
    kept = [row.example for row in ledger.rows(split="train")]
    kind, shown = kind_of(task), {}
    for name in task.names:
        texts = texts_of(kind, name, [*data.seed, *kept])
        shown[name] = texts[number :: max(1, len(texts) // 8)][:8] or texts
    return shown
