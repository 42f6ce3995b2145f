"""What a run will take, from a pilot: calls, tokens and minutes, and what that rests on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from evokd.arms import ARMS, arm_of
from evokd.holdout import BATCHES, conversations, may_go_on
from evokd.kinds import kind_of
from evokd.measured import Cost, Fit, Measured, Trial
from evokd.noise import FOLDS
from evokd.planning import COVER_REPLY
from evokd.recipe import least_steps
from evokd.selection import selects_by_gold
from evokd.task import Task, TaskData

WRITING = {"cover", "even cover", "blind cover", "paraphrases"}
FEEDBACK = {"mistakes", "confident mistakes"}
"""Parts of an arm that hold conversations; the pilot tries cover and mistakes."""
POOL = {"pool", "random pool"}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a run: what it takes, and the texts that it gives to training or to the gate."""

    name: str
    cost: Cost
    kept: int = 0


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run is expected to take.

    Attributes:
        parts: in the order of the run; training costs seconds only.
        assumptions: what the figures rest on, a sentence each.
    """

    parts: tuple[Part, ...]
    assumptions: tuple[str, ...]

    @property
    def total(self) -> Cost:
        """All parts together."""
        return sum((part.cost for part in self.parts), Cost())


def forecast(task: Task, data: TaskData, measured: Measured) -> Forecast:
    """Return what the run of a task will take with its settings as they are."""
    measured = _even(measured)
    first, later, rounds = _within(task, *_loop(task, data, measured))
    gate = _gate(task, measured.cover, first.cost + later.cost)
    parts = [first, later, gate]
    if measured.fit:
        seconds = _training(task, data, measured.fit, first.kept, later.kept, rounds)
        parts.append(Part("training the student", Cost(seconds=seconds)))
    return Forecast(tuple(parts), tuple(_assumptions(task, data, measured, gate.kept, rounds)))


def _loop(task: Task, data: TaskData, measured: Measured) -> tuple[Part, Part]:
    """Return the first round and all later ones, were there no budget."""
    rounds, cover = _rounds(task), measured.cover
    # Where none of its texts has a label there was nothing to try feedback on.
    feedback = measured.feedback if measured.feedback.conversations else cover
    first, covers, talks = _conversations(task, data)
    pools = [_labelled(measured, texts) for texts in _pools(task, data)]
    sure = [round(texts * measured.sure.value) for texts in _pools(task, data)]
    return (
        Part(
            "covering every label",
            _written(cover, first) + pools[0],
            _kept(cover, cover.kept, first) + sure[0],
        ),
        Part(
            f"{rounds} rounds of feedback",
            _written(cover, covers * rounds) + _written(feedback, talks * rounds) + pools[1],
            _kept(cover, cover.kept, covers * rounds)
            + _kept(feedback, feedback.kept, talks * rounds)
            + sure[1],
        ),
    )


def _rounds(task: Task) -> int:
    """Return the rounds behind the first; an arm that asks for nothing has none."""
    return task.loop.rounds if ARMS[task.loop.arm].parts else 0


def _within(task: Task, first: Part, later: Part) -> tuple[Part, Part, int]:
    """Cut both where a budget of tokens ends the loop; return how many rounds there are, too."""
    cap, rounds = task.budget.tokens, _rounds(task)
    if cap is None or first.cost.tokens + later.cost.tokens <= cap:
        return first, later, rounds
    first = _cut(first, cap)
    left = cap - first.cost.tokens
    rounds = math.ceil(rounds * left / max(1, later.cost.tokens))
    return first, replace(_cut(later, left), name=f"{rounds} of {later.name}"), rounds


def _cut(part: Part, tokens: int) -> Part:
    share = min(1.0, tokens / max(1, part.cost.tokens))
    return replace(part, cost=part.cost.times(share), kept=round(part.kept * share))


def _conversations(task: Task, data: TaskData) -> tuple[int, int, int]:
    """Return those of the first round, and of a later one without and with feedback."""
    loop, labels = task.loop, len(task.names)
    wanted = ARMS[loop.arm].teacher and not selects_by_gold(task, data)
    dev = task.selection.texts if wanted else 0
    first = loop.cover if WRITING & {*arm_of(task, 0).parts} else 0
    parts = {*ARMS[loop.arm].parts}
    talks = loop.conversations if FEEDBACK & parts else 0
    # The empty-wrong rule: conversations that no feedback fills cover labels.
    covers = loop.quota + loop.conversations - talks if WRITING & parts else 0
    return labels * math.ceil((first + dev) / COVER_REPLY), covers, talks


def _pools(task: Task, data: TaskData) -> tuple[int, int]:
    """Return the unlabelled texts that the first round labels, and all later ones together."""
    most, texts = task.loop.pool, len(data.unlabeled)
    first = min(most, texts) if POOL & {*arm_of(task, 0).parts} else 0
    later = most * task.loop.rounds if POOL & {*ARMS[task.loop.arm].parts} else 0
    return first, min(later, texts - first)


def _even(measured: Measured) -> Measured:
    """Give every labelling the pace of all together: single ones are short, and vary."""
    cover, feedback = measured.cover, measured.feedback
    everything = measured.labelling + cover.labelling + feedback.labelling
    pace = everything.seconds / max(1, everything.calls)

    def paced(cost: Cost) -> Cost:
        return replace(cost, seconds=cost.calls * pace)

    return replace(
        measured,
        cover=replace(cover, labelling=paced(cover.labelling)),
        feedback=replace(feedback, labelling=paced(feedback.labelling)),
        labelling=paced(measured.labelling),
    )


def _written(trial: Trial, conversations: int) -> Cost:
    return _each(trial.writing + trial.labelling, conversations, trial.conversations)


def _labelled(measured: Measured, texts: int) -> Cost:
    return _each(measured.labelling, texts, measured.gold.of)


def _each(cost: Cost, wanted: int, tried: int) -> Cost:
    return cost.times(wanted / tried) if tried else Cost()


def _kept(trial: Trial, texts: int, conversations: int) -> int:
    return round(conversations * texts / trial.conversations) if trial.conversations else 0


def _gate(task: Task, cover: Trial, rest: Cost) -> Part:
    """Ask in batches until there are enough, as `evokd.holdout` does."""
    wanted, have, asked = task.export.gate_texts, 0, 0
    for _ in range(BATCHES):
        if have >= wanted or not may_go_on(task, _written(cover, asked).tokens, rest.tokens):
            break
        each = conversations(wanted - have, labels=len(task.names))
        asked += each * len(task.names)
        have = _kept(cover, cover.agreed, asked)
    return Part("texts for the gate", _written(cover, asked), have)


def _training(task: Task, data: TaskData, fit: Fit, first: int, later: int, rounds: int) -> float:
    """Return the seconds of all trainings and of the answers that they are scored by."""
    loop, student = task.loop, task.student
    anchor = loop.anchor * (len(data.seed) + len(kind_of(task).definitions()))
    each = later / max(1, rounds)
    least = least_steps(task.kind)

    def fitting(texts: float, epochs: int) -> float:
        steps = epochs * math.ceil(texts / student.batch_size)
        return fit.start + fit.step * max(least, steps)

    seconds = fitting(len(data.seed), student.final_epochs)
    sequential = loop.training == "sequential"
    for number in range(rounds + 1):
        newest = each if number else first
        if sequential and number:  # on the new texts, from the student of the round before
            steps = student.epochs * math.ceil(newest * loop.repeat / student.batch_size)
            seconds += fit.start + fit.step * steps
        else:
            again = newest * (loop.repeat - 1) if number or sequential else 0
            seconds += fitting(anchor + first + each * number + again, student.epochs)
        # Every round is scored on all gold texts, and tested on its new ones.
        seconds += fit.answer * (len(data.dev) + len(data.test) + newest)
    everything = anchor + first + later
    if task.method.noise == "out-of-fold":
        seconds += FOLDS * fitting(everything * (FOLDS - 1) / FOLDS, student.epochs)
    return seconds + (0 if sequential else fitting(everything, student.final_epochs))


def _assumptions(
    task: Task, data: TaskData, measured: Measured, gate: int, rounds: int
) -> list[str]:
    cover, loop, budget = measured.cover, task.loop, task.budget
    made = [
        f"a conversation gives {cover.texts / max(1, cover.conversations):.1f} texts, of which"
        f" {cover.kept / max(1, cover.texts):.0%} are kept; late rounds repeat more and keep fewer",
        "the machine stays as busy as it was in the pilot",
        f"{rounds} of {_rounds(task)} rounds are begun before the budget is spent"
        if rounds < _rounds(task)
        else f"all {rounds} rounds are run; without a better dev score for"
        f" {task.selection.patience} of them the run ends earlier"
        if rounds
        else f"the arm {loop.arm} asks for no texts",
        "export, gate, nano student and latency table are not counted: a minute or two",
    ]
    if measured.fit is None:
        made.append("training is not counted: it was not timed")
    if gate < task.export.gate_texts:
        made.append(
            f"the gate gets {gate} texts of {task.export.gate_texts}: few are kept, or the budget"
            " is small"
        )
    if not {*ARMS[loop.arm].parts} <= {"mistakes", "cover", "pool"}:
        made.append(f"what the arm {loop.arm} asks costs what cover and feedback cost")
    if task.method.demonstrations:
        made.append("the pilot labels without similar examples; the run shows them and reads more")
    if task.student.layers or task.student.words:
        made.append("making the student smaller is not counted: about as long as a training")
    if budget.minutes or budget.examples:
        made.append("budget.minutes and budget.examples are not counted: they may end it earlier")
    return made
