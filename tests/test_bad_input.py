"""Bad input ends with an error and a hint, exit code 1, and every folder as it was."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Evokd, changed, evokd_, files, home, is_refused, model

from evokd.errors import InputError
from evokd.ledger import Ledger
from evokd.run import check_folder, identity
from evokd.runfiles import RunFiles
from evokd.task import Task, load_data, load_task
from evokd.weights import PRESETS

__all__ = ["evokd_", "home", "model"]  # fixtures


def cut(home: Path) -> None:
    path = home / "teacher.gguf"
    path.write_bytes(path.read_bytes()[:-100])


def cut_in_the_header(home: Path) -> None:
    path = home / "teacher.gguf"
    path.write_bytes(path.read_bytes()[:200])


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "no task": (lambda home: (home / "task.yaml").unlink(), "task.yaml: cannot be read"),
    "unknown key": (changed("task.yaml", "domain:", "domian:"), "unknown key domian"),
    "unknown nested key": (
        changed("task.yaml", "{seed:", "{train: a, seed:"), "unknown key data.train"
    ),
    "no seeds": (lambda home: (home / "seed.jsonl").unlink(), "seed.jsonl: no such file"),
    "empty seeds": (lambda home: (home / "seed.jsonl").write_text(""), "holds no examples"),
    "unknown label": (
        changed("seed.jsonl", '"alarm"', '"alram"'), "seed.jsonl, line 2: label 'alram'"
    ),
    "no seed of a label": (changed("seed.jsonl", '"alarm"', '"music"'), "no example of alarm"),
    "no model": (lambda home: (home / "teacher.gguf").unlink(), "teacher.gguf: no such"),
    "cut model": (cut, "is cut off"),
    "cut header": (cut_in_the_header, "is cut off"),
    "no GGUF": (lambda home: (home / "teacher.gguf").write_text("hello"), "not a GGUF file"),
    "empty model": (lambda home: (home / "teacher.gguf").write_bytes(b""), "not a GGUF file"),
    "no encoder": (
        changed("task.yaml", "data:", "student: {model: ./nowhere}\ndata:"), "nowhere"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_before_anything_is_made(home: Path, evokd_: Evokd, name: str) -> None:
    spoil, says = BAD[name]
    spoil(home)
    before = files(home)
    is_refused(evokd_("run", "task.yaml", "--out", "out"), says)
    is_refused(evokd_("run", "task.yaml"), says)
    assert files(home) == before


def test_changed_student_weights_are_refused(
    home: Path,
    evokd_: Evokd,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    package = tmp_path_factory.mktemp("installed") / PRESETS["minilm"].package
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model" / "config.json").write_text("{}")
    (package / "model" / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.delitem(sys.modules, package.name, raising=False)
    importlib.invalidate_caches()
    before = files(home)
    is_refused(evokd_("run", "task.yaml", "--out", "out"), "model.safetensors: sha256 is ")
    assert files(home) == before


@pytest.fixture
def weights(home: Path) -> None:
    """Take a folder as the encoder, so that nothing has to be installed to get past it."""
    encoder = home / "encoder"
    encoder.mkdir()
    (encoder / "config.json").write_text("{}")
    (encoder / "model.safetensors").write_bytes(b"weights")
    changed("task.yaml", "data:", "student: {model: encoder}\ndata:")(home)


@pytest.mark.usefixtures("weights")
def test_a_folder_with_a_plan_takes_a_run(home: Path) -> None:
    (home / "out").mkdir()
    for name in ("plan.db", "plan.lock", "plan.db-wal"):
        (home / "out" / name).touch()
    task = load_task(home / "task.yaml")
    before = files(home)
    check_folder(RunFiles(home / "out"), task, load_data(task))
    assert files(home) == before
    (home / "out" / "thesis.txt").touch()
    with pytest.raises(InputError, match="holds no run"):
        check_folder(RunFiles(home / "out"), task, load_data(task))


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_an_output_folder_of_something_else_is_left_alone(
    home: Path, evokd_: Evokd, kind: str
) -> None:
    if kind == "folder":
        (home / "out").mkdir()
    (home / "out" / "thesis.txt" if kind == "folder" else home / "out").write_text("precious")
    before = files(home)
    is_refused(evokd_("run", "task.yaml", "--out", "out"), "is not empty and holds no run")
    assert files(home) == before


@pytest.mark.usefixtures("weights")
def test_a_run_database_that_is_none_is_left_alone(home: Path, evokd_: Evokd) -> None:
    (home / "out").mkdir()
    (home / "out" / "run.db").write_text("this is no database, but it is long enough to look so")
    before = files(home)
    is_refused(evokd_("run", "task.yaml", "--out", "out"), "not a ledger")
    assert files(home) == before


def begun(out: Path, task: Task) -> None:
    """Make a run's folder as far as its record of what it is."""
    out.mkdir()
    data = load_data(task)
    ledger = Ledger(out / "run.db")
    ledger.set_meta("data", data.to_json())
    ledger.set_meta("run", identity(task, data))
    ledger.close()


