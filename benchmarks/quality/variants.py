"""What the method loses without each of its elements: arms that differ from another in one setting.

The paper's ablations are no-easy, no-correct, no-repeat, no-separation, no-analysis, and no-review,
which only its own training, `sequential`, has and is set against. The others leave out what was
added to the paper, but for `relabel` and `static-relabel`: evokd and static that keep what was
written for another label, as what it is.
"""

from __future__ import annotations

from typing import Any

from evokd.task import Task

OF = "evokd"
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "no-easy": {"loop": {"easy": 0}},
    "no-correct": {"method": {"correct": False}},
    "no-repeat": {"loop": {"repeat": 1}},
    "no-separation": {"method": {"separation": False}},
    "no-analysis": {"method": {"analysis": False}},
    "sequential": {"loop": {"training": "sequential"}},
    "no-review": {"loop": {"training": "sequential"}, "method": {"review": 0}},
    "no-second-opinion": {"method": {"second_opinion": False}},
    "no-calibrate": {"method": {"calibrate": False}},
    "no-trust": {"method": {"trust": False}},
    "no-quota": {"loop": {"quota": 0}},
    "no-soft": {"student": {"soft": 0.0}},
    "no-rollback": {"selection": {"tolerance": 1.0}},
    "relabel": {"method": {"relabel": True}},
    "static-relabel": {"method": {"relabel": True}},
}
UNDER = {"static-relabel": "static"}
"""The arm of a variant that is not evokd's."""

BASES = {"no-review": "sequential", "static-relabel": "relabel"}
"""What a variant is set against where that is not evokd: it differs from it in one thing."""


def arm_under(name: str) -> str:
    """Return the arm of `evokd.arms.ARMS` that a column of the table runs."""
    return UNDER.get(name, OF if name in VARIANTS else name)


def varied(task: Task, name: str) -> Task:
    """Return a cell's task with what its column changes."""
    changes = VARIANTS.get(name, {})
    return task.model_copy(
        update={group: getattr(task, group).model_copy(update=c) for group, c in changes.items()}
    )
