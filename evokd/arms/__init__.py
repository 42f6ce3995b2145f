"""Ways to spend the teacher's tokens. An arm is `propose(view) -> Proposed`: it asks for texts.

Labelling, curation, the budget and training belong to the loop and are the same for every arm.
An arm first says all that it will show (`view.plan`, in the ledger before the first call), so a
round that was interrupted asks the same questions again. What an arm does in a round is made of
parts; `evokd.planning` plans each of them, and each asks for what is planned of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evokd.arms.cover import COVER_TEXTS, cover_requests, covered
from evokd.arms.edits import edited
from evokd.arms.mistakes import analysis_requests, feedback_texts, writing_requests
from evokd.arms.paraphrases import paraphrase_requests, paraphrased
from evokd.arms.view import SURPLUS, Proposal, Proposed, View, joined
from evokd.task import Task
from evokd.teacher import Generate

__all__ = [
    "ARMS", "COVER_TEXTS", "SURPLUS", "Arm", "Proposal", "Proposed", "View", "arm_of", "covered",
    "planned_requests",
]  # fmt: skip


def pooled(view: View) -> Proposed:
    """Hand over the user's texts in the plan's `pool`; the teacher labels them."""
    texts = view.plan.get("pool", ())
    return Proposed(tuple(Proposal(text, "pool", None, "pool") for text in texts))


PARTS: dict[str, Callable[[View], Proposed]] = {
    "mistakes": feedback_texts,
    "confident mistakes": feedback_texts,
    "cover": covered,
    "even cover": covered,
    "blind cover": covered,
    "paraphrases": paraphrased,
    "edits": edited,
    "pool": pooled,
    "random pool": pooled,
}
"""What arms are made of. The parts of an arm that are planned alike have one function."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A way to spend the teacher's tokens.

    Attributes:
        about: what a watcher is told that its rounds do.
        parts: of PARTS, what it does in a round.
        starts_by_init: whether its first round is the one that `method.init` names; else it
            begins as it goes on.
        teacher: whether it asks a teacher at all.
        checked: whether the teacher is asked for the labels of its texts.
        weighed: whether its texts are weighed before training (`evokd.sungen`).
    """

    about: str
    parts: tuple[str, ...]
    starts_by_init: bool = False
    teacher: bool = True
    checked: bool = True
    weighed: bool = False

    def __call__(self, view: View) -> Proposed:
        """Ask for the texts of a round, as it is planned."""
        return joined(PARTS[part](view) for part in self.parts)


# static is the paper's static distillation (arXiv 2403.06414): the same prompts, no feedback:
# neither the student nor what became of texts decides what it asks. The others are after PGKD
# (2411.05045), AugGPT (2302.13007), ZeroGen (2202.07922), SunGen (2205.12679) and EDA (1901.11196);
# what each leaves out of its source stands where its part is.
ARMS = {
    "evokd": Arm(
        "learning from mistakes",
        ("mistakes", "cover", "pool"),
        starts_by_init=True,
    ),
    "static": Arm(
        "covering every label",
        ("even cover", "random pool"),
        starts_by_init=True,
    ),
    "pgkd": Arm(
        "learning from the surest mistakes",
        ("confident mistakes", "cover", "pool"),
        starts_by_init=True,
    ),
    "auggpt": Arm(
        "the seeds in other words",
        ("paraphrases",),
        checked=False,
    ),
    "zerogen": Arm(
        "covering every label, unchecked",
        ("blind cover",),
        checked=False,
    ),
    "sungen": Arm(
        "covering every label, unchecked",
        ("blind cover",),
        checked=False,
        weighed=True,
    ),
    "eda": Arm("editing the seeds", ("edits",), teacher=False, checked=False),
    "pool": Arm("labelling your least sure texts", ("pool",)),
    "pool-random": Arm("labelling any of your texts", ("random pool",)),
    "seed-only": Arm("the seed examples alone", (), teacher=False),
}

INITS = {
    "cover": Arm("covering every label", ("cover",)),
    "paraphrase": Arm("the seeds in other words", ("paraphrases",)),
    "none": Arm("the seed examples alone", ()),
}
"""The first rounds that `method.init` names."""


def arm_of(task: Task, number: int) -> Arm:
    """Return what proposes the texts of a round."""
    arm = ARMS[task.loop.arm]
    return INITS[task.method.init] if number == 0 and arm.starts_by_init else arm


def planned_requests(view: View) -> list[tuple[str, Sequence[Generate]]]:
    """Return the requests that a plan alone decides, each step's with the step's name."""
    asked: list[tuple[str, Sequence[Generate]]] = [
        ("cover", [request for _, request in cover_requests(view)]),
        ("paraphrase", paraphrase_requests(view)),
    ]
    if view.plan.get("at_once"):
        return [*asked, ("write", writing_requests(view))]
    return [("analyse", analysis_requests(view)), *asked]
