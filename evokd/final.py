"""Which student is the final one: trained anew on all that is kept, or one that is preferred to it.

A teacher that hardly knows the labels teaches a student worse than the user's own examples do. Gold
dev texts tell the two apart; without any, the teacher's own labels say how far it is to be trusted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evokd.examples import Example
from evokd.gathering import scores_of
from evokd.lessons import Fitted
from evokd.loop import Loop
from evokd.seeds import derive
from evokd.selection import ALONE, FINAL
from evokd.trust import counted, hardly_known
from evokd.watch import steps


def final_student(loop: Loop, folder: Path) -> dict[str, Any]:
    """Save the final student of a finished loop, and return which it is and what dev says of it.

    One trained from the pretrained weights on everything kept; dev may prefer the best round's,
    and gold dev the seed examples and definitions alone. A teacher-made dev prefers nothing where
    the texts are weighed: it has the favourites in it that the weights are there to undo. A teacher
    that is distrusted has no part in the final student at all.

    With `loop.training: sequential`, the paper's own, the best round's is the final one.
    """
    if doubt := loop.selection.doubt():
        loop.watch.note("the final student is trained on seed examples and definitions alone")
        return _saved(loop, folder, {ALONE: _alone(loop)}, ALONE) | {"doubt": doubt}
    if loop.task.loop.training == "sequential":
        return _saved(loop, folder, {}, _best(loop))
    examples, agreed = loop.training_set(), loop.selection.agreement()
    if unknown := hardly_known(agreed):
        loop.watch.note(unknown)
    weights = counted(examples, loop.task.names, agreed) if agreed else loop.weights(examples)
    made = {FINAL: _trained(loop, examples, weights)}
    if loop.selection.by_gold and loop.ledger.labels("train"):
        made[ALONE] = _alone(loop)
    fair = loop.selection.by_gold or not agreed
    record = _saved(loop, folder, made, None if fair else FINAL)
    return record | ({"agreement": agreed} if agreed else {})


def _saved(
    loop: Loop, folder: Path, made: Mapping[str, Fitted], chosen: str | None
) -> dict[str, Any]:
    """Save one of the students made or the best round's, and say which; None lets dev choose."""
    best, dev = _best(loop), loop.selection.dev()
    result = loop.ledger.result(loop.selection.best_round())
    scores = {name: scores_of(one, dev, loop.kind)["macro_f1"] for name, one in made.items()}
    scores[best] = result["dev"]["macro_f1"]
    chosen = chosen or _preferred(scores, loop.task.selection.tolerance)
    student = made.get(chosen) or loop.students.of(int(result["round"]))
    student.save(folder)
    trained = _learnt(loop, result) if chosen == best else len(_examples_of(loop, chosen))
    return {"chosen": chosen, "dev_macro_f1": scores, "trained_on": trained}


def _preferred(scores: Mapping[str, float], tolerance: float) -> str:
    """Return the best, but the one trained on everything where it is no worse than tolerated."""
    leader = max(scores, key=scores.__getitem__)
    return leader if scores[leader] > scores[FINAL] + tolerance else FINAL


def _best(loop: Loop) -> str:
    return f"round {loop.selection.best_round()}"


def _learnt(loop: Loop, result: Mapping[str, Any]) -> int:
    """Return how many examples a round's student has learnt, those of the rounds before too."""
    if loop.task.loop.training != "sequential":
        return int(result["trained_on"])
    stood = [r for r in loop.ledger.results() if not r["rolled_back"]]
    return sum(r["trained_on"] for r in stood if r["round"] <= result["round"])


def _alone(loop: Loop) -> Fitted:
    return _trained(loop, _examples_of(loop, ALONE), None)


def _examples_of(loop: Loop, name: str) -> list[Example]:
    return loop.own() if name == ALONE else loop.training_set()


def _trained(loop: Loop, examples: Sequence[Example], weights: Sequence[float] | None) -> Fitted:
    return loop.learner.fit(
        examples,
        epochs=loop.task.student.final_epochs,
        seed=derive(loop.task.loop.seed, "final"),
        on_step=steps(loop.watch, "training the final student"),
        weights=weights,
    )
