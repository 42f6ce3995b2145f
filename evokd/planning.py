"""What a round will show the teacher, decided before its first call. Asks no model itself.

A plan is plain JSON in the ledger: feedback groups, cover conversations a label, examples that
prompts may show, unlabelled texts to be labelled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Sequence
from typing import Any

import numpy as np

from evokd.feedback import groups
from evokd.ledger import Ledger
from evokd.seeds import derive
from evokd.task import Task, TaskData

COVER_REPLY = 4  # texts that a cover conversation yields, as a round figure for planning
SHOWN = 4  # kept texts a label that prompts may show beside the seed examples
Predict = Callable[[Sequence[str]], np.ndarray]


def cover_plan(task: Task, data: TaskData, *, ledger: Ledger, dev: int) -> dict[str, Any]:
    """Plan round 0: every label gets its share of texts, `dev` of them to be held out."""
    count = -(-(task.loop.cover + dev) // COVER_REPLY)
    return {
        "groups": [],
        "cover": dict.fromkeys(task.names, count),
        "examples": _examples(task, data, ledger, 0),
        "pool": [],
    }


def feedback_plan(
    task: Task, data: TaskData, *, ledger: Ledger, number: int, pool: Sequence[str]
) -> dict[str, Any]:
    """Plan a later round: groups of mistakes, cover for weak labels, and the pool's texts.

    The empty-wrong rule: conversations that no mistake fills go to the weakest labels.
    """
    loop = task.loop
    tested = ledger.tested(number - 1)
    shown = [] if loop.arm == "static" else groups(tested, loop.conversations)
    spare = loop.quota + loop.conversations - len(shown)
    return {
        "groups": [g.to_json() for g in shown],
        "cover": dict(sorted(_shares(task, ledger, spare).items())),
        "examples": _examples(task, data, ledger, number),
        "pool": list(pool),
    }


def least_sure(
    texts: Sequence[str], *, ledger: Ledger, known: Container[str], most: int, predict: Predict
) -> list[str]:
    """Return the unlabelled texts that the student is least sure of, `most` at most.

    Args:
        known: texts that the run has already.
        predict: gives probabilities [texts, labels]; not called when nothing is left.
    """
    # Near-duplicates and leaks are dropped unlabelled; they must not come up every round.
    tried = {row.example.text for row in ledger.rows() if row.example.origin == "pool"}
    rest = [t for t in dict.fromkeys(texts) if t not in tried and t not in known]
    if not rest or not most:
        return []
    return [rest[i] for i in np.argsort(predict(rest).max(axis=1), kind="stable")[:most]]


def _shares(task: Task, ledger: Ledger, conversations: int) -> Counter[str]:
    """Share conversations among the labels: few texts and a low dev F1 come first."""
    last = ledger.results()[-1]["dev"]["per_label"]
    texts = Counter(row.example.label for row in ledger.rows(split="train"))
    shares: Counter[str] = Counter()

    def strength(name: str) -> float:
        return float((texts[name] + shares[name]) * (last[name]["f1"] + 0.1))

    for _ in range(conversations):
        shares[min(task.names, key=strength)] += 1
    return shares


def _examples(task: Task, data: TaskData, ledger: Ledger, number: int) -> dict[str, list[str]]:
    """Return what cover prompts may show: seed examples, later also a few kept texts."""
    shown = {n: [e.text for e in data.seed if e.label == n] for n in task.names}
    rng = np.random.default_rng(derive(task.loop.seed, "examples", number))
    kept = ledger.rows(split="train")
    for name in task.names if number else ():
        texts = [row.example.text for row in kept if row.example.label == name]
        shown[name] += [texts[i] for i in rng.permutation(len(texts))[:SHOWN]]
    return shown
