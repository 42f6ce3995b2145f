"""Tiny students that find entities, or give any number of labels: trained, and exported."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tiny_student import FILLER, MAX_LENGTH, WORDS

from evokd.answers import KindName, Span, write_labels, write_spans
from evokd.examples import Example
from evokd.finished import probabilities_of
from evokd.settings import StudentSettings
from export.quantize import Rung
from export.student import ExportOptions, ExportReport, StudentMeta, export_student

TYPES = {"music": "what is to be heard", "sky": "how the weather is"}
OF_TYPE = {"music": WORDS["play_music"], "sky": WORDS["get_weather"]}
TOPICS = {"music": "something is to be heard", "sky": "it is about weather", "food": "a meal"}
OF_TOPIC = {**OF_TYPE, "food": WORDS["book_table"]}
ROOM = MAX_LENGTH - 2  # of [CLS] and [SEP]


def tagged(words: Sequence[str]) -> Example:
    """Return the words as a text in which runs of one type's words are entities."""
    found: list[Span] = []
    at = 0
    for word in words:
        for name in (name for name, own in OF_TYPE.items() if word in own):
            if found and found[-1].label == name and found[-1].end == at - 1:
                found[-1] = Span(found[-1].start, at + len(word), name)
            else:
                found.append(Span(at, at + len(word), name))
        at += len(word) + 1
    return Example(" ".join(words), write_spans(found), "gold")


def tagged_examples(count: int, *, seed: int) -> list[Example]:
    """Return texts with entities of both types, or with none."""
    rng = random.Random(seed)
    known = [*FILLER, *OF_TYPE["music"], *OF_TYPE["sky"]]
    return [tagged(rng.choices(known, k=rng.randint(1, 8))) for _ in range(count)]


def topical_examples(count: int, *, seed: int) -> list[Example]:
    """Return texts about none, some or all topics."""
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        topics = [name for name in OF_TOPIC if rng.random() < 0.4]
        words = [rng.choice(OF_TOPIC[name]) for name in topics] + rng.choices(FILLER, k=3)
        rng.shuffle(words)
        made.append(Example(" ".join(words), write_labels(topics), "gold"))
    return made


def save_tiny_tagger(base: Path, root: Path) -> Any:
    """Train a tagger on a tiny encoder, save it, and return it."""
    from evokd.tagging import fit

    student = fit(tagged_examples(256, seed=5), list(TYPES), _settings(base), epochs=10, seed=0)
    student.save(root)
    return student


def save_tiny_labeller(base: Path, root: Path) -> Any:
    """Train a multilabel student on a tiny encoder, save it, and return it."""
    from evokd.student import fit

    student = fit(
        topical_examples(384, seed=5),
        list(TOPICS),
        _settings(base).model_copy(update={"learning_rate": 2e-3}),
        epochs=10,
        seed=0,
        several=True,
    )
    student.save(root)
    return student


def export_as(
    root: Path,
    student: Any,
    kind: KindName,
    examples: Sequence[Example],
    *,
    rungs: tuple[Rung, ...] | None = None,
    **facts: Any,
) -> ExportReport:
    """Export a tiny student of a kind; the examples are what its gate compares on."""
    texts = [example.text for example in examples]
    return export_student(
        root,
        texts=texts,
        answers=[example.label for example in examples],
        torch_probabilities=probabilities_of(student, texts),
        meta=StudentMeta(
            name=f"tiny-{kind}",
            domain="requests to a voice assistant",
            labels=TYPES if kind == "ner" else TOPICS,
            max_length=MAX_LENGTH,
            base_model="test/tiny-bert",
            teacher="a list of words",
            kind=kind,
            examples=texts[:2],
            **facts,
        ),
        options=ExportOptions(rungs=rungs),
    )


def _settings(base: Path) -> StudentSettings:
    return StudentSettings(
        model=str(base), learning_rate=5e-4, max_length=MAX_LENGTH, device="cpu", threads=1
    )
