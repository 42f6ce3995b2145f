"""Answers as one line of text, so that all kinds of task share ledger, feedback and loop.

An answer is what a text is labelled with. Of a classification it is the label's name. Of a
multilabel task it is the JSON list of the names that apply, sorted; of entity tagging the JSON
list of its spans, sorted. Two answers of one task are the same exactly when their texts are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

KindName = Literal["classification", "multilabel", "ner"]


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """An entity in a text: code points from `start` to before `end`, and its type."""

    start: int
    end: int
    label: str


def write_labels(names: Iterable[str]) -> str:
    """Return the answer that exactly these labels apply; "[]" says that none does."""
    return json.dumps(sorted(set(names)), ensure_ascii=False)


def read_labels(answer: str) -> tuple[str, ...]:
    """Return the names in a multilabel answer, sorted."""
    return tuple(json.loads(answer))


def write_spans(spans: Iterable[Span]) -> str:
    """Return the answer that the text has exactly these entities; "[]" says that it has none."""
    return json.dumps([(s.start, s.end, s.label) for s in sorted(set(spans))], ensure_ascii=False)


def read_spans(answer: str) -> tuple[Span, ...]:
    """Return the entities of an answer, in the order of the text."""
    return tuple(Span(start, end, label) for start, end, label in json.loads(answer))


def names_in(answer: str, kind: KindName) -> tuple[str, ...]:
    """Return the labels or types that an answer of this kind names, each once, sorted.

    The empty text is no answer and names none.
    """
    if not answer:
        return ()
    if kind == "classification":
        return (answer,)
    if kind == "multilabel":
        return read_labels(answer)
    return tuple(sorted({span.label for span in read_spans(answer)}))


def items_in(answer: str, kind: KindName) -> Sequence[str | Span]:
    """Return what an answer says, item by item: its labels, or of entities every span."""
    return read_spans(answer) if kind == "ner" else names_in(answer, kind)


def marked(text: str, spans: Iterable[Span]) -> str:
    """Return the text with every entity as [words](type); the spans must not overlap."""
    parts, at = [], 0
    for span in sorted(spans):
        parts += [text[at : span.start], f"[{text[span.start : span.end]}]({span.label})"]
        at = span.end
    return "".join([*parts, text[at:]])


def unmarked(text: str, types: Iterable[str]) -> str:
    """Return the text that `marked` was given."""
    names = "|".join(map(re.escape, types))
    return re.sub(rf"\[([^\[\]]*)\]\((?:{names})\)", r"\1", text)


def in_words(kind: KindName, answer: str, text: str) -> str:
    """Return a text's answer as a person reads it; a dash where there is none."""
    if not answer:
        return "–"
    if kind == "multilabel":
        return ", ".join(read_labels(answer)) or "no label"
    if kind == "ner":
        found = [f"{text[s.start : s.end]} ({s.label})" for s in read_spans(answer)]
        return ", ".join(found) or "no entities"
    return answer
