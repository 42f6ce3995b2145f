"""From proposals to rows: curate, label, hold out for dev. And the small counts of a round.

Neither invents nor loses a text: every proposal becomes one row, kept or dropped with a reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from evokd.arms import Proposal, View
from evokd.curate import Known, curate
from evokd.examples import Example
from evokd.labelling import Labelled, label_texts
from evokd.ledger import Ledger, Prediction, Row, Split
from evokd.scores import score
from evokd.seeds import derive
from evokd.task import TaskData


class Predicts(Protocol):
    """A student as far as scoring needs it."""

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """Return probabilities [texts, labels] in the task's order."""
        ...


def known_texts(data: TaskData, ledger: Ledger) -> Known:
    """Return the index of all texts that must not be written again, gold ones as leaks."""
    known = Known()
    for examples, source in ((data.test, "test"), (data.dev, "dev"), (data.seed, "seed")):
        for example in examples:
            known.add(example.text, source)
    remember(known, ledger.rows())
    return known


def remember(known: Known, rows: Sequence[Row]) -> None:
    """Add the texts that were labelled, kept or not, so that none is labelled twice."""
    for row in rows:
        if row.example.label:
            known.add(row.example.text, "run")


def gather(
    view: View, number: int, proposed: Sequence[Proposal], known: Known, *, dev: int
) -> list[Row]:
    """Curate proposals, label what is left, and say of each what it serves or why it is dropped.

    Args:
        dev: texts a label to hold out, at most 30 % of its kept texts.
    """
    reasons = curate([p.text for p in proposed], known).reasons
    fresh = [p.text for p, reason in zip(proposed, reasons, strict=True) if not reason]
    labelled = iter(label_texts(view.task, view.calls, view.scope, fresh, view.progress))
    rows = [
        _row(number, p, reason, None if reason else next(labelled))
        for p, reason in zip(proposed, reasons, strict=True)
    ]
    return _hold_out(rows, dev, derive(view.task.loop.seed, "dev"))


def _row(number: int, proposal: Proposal, reason: str, labelled: Labelled | None) -> Row:
    label, soft = (labelled.label, labelled.soft) if labelled else ("", ())
    if labelled and not labelled.agreed:
        reason = "labels disagree"
    elif labelled and proposal.origin == "cover" and proposal.source != label:
        # It was asked for as a text of another label: writer or labeller is wrong.
        reason = "not the asked label"
    example = Example(proposal.text, label, proposal.origin, soft)
    split: Split | None = None if reason else "train"
    return Row(number, example, split, reason or None, proposal.call, proposal.source)


def _hold_out(rows: list[Row], most: int, seed: int) -> list[Row]:
    """Move a fixed part of every label's texts to dev, where writer and labeller agree."""
    if not most:
        return rows
    rng = np.random.default_rng(seed)
    chosen: set[int] = set()
    for label in sorted({row.example.label for row in rows if row.split}):
        kept = [i for i, r in enumerate(rows) if r.split and r.example.label == label]
        sure = [i for i in kept if rows[i].source == label]
        count = min(most, len(sure), int(0.3 * len(kept)))
        chosen.update(rng.permutation(sure)[:count].tolist())
    return [
        Row(r.round, r.example, "dev", None, r.call, r.source) if i in chosen else r
        for i, r in enumerate(rows)
    ]


def predictions(probabilities: np.ndarray, names: Sequence[str]) -> list[Prediction]:
    """Return what [texts, labels] probabilities say: label, its probability, lead over the next."""
    ranked = np.sort(probabilities, axis=1)
    best = probabilities.argmax(axis=1)
    lead = ranked[:, -1] - ranked[:, -2]
    return [
        Prediction(names[int(b)], float(top), float(margin))
        for b, top, margin in zip(best, ranked[:, -1], lead, strict=True)
    ]


def missed(tested: Sequence[tuple[Row, Prediction]]) -> dict[str, list[int]]:
    """Return origin -> [wrong, all]: how often the student really failed where it was expected."""
    counts: dict[str, list[int]] = {}
    for row, said in tested:
        wrong_all = counts.setdefault(row.example.origin, [0, 0])
        wrong_all[0] += said.predicted != row.example.label
        wrong_all[1] += 1
    return counts


def scores_of(
    student: Predicts, examples: Sequence[Example], names: Sequence[str]
) -> dict[str, Any]:
    """Return `Scores` as plain types."""
    probabilities = student.predict([e.text for e in examples])
    predicted = [names[int(i)] for i in probabilities.argmax(axis=1)]
    return score([e.label for e in examples], predicted, names, probabilities).to_dict()
