from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from evokd.cli.live import Live, show_export, show_scores, show_summary
from evokd.scores import score

HOSTILE = ["[bold]not bold[/bold]", "[/nothing open]", "ends in \\", ":warning: [red]", "[link=x]"]

RESULT: dict[str, Any] = {
    "written": 12,
    "kept": 9,
    "dropped": {"duplicate": 1, "labels disagree": 2},
    "rejects": {"no json": 1},
    "missed": {"hard": [3, 4], "easy": [0, 2]},
    "dev": {"accuracy": 0.5, "micro_f1": 0.5},
    "gold_dev": None,
    "test": {"accuracy": 0.75, "micro_f1": 0.75},
    "rolled_back": True,
}

NONE = {"dev_accuracy": None, "dev_macro_f1": None, "test_accuracy": None, "test_macro_f1": None}
SUMMARY: dict[str, Any] = {
    "task": "tiny",
    "selection": "teacher-made dev",
    "seed_only": {"fine_tuned": NONE, "centroid": NONE},
    "student": {"fp32": NONE, "int8": NONE},
    "nano": NONE,
    "gate": {"passed": False, "served": "onnx/model.onnx"},
    "size_bytes": {"onnx": 90_400_000, "int8": None, "nano": 4_000_000},
    "latency_ms": {
        "torch": None, "onnx": {"p50": 1.25}, "int8": None, "teacher_score": {"p50": 30.0},
        "teacher_generate": None,
    },
    "latency_ratio": {"teacher_score_over_served": 24.0, "teacher_generate_over_served": None},
    "teacher": {"calls": 1234, "tokens_in": 56789, "tokens_out": 12, "decoded": 3},
    "examples": {"written": 12, "kept": 9, "dropped": 3},
    "seconds": 90.0,
}  # fmt: skip


def live() -> tuple[Live, io.StringIO]:
    out = io.StringIO()
    return Live(Console(file=out, width=500, highlight=False)), out


def test_a_round_shows_its_counts_and_scores() -> None:
    watch, out = live()
    watch.round(RESULT)
    said = out.getvalue()
    assert "written 12, kept 9, dropped 3 (1 duplicate, 2 labels disagree)" in said
    assert "  refused: 1 no json" in said
    assert "75% of 4 hard texts wrong" in said
    assert "dev 0.500, test 0.750  rolled back" in said
    assert "gold dev" not in said


def test_a_round_without_anything_to_tell() -> None:
    watch, out = live()
    watch.round(RESULT | {"dropped": {}, "rejects": {}, "missed": {}, "test": None,
                          "rolled_back": False})  # fmt: skip
    assert "dropped" not in out.getvalue()
    assert "accuracy now: dev 0.500\n" in out.getvalue()


def test_where_texts_have_several_answers_their_f1_is_shown() -> None:
    watch, out = live()
    scores = {"accuracy": 0.25, "micro_f1": 0.5}
    watch.round(RESULT | {"dev": scores, "test": None, "rolled_back": False})
    assert "micro F1 now: dev 0.500\n" in out.getvalue()


@pytest.mark.parametrize("text", HOSTILE)
def test_what_others_wrote_is_shown_literally(text: str) -> None:
    watch, out = live()
    with watch:
        watch.stage(text)
        watch.note(text)
        watch.weaknesses([[text], [text, "another"]])
    lines = [line.strip() for line in out.getvalue().splitlines()]
    assert lines.count(text) == 3  # the weakness, named twice, is shown once


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1))
def test_any_weakness_is_shown_as_it_is(text: str) -> None:
    watch, out = live()
    watch.weaknesses([[text]])
    assert text.rstrip() in out.getvalue()


def test_only_some_weaknesses_and_none_at_all() -> None:
    watch, out = live()
    watch.weaknesses([[], []])
    assert out.getvalue() == ""
    watch.weaknesses([[f"pattern {n}" for n in range(9)]])
    assert "pattern 5" in out.getvalue()
    assert "pattern 6" not in out.getvalue()
    assert "and 3 more in the report" in out.getvalue()


def test_a_bar_moves_until_the_next_stage() -> None:
    watch, _ = live()
    with watch:
        tick = watch.progress("labelling", 3)
        tick()
        tick()
        (bar,) = watch.bars.tasks
        assert (bar.description, bar.completed, bar.total) == ("labelling", 2, 3)
        watch.stage("next")
        assert watch.bars.tasks == []
        watch.progress("nothing to do", 0)


