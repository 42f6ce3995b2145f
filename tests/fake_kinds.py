"""The scripted teacher and a small learner for tasks of every kind: labels, sets of labels, words.

A text's keywords say what is right: its label, all labels that have one in it, or, as entities,
the keywords themselves.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fake_run import make_task, write_jsonl
from fakes import (
    KEYWORDS,
    LABELS,
    FakeLearner,
    ScriptedTeacher,
    digest,
    sentence,
    texts_of,
)

from evokd.answers import Span, names_in, read_spans, write_labels, write_spans
from evokd.examples import Example
from evokd.prompts import VERDICTS, YES_NO
from evokd.task import Task, load_task
from evokd.teacher import Score, Scored
from serving.spans import Found

KIND_NAMES = ("classification", "multilabel", "ner")
TYPE_OF = {word: label for label, words in KEYWORDS.items() for word in words}
COVER = (
    r"Write (\d+) new texts (?:to which the class|with an entity of the type) (.+?)(?: applies)?, "
)


def entities(text: str) -> list[Span]:
    """Return the keywords of a text as entities."""
    words = re.finditer(r"\w+", text)
    found = [(m, TYPE_OF.get(m[0].casefold())) for m in words]
    return [Span(m.start(), m.end(), label) for m, label in found if label]


def right(kind: str, text: str, label: str) -> str:
    """Return the right answer for a text that was made for a label."""
    if kind == "classification":
        return label
    spans = entities(text)
    return write_spans(spans) if kind == "ner" else write_labels({s.label for s in spans})


def make_kind_task(folder: Path, kind: str, *, pool: int = 4, **changes: dict[str, Any]) -> Task:
    """Write a small task of any kind into a folder and load it."""
    make_task(folder, pool=pool, **changes)
    settings = json.loads((folder / "task.yaml").read_text())
    (folder / "task.yaml").write_text(json.dumps(settings | {"kind": kind}))
    for name, seed, each in (("seed", 1, 1), ("test", 3, 4)):
        made = []
        for e in texts_of(seed, each):
            answer = right(kind, e.text, e.label)
            if kind == "ner":
                spans = [{"start": s.start, "end": s.end, "label": s.label}
                         for s in read_spans(answer)]  # fmt: skip
                made.append({"text": e.text, "entities": spans})
            elif kind == "multilabel":
                made.append({"text": e.text, "labels": json.loads(answer)})
            else:
                made.append({"text": e.text, "label": answer})
        write_jsonl(folder / f"{name}.jsonl", made)
    return load_task(folder / "task.yaml")


class AnyTeacher(ScriptedTeacher):
    """Answers the questions of every kind, and those that a switch turns on."""

    def _text(self, asked: str, rng: random.Random, number: int) -> str:
        if found := re.search(COVER, asked):
            texts = [sentence(rng, found[2]) for _ in range(int(found[1]))]
            return json.dumps(self._flawed(texts, number))
        if "Name ways in which such texts differ" in asked:
            return json.dumps({"topics": ["work", "home"], "styles": ["loud", "shy", "short"],
                               "speakers": ["a child"]})  # fmt: skip
        if "Which entities are in this text?" in asked:
            text = json.loads(asked.rpartition("Text: ")[2])
            spans = entities(text)
            # Of some texts it forgets one in one order of the types.
            spans = spans[: len(spans) - (number % 5 == 0)]
            return json.dumps([{"text": text[s.start : s.end], "type": s.label} for s in spans])
        written = super()._text(asked, rng, number)
        return self._labelled(written, rng) if '"class": ...' in asked else written

    def _labelled(self, written: str, rng: random.Random) -> str:
        made = json.loads(written[written.index("{") : written.rindex("}") + 1])
        for items in made.values():
            items[:] = [{"text": t, "class": rng.choice(LABELS)} for t in items]
        return json.dumps(made)

    def _score(self, request: Score) -> Scored:
        if request.choices not in (YES_NO, VERDICTS):
            return super()._score(request)
        asked = request.messages[-1].content
        text, _, rest = asked.rpartition("Text: ")[2].partition("\n")
        if request.choices == VERDICTS:
            points = [-1.0, *([-3.0] * (len(VERDICTS) - 1))]
        else:
            label = rest.split()[3]
            yes = any(span.label == label for span in entities(json.loads(text)))
            sure = 0.3 if digest(asked) % 40 == 0 else 3.0
            points = [0.0, -sure] if yes else [-sure, 0.0]
        words = len(asked.split())
        return Scored(tuple(points), words, len(points), words)


class WordStudent:
    """Knows how often a word stood with a label, or was an entity, and how often in all."""

    def __init__(self, kind: str, labels: Sequence[str], counts: dict[str, list[float]]) -> None:
        self.kind, self.labels, self.counts = kind, tuple(labels), counts

    def predict(self, texts: Sequence[str]) -> Any:
        return [self._found(t) for t in texts] if self.kind == "ner" else self._shares(texts)

    def _shares(self, texts: Sequence[str]) -> np.ndarray:
        rows = []
        for text in texts:
            seen = [self.counts[w] for w in text.casefold().split() if w in self.counts]
            # A word that stands with one label alone says most about it.
            shares = [np.array(row[:-1]) / row[-1] for row in seen]
            rows.append(np.max(shares, axis=0) if shares else np.zeros(len(self.labels)))
        return np.clip(np.array(rows).reshape(len(texts), len(self.labels)), 0.02, 0.98)

    def _found(self, text: str) -> list[Found]:
        made = []
        for match in re.finditer(r"\w+", text):
            row = self.counts.get(match[0].casefold())
            if row and max(row[:-1]) > row[-1] / 2:
                label = self.labels[int(np.argmax(row[:-1]))]
                made.append(Found(match.start(), match.end(), label, max(row[:-1]) / row[-1]))
        return made

    def save(self, folder: Path) -> None:
        aside = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        (aside / "counts.json").write_text(json.dumps(self.counts), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(aside, folder)


class AnyLearner(FakeLearner):
    """Trains a student for a task of any kind."""

    def __init__(self, task: Task) -> None:
        super().__init__(task.names)
        self.kind = task.kind

    def fit(self, examples: Sequence[Example], **how: Any) -> Any:
        if self.kind == "classification":
            return super().fit(examples, **how)
        self.log.append(("fit", tuple(e.text for e in examples)))
        self.hows.append((how.get("start"), how.get("weights")))
        start = how.get("start")
        counts: dict[str, list[float]] = json.loads(json.dumps(start.counts)) if start else {}
        for example in examples:
            given = names_in(example.label, self.kind)  # type: ignore[arg-type]
            places = (
                {s.start: s.label for s in read_spans(example.label)} if self.kind == "ner" else {}
            )
            for match in re.finditer(r"\S+" if self.kind == "multilabel" else r"\w+", example.text):
                row = counts.setdefault(match[0].casefold(), [0.0] * (len(self.labels) + 1))
                row[-1] += 1
                here = [places[match.start()]] if match.start() in places else []
                for label in given if self.kind == "multilabel" else here:
                    row[self.labels.index(label)] += 1
        return WordStudent(self.kind, self.labels, counts)

    def load(self, folder: Path) -> Any:
        if self.kind == "classification":
            return super().load(folder)
        counts = json.loads((folder / "counts.json").read_text(encoding="utf-8"))
        return WordStudent(self.kind, self.labels, counts)
