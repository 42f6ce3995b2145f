"""What is said of a run's first texts: whether any can be used, and what they do not tell."""

from __future__ import annotations

from collections.abc import Sequence

from evokd.arms import ARMS, Proposed
from evokd.labelling import prior_lacks
from evokd.ledger import Ledger
from evokd.prior import STAGE
from evokd.records import Row
from evokd.task import Task
from evokd.teacher import TOO_LONG
from evokd.trust import doubtful

USELESS = "none of the teacher's first texts could be used"


def useless(rows: Sequence[Row], proposed: Proposed) -> str:
    """Say what helps where a teacher wrote, or could not, and nothing is kept; "" where some is.

    That is whether the budget, the model or its context is at fault.
    """
    wrote = any(p.call for p in proposed.texts) or bool(proposed.rejects)
    if not wrote or any(row.split for row in rows):
        return ""
    reasons = {*proposed.rejects, *(row.reason for row in rows)}
    if reasons == {TOO_LONG}:
        return "give the teacher a larger context, and --out a new folder"
    return "raise the budget" if "budget" in reasons else "take a larger model"


def useless_start(task: Task, helps: str) -> str:
    """Tell which run begins with nothing, and what is left to train on."""
    who = f"{task.loop.arm}, seed {task.loop.seed}"
    return (
        f"{who}: {USELESS} ({helps}): its student is trained on seed examples and definitions alone"
    )


def notes(
    task: Task, ledger: Ledger, number: int, rows: Sequence[Row], *, prior: object
) -> list[str]:
    """Return what there is to say of a round's texts, once they are in the ledger.

    Args:
        rows: those of the round, held out or not.
        prior: what the ledger had of the teacher's prior before them.
    """
    made = [doubtful(task, rows)] if number == 0 else []
    now = ledger.stage(STAGE)
    scored = task.kind == "classification" and ARMS[task.loop.arm].checked
    if now != prior or (scored and now is None and number == 1):
        made.append(prior_lacks(task, ledger))
    return [note for note in made if note]
