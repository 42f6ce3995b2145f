"""benchmarks.latency: the same texts for all, rows that stop early, missing parts."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import latency
from benchmarks.latency import LEAST_TEXTS, Timer, measure
from evokd.errors import InputError
from evokd.task import Task
from evokd.teacher import Generate, OnScored, OnWritten, Score, Scored, Written
from evokd.watch import Silent
from serving.predictor import open_predictor

LABELS = ("play_music", "set_alarm", "get_weather", "book_table")
TEXTS = [f"please wake me at {number}" for number in range(12)]


class Listener:
    """A teacher that answers at once and remembers what it was asked."""

    name, fingerprint, threads = "listener", "0", 1

    def __init__(self) -> None:
        self.scored: list[Score] = []
        self.written: list[Generate] = []

    def generate(
        self, requests: Sequence[Generate], on_done: OnWritten | None = None
    ) -> list[Written]:
        self.written += requests
        return [Written("set_alarm", "stop", 9, 3, 12) for _ in requests]

    def score(self, requests: Sequence[Score], on_done: OnScored | None = None) -> list[Scored]:
        self.scored += requests
        return [Scored((-1.0,) * len(r.choices), 9, 3, 12) for r in requests]

    def close(self) -> None: ...


def make_task(labels: Sequence[str] = LABELS) -> Task:
    return Task(
        name="tiny",
        domain="requests",
        labels={name: f"asks for {name}" for name in labels},
        data={"seed": "seed.jsonl"},
    )


def clock(step: float) -> Any:
    """A clock that rises by `step` at every look."""
    return map(lambda n: n * step, itertools.count()).__next__


@pytest.fixture
def run_folder(tiny_sealed: Path, tmp_path: Path) -> Path:
    """A run's folder with a student, and a nano student beside it."""
    from export.nano import NanoShape, make_nano

    shutil.copytree(tiny_sealed, tmp_path / "student")
    said = open_predictor(tiny_sealed).probabilities(TEXTS)
    shape = NanoShape(size=8, hidden=8, epochs=1)
    make_nano(tiny_sealed, tmp_path / "nano", texts=TEXTS, probabilities=said, shape=shape)
    return tmp_path


def test_measures_all_rows_on_the_same_texts(run_folder: Path) -> None:
    teacher = Listener()
    made = measure(run_folder / "student", make_task(), teacher, TEXTS, watch=Silent())
    assert set(made["latency_ms"]) == set(latency.TITLES)
    for row in made["latency_ms"].values():
        assert 0 < row["p50"] <= row["p95"]
        assert row["texts"] == len(TEXTS)
    asked = [request.messages[0].content for request in teacher.scored]
    assert all(any(json.dumps(text) in prompt for prompt in asked) for text in TEXTS)
    assert {r.messages for r in teacher.written} == {r.messages for r in teacher.scored}
    assert all(request.choices == LABELS for request in teacher.scored)
    assert all(r.temperature == 0 and r.max_tokens == 16 for r in teacher.written)
    assert made["threads"] == 1
    assert made["served"] == "int8"
    assert made["mean_tokens"] == 2 + 5  # [CLS] please wake me [UNK] [UNK] [SEP]
    rows, ratio = made["latency_ms"], made["ratio"]
    assert ratio["torch_over_int8"] == rows["torch"]["p50"] / rows["int8"]["p50"]
    assert ratio["served_over_nano"] == rows["int8"]["p50"] / rows["nano"]["p50"]
    json.dumps(made)


def test_a_student_without_int8(tiny_sealed: Path, tmp_path: Path) -> None:
    from serving import layout

    folder = tmp_path / "student"
    shutil.copytree(tiny_sealed, folder)
    (folder / layout.INT8).unlink()
    manifest = layout.read_manifest(folder)
    layout.write_manifest(folder, replace(manifest, serve=layout.ONNX))
    made = measure(folder, make_task(), Listener(), TEXTS[:2], watch=Silent())
    assert made["latency_ms"]["int8"] is None
    assert made["latency_ms"]["nano"] is None
    assert made["served"] == "onnx"
    assert made["ratio"]["torch_over_int8"] is None
    assert made["ratio"]["teacher_score_over_served"] > 0


def test_refuses_other_labels_and_no_texts(tiny_sealed: Path) -> None:
    with pytest.raises(InputError, match="other labels"):
        measure(tiny_sealed, make_task(LABELS[::-1]), Listener(), TEXTS, watch=Silent())
    with pytest.raises(InputError, match="no texts"):
        measure(tiny_sealed, make_task(), Listener(), [], watch=Silent())


@given(step=st.floats(0.001, 100), seconds=st.floats(0.1, 100), count=st.integers(1, 60))
def test_a_row_stops_after_its_seconds_but_not_too_soon(
    step: float, seconds: float, count: int
) -> None:
    row = Timer(seconds, clock(step)).row(lambda text: None, ["x"] * count, lambda: None)
    assert min(count, LEAST_TEXTS) <= row["texts"] <= count
    if row["texts"] < count:
        assert row["texts"] * step >= seconds * 0.999
        assert (row["texts"] - 1) * step < seconds * 1.001 or row["texts"] == LEAST_TEXTS
    assert row["p50"] == pytest.approx(1000 * step)


def test_warm_up_is_not_counted() -> None:
    answered: list[str] = []
    row = Timer(1e9).row(answered.append, ["a", "b", "c"], lambda: None)
    assert answered == ["a", "b", "c"] * 2
    assert row["texts"] == 3


def test_the_teachers_threads_are_the_students() -> None:
    task = make_task()
    teacher = Listener()
    assert latency.threads_of(teacher, task) == 1
    teacher.threads = 0  # a teacher that does not say
    pinned = task.teacher.model_copy(update={"threads": 3})
    assert latency.threads_of(teacher, task.model_copy(update={"teacher": pinned})) == 3


def test_the_command_writes_its_record(
    tiny_sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import evokd.teacher

    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS), encoding="utf-8")
    opened = []
    monkeypatch.setattr(
        evokd.teacher, "open_teacher", lambda settings: opened.append(settings) or Listener()
    )
    out = tmp_path / "latency.json"
    monkeypatch.setattr(
        sys, "argv",
        ["latency", "--student", str(tiny_sealed), "--texts", str(texts), "--quick",
         "--threads", "1", "--json", str(out), "--teacher", "some.gguf"],
    )  # fmt: skip
    latency.main()
    record = json.loads(out.read_text(encoding="utf-8"))
    assert record["quick"] is True
    assert record["texts"] == len(TEXTS)
    assert (opened[0].model, opened[0].threads) == ("some.gguf", 1)


def test_a_missing_student_is_the_users_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import evokd.teacher

    monkeypatch.setattr(evokd.teacher, "open_teacher", lambda settings: Listener())
    monkeypatch.setattr(sys, "argv", ["latency", "--student", str(tmp_path / "none")])
    with pytest.raises(SystemExit) as left:
        latency.main()
    assert left.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "\nhint: " in said


def test_without_texts_there_must_be_a_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        latency.texts_of_run(tmp_path)


def test_import_is_light() -> None:
    code = (
        "import sys, benchmarks.latency;"
        "print([m for m in ('torch', 'transformers', 'llama_cpp') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
