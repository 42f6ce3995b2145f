"""Every question asked of a teacher, as pure functions. Versioned; tests hold golden copies.

All prompts about one task open with the same head, the classes with their definitions, so that a
teacher decodes it once. The three questions are EvoKD's (arXiv 2403.06414, figure 2): analyse,
then write in the same conversation, then label in a fresh one. `cover` is the start that the
paper calls +Init, with new texts in place of paraphrases.

The embedded teacher was trained on exactly these words: changing one means a new VERSION and a
new training (a test compares VERSION with the teacher's card).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evokd.teacher import Message

VERSION = "1"

STYLES = (
    "short",
    "long and detailed",
    "phrased as a question",
    "polite",
    "casual, with typing mistakes",
    "in plain words",
)


@dataclass(frozen=True, slots=True)
class Seen:
    """A text that the student was tested on, with the right label and the one it gave."""

    text: str
    label: str
    predicted: str

    @property
    def right(self) -> bool:
        """Whether the student gave the right label."""
        return self.label == self.predicted


def quote(text: str) -> str:
    """Return the text on one line in double quotes, escaped as in JSON."""
    return json.dumps(" ".join(text.split()), ensure_ascii=False)


def head(domain: str, labels: Mapping[str, str]) -> str:
    """Return the opening of every prompt: the classes in the given order, with definitions."""
    lines = [f"- {name}: {about}" if about else f"- {name}" for name, about in labels.items()]
    return "\n".join(
        [f"A small text classifier sorts {domain} into these classes:", *lines, "", ""]
    )


def ask_label(domain: str, labels: Mapping[str, str], text: str) -> tuple[Message, ...]:
    """P3: the class of one text. The choices are the names of the labels."""
    question = (
        "To which class does this text belong? Answer with the name of the class only.\n"
        f"Text: {quote(text)}"
    )
    return (Message("user", head(domain, labels) + question),)


def ask_cover(
    domain: str,
    labels: Mapping[str, str],
    *,
    label: str,
    count: int,
    style: str,
    examples: Sequence[str],
) -> tuple[Message, ...]:
    """P0: new texts of one class in one style. The reply is a JSON list of strings."""
    question = (
        f"Write {count} new texts of the class {label}, {style}. "
        f"Examples of this class: {', '.join(map(quote, examples))}\n"
        "Each text must fit this class and no other. Answer with a JSON list of strings only."
    )
    return (Message("user", head(domain, labels) + question),)


def ask_analysis(
    domain: str, labels: Mapping[str, str], right: Sequence[Seen], wrong: Sequence[Seen]
) -> tuple[Message, ...]:
    """P1: what the student gets wrong. The reply is one pattern a line, each after a dash."""
    lines = []
    if right:
        lines += ["It got these texts right:"]
        lines += [f"- {quote(s.text)} is {s.label}" for s in right]
    if wrong:
        lines += ["It got these texts wrong:"]
        lines += [f"- {quote(s.text)} is {s.label}, but it said {s.predicted}" for s in wrong]
    lines += [
        "Which kinds of text does it get wrong? Name one pattern a line, each line starting with"
        ' "- ", the most frequent first.'
    ]
    return (Message("user", head(domain, labels) + "\n".join(lines)),)


def ask_texts(
    analysis: Sequence[Message], reply: str, *, hard: int, easy: int
) -> tuple[Message, ...]:
    """P2: hard and easy texts, in the conversation of the analysis and its reply."""
    question = (
        f"Write {hard} new texts that it would get wrong because of these patterns and {easy} that"
        " it would get right. Each must clearly belong to one class. Answer with JSON only:"
        ' {"hard": [...], "easy": [...]}'
    )
    return (*analysis, Message("assistant", reply), Message("user", question))
