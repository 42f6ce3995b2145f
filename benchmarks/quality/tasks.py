"""Public sets as few-shot tasks: names and definitions as a user would write them.

`tasks.json` names them. Labels of clinc-20, massive-18 and banking-12 were drawn at random, by
the sizes of their lists as seeds, among those with enough test texts.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evokd.answers import KindName, read_spans, write_spans
from evokd.demo.training.corpus import half
from evokd.examples import Example
from evokd.formats import read_examples
from evokd.formats.jsonl import write
from evokd.task import Task, load_task

POOL_ROUND = 8  # texts of a pool labelled a round


@dataclass(frozen=True, slots=True)
class Setting:
    """A set as a few-shot task.

    Attributes:
        folder: of the set, with train, dev and test.jsonl.
        about: what the embedded teacher knows of it.
        unseen: gold labels that the embedded teacher has never seen.
        labels: gold label -> shown name and definition; several gold ones may share a name, and
            texts or entities of any other are left out.
        tokens: budget of a run, about 1.4 times what covering every label takes.
        pool: unlabelled texts that the teacher may label, of the half of the train split that the
            embedded teacher has not seen; 0 for a task without.
        judged: a student of all gold rows labels what the teacher writes.
        like: the task that has the same texts and labels; all but what it names is that one's.
    """

    name: str
    kind: KindName
    folder: str
    domain: str
    about: str
    unseen: tuple[str, ...]
    labels: dict[str, tuple[str, str]]
    tokens: int
    pool: int = 0
    judged: bool = False
    like: str = ""

    @property
    def shown(self) -> dict[str, str]:
        """The labels as the task names them, with definitions."""
        return dict(self.labels.values())

    def group(self, label: str) -> str:
        """Return "unseen" for a shown label that the embedded teacher does not know, or "seen"."""
        return "unseen" if label in {self.labels[gold][0] for gold in self.unseen} else "seen"


def settings() -> dict[str, Setting]:
    """Return all tasks by name."""
    stored = json.loads(Path(__file__).with_name("tasks.json").read_text(encoding="utf-8"))
    return {
        name: _setting(name, stored.get(fields.get("like"), {}) | fields)
        for name, fields in stored.items()
    }


def rows_of(setting: Setting, data: Path, part: str) -> list[Example]:
    """Return the gold rows of a set's train, dev or test split, under the shown names."""
    path = data / setting.folder / f"{part}.jsonl"
    rows = read_examples(path, _Any(), setting.kind)
    if setting.kind == "ner":
        return [Example(row.text, _renamed(setting, row.label)) for row in rows]
    wanted = [row for row in rows if row.label in setting.labels]
    return [Example(row.text, setting.labels[row.label][0]) for row in wanted]


def make_task(
    folder: Path,
    setting: Setting,
    *,
    seeds: Sequence[Example],
    test: Sequence[Example],
    teacher: str,
    quick: bool,
) -> Task:
    """Write a task with `data: {seed, test}` only, and read it as a user's would be.

    Args:
        seeds: all gold rows that seed examples may be drawn from.
        teacher: a GGUF file, or "demo" for the built-in one that knows the task's kind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "seed.jsonl").write_text(write(seeds, setting.kind), encoding="utf-8")
    (folder / "test.jsonl").write_text(write(test, setting.kind), encoding="utf-8")
    built_in = "demo-slots" if setting.kind == "ner" else "demo"
    model = built_in if teacher == "demo" else str(Path(teacher).resolve())
    content: dict[str, Any] = {
        "name": setting.name,
        "kind": setting.kind,
        "domain": setting.domain,
        "labels": setting.shown,
        "data": {"seed": "seed.jsonl", "test": "test.jsonl"},
        "teacher": {"model": model, "context": 16384, "max_tokens": 240},
    }
    if setting.pool:
        unseen = sorted(row.text for row in seeds if half(row.text) == "B")
        pool = random.Random(0).sample(unseen, min(setting.pool, len(unseen)))
        lines = "".join(json.dumps({"text": text}) + "\n" for text in pool)
        (folder / "pool.jsonl").write_text(lines, encoding="utf-8")
        content["data"]["unlabeled"] = "pool.jsonl"
        content["loop"] = {"pool": POOL_ROUND}
    if quick:
        content["loop"] = {"cover": 8, "conversations": 2}
        content["selection"] = {"texts": 2}
    (folder / "task.yaml").write_text(json.dumps(content), encoding="utf-8")
    return load_task(folder / "task.yaml")


class _Any(tuple[str, ...]):
    """Names of labels that hold every name: the sets have more than a task shows."""

    def __contains__(self, name: object) -> bool:
        return True


def _setting(name: str, fields: dict[str, Any]) -> Setting:
    labels = {gold: (shown, about) for gold, (shown, about) in fields["labels"].items()}
    return Setting(name, **{**fields, "labels": labels, "unseen": tuple(fields["unseen"])})


def _renamed(setting: Setting, answer: str) -> str:
    spans = [span for span in read_spans(answer) if span.label in setting.labels]
    return write_spans(
        type(span)(span.start, span.end, setting.labels[span.label][0]) for span in spans
    )
