"""benchmarks.latency with students that find entities or give any number of labels."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from test_latency import BRIEF, Listener
from tiny_kinds import TOPICS, tagged_examples, topical_examples

from benchmarks.latency import bench, child
from benchmarks.latency.bench import measure
from benchmarks.latency.material import Material
from benchmarks.latency.rows import WAYS, student_rows, teacher_rows, teachers_task
from benchmarks.latency.table import show
from evokd.answers import read_spans, write_labels
from evokd.examples import Example
from evokd.latency_told import latency_table
from evokd.teacher import Generate, OnWritten, Written
from evokd.watch import Silent
from serving.layout import ONNX, read_manifest, write_manifest
from serving.predictor import open_predictor


class Copier(Listener):
    """A teacher that copies the entities of known texts, as it is asked to."""

    def __init__(self, known: Sequence[Example]) -> None:
        super().__init__()
        self.known = {json.dumps(e.text, ensure_ascii=False): e for e in known}

    def generate(
        self, requests: Sequence[Generate], on_done: OnWritten | None = None
    ) -> list[Written]:
        self.written += requests
        return [Written(self._said(r.messages[0].content), "stop", 9, 3, 12) for r in requests]

    def _said(self, prompt: str) -> str:
        example = max(
            (e for quoted, e in self.known.items() if quoted in prompt), key=lambda e: len(e.text)
        )
        found = []
        for span in read_spans(example.label):
            words = example.text[span.start : span.end]
            before = example.text[: span.start].count(words)
            found.append({"text": words, "type": span.label, "nth": before + 1})
        return json.dumps(found)


def measured(
    folder: Path, teacher: Listener, examples: Sequence[Example], **more: Any
) -> dict[str, Any]:
    task = teachers_task(read_manifest(folder), "demo", threads=1)
    texts = [e.text for e in examples][:12]
    plan = replace(BRIEF, scored=30)
    material = Material(texts, examples, "the test file", run_seconds=60.0)
    return measure(folder, task, teacher, material, watch=Silent(), plan=plan, **more)


def shown(record: dict[str, Any]) -> str:
    out = io.StringIO()
    show({"quick": True, **record}, Console(width=200, file=out))
    return out.getvalue()


def test_entities_are_written_by_the_teacher(tagger_sealed: Path) -> None:
    examples = tagged_examples(40, seed=21)
    teacher = Copier(examples)
    made = measured(tagger_sealed, teacher, examples)
    rows = made["latency_ms"]
    assert rows["teacher_score"] is None
    for name in ("torch", "onnx", "int8", "teacher_generate"):
        assert rows[name]["p50"] > 0
    assert made["kind"] == "ner"
    assert made["accuracy"]["int8"]["accuracy"] > 0.5
    assert made["accuracy"]["int8"]["accuracy"] == made["accuracy"]["onnx"]["accuracy"]
    assert made["student_vs_teacher_score"] is None
    assert made["break_even"]["teacher"] == "teacher_generate"
    assert made["predictor_overhead"] > 0
    assert all(request.grammar for request in teacher.written)
    text = shown(made)
    assert "the teacher writing the answer" in text
    assert "scoring" not in text
    table = latency_table(json.loads(json.dumps(made)))
    assert [row["row"] is None for row in table["rows"]] == [False] * 3 + [True] * 2 + [False]


def test_labels_are_scored_one_by_one(labeller_sealed: Path) -> None:
    examples = topical_examples(40, seed=21)
    teacher = Listener()
    made = measured(labeller_sealed, teacher, examples)
    assert made["latency_ms"]["teacher_generate"] is None
    assert made["latency_ms"]["teacher_score"]["p50"] > 0
    assert made["accuracy"]["int8"]["accuracy"] > 0.8
    assert {request.choices for request in teacher.scored} == {("yes", "no")}
    assert not teacher.written
    assert "writing" not in shown(made)


@pytest.mark.parametrize("kind", ["ner", "multilabel"])
def test_the_command_starts_only_the_rows_that_there_are(
    kind: str,
    tagger_sealed: Path,
    labeller_sealed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = {"ner": tagger_sealed, "multilabel": labeller_sealed}[kind]
    examples = {"ner": tagged_examples, "multilabel": topical_examples}[kind](12, seed=21)
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({"text": e.text}) + "\n" for e in examples), "utf-8")
    teacher, started = Copier(examples), list[str]()
    monkeypatch.setattr("evokd.teacher.open_teacher", lambda settings: teacher)
    monkeypatch.setattr(bench, "QUICK", replace(BRIEF, processes=1))

    def starts(what: child.Start, count: int) -> dict[str, float]:
        # Of each row that is started, the process opens it by this name.
        task = teachers_task(read_manifest(folder), "demo", threads=1)
        assert what.row in {**student_rows(folder, threads=1), **teacher_rows(task, teacher)}
        started.append(what.row)
        return {"cold_start_s": 0.5, "rss_mb": 77.0}

    monkeypatch.setattr(child, "starts", starts)
    record = bench.bench_student(folder, texts=texts, quick=True)
    (way,) = WAYS[kind]
    assert started[-1] == way
    assert record["latency_ms"][way]["p50"] > 0


def test_torch_gives_the_labels_that_are_served(labeller_sealed: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(labeller_sealed, tmp_path / "student"))
    fitted = replace(read_manifest(copy), temperature=8.0, thresholds=dict.fromkeys(TOPICS, 0.6))
    write_manifest(copy, fitted)
    texts = [e.text for e in topical_examples(60, seed=23)]
    rows = student_rows(copy, threads=1)
    served = [write_labels(one.labels) for one in open_predictor(copy, file=ONNX).predict(texts)]
    assert rows["torch"]().answers(texts) == rows["onnx"]().answers(texts) == served
    assert len({*served}) > 1


def test_a_student_may_be_called_by_a_dot(
    labeller_sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(labeller_sealed)
    assert {*student_rows(Path(), threads=1)} == {"torch", "onnx", "int8"}


def test_a_teacher_that_copies_rightly_is_right(tagger_sealed: Path) -> None:
    examples = [e for e in tagged_examples(30, seed=22) if e.label != "[]"]
    task = teachers_task(read_manifest(tagger_sealed), "demo", threads=1)
    answers: Callable[[Sequence[str]], list[str]] = teacher_rows(task, Copier(examples))[
        "teacher_generate"
    ].answers
    assert answers([e.text for e in examples]) == [e.label for e in examples]