def test_a_summary_with_nothing_measured(capsys: pytest.CaptureFixture[str]) -> None:
    show_summary(SUMMARY, Path("runs/tiny"))
    said = capsys.readouterr().out
    assert "INT8 refused, full precision is served" in said
    assert "1,234 calls" in said
    assert "9 kept, 3 dropped; 1.5 minutes" in said
    assert "–" in said


def test_a_whole_summary(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    figures = {key: 0.875 for key in NONE}
    made = SUMMARY | {
        "student": {"fp32": figures, "int8": figures},
        "gate": {"passed": True, "served": "onnx/model_quantized.onnx"},
        "nano": figures,
        "size_bytes": {"onnx": 90_400_000, "int8": 22_900_000, "nano": 4_000_000},
        "latency_ms": SUMMARY["latency_ms"] | {"int8": {"p50": 0.5}},
    }
    show_summary(made, Path("runs/tiny"))
    said = capsys.readouterr().out
    assert "gate: passed, INT8 is served" in said
    for shown in ("0.875", "90.4", "22.9", "1.25", "2.5x", "30.00", "60.0x"):
        assert shown in said


def test_forced_int8_is_told_as_what_is_served(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    forced = {"passed": False, "served": "onnx/model_quantized.onnx"}
    timed = SUMMARY["latency_ms"] | {"int8": {"p50": 0.5}}
    show_summary(SUMMARY | {"gate": forced, "latency_ms": timed}, Path("runs/tiny"))
    said = capsys.readouterr().out
    assert "gate: INT8 refused, INT8 is served" in said
    assert "60.0x" in said, "the teacher takes 60 times as long as INT8"
    show_summary(SUMMARY | {"gate": forced}, Path("runs/tiny"))  # forced when the run was over
    assert "30.00" in capsys.readouterr().out


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_teacher_name_and_path(capsys: pytest.CaptureFixture[str], text: str) -> None:
    teacher = SUMMARY["teacher"] | {"name": text}
    show_summary(SUMMARY | {"teacher": teacher}, Path("runs") / text)
    said = capsys.readouterr().out
    assert f"teacher {text}: 1,234 calls" in said
    assert f"serve it: evokd serve {Path('runs') / text / 'student'}" in said


@pytest.mark.parametrize("text", HOSTILE)
def test_scores_with_hostile_labels(capsys: pytest.CaptureFixture[str], text: str) -> None:
    scores = score(["a", text], ["a", "a"], ["a", text])
    show_scores(scores)
    said = capsys.readouterr().out
    assert text in said
    assert "2 texts: accuracy 0.5000" in said
    assert "calibration" not in said
    show_scores(replace(scores, ece=0.125))
    said = capsys.readouterr().out
    assert "calibration error 0.125" in said
    assert "the service answers" not in said
    some = replace(scores, answered=0.5, accuracy_answered=1.0)
    show_scores(some)
    assert "answers 50.0% of them, 100.0% of those rightly" in capsys.readouterr().out
    show_scores(score(["a"], ["a"], ["a", text]), "entities")
    said = capsys.readouterr().out
    assert f"takes 0 for what is not in the file: {text}" in said
    assert "entities" in said.splitlines()[1]
    show_scores(replace(some, answered=0.0, accuracy_answered=None))
    assert "answers 0.0% of them; the rest" in capsys.readouterr().out


def test_an_export_and_why_it_was_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    gate = {"agreement": 0.98, "macro_f1_fp32": 0.9, "macro_f1_int8": 0.8}
    show_export(
        {
            "tried": [
                {"rung": "u8s8", "gate": gate | {"passed": False, "reasons": ["[red] lost 9 %"]}},
                {"rung": "u8u8", "gate": gate | {"passed": True, "reasons": []}},
            ],
            "served": "onnx/model_quantized.onnx",
            "size_bytes": {"onnx": 9, "int8": 3},
        }
    )
    said = capsys.readouterr().out
    assert "[red] lost 9 %" in said
    assert "passed" in said
    assert "served: onnx/model_quantized.onnx, sizes: {'onnx': 9, 'int8': 3}" in said


def test_an_export_that_tried_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    show_export({"tried": [], "served": "onnx/model.onnx", "size_bytes": {"onnx": 9}})
    assert "served: onnx/model.onnx" in capsys.readouterr().out
