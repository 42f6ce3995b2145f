"""From proposals to rows: curate, label, hold out for dev. And the small counts of a round.

Neither invents nor loses a text: every proposal becomes one row, kept or dropped with a reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from evokd.arms import Proposal, View, covered
from evokd.curate import Known, curate
from evokd.examples import Example
from evokd.kinds import Kind, kind_of
from evokd.labelling import Labelled
from evokd.ledger import Ledger
from evokd.lessons import Fitted
from evokd.likeness import nearest
from evokd.records import ASKED, RELABELLED, Prediction, Row, Split
from evokd.seeds import derive
from evokd.task import Task, TaskData
from evokd.trust import was_labelled

HELD_OUT = 0.3  # share of a label's kept texts that dev may take


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
        if was_labelled(row):
            known.add(row.example.text, "run")


def gather(
    view: View,
    number: int,
    proposed: Sequence[Proposal],
    known: Known,
    *,
    dev: int,
    like: Sequence[Example] = (),
    counts: Counter[str] | None = None,
) -> list[Row]:
    """Curate proposals, label what is left, and say of each what it serves or why it is dropped.

    Args:
        dev: texts a label to hold out, at most 30 % of its kept texts.
        like: labelled texts of which the likest may be shown where others are labelled.
        counts: counts by reason what is left out of answers that are otherwise kept.
    """
    found = curate([p.text for p in proposed], known)
    pairs = [(p, _excused(p, reason)) for p, reason in zip(proposed, found, strict=True)]
    unlabelled = [p for p, reason in pairs if not reason and p.label is None]
    asked = [p.text for p in unlabelled]
    # The first that tell the teacher's prior do: a run has one from then on.
    # Not those of the gate: their labels are made as those of the loop were.
    asked_for = [p.source if p.origin == "cover" and number >= 0 else None for p in unlabelled]
    kind = kind_of(view.task)
    shown = nearest(asked, like, count=view.task.method.demonstrations)
    given = kind.label(
        view.calls, view.scope, asked, view.progress, like=shown, asked_for=asked_for
    )
    if counts is not None:
        counts.update(why for answer in given for why in answer.left_out)
    labelled, rows = iter(given), []
    for p, reason in pairs:
        said = None
        if not reason:
            said = next(labelled) if p.label is None else Labelled(p.label)
        rows.append(_row(kind, number, p, reason=reason, labelled=said))
    return _hold_out(kind, rows, dev, seed=derive(view.task.loop.seed, "dev"))


def _excused(proposal: Proposal, reason: str) -> str:
    """An edited seed is near its seed on purpose; an equal text or a leak it must not be."""
    return "" if (proposal.origin, reason) == ("edited", "near-duplicate") else reason


def _row(
    kind: Kind, number: int, proposal: Proposal, *, reason: str, labelled: Labelled | None
) -> Row:
    label, soft = (labelled.label, labelled.soft) if labelled else ("", ())
    if labelled and labelled.reason:
        reason = labelled.reason
    elif labelled and proposal.origin == "cover" and proposal.source not in kind.labels_in(label):
        # It was asked for as a text of another label: writer or labeller is wrong.
        reason = ASKED
    example = Example(proposal.text, label, proposal.origin, soft)
    split: Split | None = None if reason else "train"
    return Row(number, example, split, reason or None, proposal.call, proposal.source)


def _hold_out(kind: Kind, rows: list[Row], most: int, *, seed: int) -> list[Row]:
    """Move a fixed part of every label's texts to dev, where writer and labeller agree."""
    if not most:
        return rows
    rng = np.random.default_rng(seed)
    chosen: set[int] = set()
    labels = {i: kind.labels_in(row.example.label) for i, row in enumerate(rows) if row.split}
    kept = Counter(label for given in labels.values() for label in given)
    free = Counter({label: int(HELD_OUT * count) for label, count in kept.items()})
    for label in sorted(kept):
        sure = [i for i, given in labels.items() if label in given and rows[i].source == label]
        wanted = most
        for i in rng.permutation(sure).tolist():
            # A text may have other labels too, of which no more may go either.
            if wanted and i not in chosen and all(free[other] for other in labels[i]):
                chosen.add(i)
                free.subtract(labels[i])
                wanted -= 1
    return [
        Row(r.round, r.example, "dev", None, r.call, r.source) if i in chosen else r
        for i, r in enumerate(rows)
    ]


def relabelled(task: Task, rows: list[Row]) -> list[Row]:
    """Keep the texts that are not what was asked for, as what they are, if the task wants that.

    Not those that were given no label at all, or no entity: a labeller that sees nothing is no
    better than the writer.
    """
    if not task.method.relabel:
        return rows
    labels_in = kind_of(task).labels_in
    return [
        replace(row, example=replace(row.example, origin=RELABELLED), split="train", reason=None)
        if row.reason == ASKED and labels_in(row.example.label)
        else row
        for row in rows
    ]


def written_apart(
    view: View, number: int, known: Known, split: Split, counts: Counter[str]
) -> list[Row]:
    """Have texts of every label written that no student is trained on; count what is refused."""
    proposed = covered(view)
    counts.update(proposed.rejects)
    rows = gather(view, number, proposed.texts, known, dev=0, counts=counts)
    return [replace(row, split=split) if row.split else row for row in rows]


def within(kind: Kind, rows: list[Row], most: int | None) -> list[Row]:
    """Keep at most so many training texts, of every label in turn; the budget drops the rest."""
    if most is None:
        return rows
    turns: Counter[str] = Counter()
    ranked = []
    for i, row in enumerate(rows):
        if row.split == "train":
            labels = kind.labels_in(row.example.label) or ("",)
            ranked.append((min(turns[label] for label in labels), i))
            turns.update(labels)
    over = {i for _, i in sorted(ranked)[most:]}
    return [
        replace(row, split=None, reason="budget") if i in over else row
        for i, row in enumerate(rows)
    ]


def missed(tested: Sequence[tuple[Row, Prediction]]) -> dict[str, list[int]]:
    """Return origin -> [wrong, all]: how often the student really failed where it was expected."""
    counts: dict[str, list[int]] = {}
    for row, said in tested:
        wrong_all = counts.setdefault(row.example.origin, [0, 0])
        wrong_all[0] += said.predicted != row.example.label
        wrong_all[1] += 1
    return counts


def scores_of(student: Fitted, examples: Sequence[Example], kind: Kind) -> dict[str, Any]:
    """Return `Scores` as plain types."""
    outputs = student.predict([e.text for e in examples])
    return kind.score([e.label for e in examples], outputs).to_dict()
