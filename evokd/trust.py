"""How far a teacher's labels can be trusted, label by label, and what its texts then count.

A teacher is asked for texts of a label and, apart from that, which label each text has. Where both
agree it knows the label. Where it gives one label to texts that it wrote for many, its texts of
that label are likely wrong, and train a student against the user's own examples.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from evokd.examples import Example
from evokd.kinds import kind_of
from evokd.kinds.entities import UNCERTAIN, UNREAD
from evokd.labelling import DISAGREE
from evokd.measured import Share
from evokd.noise import NOISY, LabelsIn
from evokd.records import RELABELLED, Row
from evokd.task import Task

AGREE = 0.2  # F1 of a label under which it is named as hardly known
# Cohen's kappa up to which agreement is called slight (Landis and Koch 1977). Measured with the
# embedded teacher: at 0.3 and above its texts help the student, at 0.04 they do harm
# (benchmarks/LOG.md).
SLIGHT = 0.2
# The same of answers with several labels or entities: at 0.08 and above its texts help (slots of
# SNIPS), at up to 0.02 they do harm (wikigold). Fitted to these two.
NONE = 0.05
HALF = 0.5  # of the texts
FEWEST = 20  # texts; fewer say nothing of a teacher
# Origins of texts whose label is the teacher's.
LABELLED = ("cover", RELABELLED, "hard", "easy", "pool")
OPEN = (DISAGREE, UNCERTAIN)  # why a text has no label that could agree with the one asked for
STOOD = ("budget", "round rolled back", NOISY)  # why texts are left out whose label was agreed on
NAMED = 5  # labels
MOST = 10.0  # times that a label's texts may count more or less, for all labels to count alike


def was_labelled(row: Row) -> bool:
    """Say whether a text has been labelled, or its label could not be read."""
    return bool(row.example.label) or (row.reason or "").startswith(UNREAD)


def agreement(rows: Sequence[Row]) -> dict[str, float]:
    """Return label -> F1 of what the teacher says of the texts that it wrote for one label each.

    Labels for which nothing was written, or nothing of it labelled, are left out.
    """
    asked = _asked_for(rows)
    agreed = Counter(str(row.source) for row in asked if _agreed(row))
    written = Counter(str(row.source) for row in asked)
    said = Counter(row.example.label for row in asked)
    return {name: 2 * agreed[name] / (written[name] + said[name]) for name in sorted(written)}


def counted(
    examples: Sequence[Example], labels: Sequence[str], agreed: Mapping[str, float]
) -> list[float]:
    """Return how much each example counts in a training, 1 on average.

    The user's count fully, those that the teacher labelled by the probability that they have the
    right label. Then all labels count alike in sum, as far as MOST allows: without that, a label
    that the teacher likes to give, or knows well, takes the others' texts.

    Args:
        labels: the task's, at least two.
        agreed: see `agreement`; a label that is not in it is trusted.
    """
    own = [_right(e, agreed.get(e.label, 1.0), others=len(labels) - 1) for e in examples]
    sums: defaultdict[str, float] = defaultdict(float)
    for example, weight in zip(examples, own, strict=True):
        sums[example.label] += weight
    even = sum(sums.values()) / len(labels)
    level = {name: min(MOST, max(1 / MOST, even / of)) for name, of in sums.items() if of}
    made = [weight * level.get(e.label, 1.0) for e, weight in zip(examples, own, strict=True)]
    mean = sum(made) / len(made)
    return [weight / mean for weight in made]


def _right(example: Example, knows: float, *, others: int) -> float:
    """Return the probability that a label is right, of a teacher that is right with `knows`.

    Two that are each right so often, and else wrong at random, agree on a wrong label with
    (1 - knows)^2 / others. A text that was relabelled counts as a hard one does: who keeps it
    believes the labeller, whatever was asked for.
    """
    if example.origin not in LABELLED:
        return 1.0
    if example.origin != "cover":
        return knows
    right, wrong = knows**2, (1 - knows) ** 2 / others
    return right / (right + wrong)


def hardly_known(agreed: Mapping[str, float]) -> str:
    """Name the labels on which a teacher hardly agrees with itself, and say what helps; else ""."""
    names = [name for name, f1 in agreed.items() if f1 < AGREE]
    if not names:
        return ""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return (
        f"by its own labels the teacher hardly knows {', '.join(names[:NAMED])}{more}: its texts of"
        " them count little, more seed examples of them would help"
    )


def agreed_on(rows: Sequence[Row]) -> Share:
    """Return the texts that are of the label asked for, of those that were given one."""
    asked = _given(rows)
    return Share(sum(map(_agreed, asked)), len(asked))


def kappa(rows: Sequence[Row], labels_in: LabelsIn) -> float:
    """Return Cohen's kappa of the labels that texts were written for and those they were given.

    How far a teacher agrees with itself beyond what chance would: 1 is wholly, 0 not at all. Where
    there is one label alone, chance cannot be told, and it is the share that agrees; 1 where
    nothing was written. Texts that it gave no label twice alike have none. An answer of several
    labels agrees where it has the label asked for, and by chance as often as any text has it.

    Args:
        labels_in: the labels, or types of entities, that an answer gives.
    """
    asked, agreed = _given(rows), agreed_on(rows)
    written = Counter(str(row.source) for row in asked)
    said = Counter(label for row in asked for label in labels_in(row.example.label))
    if len({*written, *said}) < 2:
        return agreed.value if agreed.of else 1.0
    by_chance = sum(count * said[name] for name, count in written.items()) / max(1, agreed.of)
    most = agreed.of - by_chance
    return (agreed.hits - by_chance) / most if most else float(len(written) < 2)


def beyond_chance(task: Task, agreed: Share, beyond: float) -> bool:
    """Say whether a teacher agrees with itself more than hardly beyond chance.

    Where every text has nearly every type (the parts of an address), one of each is there by
    chance too; so a text in two with the type that it was written for is enough there. Of labels
    that is a teacher who says yes to everything.

    Args:
        beyond: see `kappa`.
    """
    if task.kind == "classification":
        return beyond > SLIGHT
    return beyond > NONE or (task.kind == "ner" and agreed.value >= HALF)


def doubtful(task: Task, rows: Sequence[Row]) -> str:
    """Say so when a teacher agrees with itself hardly more than by chance; else ""."""
    agreed, beyond = agreed_on(rows), kappa(rows, kind_of(task).labels_in)
    if agreed.of < FEWEST or beyond_chance(task, agreed, beyond):
        return ""
    return (
        f"{agreed.hits} of the {agreed.of} texts that the teacher wrote for a label are of it"
        f" by its own labels, hardly more than by chance (kappa {beyond:.2f}): it does not know"
        " these labels; take a better one, or ask `evokd plan`"
    )


def _given(rows: Sequence[Row]) -> list[Row]:
    """Return the texts that were asked for as texts of a label, and have one."""
    return [
        row
        for row in _asked_for(rows)
        if row.reason not in OPEN and not (row.reason or "").startswith(UNREAD)
    ]


def _asked_for(rows: Sequence[Row]) -> list[Row]:
    """Return the texts that were asked for as texts of a label, and labelled."""
    return [
        row for row in rows if row.example.origin in ("cover", RELABELLED) and was_labelled(row)
    ]


def _agreed(row: Row) -> bool:
    """Say whether a text is of the label that was asked for, whatever came of it later."""
    stood = row.split is not None or row.reason in STOOD
    return stood and row.example.origin != RELABELLED
