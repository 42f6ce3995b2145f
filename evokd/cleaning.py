"""Asking students which kept texts likely have a wrong label, before the final training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evokd.noise import FEWEST, NOISY, by_folds, by_mixture, folds
from evokd.records import Prediction, Row
from evokd.seeds import derive
from evokd.watch import steps

if TYPE_CHECKING:
    from evokd.loop import Loop


def clean(loop: Loop) -> None:
    """Take out of training what likely has a wrong label; once, after the last round."""
    ledger, watch = loop.ledger, loop.watch
    if loop.task.method.noise == "none" or ledger.stage("noise") is not None:
        return
    if loop.in_vain():  # the final student sees none of them
        return
    watch.stage("looking for wrong labels")
    rows = ledger.rows(split="train")
    texts = suspects(loop, rows)
    with ledger.transaction():
        ledger.drop(texts, NOISY)
        ledger.finish_stage("noise", {"dropped": texts, "of": len(rows)})
    watch.note(f"{len(texts)} of {len(rows)} texts have likely a wrong label: left out")


def suspects(loop: Loop, rows: Sequence[Row]) -> list[str]:
    """Return the texts that `method.noise` finds likely mislabelled; the user's are never asked."""
    if len(rows) < FEWEST:  # before students are trained for nothing
        return []
    answers = [row.example.label for row in rows]
    sure = loop.task.kind != "ner"  # a tagger says of what it finds alone how sure it is
    if loop.task.method.noise == "mixture":
        said = _of_one(loop, rows)
        numbers = by_mixture(answers, said, loop.kind.labels_in, sure_of_none=sure)
    else:
        said = _of_others(loop, rows)
        numbers = by_folds(answers, said, loop.kind.labels_in, sure_of_none=sure)
    return [rows[i].example.text for i in numbers]


def _of_one(loop: Loop, rows: Sequence[Row]) -> list[Prediction]:
    """Return what the last student says of the texts that it was trained on."""
    return loop.kind.predictions(loop.students.latest().predict([row.example.text for row in rows]))


def _of_others(loop: Loop, rows: Sequence[Row]) -> list[Prediction]:
    """Return of every text what a student says that was not trained on it."""
    task = loop.task
    made: dict[int, Prediction] = {}
    own = [*loop.data.seed, *loop.kind.definitions()] * task.loop.anchor
    for number, part in enumerate(folds(len(rows), seed=derive(task.loop.seed, "folds"))):
        asked = {int(i) for i in part}
        student = loop.learner.fit(
            own + [row.example for i, row in enumerate(rows) if i not in asked],
            epochs=task.student.epochs,
            seed=derive(task.loop.seed, "fold", number),
            on_step=steps(loop.watch, "training to find wrong labels"),
        )
        texts = [rows[i].example.text for i in part]
        made |= zip(map(int, part), loop.kind.predictions(student.predict(texts)), strict=True)
    return [made[i] for i in range(len(rows))]
