"""A small task, the stages of a run that need a teacher, and what a ledger then holds."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from fakes import KEYWORDS, LABELS, FakeLearner, ScriptedTeacher, texts_of

from evokd.calls import Calls
from evokd.examples import Example
from evokd.gathering import known_texts
from evokd.holdout import write_gate_texts
from evokd.ledger import Ledger
from evokd.loop import VERSION, WAY, Loop
from evokd.records import Row
from evokd.seeds import derive
from evokd.students import SEED
from evokd.task import Task, load_data, load_task
from evokd.watch import Silent, Watch

SMALL: dict[str, dict[str, Any]] = {
    "teacher": {},
    "budget": {},
    "loop": {"rounds": 2, "hard": 2, "easy": 1, "conversations": 2, "cover": 8, "quota": 1,
             "pool": 4, "repeat": 2, "anchor": 1},
    "student": {"epochs": 2, "final_epochs": 2},
    "selection": {"texts": 3},
    "export": {"gate_texts": 20, "latency_texts": 10},
}  # fmt: skip


def make_task(
    folder: Path, *, dev: int = 0, test: int = 4, pool: int = 0, **changes: dict[str, Any]
) -> Task:
    """Write a small task of three labels into a folder and load it.

    Args:
        dev, test, pool: texts a label in these files; 0 means no file.
        changes: fields of the settings groups, such as `loop={"rounds": 1}`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {"seed": texts_of(1, 1), "dev": texts_of(2, dev), "test": texts_of(3, test)}
    named = {}
    for name, examples in (files | {"unlabeled": texts_of(4, pool)}).items():
        if examples:
            lines = [{"text": e.text} if name == "unlabeled" else {"text": e.text, "label": e.label}
                     for e in examples]  # fmt: skip
            write_jsonl(folder / f"{name}.jsonl", lines)
            named[name] = f"{name}.jsonl"
    groups = {name: SMALL.get(name, {}) | changes.get(name, {}) for name in SMALL | changes}
    about = {label: f"is about {words[0]}" for label, words in KEYWORDS.items()}
    settings = {"name": "tiny", "domain": "requests to a voice assistant", "labels": about}
    (folder / "task.yaml").write_text(json.dumps(settings | groups | {"data": named}))
    return load_task(folder / "task.yaml")


def write_jsonl(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write records, one a line."""
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")


def grow(
    task: Task,
    folder: Path,
    teacher: ScriptedTeacher,
    learner: FakeLearner | None = None,
    *,
    watch: Watch | None = None,
    clock: Callable[[], float] = time.time,
) -> None:
    """Run the stages of a run that need a teacher, as `evokd.run` does: seeds, loop, gate texts."""
    folder.mkdir(parents=True, exist_ok=True)
    data, learner, watch = load_data(task), learner or FakeLearner(task.names), watch or Silent()
    ledger = Ledger(folder / "run.db", clock=clock)
    calls = Calls(ledger, lambda: teacher, budget=task.budget, width=task.teacher.side_by_side)
    try:
        if ledger.meta("run") is None:
            ledger.set_meta("data", data.to_json())
            ledger.set_meta("run", {"settings": task.settings(), WAY: VERSION})
        loop = Loop(task, data, ledger=ledger, calls=calls, learner=learner,
                    folder=folder, watch=watch)  # fmt: skip
        if ledger.stage("seed_only") is None:
            began = ledger.clock()
            student = learner.fit(data.seed, epochs=1, seed=derive(0, "seed"),
                                  on_step=lambda done, total: None)  # fmt: skip
            calls.keep_free(ledger.clock() - began)
            student.save(loop.students.folder(SEED))
            ledger.finish_stage("seed_only", {})
        loop.run()
        if ledger.stage("gate_texts") is None:
            known = known_texts(data, ledger)
            count = write_gate_texts(task, data, ledger, calls, known, watch)
            ledger.finish_stage("gate_texts", {"texts": count})
    finally:
        calls.close()
        ledger.close()


TABLES = ("calls", "examples", "predictions", "rounds", "stages")


def tables(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of a ledger's tables, in the order in which they were made."""
    with closing(sqlite3.connect(path)) as db:
        return {t: db.execute(f"SELECT * FROM {t} ORDER BY rowid").fetchall() for t in TABLES}


def replies(path: Path) -> dict[str, str | None]:
    """Return key -> reply of a ledger's calls; None while in flight."""
    with closing(sqlite3.connect(path, timeout=5)) as db:
        return dict(db.execute("SELECT key, reply FROM calls"))


def prompts_of(path: Path) -> list[str]:
    """Return all that a run's teacher was ever shown, a string a call."""
    with closing(sqlite3.connect(path)) as db:
        return [
            "\n".join(m["content"] for m in json.loads(request)["messages"])
            for (request,) in db.execute("SELECT request FROM calls")
        ]


class Notes(Silent):
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.results: list[Mapping[str, Any]] = []

    def note(self, text: str) -> None:
        self.said.append(text)

    def round(self, result: Mapping[str, Any]) -> None:
        self.results.append(result)


class Run:
    """A finished run and all that was seen of it."""

    def __init__(
        self,
        folder: Path,
        task: Task,
        *,
        teacher: ScriptedTeacher | None = None,
        spoil: Callable[[int, Sequence[Example]], Sequence[Example]] | None = None,
    ) -> None:
        self.task, self.folder, self.file = task, folder, folder / "run.db"
        self.teacher = teacher or ScriptedTeacher()
        self.learner = FakeLearner(task.names, spoil=spoil)
        self.notes = Notes()
        grow(task, folder, self.teacher, self.learner, watch=self.notes)
        self.results = [json.loads(result) for _, _, result in tables(self.file)["rounds"]]
        self.plans = [json.loads(plan) for _, plan, _ in tables(self.file)["rounds"]]

    def rows(self, **which: Any) -> list[Row]:
        ledger = Ledger(self.file)
        try:
            return ledger.rows(**which)
        finally:
            ledger.close()

    def fits(self) -> list[tuple[str, ...]]:
        return [texts for name, texts in self.learner.log if name == "fit"]


def worse(at: int) -> Callable[[int, Sequence[Example]], Sequence[Example]]:
    """Make fit number `at` and later ones learn every label as the first one."""

    def spoil(number: int, examples: Sequence[Example]) -> Sequence[Example]:
        if number < at:
            return examples
        return [Example(e.text, LABELS[0]) for e in examples]

    return spoil
