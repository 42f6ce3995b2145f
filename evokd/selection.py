"""Who decides which rounds are rolled back, and when the loop ends. Reads data and ledger alone.

These are the user's dev texts, or texts that the teacher wrote and that were held out. Where there
are neither (an arm without a teacher, one that had too few texts, or a teacher whose labels are not
to be trusted), rounds are scored on the seed examples, which every student was trained on: that
never ends a loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from evokd.arms import ARMS
from evokd.examples import Example
from evokd.ledger import Ledger
from evokd.records import Row
from evokd.task import Task, TaskData
from evokd.trust import agreement, doubtful

Judge = Literal["gold dev", "teacher-made dev", "the seed examples"]
SEEDS: Final = "the seed examples"
FINAL: Final = "final"
ALONE: Final = "seeds and definitions"
"""Final students: of all that is kept, and of no text of the teacher. A round's has its name."""


def selects_by_gold(task: Task, data: TaskData) -> bool:
    """Say whether the user's dev file decides which rounds are rolled back."""
    return task.selection.by == "gold" or (task.selection.by == "auto" and bool(data.dev))


def learnt(ledger: Ledger) -> list[Row]:
    """Return the teacher's texts that the final student was trained on; before that, all kept."""
    chosen = (ledger.stage("final") or {"chosen": FINAL})["chosen"]
    if chosen == ALONE:
        return []
    kept = ledger.rows(split="train")
    if chosen == FINAL:
        return kept
    return [row for row in kept if row.round <= int(chosen.removeprefix("round "))]


@dataclass(frozen=True)
class Selection:
    """What decides in one run, as far as its ledger has come."""

    task: Task
    data: TaskData
    ledger: Ledger

    @property
    def by_gold(self) -> bool:
        """Whether the user's dev file decides."""
        return selects_by_gold(self.task, self.data)

    @property
    def by(self) -> Judge:
        """What decides, in words for reports."""
        if self.by_gold:
            return "gold dev"
        held_out = self.ledger.labels("dev") and not self.doubt()
        return "teacher-made dev" if held_out else SEEDS

    def dev(self) -> list[Example]:
        """Return the examples that decide."""
        if self.by_gold:
            return list(self.data.dev)
        if self.by == SEEDS:
            return list(self.data.seed)
        return [row.example for row in self.ledger.rows(split="dev")]

    def agreement(self) -> dict[str, float]:
        """Return how far the teacher is trusted, label by label; {} where all count alike."""
        counts = self._trusts_by_labels and self.task.kind == "classification"
        return agreement(self.ledger.rows()) if counts else {}

    def doubt(self) -> str:
        """Say why the teacher is not to be trusted at all, by its labels of its first texts; or "".

        It is then asked no further, and nothing of it trains the final student. "" where the user's
        dev file decides, which tells that better.
        """
        if self.by_gold or not self._trusts_by_labels or self.task.kind == "multilabel":
            return ""
        return doubtful(self.task, self.ledger.rows(round=0))

    @property
    def _trusts_by_labels(self) -> bool:
        arm = ARMS[self.task.loop.arm]
        return self.task.method.trust and arm.checked and not arm.weighed

    def best_round(self) -> int:
        """Return the round with the best dev score, the later of equals."""
        results = self.ledger.results()
        best = max(results, key=lambda r: (r["dev"]["macro_f1"], r["round"]))
        return int(best["round"])

    def is_flat(self) -> bool:
        """Say whether the score on held-out texts has not risen for `selection.patience` rounds."""
        scores = [r["dev"]["macro_f1"] for r in self.ledger.results()]
        first_best = scores.index(max(scores))
        waited = len(scores) - 1 - first_best
        return waited >= self.task.selection.patience and self.by != SEEDS