@pytest.mark.usefixtures("weights")
@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("task.yaml", "data:", "loop: {rounds: 9}\ndata:", "other loop.rounds"),
        ("task.yaml", "wants to be woken", "wants to wake up", "other labels.alarm"),
        ("seed.jsonl", "wake me", "wake me up", "other data"),
    ],
)
def test_a_run_with_other_settings_is_left_alone(
    home: Path, evokd_: Evokd, file: str, old: str, new: str, says: str
) -> None:
    begun(home / "out", load_task(home / "task.yaml"))
    changed(file, old, new)(home)
    before = files(home)
    is_refused(evokd_("run", "task.yaml", "--out", "out"), says)
    assert files(home) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "nowhere", "hello"],
        ["evaluate", "nowhere", "seed.jsonl"],
        ["export", "nowhere"],
        ["replay", "nowhere"],
        ["serve", "nowhere"],
        ["bench", "nowhere", "--teacher", "teacher.gguf"],
    ],
)
def test_a_missing_student_or_run_is_refused(
    home: Path, evokd_: Evokd, arguments: list[str]
) -> None:
    before = files(home)
    is_refused(evokd_(*arguments), "nowhere")
    assert files(home) == before


@pytest.mark.usefixtures("weights")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "task.yaml", "--out", "seed.jsonl/run"], "seed.jsonl is no folder"),
        (["plan", "task.yaml", "--out", "seed.jsonl"], "seed.jsonl is no folder"),
        (["plan", "task.yaml", "--json", "gone/plan.json"], "plan.json: cannot be written"),
        (["compare", "task.yaml", "--out", "seed.jsonl"], "seed.jsonl is no folder"),
        (["replay", "run", "--out", "gone/texts.jsonl"], "texts.jsonl: cannot be written"),
        (["replay", "run", "--out", "."], ".: cannot be written"),
        (["bench", "student", "--json", "gone/times.json"], "times.json: cannot be written"),
        (["export", "run", "--out", "seed.jsonl/copy"], "seed.jsonl is no folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    home: Path, evokd_: Evokd, arguments: list[str], says: str
) -> None:
    (home / "run").mkdir()
    Ledger(home / "run" / "run.db").close()
    before = files(home)
    is_refused(evokd_(*arguments), says)
    assert files(home) == before


@pytest.mark.parametrize("command", ["replay", "export"])
def test_an_empty_database_stays_empty(home: Path, evokd_: Evokd, command: str) -> None:
    (home / "run.db").touch()
    before = files(home)
    is_refused(evokd_(command, "."), "run.db: not a ledger")
    assert files(home) == before


def test_texts_in_another_encoding_are_refused(
    home: Path, evokd_: Evokd, tiny_sealed: Path
) -> None:
    half = os.fsdecode(b"\xff")
    is_refused(evokd_("predict", str(tiny_sealed), "play", half), "TEXT: is not Unicode")
    (home / "run").mkdir()
    Ledger(home / "run" / "run.db").close()
    before = files(home)
    is_refused(evokd_("why", "run", half), "TEXT_OR_ID: is not Unicode")
    assert files(home) == before


def test_who_runs_the_demo_by_its_name_is_told_how(home: Path, evokd_: Evokd) -> None:
    ended = evokd_("run", "demo")
    is_refused(ended, "demo: no such file")
    assert "evokd demo" in ended[2][1]
