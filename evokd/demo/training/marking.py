"""Conversations about entities: marking them, verdicts, covers, and a tagger's mistakes.

Names are often put in the place of others, so that spans are copied from the text and not known by
heart.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from evokd import prompts
from evokd.demo.training.drawing import Corpus
from evokd.demo.training.marked import Marked, Source, draw_source, drawn_from
from evokd.demo.training.tagger import misplaced, mistakes, nothing
from evokd.demo.training.turns import (
    Branch,
    Drawn,
    Tree,
    attributes_branch,
    branch,
    cover_branch,
    feedback_branch,
    grow,
    said,
)
from evokd.replies import occurrences


def marking_tree(corpus: Corpus, rng: random.Random) -> Tree:
    """Draw a task and make its conversations: entities, verdicts, covers, analyses."""
    source = draw_source(corpus, rng)
    task = drawn_from(source, rng)
    branches = [b for _ in range(rng.randint(4, 7)) if (b := entities_branch(source, task, rng))]
    branches += verdict_branches(source, task, rng)
    branches += [cover_branch(task, rng) for _ in range(rng.randint(0, 1))]
    if rng.random() < 0.22 and (lesson := mistakes(source, task, rng)):
        branches.append(feedback_branch(task, lesson, rng))
    if rng.random() < 0.03:
        branches.append(attributes_branch(task, rng))
    return grow(task, branches, rng)


def entities_branch(source: Source, task: Drawn, rng: random.Random) -> Branch | None:
    """P3: a text, sometimes after others with their entities; its own. None if it is unclear."""
    made = source.text(rng)
    examples = []
    if rng.random() < 0.15:
        others = [source.text(rng, plain=True) for _ in range(rng.randint(2, 4))]
        examples = [(o.text, o.answer) for o in others if o.text != made.text]
    asked = prompts.ask_entities(task.domain, task.labels, made.text, examples=examples)
    answer = answer_of(made, nth='"nth"' in asked[-1].content)
    return None if answer is None else branch(task, (asked, answer))


def answer_of(made: Marked, *, nth: bool) -> str | None:
    """Return the entities as a teacher writes them; None where they cannot be told in that form.

    The n-th answer of the same words is meant to be their n-th place in the text: where it is
    not, "nth" says which.
    """
    listed: list[dict[str, object]] = []
    given: Counter[str] = Counter()
    for span in made.spans:
        words = made.text[span.start : span.end]
        one: dict[str, object] = {"text": words, "type": span.label}
        found = occurrences(made.text, words)
        if (span.start, span.end) not in found:
            return None
        place = found.index((span.start, span.end)) + 1
        given[words] += 1
        if place != given[words]:
            if not nth:
                return None
            one["nth"] = place
            given[words] = place
        listed.append(one)
    return said(listed)


def verdict_branches(source: Source, task: Drawn, rng: random.Random) -> list[Branch]:
    """Ask again about some spans of one text, each right or spoilt as a tagger errs."""
    made = source.text(rng)
    while not made.spans:
        made = source.text(rng, label=rng.choice(list(task.labels)))
    asked: dict[tuple[str, str], str] = {}
    for _ in range(rng.randint(2, 5)):
        words, label, verdict = judged(made, list(task.labels), rng)
        asked.setdefault((words, label), verdict)
    return [
        branch(
            task,
            (
                prompts.ask_verdict(task.domain, task.labels, made.text, words=words, label=label),
                verdict,
            ),
        )
        for (words, label), verdict in asked.items()
    ]


def judged(made: Marked, labels: Sequence[str], rng: random.Random) -> tuple[str, str, str]:
    """Return words of the text, a type to ask for, and the verdict on them."""
    span = rng.choice(made.spans)
    verdict = rng.choices(prompts.VERDICTS, (0.35, 0.25, 0.2, 0.2))[0]
    label, other = span.label, None
    if verdict == "wrong boundary":
        other = misplaced(made, span, rng)
    elif verdict == "wrong type":
        other, label = span, rng.choice([name for name in labels if name != span.label])
    elif verdict == "not an entity":
        other, label = nothing(made, rng), rng.choice(labels)
    if other is None:
        verdict, other, label = "right", span, span.label
    return made.text[other.start : other.end], label, verdict
