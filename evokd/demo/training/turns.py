"""What all kinds of conversations are made of: turns, covers, feedback and its report.

The prompts are the product's own (`evokd.prompts`), word by word.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from evokd import prompts, wording
from evokd.demo.training.corpus import resource
from evokd.demo.training.noise import style_of, styled, vary
from evokd.prompts import STYLES
from evokd.teacher import Message
from evokd.wording import Seen

Segment = tuple[str, bool]
"""A piece of text and whether the teacher is to learn to say it."""

Branch = tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Tree:
    """A head and the conversations that continue it, each as segments without the head."""

    head: str
    branches: tuple[Branch, ...]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A task drawn for one tree: the shown names with definitions, and texts of each name.

    `outside` holds texts to which none of the names applies.
    """

    domain: str
    labels: dict[str, str]
    texts: dict[str, tuple[str, ...]]
    kind: str = "classification"
    outside: tuple[str, ...] = ()

    @property
    def head(self) -> str:
        """What every prompt about the task opens with."""
        return prompts.head(self.domain, self.labels, self.kind)


@dataclass(frozen=True, slots=True)
class Lesson:
    """Mistakes of a simulated student, what is said of them, and texts to write for them.

    Attributes:
        hard, easy: texts with their answers.
        report: a line a label, or nothing.
    """

    right: Sequence[Seen]
    wrong: Sequence[Seen]
    analysis: str
    hard: Sequence[tuple[str, str]]
    easy: Sequence[tuple[str, str]]
    report: Sequence[str] = field(default=())


def grow(task: Drawn, branches: Sequence[Branch], rng: random.Random) -> Tree:
    """Return the tree of a task with its branches in any order."""
    shuffled = rng.sample(branches, len(branches))
    # The head's last newline opens every branch: both sides then tokenise as the whole does.
    opened = tuple((("\n" + b[0][0], b[0][1]), *b[1:]) for b in shuffled)
    return Tree(("<|im_start|>user\n" + task.head)[:-1], opened)


def branch(task: Drawn, *turns: tuple[Sequence[Message], str]) -> Branch:
    """Return a branch: what the product asks, turn by turn, and the answers to learn."""
    made: list[Segment] = []
    for asked, answer in turns:
        question = asked[-1].content.removeprefix(task.head)
        opening = "\n<|im_start|>user\n" if made else ""
        made += [(f"{opening}{question}<|im_end|>\n<|im_start|>assistant\n", False)]
        made += [(f"{answer}<|im_end|>", True)]
    return tuple(made)


def said(value: object) -> str:
    """Return a value as the JSON that a teacher writes."""
    return json.dumps(value, ensure_ascii=False)


def cover_branch(task: Drawn, rng: random.Random) -> Branch:
    """P0: texts of a label in a style, after one to three examples, or after none."""
    label = rng.choice(list(task.labels))
    style, count = rng.choice(STYLES), rng.randint(3, 6)
    pool = rng.sample(task.texts[label], min(60, len(task.texts[label])))
    examples, rest = pool[: rng.randint(1, 3)], pool[3:]
    if rng.random() < 0.1:
        examples = []
    fitting = [made for t in rest if (made := styled(t, style, rng))][:count]
    if len(fitting) < 3:
        style = style_of(rest[0])
        fitting = [t for t in rest if style_of(t) == style][:count] or rest[:count]
    asked = prompts.ask_cover(
        task.domain, task.labels, label=label, count=len(fitting), style=style,
        examples=examples, kind=task.kind,
    )  # fmt: skip
    return branch(task, (asked, said([vary(t, rng) for t in fitting])))


def feedback_branch(task: Drawn, lesson: Lesson, rng: random.Random) -> Branch:
    """P1 and P2 about a lesson; now and then without P1, or with the labels in the reply."""
    labelled = task.kind == "classification" and rng.random() < 0.05
    hard, easy = len(lesson.hard), len(lesson.easy)
    texts = said({"hard": _written(lesson.hard, labelled), "easy": _written(lesson.easy, labelled)})
    about = (task.domain, task.labels, lesson.right, lesson.wrong)
    if rng.random() < 0.08:
        asked = prompts.ask_texts_at_once(
            *about, hard=hard, easy=easy, kind=task.kind, report=lesson.report, labelled=labelled
        )
        return branch(task, (asked, texts))
    asked = prompts.ask_analysis(*about, kind=task.kind, report=lesson.report)
    follow = prompts.ask_texts(
        asked, lesson.analysis, hard=hard, easy=easy, kind=task.kind, labelled=labelled
    )
    return branch(task, (asked, lesson.analysis), (follow, texts))


def attributes_branch(task: Drawn, rng: random.Random) -> Branch:
    """Ways in which texts differ, from hand-written ones."""
    about: dict[str, dict[str, list[str]]] = resource("attributes.json")  # type: ignore[assignment]
    kinds = about["domains"]
    own = next((k for k, words in kinds.items() if any(w in task.domain for w in words)), "any")
    count = rng.randint(3, 5)
    answer = {
        "topics": rng.sample(about["topics"][own], count),
        "styles": rng.sample(about["how"]["styles"], count),
        "speakers": rng.sample(about["how"]["speakers"], count),
    }
    asked = prompts.ask_attributes(task.domain, task.labels, count=count, kind=task.kind)
    return branch(task, (asked, said(answer)))


def report(
    labels: Sequence[str],
    tested: Sequence[Seen],
    parts: Callable[[str], Mapping[Hashable, str]],
    taken: Mapping[tuple[str, str], int],
) -> list[str]:
    """Return the report on a simulated student: a line a label.

    Args:
        parts: what an answer says: each part with its label.
        taken: how often a label was taken for another one.
    """
    hit: Counter[str] = Counter()
    all_: Counter[str] = Counter()
    for seen in tested:
        gold, given = parts(seen.label), parts(seen.predicted)
        all_.update([*gold.values(), *given.values()])
        hit.update(label for part, label in gold.items() if given.get(part) == label)
    lines = []
    for label in labels:
        others = {b: n for (a, b), n in taken.items() if a == label}
        most = max(others, key=lambda b: others[b], default=None)
        lines.append(wording.report_line(label, 2 * hit[label] / max(1, all_[label]), most))
    return lines


def _written(pairs: Sequence[tuple[str, str]], labelled: bool) -> list[object]:
    if labelled:
        return [{"text": text, "class": answer} for text, answer in pairs]
    return [text for text, _ in pairs]
