from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from commands import Evokd, evokd_, files, home, is_refused, model
from typer.testing import CliRunner

import evokd
from evokd.answers import names_in, read_spans
from evokd.cli import app, main
from evokd.task import Task, load_data, load_task

ROOT = Path(__file__).parent.parent
COMMANDS = (
    *("demo", "run", "init", "replay", "predict", "evaluate", "export", "bench", "serve", "build"),
    *("doctor", "plan", "why", "compare"),
)
__all__ = ["evokd_", "home", "model"]  # fixtures


def test_these_are_the_commands() -> None:
    names = [command.callback.__name__ for command in app.registered_commands if command.callback]
    assert sorted(names) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_of_every_command_shows_an_example(name: str, flag: str) -> None:
    shown = CliRunner().invoke(app, [name, flag], prog_name="evokd")
    assert shown.exit_code == 0
    examples = [line for line in shown.output.splitlines() if "Usage:" not in line]
    assert any(f"evokd {name} " in line for line in examples), shown.output


def test_help_of_the_whole_lists_every_command() -> None:
    shown = CliRunner().invoke(app, ["--help"], prog_name="evokd")
    assert shown.exit_code == 0
    assert all(f" {name} " in shown.output for name in COMMANDS)


def test_every_command_stands_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [name for name in COMMANDS if f"evokd {name}" not in readme]
    assert missing == []


def test_version(evokd_: Evokd) -> None:
    assert evokd_("--version") == (0, [evokd.__version__], [])


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["run"],
        ["run", "task.yaml", "--rounds", "3"],
        ["bench", "student", "--threads", "0"],
        ["bench", "student", "--threads", "two"],
        ["predict", "student"],
        ["serve"],
    ],
)
def test_a_wrong_command_line_is_exit_2(home: Path, evokd_: Evokd, arguments: list[str]) -> None:
    before = files(home)
    code, _, err = evokd_(*arguments)
    assert code == 2
    assert any("Usage" in line for line in err)
    assert files(home) == before


def test_a_user_error_has_no_traceback_in_a_process_of_its_own(home: Path) -> None:
    code = "from evokd.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "gone.yaml"], capture_output=True, text=True, cwd=home
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "error: gone.yaml: cannot be read",
        "hint: give the path of a task.yaml",
    ]


def test_a_path_that_the_system_refuses_is_a_user_error(home: Path, evokd_: Evokd) -> None:
    before = files(home)
    is_refused(evokd_("demo", "--out", "x" * 300), "File name too long")
    assert files(home) == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux only")
def test_a_full_disk_is_a_user_error(home: Path, evokd_: Evokd) -> None:
    assert evokd_("init", "my")[0] == 0
    is_refused(evokd_("doctor", "--json", "/dev/full"), "No space left on device")


def test_a_database_that_finds_no_room_is_a_user_error(
    monkeypatch: pytest.MonkeyPatch, home: Path, evokd_: Evokd
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("evokd.task.load_task", full)
    told = evokd_("run", "task.yaml")
    is_refused(told, "disk is full")
    assert told[0] == 1


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("evokd.task.load_task", broken)
    monkeypatch.setattr(sys, "argv", ["evokd", "run", "task.yaml"])
    with pytest.raises(ZeroDivisionError):
        main()


def test_init_writes_a_task_that_loads(home: Path, evokd_: Evokd) -> None:
    code, out, err = evokd_("init", "my/new")
    assert (code, err) == (0, [])
    assert any(str(Path("my/new/task.yaml")) in line for line in out)
    task = load_task(home / "my" / "new" / "task.yaml")
    data = load_data(task)
    assert {e.label for e in data.seed} == set(task.names)
    assert task.teacher.model == "demo"


@pytest.mark.parametrize("kind", ["classification", "multilabel", "ner"])
def test_init_writes_a_sample_of_every_kind(home: Path, evokd_: Evokd, kind: str) -> None:
    code, _, _ = evokd_("init", "my/new", "--kind", kind)
    assert code == 0
    task = load_task(home / "my/new/task.yaml")
    assert task.kind == kind
    if kind != "classification":
        refused = evokd_("run", "my/new/task.yaml", "--set", "teacher.model=demo")
        is_refused(refused, f"the built-in teacher demo knows no task of kind {kind}")
    data = load_data(task)
    assert {n for e in data.seed for n in names_in(e.label, task.kind)} == {*task.labels}
    if kind == "ner":
        shown = [e.text[s.start : s.end] for e in data.seed for s in read_spans(e.label)]
        assert shown == ["lamp", "4711", "3 May", "coat", "last Friday"]


@pytest.mark.parametrize("name", ["task.yaml", "seed.jsonl"])
def test_init_overwrites_nothing(home: Path, evokd_: Evokd, name: str) -> None:
    (home / "my").mkdir()
    (home / "my" / name).write_text("mine")
    before = files(home)
    is_refused(evokd_("init", "my"), f"{name}: is there already")
    assert files(home) == before


def test_init_into_a_file_is_refused(home: Path, evokd_: Evokd) -> None:
    before = files(home)
    is_refused(evokd_("init", "seed.jsonl"), "is no folder that can be written")
    assert files(home) == before


def test_the_schema_is_json(home: Path, evokd_: Evokd) -> None:
    before = files(home)
    code, out, err = evokd_("init", "--schema")
    assert (code, err) == (0, [])
    assert json.loads("\n".join(out)) == Task.model_json_schema()
    assert files(home) == before


def test_ctrl_c_says_that_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("evokd.run.run_task", interrupted)
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "run")])
    assert result.exit_code == 130
    assert "the same command goes on" in result.stderr


def _noted(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """Return what a run says before its work begins."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("evokd.run.run_task", interrupted)
    return CliRunner().invoke(app, arguments).stdout


def test_the_built_in_teacher_of_another_task_is_noted(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = _noted(monkeypatch, "run", "task.yaml", "--set", "teacher.model=demo")
    (line,) = [line for line in said.splitlines() if "built-in teacher" in line]
    assert "teacher.model" in line
    assert "built-in teacher" not in _noted(monkeypatch, "run", "task.yaml")


def test_labels_without_a_definition_are_noted(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no definition" not in _noted(monkeypatch, "run", "task.yaml")
    label = next(iter(yaml.safe_load((home / "task.yaml").read_text())["labels"]))
    said = _noted(monkeypatch, "run", "task.yaml", "--set", f"labels.{label}=")
    assert f"no definition, so known by name alone: {label}" in said


@pytest.mark.parametrize("arguments", [["demo"], ["run", str(ROOT / "evokd/demo/task.yaml")]])
def test_the_built_in_teacher_of_the_demo_is_not(
    home: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    said = _noted(monkeypatch, *arguments)
    assert "task demo: 9 labels" in said
    assert "built-in teacher" not in said
