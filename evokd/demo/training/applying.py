"""Conversations about several classes a text: which apply, and a student's mistakes.

The texts are made by joining texts of one class each, as people join what they say.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from evokd import prompts
from evokd.answers import read_labels, write_labels
from evokd.demo.training.drawing import Corpus, draw_task
from evokd.demo.training.noise import disturb, vary
from evokd.demo.training.turns import (
    Branch,
    Drawn,
    Lesson,
    Tree,
    branch,
    cover_branch,
    feedback_branch,
    grow,
    report,
)
from evokd.wording import Seen

JOINTS = (
    " and ", ", and ", " and then ", ", then ", " and also ", ". Also ", ", also ", ". And ",
    ". Then ", ", oh and ", ". After that ", ", plus ", ". ", "; ",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Composed:
    """A text, and of every class that applies to it the text that it was made of."""

    text: str
    parts: dict[str, str]

    @property
    def labels(self) -> frozenset[str]:
        """The classes that apply."""
        return frozenset(self.parts)


@dataclass(frozen=True, slots=True)
class Habit:
    """What a simulated student does wrong: it misses `label`, or says `other` too, or instead."""

    how: str
    label: str
    other: str

    def applied(self, labels: frozenset[str]) -> frozenset[str]:
        """Return what the student says of a text to which these labels apply."""
        if self.label not in labels:
            return labels
        if self.how == "misses":
            return labels - {self.label} if len(labels) > 1 else labels
        if self.how == "adds":
            return labels | {self.other}
        return (labels - {self.label}) | {self.other}

    def told(self, words: Sequence[str]) -> str:
        """Return the line of an analysis that names this habit."""
        where = f", for example in texts with {', '.join(words)}" if words else ""
        if self.how == "misses":
            return f"- It misses {self.label} where other classes apply too{where}."
        if self.how == "adds":
            return f"- It adds {self.other} to {self.label}{where}."
        return f"- It takes {self.label} for {self.other}{where}."


def apply_tree(corpus: Corpus, rng: random.Random) -> Tree:
    """Draw a task and make its conversations: yes or no, covers, analyses with writing."""
    task = draw_task(corpus, rng, kind="multilabel")
    made = [compose(task, rng) for _ in range(60)]
    pools = {
        name: tuple(m.text for m in made if name in m.labels)
        + tuple(rng.sample(task.texts[name], 6))
        for name in task.labels
    }
    shown = replace(task, texts=pools)
    branches = [b for one in made[: rng.randint(4, 6)] for b in applies_branches(shown, one, rng)]
    branches += [cover_branch(shown, rng) for _ in range(rng.randint(0, 1))]
    if rng.random() < 0.3 and (lesson := mistakes(corpus, shown, made, rng)):
        branches.append(feedback_branch(shown, lesson, rng))
    return grow(shown, branches, rng)


def compose(task: Drawn, rng: random.Random) -> Composed:
    """Return a text to which one to three classes apply, now and then none."""
    if task.outside and rng.random() < 0.07:
        text = rng.choice(task.outside)
        return Composed(text, {})
    count = min(rng.choices((1, 2, 3), (0.4, 0.45, 0.15))[0], len(task.labels))
    labels = rng.sample(list(task.labels), count)
    parts = {label: rng.choice(task.texts[label]) for label in labels}
    text = vary(parts[labels[0]], rng)
    for label in labels[1:]:
        joint = rng.choice(JOINTS)
        more = vary(parts[label], rng)
        more = more if joint == ". " else more[0].lower() + more[1:]
        text = text.rstrip(" .?!,;") + joint + more
    return Composed(text, parts)


def applies_branches(task: Drawn, made: Composed, rng: random.Random) -> list[Branch]:
    """P3: whether each of some classes applies to a text; as many do as do not, if there are."""
    text = disturb(made.text, rng) if rng.random() < 0.3 else made.text
    others = [name for name in task.labels if name not in made.labels]
    rng.shuffle(others)
    return [
        branch(
            task,
            (
                prompts.ask_applies(task.domain, task.labels, text, label=name),
                "yes" if name in made.labels else "no",
            ),
        )
        for name in [*sorted(made.labels), *others[: max(1, len(made.labels))]]
    ]


def mistakes(
    corpus: Corpus, task: Drawn, made: Sequence[Composed], rng: random.Random
) -> Lesson | None:
    """Return a lesson on a student with some bad habits; None when they did not show."""
    habits = []
    for _ in range(rng.randint(1, 3)):
        one, other = rng.sample(list(task.labels), 2)
        habits.append(Habit(rng.choice(("misses", "adds", "takes")), one, other))
    right: list[Seen] = []
    wrong: list[tuple[Seen, Habit, str]] = []
    for text in made:
        habit = next((h for h in habits if h.applied(text.labels) != text.labels), None)
        answer = write_labels(text.labels)
        if habit is None or rng.random() < 0.25:
            right.append(Seen(text.text, answer, answer))
        else:
            given = write_labels(habit.applied(text.labels))
            wrong.append((Seen(text.text, answer, given), habit, text.parts[habit.label]))
    if len(wrong) < 3 or len(right) < 6:
        return None
    shown = wrong[: min(5, len(wrong) - 1)]
    groups: dict[Habit, list[str]] = {}
    for _, habit, part in shown:
        groups.setdefault(habit, []).extend(f'"{w}"' for w in corpus.telling(part, 1))
    ordered = sorted(groups, key=lambda h: -len(groups[h]))
    lines: list[str] = []
    if rng.random() < 0.3:
        taken = Counter((h.label, h.other) for _, h, _ in wrong if h.how == "takes")
        tested = [*right, *(s for s, _, _ in wrong)]
        names = list(task.labels)
        lines = report(names, tested, lambda a: {n: n for n in read_labels(a)}, taken)
    kept = rng.randint(0, 3)
    return Lesson(
        right[:kept],
        [s for s, _, _ in shown],
        "\n".join(h.told(list(dict.fromkeys(groups[h]))[:2]) for h in ordered),
        [(s.text, s.label) for s, _, _ in wrong[len(shown) :][: rng.randint(2, 4)]],
        [(s.text, s.label) for s in right[kept:][: rng.randint(1, 2)]],
        lines,
    )
