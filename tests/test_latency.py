"""benchmarks.latency: the same texts for all, missing parts, and what the figures come from."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tiny_student import make_texts

from benchmarks.latency import bench, child, rows
from benchmarks.latency.__main__ import main
from benchmarks.latency.bench import bench_student, measure, threads_of
from benchmarks.latency.material import Material
from benchmarks.latency.ratios import repaid
from benchmarks.latency.rows import teacher_rows
from benchmarks.latency.scenarios import IN_A_RUN, Clock
from benchmarks.latency.table import RANDOM, show
from evokd.errors import EvokdError, InputError
from evokd.examples import Example
from evokd.latency_told import LATENCY_ROWS
from evokd.task import Task
from evokd.teacher import (
    TOO_LONG_TO_SCORE,
    Generate,
    OnScored,
    OnWritten,
    Score,
    Scored,
    Written,
)
from evokd.watch import Silent
from serving.predictor import open_predictor

LABELS = ("play_music", "set_alarm", "get_weather", "book_table")
TEXTS = [f"please wake me at {number}" for number in range(12)]
BRIEF = replace(IN_A_RUN, queries=len(TEXTS), seconds=1.0, offline=0.01, server=0.05)


class World:
    """Time that passes at every look at the clock, and when the teacher works."""

    def __init__(self) -> None:
        self.now = 0.0

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.work(0.001), self.work)

    def work(self, seconds: float) -> float:
        self.now += seconds
        return self.now


class Listener:
    """A teacher that remembers what it was asked; `work` is told the seconds that it takes.

    A prompt that begins otherwise than the last one takes a second more.
    """

    fingerprint, threads = "0", 1

    def __init__(
        self, name: str = "listener", work: Callable[[float], object] = lambda _: None
    ) -> None:
        self.name = name
        self.work = work
        self.scored: list[Score] = []
        self.written: list[Generate] = []
        self.held = ""

    def _read(self, requests: Sequence[Score] | Sequence[Generate], seconds: float) -> None:
        head = requests[0].messages[0].content[:20]
        self.work(seconds * len(requests) + (head != self.held))
        self.held = head

    def generate(
        self, requests: Sequence[Generate], on_done: OnWritten | None = None
    ) -> list[Written]:
        self._read(requests, 0.2)
        self.written += requests
        return [Written(" set_alarm\n", "stop", 9, 3, 12) for _ in requests]

    def score(self, requests: Sequence[Score], on_done: OnScored | None = None) -> list[Scored]:
        self._read(requests, 0.1)
        self.scored += [r for r in requests if r.choices != ("a", "b")]
        return [
            TOO_LONG_TO_SCORE
            if "LONG" in r.messages[-1].content
            else Scored((-2.0, -1.0, *[-3.0] * len(r.choices[2:])), 9, 3, 12)
            for r in requests
        ]

    def check(self, requests: Sequence[Score | Generate]) -> None: ...

    def close(self) -> None: ...


def make_task(labels: Sequence[str] = LABELS) -> Task:
    return Task(
        name="tiny",
        domain="requests",
        labels={name: f"asks for {name}" for name in labels},
        data={"seed": "seed.jsonl"},
    )


def labelled() -> list[Example]:
    return [Example(text, label, "gold") for text, label in zip(*make_texts(40, 3), strict=True)]


def show_text(record: dict[str, Any]) -> str:
    shown = io.StringIO()
    show(record, Console(width=200, file=shown))
    return shown.getvalue()


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
    made = measure(
        run_folder / "student", make_task(), teacher, Material(TEXTS), watch=Silent(), plan=BRIEF
    )
    assert (
        set(made["latency_ms"])
        == set(made["throughput"])
        == set(made["server"])
        == set(LATENCY_ROWS)
    )
    for row in made["latency_ms"].values():
        assert 0 < row["p50"] <= row["p90"] <= row["p95"] <= row["p99"]
        assert row["interval"]["p50"][0] <= row["p50"] <= row["interval"]["p50"][1]
        assert row["queries"] == row["texts"] == len(TEXTS)
    asked = [request.messages[0].content for request in teacher.scored]
    assert all(any(json.dumps(text) in prompt for prompt in asked) for text in TEXTS)
    assert {r.messages for r in teacher.written} == {r.messages for r in teacher.scored}
    assert all(request.choices == LABELS for request in teacher.scored)
    assert all(r.temperature == 0 and r.max_tokens == 16 for r in teacher.written)
    assert (made["threads"], made["labels"], made["served"]) == (1, 4, "int8")
    assert made["mean_tokens"] == 2 + 5  # [CLS] please wake me [UNK] [UNK] [SEP]
    timed, ratio = made["latency_ms"], made["ratio"]
    assert ratio["torch_over_int8"] == timed["torch"]["p50"] / timed["int8"]["p50"]
    assert ratio["served_over_nano"] == timed["int8"]["p50"] / timed["nano"]["p50"]
    assert made["int8_over_torch"] == pytest.approx(1 / ratio["torch_over_int8"])
    assert made["predictor_overhead"] > 0
    assert made["break_even_requests"] is None
    json.dumps(made)
    assert "INT8 (served)" in show_text(made)


def test_the_teacher_is_timed_with_a_warm_prefix_and_a_cold_one(tiny_sealed: Path) -> None:
    world = World()
    made = measure(
        tiny_sealed,
        make_task(),
        Listener(work=world.work),
        Material(TEXTS, run_seconds=97.0),
        watch=Silent(),
        plan=BRIEF,
        clock=world.clock,
    )
    score, write = (made["latency_ms"][f"teacher_{way}"] for way in ("score", "generate"))
    assert score["p50"] == pytest.approx(100, abs=2)
    assert write["p50"] == pytest.approx(200, abs=2)
    assert score["cold"] == pytest.approx(1100, abs=2)
    assert write["cold"] == pytest.approx(1200, abs=2)
    assert made["throughput"]["teacher_score"]["at_once"] == 8
    assert made["throughput"]["teacher_score"]["texts_per_second"] == pytest.approx(10, rel=0.02)
    served = made["latency_ms"]["int8"]["p50"]
    assert served == pytest.approx(1)  # a look at the clock: the student's work takes no time here
    assert made["student_vs_teacher_score"] == score["p50"] / served
    assert made["student_vs_teacher_generate"] == write["p50"] / served
    assert made["student_vs_teacher_score_cold"] == score["cold"] / served
    assert "decoded anew (1,101 ms)" in show_text(made)
    assert made["break_even"]["teacher"] == "teacher_score"  # the cheaper way
    assert made["break_even_requests"] == pytest.approx(97 / 0.099, rel=0.03)
    assert made["server"]["teacher_score"] == {"50%": None, "80%": None}  # too slow for a load


def test_accuracy_is_that_of_each_rows_answers(tiny_sealed: Path) -> None:
    known = [*labelled(), Example("what a label", "unknown", "gold")]
    made = measure(
        tiny_sealed, make_task(), Listener(), Material(TEXTS, known, "hand"), watch=Silent(),
        plan=replace(BRIEF, scored=40),
    )  # fmt: skip
    said = {name: part and part["accuracy"] for name, part in made["accuracy"].items()}
    assert said["nano"] is None
    # The listener always takes a text for an alarm, as a quarter of them are.
    assert said["teacher_score"] == said["teacher_generate"] == 0.25
    assert said["torch"] == said["onnx"] > 0.8
    assert made["accuracy"]["int8"]["texts"] == 40
    assert "0.250 of 40" in show_text(made)


def test_what_is_too_slow_is_not_scored(tiny_sealed: Path) -> None:
    world = World()
    made = measure(
        tiny_sealed, make_task(), Listener(work=world.work), Material(TEXTS, labelled()),
        watch=Silent(), plan=replace(BRIEF, scored=40), clock=world.clock,
    )  # fmt: skip
    assert made["accuracy"]["teacher_score"] is None
    assert made["accuracy"]["int8"]["texts"] == 40


def test_random_weights_are_named(tiny_sealed: Path) -> None:
    brief = replace(BRIEF, queries=2, server=0)
    for name, random in (
        ("random Q4_K_M", True),
        ("random", True),
        ("Random forest 7B", False),
        ("Qwen3 4B", False),
    ):
        made = measure(
            tiny_sealed, make_task(), Listener(name), Material(TEXTS), watch=Silent(), plan=brief
        )
        assert made["random_weights"] is random
        assert (RANDOM in show_text(made).replace("\n", " ")) is random


def test_a_student_without_int8(tiny_sealed: Path, tmp_path: Path) -> None:
    from serving import layout

    folder = tmp_path / "student"
    shutil.copytree(tiny_sealed, folder)
    (folder / layout.INT8).unlink()
    manifest = layout.read_manifest(folder)
    layout.write_manifest(folder, replace(manifest, serve=layout.ONNX))
    made = measure(folder, make_task(), Listener(), Material(TEXTS[:2]), watch=Silent(), plan=BRIEF)
    assert made["latency_ms"]["int8"] is None
    assert made["latency_ms"]["nano"] is None
    assert made["served"] == "onnx"
    assert made["ratio"]["torch_over_int8"] is made["int8_over_torch"] is None
    assert made["ratio"]["teacher_score_over_served"] > 0
    assert "ONNX (served)" in show_text(made)


def test_refuses_other_labels_and_no_texts(tiny_sealed: Path) -> None:
    with pytest.raises(InputError, match="other labels"):
        measure(tiny_sealed, make_task(LABELS[::-1]), Listener(), Material(TEXTS), watch=Silent())
    with pytest.raises(InputError, match="no texts"):
        measure(tiny_sealed, make_task(), Listener(), Material([]), watch=Silent())


def test_the_teachers_threads_are_the_students() -> None:
    task = make_task()
    teacher = Listener()
    assert threads_of(teacher, task) == 1
    teacher.threads = 0  # a teacher that does not say
    pinned = task.teacher.model_copy(update={"threads": 3})
    assert threads_of(teacher, task.model_copy(update={"teacher": pinned})) == 3


def test_overhead_is_what_is_spent_outside_the_run() -> None:
    now = 0.0

    class Session:
        def run(self, *_: object) -> None:
            nonlocal now
            now += 10

    class Predictor:
        session = Session()

        def predict(self, texts: Sequence[str]) -> None:
            nonlocal now
            now += 1
            self.session.run(None, {})

    assert rows.overhead(Predictor(), TEXTS, clock=lambda: now) == pytest.approx(0.1)  # type: ignore[arg-type]


@given(run=st.floats(0, 1e6), teacher=st.floats(0.01, 1e4), served=st.floats(0.001, 1e4))
def test_the_student_has_repaid_its_run_at_break_even(
    run: float, teacher: float, served: float
) -> None:
    timed = {
        "int8": {"p50": served},
        "teacher_score": {"p50": teacher},
        "teacher_generate": {"p50": teacher + 1},
    }
    made = repaid({"latency_ms": timed, "served": "int8"}, run)
    count, saved = made["break_even_requests"], (teacher - served) / 1000
    assert (count is None) == (saved <= 0)
    if count is not None:
        assert count * saved >= run * (1 - 1e-9) - 1e-9
        assert (count - 1) * saved <= run * (1 + 1e-9)


# -- the command -----------------------------------------------------------------------------------


def test_the_command_writes_its_record(
    tiny_sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import evokd.teacher

    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS), encoding="utf-8")
    opened: list[Any] = []
    teacher = Listener()
    monkeypatch.setattr(
        evokd.teacher, "open_teacher", lambda settings: opened.append(settings) or teacher
    )
    monkeypatch.setattr(bench, "QUICK", replace(BRIEF, processes=1))
    started: list[child.Start] = []
    monkeypatch.setattr(
        child,
        "starts",
        lambda what, count: started.append(what) or {"cold_start_s": 0.5, "rss_mb": 77.0},
    )
    out = tmp_path / "latency.json"
    command = ["--student", str(tiny_sealed), "--texts", str(texts), "--quick", "--threads", "1"]
    main([*command, "--json", str(out), "--tokens", "16", "--labels", "2"])
    record = json.loads(out.read_text(encoding="utf-8"))
    assert record["quick"] is True
    assert (record["texts"], record["mean_tokens"], record["labels"]) == (len(TEXTS), 16, 2)
    assert {request.choices for request in teacher.scored} == {LABELS[:2]}
    assert (opened[0].model, opened[0].threads) == ("demo", 1)
    assert [what.row for what in started] == [
        *("torch", "onnx", "int8", "teacher_score", "teacher_generate")
    ]
    assert record["cost"]["int8"]["rss_mb"] == 77.0
    model = Path(evokd.teacher.__file__).parent.parent / "demo" / "teacher.gguf"
    assert record["cost"]["teacher_score"]["size_mb"] == model.stat().st_size / 1e6
    assert record["cost"]["nano"] is None


def test_a_missing_student_is_the_users_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--student", str(tmp_path / "none")])
    assert left.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "\nhint: " in said


def test_a_missing_teacher_is_told(tiny_sealed: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    texts.write_text(json.dumps({"text": "wake me"}), encoding="utf-8")
    with pytest.raises(EvokdError, match=r"gone\.gguf: no such model file"):
        bench_student(tiny_sealed, teacher="gone.gguf", texts=texts)


def test_import_is_light() -> None:
    code = (
        "import sys, benchmarks.latency.bench;"
        "print([m for m in ('torch', 'transformers', 'llama_cpp') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", ["classification", "multilabel"])
def test_a_text_that_is_too_long_for_the_teacher_has_no_answer(kind: str) -> None:
    task = make_task().model_copy(update={"kind": kind})
    said = teacher_rows(task, Listener())["teacher_score"].answers(["rain", "LONG", "rain"])
    assert said[1] == ""
    assert said[0] == said[2] != ""
