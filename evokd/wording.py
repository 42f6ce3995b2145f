"""How texts, answers and labels are worded in prompts, by the kind of task. Asks nothing itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from evokd.answers import marked, read_labels, read_spans


@dataclass(frozen=True, slots=True)
class Wording:
    """What the questions about one kind of task say.

    Attributes:
        opening: the first line of every prompt, before the labels.
        of: how texts of a label are called.
        examples: what opens the examples of a label.
        fits: what every text of a label must keep to.
        clear: what every hard and easy text must keep to.
    """

    opening: str
    of: str
    examples: str
    fits: str
    clear: str


WORDINGS = {
    "classification": Wording(
        "A small text classifier sorts {domain} into these classes:",
        "of the class {label}",
        "Examples of this class",
        "Each text must fit this class and no other.",
        "Each must clearly belong to one class.",
    ),
    "multilabel": Wording(
        "A small text classifier says which of these classes apply to {domain}:",
        "to which the class {label} applies",
        "Examples of this class",
        "Other classes may apply to a text as well.",
        "It must be clear which classes apply to each.",
    ),
    "ner": Wording(
        "A small tagger marks entities of these types in {domain}:",
        "with an entity of the type {label}",
        "Examples with this type",
        "Other entities may stand in a text as well.",
        "It must be clear which entities each has.",
    ),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """A text that the student was tested on, with the right answer and the one it gave."""

    text: str
    label: str
    predicted: str

    @property
    def right(self) -> bool:
        """Whether the student gave the right answer."""
        return self.label == self.predicted


def quote(text: str) -> str:
    """Return the text on one line in double quotes, escaped as in JSON."""
    return json.dumps(" ".join(text.split()), ensure_ascii=False)


def report_line(label: str, f1: float, taken_for: str | None) -> str:
    """Return a line of the report on a label: its F1, and what it is most often taken for."""
    return f"- {label}: F1 {f1:.2f}" + (f", often taken for {taken_for}" if taken_for else "")


def answered(kind: str, text: str, answer: str) -> str:
    """Return a text with its answer as prompts show it."""
    if kind == "ner":
        return quote(marked(text, read_spans(answer)))
    return f"{quote(text)} is {_said(kind, answer) or 'of no class'}"


def told(kind: str, right: Sequence[Seen], wrong: Sequence[Seen], report: Sequence[str]) -> str:
    """Return the report and what the student got right and wrong, as P1 and P2 open."""
    lines = []
    if report:
        lines += ["How well it does:", *report]
    if right:
        lines += ["It got these texts right:"]
        lines += [f"- {answered(kind, s.text, s.label)}" for s in right]
    if wrong:
        lines += ["It got these texts wrong:"]
        lines += [f"- {answered(kind, s.text, s.label)}, but it {_mistake(kind, s)}" for s in wrong]
    return "\n".join([*lines, ""])


def _mistake(kind: str, seen: Seen) -> str:
    if kind != "ner":
        return f"said {_said(kind, seen.predicted) or 'none'}"
    spans = read_spans(seen.predicted)
    return f"marked {quote(marked(seen.text, spans)) if spans else 'nothing'}"


def _said(kind: str, answer: str) -> str:
    if kind != "multilabel":
        return answer
    return " and ".join(read_labels(answer))


def like_texts(kind: str, examples: Sequence[tuple[str, str]]) -> str:
    """Return like texts with their answers, to label by."""
    if not examples:
        return ""
    lines = [f"- {answered(kind, text, answer)}" for text, answer in examples]
    return "\n".join(["Like texts with their labels:", *lines, ""])
