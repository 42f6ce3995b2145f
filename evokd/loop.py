"""The EvoKD loop (Liu et al. 2024, arXiv 2403.06414): analyse, write, label, test, then train.

Round 0 covers every label with texts written from the seed examples; a fixed part of them is held
out as dev when the user gives none. Every later round shows the teacher what the student got
right and wrong on the round before. `run_round` is the paper's figure; each step leaves a record
in the ledger and is skipped when its record is there.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from evokd.arms import ARMS, Proposal, View, analysis_requests, cover_requests
from evokd.calls import Calls
from evokd.errors import ReplayMiss, TeacherError
from evokd.examples import Example
from evokd.gathering import gather, known_texts, missed, predictions, remember, scores_of
from evokd.ledger import Ledger
from evokd.planning import cover_plan, feedback_plan, least_sure
from evokd.seeds import derive
from evokd.task import Task, TaskData
from evokd.watch import Watch, steps

OnStep = Callable[[int, int], None]


class Fitted(Protocol):
    """A trained student."""

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """Return probabilities [texts, labels] in the task's order."""
        ...

    def save(self, folder: Path) -> None:
        """Write the student, whole or not at all."""
        ...


class Learner(Protocol):
    """What trains students for one task, always from the pretrained weights."""

    def fit(
        self, examples: Sequence[Example], *, epochs: int, seed: int, on_step: OnStep
    ) -> Fitted:
        """Train a new student."""
        ...

    def load(self, folder: Path) -> Fitted:
        """Read a student that was saved."""
        ...


def selects_by_gold(task: Task, data: TaskData) -> bool:
    """Say whether the user's dev file decides which round is kept."""
    return task.selection.by == "gold" or (task.selection.by == "auto" and bool(data.dev))


def definition_examples(task: Task) -> list[Example]:
    """Return the definitions as texts of their labels: a sentence encoder reads meaning in them."""
    named = [(f"{name.replace('_', ' ')}: {about}", name) for name, about in task.labels.items()]
    plain = [(about, name) for name, about in task.labels.items()]
    return [Example(text, name, "definition") for text, name in named + plain if task.labels[name]]


