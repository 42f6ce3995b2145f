"""A pilot: a teacher is tried on a task before tokens are spent on a run.

It labels what gold there is (seed and dev, never test), writes a little of what a run would have
it write, and labels that. All by the loop's own functions, through `Calls`, so that a second pilot
in the same ledger asks nothing again; what it took is kept there too. One of a changed task asks
what is new, and takes over only what the change leaves as it was. `evokd.fitness` judges what
is measured, `evokd.forecast` makes of it what a run will take.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from statistics import median
from typing import Any, TypeVar

import numpy as np

from evokd.arms import PARTS, Proposed, View
from evokd.calls import Calls, Scope
from evokd.examples import Example
from evokd.feedback import SHOW_RIGHT, SHOW_WRONG, groups
from evokd.gathering import gather, known_texts, relabelled, remember
from evokd.kinds import kind_of
from evokd.labelling import prior_lacks
from evokd.ledger import Ledger
from evokd.lessons import Learner
from evokd.measured import Cost, Fit, Measured, Share, Trial
from evokd.planning import Planner
from evokd.records import ASKED, RELABELLED, Prediction, Row
from evokd.replies import FAULTS
from evokd.seeds import derive
from evokd.task import Task, TaskData
from evokd.teacher import TOO_LONG, Generate, Score, Scored, Teacher, Written
from evokd.trust import agreed_on, kappa, was_labelled
from evokd.watch import Tick, Watch, steps
from evokd.wording import Seen

MOST_SEEDS, MOST_DEV = 64, 96  # gold texts that are labelled: an interval of about 0.16 for 160
GROUPS = 8  # groups of feedback that are tried
FITTED, STEPS = 128, 16  # texts and steps of the timed training
BACKWARD = 3  # times as long as answering takes training: forward, and twice as much backward
Clock = Callable[[], float]
Reply = TypeVar("Reply", Written, Scored)


class Enough(Exception):
    """Enough steps of a training are timed: it ends here."""


class Counted(Calls):
    """Calls that count what they give, recorded or made now. `given` has no seconds."""

    def __init__(self, ledger: Ledger, open_model: Callable[[], Teacher] | None) -> None:
        super().__init__(ledger, open_model)
        self.given = Cost()

    def generate(
        self, scope: Scope, requests: Sequence[Generate], on_call: Tick | None = None
    ) -> list[Written]:
        """See `Calls`."""
        return self._counted(super().generate(scope, requests, on_call))

    def score(
        self, scope: Scope, requests: Sequence[Score], on_call: Tick | None = None
    ) -> list[Scored]:
        """See `Calls`."""
        return self._counted(super().score(scope, requests, on_call))

    def check_teacher(self) -> None:
        """Open the model, and refuse one that the recorded calls are not of."""
        _ = self.teacher

    def _counted(self, replies: list[Reply]) -> list[Reply]:
        for reply in replies:
            self.given += Cost(1, reply.tokens_in, reply.tokens_out, reply.decoded)
        return replies


@dataclass(frozen=True)
class Pilot:
    """A pilot at work: what its steps share. `clock` gives seconds that only grow."""

    task: Task
    data: TaskData
    calls: Counted
    watch: Watch
    clock: Clock

    def measure(self, learner: Learner | None = None) -> Measured:
        """Try the teacher, and the training of a student where there is a learner for it."""
        self._meet()
        # First: it tells the teacher's prior, without which a run labels what comes later.
        cover, rows = self._trial("cover", self._cover_plan())
        if note := prior_lacks(self.task, self.calls.ledger):
            self.watch.note(note)
        own, beyond_chance = agreed_on(rows), kappa(rows, kind_of(self.task).labels_in)
        gold = self._gold()
        texts = [example.text for example in gold]
        labelled, labelling = self._timed("gold", lambda: self._label("gold", texts))
        pairs = [Seen(e.text, e.label, said.label) for e, said in zip(gold, labelled, strict=True)]
        feedback, more = self._trial("feedback", self._feedback_plan(rows), rows)
        rows += more
        doubted = sum(bool(said.reason) for said in labelled) + sum(map(_doubted, rows))
        reached = len(labelled) + sum(map(was_labelled, rows))
        kind = kind_of(self.task)
        # An answer that could not be read is wrong, and takes no label for another.
        wrong = Counter(kind.confusion(s) for s in pairs if s.predicted and not s.right)
        return Measured(
            teacher=self.calls.ledger.meta("teacher")["name"],
            gold=Share(sum(seen.right for seen in pairs), len(pairs)),
            sure=Share(reached - doubted, reached),
            confused=tuple((*pair, count) for pair, count in wrong.most_common()),
            cover=cover,
            feedback=feedback,
            labelling=labelling,
            fit=self._fit(learner, rows) if learner else None,
            own=own,
            kappa=beyond_chance,
        )

    def _meet(self) -> None:
        """Ask something first: opening a model takes time that belongs to no step.

        Raises:
            TeacherError: when the ledger holds the pilot of another model, of which none of the
                calls would be made again, so that nobody would notice.
        """
        ledger, model = self.calls.ledger, self.task.teacher.model
        if ledger.meta("pilot teacher") not in (None, model):
            self.calls.check_teacher()
        (said,) = self._label("warm up", [self.data.seed[0].text])
        if said.reason == TOO_LONG:  # it, or the labels alone
            self.calls.check(kind_of(self.task).questions("a"))
        ledger.set_meta("pilot teacher", model)

    def _label(self, what: str, texts: Sequence[str]) -> Any:
        kind = kind_of(self.task)
        return kind.label(self.calls, f"pilot {what}", texts, self.watch.progress)

    def _gold(self) -> list[Example]:
        """Return the gold texts that are tried; never one of test."""
        rng = np.random.default_rng(derive(self.task.loop.seed, "pilot"))
        chosen = []
        for examples, most in ((self.data.seed, MOST_SEEDS), (self.data.dev, MOST_DEV)):
            chosen += [examples[i] for i in rng.permutation(len(examples))[:most]]
        return chosen

    def _cover_plan(self) -> dict[str, Any]:
        """Plan as many conversations as are decoded side by side, and one a label at least.

        Without a text of most labels there is no prior to take out of the teacher's answers (see
        `evokd.prior`): the pilot would try a worse teacher than the run has.
        """
        planner = Planner(self.task, self.data, self.calls.ledger, 0, (), _nothing, _nothing)
        plan = planner.plan(("cover",))
        wide = max(self.task.teacher.side_by_side, len(self.task.names))
        wide = min(wide, sum(plan["cover"].values()))
        shares = Counter(self.task.names[i % len(self.task.names)] for i in range(wide))
        return {**plan, "cover": dict(shares)}

    def _feedback_plan(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Plan feedback on mistakes that no student has made yet: five wrong for three right."""
        kept = [row for row in rows if row.split]
        kept = kept or [Row(0, example, "train") for example in self.data.seed]
        answers = list(dict.fromkeys(row.example.label for row in kept)) + self.task.names
        counts: Counter[str] = Counter()
        tested = []
        for row in kept:
            right = row.example.label
            counts[right] += 1
            fails = (counts[right] - 1) % (SHOW_WRONG + SHOW_RIGHT) < SHOW_WRONG
            said = self._other(answers, right) if fails else right
            tested.append((row, Prediction(said, 0.5, 0.1)))
        most = min(GROUPS, self.task.loop.conversations)
        method = self.task.method
        made = groups(tested, most, kind_of(self.task), correct=method.correct)
        return {"groups": [g.to_json() for g in made], "at_once": not method.analysis}

    def _other(self, answers: Sequence[str], right: str) -> str:
        """Return a wrong answer: nothing at all, where an answer may be that."""
        if self.task.kind != "classification":
            return "[]"
        return next(a for a in answers if a != right)

    def _trial(
        self, name: str, plan: Mapping[str, Any], before: Sequence[Row] = ()
    ) -> tuple[Trial, list[Row]]:
        """Have texts written as planned, and labelled; return what came and what became of it."""
        view = View(self.task, self.calls, f"pilot {name}", plan, self.watch.progress)
        write = PARTS["mistakes" if plan["groups"] else "cover"]
        proposed, writing = self._timed(name, lambda: write(view))
        known = known_texts(self.data, self.calls.ledger)
        remember(known, before)
        rows, labelling = self._timed(
            f"labels of {name}", lambda: gather(view, 0, proposed.texts, known, dev=0)
        )
        rows = relabelled(self.task, rows)
        held = len(plan["groups"]) or sum(plan.get("cover", {}).values())
        return Trial(
            conversations=held,
            parsed=_parsed(proposed, held),
            texts=len(rows),
            labelled=sum(map(was_labelled, rows)),
            kept=sum(row.split is not None for row in rows),
            agreed=sum(bool(row.split) and row.example.origin != RELABELLED for row in rows),
            writing=writing,
            labelling=labelling,
        ), list(rows)

    def _timed(self, scope: str, work: Callable[[], Any]) -> tuple[Any, Cost]:
        """Do a step; return its result and what it took, now or when its calls were made."""
        ledger, name = self.calls.ledger, f"pace {scope}"
        calls, given, began = ledger.call_totals()["calls"], self.calls.given, self.clock()
        result = work()
        seconds, made = self.clock() - began, ledger.call_totals()["calls"] - calls
        if made:
            ledger.set_meta(name, seconds / made)
        took = self.calls.given - given
        return result, replace(took, seconds=took.calls * (ledger.meta(name) or 0.0))

    def _fit(self, learner: Learner, rows: Sequence[Row]) -> Fit:
        """Train a student on a little, and time it; the time is kept with what it depends on."""
        ledger, student = self.calls.ledger, self.task.student.model_dump(mode="json")
        # The labels too: what texts they get says how long these are.
        about = {name: getattr(self.task, name) for name in ("kind", "domain", "labels")}
        known = ledger.meta("cost of training")
        if known and known.get("of") == student | about:
            return Fit(**known["fit"])
        kept = [replace(r.example, origin="pilot") for r in rows if r.split]
        examples = (kept + list(self.data.seed) * FITTED)[:FITTED]
        tick, ends, began = steps(self.watch, "timing a training"), [], self.clock()

        def on_step(done: int, total: int) -> None:
            ends.append(self.clock())
            tick(done, min(total, STEPS))
            if done >= STEPS:
                raise Enough

        with suppress(Enough):
            learner.fit(examples, epochs=1, seed=0, on_step=on_step)
        # The median: the first steps are slow, and so is any step on a machine that is busy then.
        step = median(b - a for a, b in pairwise(ends)) if len(ends) > 1 else 0.0
        answer = step / (BACKWARD * self.task.student.batch_size)
        fit = Fit(max(0.0, ends[0] - began - step), step, answer)
        ledger.set_meta("cost of training", {"of": student | about, "fit": asdict(fit)})
        return fit


def _nothing(texts: Sequence[str]) -> Any:
    """Stand where a plan of the first round asks no student."""
    raise AssertionError(texts)


def _doubted(row: Row) -> bool:
    """Say whether a text was labelled and its labelling was not to be trusted."""
    return was_labelled(row) and row.reason not in (None, ASKED)


def _parsed(proposed: Proposed, conversations: int) -> Share:
    """Count replies that could be read: lists of texts, and analyses where there were any."""
    refused = sum(n for why, n in proposed.rejects.items() if why not in FAULTS)
    named = sum(bool(patterns) for patterns in proposed.weaknesses)
    replies = conversations + len(proposed.weaknesses)
    return Share(conversations - refused + named, replies)
