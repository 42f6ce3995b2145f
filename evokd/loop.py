"""The EvoKD loop (Liu et al. 2024, arXiv 2403.06414): analyse, write, label, test, then train.

Round 0 covers every label with texts written from the seed examples; a fixed part of them is held
out as dev when the user gives none. Every later round shows the teacher what the student got
right and wrong on the round before. `run_round` is the paper's figure; each step leaves a record
in the ledger and is skipped when its record is there. What a round asks for is the arm's business
(`evokd.arms`), what it shows the plan's (`evokd.planning`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evokd import lessons
from evokd.arms import ARMS, Arm, View, arm_of, planned_requests
from evokd.arms.attributes import ask_attributes
from evokd.arms.cover import cover_requests
from evokd.arms.view import APART
from evokd.beginning import USELESS, notes, useless, useless_start
from evokd.calls import Calls
from evokd.cleaning import clean
from evokd.errors import ReplayMiss, TeacherError
from evokd.examples import Example
from evokd.gathering import gather, known_texts, relabelled, remember, within, written_apart
from evokd.kinds import kind_of
from evokd.ledger import Ledger
from evokd.lessons import Learner
from evokd.likeness import sure
from evokd.outcomes import outcome
from evokd.planning import Planner
from evokd.prior import STAGE
from evokd.records import Row
from evokd.seeds import derive
from evokd.selection import Selection
from evokd.students import Students
from evokd.task import Task, TaskData
from evokd.watch import Watch, steps

WAY, VERSION = "way of working", "4"
"""Of how rounds are planned, replies are read, and students trained: a run that another one began
would mix what both make."""


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
        refuses: bool = True,  # a start of which nothing can be used; else it ends the loop
    ) -> None:
        self.task, self.data, self.refuses = task, data, refuses
        self.ledger, self.calls, self.watch = ledger, calls, watch
        self._learner = learner
        self.students = Students(ledger, folder / "rounds", lambda where: self.learner.load(where))
        self.kind = kind_of(task)
        self.selection = Selection(task, data, ledger)
        self.known = known_texts(data, ledger)

    @property
    def learner(self) -> Learner:
        """What trains; a replay has none and must not need it."""
        if self._learner is None:
            raise ReplayMiss("the ledger lacks a student's answers", "replay a finished run")
        return self._learner

    def run(self) -> None:
        """Run the rounds that are left; a loop that has ended stays ended."""
        if self.ledger.stage("loop") is None:
            self.ledger.finish_stage("loop", {"ended": self._rounds()})
        clean(self)

    def _rounds(self) -> str:
        """Run rounds until there is a reason to end, and return it."""
        for number in range(self.task.loop.rounds + 1):
            if self.ledger.result(number) is None:
                # What was begun is finished; the first is always begun, and says what it lacks.
                new = number > 0 and self.ledger.plan(number) is None
                if new and (why := self.spent() or self.in_vain()):
                    return self._ended(why)
                self.run_round(number)
            if self.selection.is_flat():
                return self._ended("the dev score has not risen for long enough")
            if self.is_dry(number):
                return "the arm has nothing more to ask for"
        return "all rounds are run"

    def _ended(self, why: str) -> str:
        lacks = "" if self.ledger.labels("train") else ", and no text was kept to train on"
        self.watch.note(f"{why}{lacks}: the loop ends here")
        return why

    def run_round(self, number: int) -> None:
        """Run one round: plan, write, label, keep, test the student, and only then train it."""
        self.watch.stage(f"round {number}: {arm_of(self.task, number).about}")
        plan = self.plan(number)
        self.collect(number, plan)
        self.test(number)
        self.train(number)

    # -- the steps of a round -----------------------------------------------------------------

    def plan(self, number: int) -> Any:
        """Decide what the round shows; in the ledger, with its prompts, before the first call."""
        if (known := self.ledger.plan(number)) is not None:
            return known
        if number == 0:
            self._check_teacher()
            self._ask_attributes()
        parts, dev = arm_of(self.task, number).parts, self._dev_texts(number)
        apart = "cover" not in parts
        planner = Planner(
            self.task, self.data, self.ledger, number, self.known,
            lambda texts: self.kind.predictions(self.students.latest().predict(texts)),
            lambda texts: self.learner.embed(texts),
            held_out=0 if apart else dev,
        )  # fmt: skip
        plan = planner.plan(parts, dev=dev if apart else 0)
        with self.ledger.transaction():
            self.ledger.set_plan(number, plan)
            for view in (self._view(number, plan), self._dev_view(plan)):
                for step, requests in planned_requests(view):
                    self.calls.reserve(f"{view.scope}/{step}", requests)
        return plan

    def collect(self, number: int, plan: Mapping[str, Any]) -> None:
        """Ask the arm for texts, label them, and record all of them, kept or dropped."""
        done = self.ledger.stage(f"round {number} texts") or self._collected(number, plan)
        if done["weaknesses"]:
            self.watch.weaknesses(done["weaknesses"])

    def _collected(self, number: int, plan: Mapping[str, Any]) -> dict[str, Any]:
        counts: Counter[str] = Counter()  # of what is refused
        prior = self.ledger.stage(STAGE)
        apart = self._held_out(number, plan, counts)
        view = self._view(number, plan)
        proposed = arm_of(self.task, number)(view)
        counts.update(proposed.rejects)
        dev = 0 if plan.get("dev") else self._dev_texts(number)
        rows = gather(
            view, number, proposed.texts, self.known, dev=dev, like=self._sure(), counts=counts
        )
        rows = within(self.kind, relabelled(self.task, rows), self._examples_left())
        if number == 0 and (reject := (self.ledger.stage("attributes") or {}).get("reject")):
            counts[f"attributes: {reject}"] += 1
        done = {"weaknesses": proposed.weaknesses, "rejects": dict(counts)}
        if number == 0 and (helps := useless(rows, proposed)):
            if self.refuses:
                raise TeacherError(USELESS, helps)
            self.watch.note(useless_start(self.task, helps))
            done["useless"] = helps
        with self.ledger.transaction():
            self.ledger.add_rows([*apart, *rows])
            self.ledger.finish_stage(f"round {number} texts", done)
        remember(self.known, rows)
        for note in notes(self.task, self.ledger, number, [*apart, *rows], prior=prior):
            self.watch.note(note)
        return done

    def _held_out(self, number: int, plan: Mapping[str, Any], counts: Counter[str]) -> list[Row]:
        """Have texts for dev written apart, where the round's own are not held out."""
        if not plan.get("dev"):
            return []
        with self.calls.part_of_budget(APART):
            apart = written_apart(self._dev_view(plan), number, self.known, "dev", counts)
        remember(self.known, apart)
        return apart

    def test(self, number: int) -> None:
        """Test the student on the round's texts before it is trained on them."""
        rows = self.ledger.rows(round=number, split="train")
        if not rows or self.ledger.tested(number):
            return
        outputs = self.students.behind(number - 1).predict([row.example.text for row in rows])
        with self.ledger.transaction():
            self.ledger.add_predictions(number, self.kind.predictions(outputs))

    def train(self, number: int) -> None:
        """Train on all that is kept, the new texts repeated; or on the new texts alone."""
        sequential = self.task.loop.training == "sequential"
        if number and sequential:
            start = self.students.behind(number - 1)
            own = [*self.data.seed, *self.kind.definitions()]
            rows = self.ledger.rows(split="train")
            examples = lessons.new_alone(self.task, own, rows, number)
        else:
            # Were the first texts held twice, their student would be trained for longer than any
            # after it, and the next rounds be rolled back for that.
            start = None
            examples = self.training_set(newest=number if number or sequential else -1)
        # A round may have kept nothing; the student then goes on as it is.
        student = start
        began = self.ledger.clock()
        if examples or student is None:
            student = self.learner.fit(
                examples,
                epochs=self.task.student.epochs,
                seed=derive(self.task.loop.seed, "train", number),
                on_step=steps(self.watch, "training the student"),
                start=start,
                weights=self.weights(examples),
            )
        student.save(self.students.folder(number))
        self.calls.keep_free(self.ledger.clock() - began)
        result = outcome(
            self.task, self.data, ledger=self.ledger, number=number, student=student,
            dev=self.selection.dev(), trained=len(examples),
        )  # fmt: skip
        with self.ledger.transaction():
            if result["rolled_back"]:
                self.ledger.roll_back(number)
            self.ledger.finish_round(number, result)
        self.students.forget(but=self.selection.best_round())
        self.watch.round(result)

    # -- what the steps need ------------------------------------------------------------------

    def own(self) -> list[Example]:
        """Return seeds and definitions: what a student learns without a text of the teacher."""
        return lessons.everything(self.task, self.data.seed, self.kind, [])

    def training_set(self, newest: int = -1) -> list[Example]:
        """Return seeds, definitions and all kept texts; those of round `newest` repeated."""
        rows = self.ledger.rows(split="train")
        return lessons.everything(self.task, self.data.seed, self.kind, rows, newest=newest)

    def weights(self, examples: Sequence[Example]) -> list[float] | None:
        """Return how much each example counts; None for all alike."""
        if not self._arm.weighed:
            return None
        return lessons.learned_weights(self.task, self.learner, examples)

    def spent(self) -> str:
        """Say why the budget allows no new round; "" while it does."""
        if self.calls.spent():
            return "the budget is spent"
        if self._examples_left() == 0:
            return "as many texts are kept as the budget allows"
        return ""

    def in_vain(self) -> str:
        """Say why the teacher is not worth asking any further; "" where it is."""
        if self.ledger.stage("round 0 texts").get("useless"):
            return USELESS
        return "the teacher hardly knows these labels" if self.selection.doubt() else ""

    def is_dry(self, number: int) -> bool:
        """Say whether a round wrote nothing because its arm has nothing more to ask for."""
        result = self.ledger.result(number)
        begun = number > 0 or not self._arm.parts
        return begun and not result["written"] and not result["rejects"]

    def _view(self, number: int, plan: Mapping[str, Any]) -> View:
        return View(self.task, self.calls, f"round {number}", plan, self.watch.progress)

    def _dev_texts(self, number: int) -> int:
        wanted = number == 0 and not self.selection.by_gold and self._arm.teacher
        return self.task.selection.texts if wanted else 0

    @property
    def _arm(self) -> Arm:
        return ARMS[self.task.loop.arm]

    def _dev_view(self, plan: Mapping[str, Any]) -> View:
        shown = {name: plan[name] for name in ("examples", "styles") if name in plan}
        asked = {"cover": plan.get("dev", {}), **shown}
        return View(self.task, self.calls, "round 0/dev", asked, self.watch.progress)

    def _check_teacher(self) -> None:
        """Refuse a teacher whose context has no place for the labels, before it is asked."""
        if self._arm.teacher:
            view = self._view(0, {"cover": dict.fromkeys(self.task.names, 1), "blind": True})
            covering = [request for _, request in cover_requests(view)]
            self.calls.check([*self.kind.questions("a"), *covering])

    def _ask_attributes(self) -> None:
        wanted = self.task.method.attributes and self._arm.teacher
        if wanted and self.ledger.stage("attributes") is None:
            self.ledger.finish_stage("attributes", ask_attributes(self._view(0, {})))

    def _examples_left(self) -> int | None:
        """Return how many training texts may still be kept; None where there is no cap."""
        most = self.task.budget.examples
        return None if most is None else max(0, most - len(self.ledger.rows(split="train")))

    def _sure(self) -> list[Example]:
        if not self.task.method.demonstrations:
            return []
        kept = [r.example for r in self.ledger.rows(split="train")]
        return sure([*self.data.seed, *kept], self.task)