class Loop:
    """A run's loop, whose state is the ledger and the folder of students."""

    def __init__(
        self,
        task: Task,
        data: TaskData,
        *,
        ledger: Ledger,
        calls: Calls,
        learner: Learner | None,
        folder: Path,
        watch: Watch,
    ) -> None:
        self.task, self.data, self.folder = task, data, folder
        self.ledger, self.calls, self.watch = ledger, calls, watch
        self._learner = learner
        self.gold_dev = selects_by_gold(task, data)
        self.known = known_texts(data, ledger)

    @property
    def learner(self) -> Learner:
        """What trains; a replay has none and must not need it."""
        if self._learner is None:
            raise ReplayMiss("the ledger lacks a student's answers", "replay a finished run")
        return self._learner

    def run(self) -> None:
        """Run the rounds that are left."""
        for number in range(self.task.loop.rounds + 1):
            if self.ledger.result(number) is None:
                self.run_round(number)
            if self.is_flat():
                self.watch.note("the dev score has not risen for long enough: the loop ends here")
                break

    def run_round(self, number: int) -> None:
        """Run one round: plan, write, label, keep, test the student, and only then train it."""
        title = "covering every label" if number == 0 else "learning from mistakes"
        self.watch.stage(f"round {number}: {title}")
        plan = self.plan(number)
        self.collect(number, plan)
        self.test(number)
        self.train(number)

    # -- the steps of a round -----------------------------------------------------------------

    def plan(self, number: int) -> Any:
        """Decide what the round shows; in the ledger, with its prompts, before the first call."""
        if (known := self.ledger.plan(number)) is not None:
            return known
        plan = self._feedback_plan(number) if number else self._cover_plan()
        view = self._view(number, plan)
        with self.ledger.transaction():
            self.ledger.set_plan(number, plan)
            self.calls.reserve(f"{view.scope}/analyse", analysis_requests(view))
            self.calls.reserve(f"{view.scope}/cover", [r for _, r in cover_requests(view)])
        return plan

    def collect(self, number: int, plan: Mapping[str, Any]) -> None:
        """Ask the arm for texts, label them, and record all of them, kept or dropped."""
        if (done := self.ledger.stage(f"round {number} texts")) is None:
            view = self._view(number, plan)
            arm = "static" if number == 0 else self.task.loop.arm
            proposed = ARMS[arm](view)
            texts = (*proposed.texts, *self._from_pool(plan))
            rows = gather(view, number, texts, self.known, dev=self._dev_texts(number))
            done = {"weaknesses": proposed.weaknesses, "rejects": proposed.rejects}
            if number == 0 and not any(row.split for row in rows):
                raise TeacherError(
                    "none of the teacher's first texts could be used", "take a larger model"
                )
            with self.ledger.transaction():
                self.ledger.add_rows(rows)
                self.ledger.finish_stage(f"round {number} texts", done)
            remember(self.known, rows)
        if done["weaknesses"]:
            self.watch.weaknesses(done["weaknesses"])

    def test(self, number: int) -> None:
        """Test the student on the round's texts before it is trained on them."""
        rows = self.ledger.rows(round=number, split="train")
        if not rows or self.ledger.tested(number):
            return
        probabilities = self._student(number - 1).predict([row.example.text for row in rows])
        with self.ledger.transaction():
            self.ledger.add_predictions(number, predictions(probabilities, self.task.names))

    def train(self, number: int) -> None:
        """Train from the pretrained weights on all that is kept, the new texts repeated."""
        examples = self.training_set(newest=number)
        student = self.learner.fit(
            examples,
            epochs=self.task.student.epochs,
            seed=derive(self.task.loop.seed, "train", number),
            on_step=steps(self.watch, "training the student"),
        )
        student.save(self.student_folder(number))
        result = self._result(number, student, len(examples))
        with self.ledger.transaction():
            if result["rolled_back"]:
                self.ledger.roll_back(number)
            self.ledger.finish_round(number, result)
        self._forget_students()
        self.watch.round(result)

    # -- what the steps need ------------------------------------------------------------------

    def training_set(self, newest: int = -1) -> list[Example]:
        """Return seeds, definitions and all kept texts; those of round `newest` repeated."""
        kept = [*self.data.seed, *definition_examples(self.task)] * self.task.loop.anchor
        for row in self.ledger.rows(split="train"):
            kept += [row.example] * (self.task.loop.repeat if row.round == newest else 1)
        return kept

    def dev(self) -> list[Example]:
        """Return the examples that decide: the user's dev file, or held-out written texts."""
        if self.gold_dev:
            return list(self.data.dev)
        held_out = [row.example for row in self.ledger.rows(split="dev")]
        return held_out or list(self.data.seed)

    def best_round(self) -> int:
        """Return the round with the best dev score, the later of equals."""
        results = self.ledger.results()
        best = max(results, key=lambda r: (r["dev"]["macro_f1"], r["round"]))
        return int(best["round"])

    def is_flat(self) -> bool:
        """Say whether the dev score has not risen for `selection.patience` rounds."""
        scores = [r["dev"]["macro_f1"] for r in self.ledger.results()]
        first_best = scores.index(max(scores))
        return len(scores) - 1 - first_best >= self.task.selection.patience

    def student_folder(self, number: int) -> Path:
        """Return where a round's student is; -1 is the one trained on the seed examples alone."""
        return self.folder / "rounds" / ("seed" if number < 0 else f"{number:02d}")

    def _student(self, number: int) -> Fitted:
        """Return a round's student; one of a round that was rolled back does not count."""
        while number >= 0 and self.ledger.result(number)["rolled_back"]:
            number -= 1
        return self.learner.load(self.student_folder(number))

    def _forget_students(self) -> None:
        """Remove students that no later step can ask for; each is as large as the encoder."""
        finished = [int(r["round"]) for r in self.ledger.results()]
        usable = [n for n in finished if not self.ledger.result(n)["rolled_back"]]
        needed = {*usable[-1:], self.best_round()}
        for number in finished:
            if number not in needed:
                shutil.rmtree(self.student_folder(number), ignore_errors=True)

    def _view(self, number: int, plan: Mapping[str, Any]) -> View:
        return View(self.task, self.calls, f"round {number}", plan, self.watch.progress)

    def _dev_texts(self, number: int) -> int:
        return 0 if number or self.gold_dev else self.task.selection.texts

    def _cover_plan(self) -> dict[str, Any]:
        return cover_plan(self.task, self.data, ledger=self.ledger, dev=self._dev_texts(0))

    def _feedback_plan(self, number: int) -> dict[str, Any]:
        pool = least_sure(
            self.data.unlabeled,
            ledger=self.ledger,
            known=self.known,
            most=self.task.loop.pool,
            predict=lambda texts: self._student(number - 1).predict(texts),
        )
        return feedback_plan(self.task, self.data, ledger=self.ledger, number=number, pool=pool)

    def _from_pool(self, plan: Mapping[str, Any]) -> list[Proposal]:
        return [Proposal(text, "pool", None, "pool") for text in plan["pool"]]

    def _result(self, number: int, student: Fitted, trained: int) -> dict[str, Any]:
        """Return what the round did: counts, hits of the teacher's expectation, scores, tokens."""
        stage = self.ledger.stage(f"round {number} texts")
        rows = self.ledger.rows(round=number)
        dev = self._scores(student, self.dev())
        before = [r["dev"]["macro_f1"] for r in self.ledger.results() if not r["rolled_back"]]
        worse = bool(before) and dev["macro_f1"] < max(before) - self.task.selection.tolerance
        return {
            "round": number,
            "written": len(rows),
            "kept": sum(row.split is not None for row in rows),
            "dropped": dict(Counter(row.reason for row in rows if row.reason)),
            "rejects": stage["rejects"],
            "weaknesses": stage["weaknesses"],
            "missed": missed(self.ledger.tested(number)),
            "trained_on": trained,
            "dev": dev,
            "gold_dev": self._scores(student, self.data.dev),
            "test": self._scores(student, self.data.test),
            "tokens": self.ledger.call_totals(),
            "rolled_back": worse,
        }

    def _scores(self, student: Fitted, examples: Sequence[Example]) -> Any:
        return scores_of(student, examples, self.task.names) if examples else None
