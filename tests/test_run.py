from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fake_run import grow, make_task, write_jsonl
from fakes import FakeLearner, ScriptedTeacher, Stopped

from evokd.errors import EvokdError, InputError, TeacherError
from evokd.ledger import Ledger
from evokd.run import check_folder, differences, export_run, identity, run_task
from evokd.runfiles import RunFiles
from evokd.task import Task, load_data, load_task
from evokd.watch import Silent


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its bytes."""
    paths = sorted(folder.rglob("*"))
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"" for p in paths}


def begin(task: Task, folder: Path) -> None:
    """Begin a run and stop it at its first call."""
    learner: Any = FakeLearner()
    with pytest.raises(Stopped):
        run_task(task, folder, watch=Silent(), open_model=lambda: ScriptedTeacher(fail_after=0),
                 learner=learner)  # fmt: skip


def check(task: Task, folder: Path) -> None:
    check_folder(RunFiles(folder), task, load_data(task))


# -- the same run? --------------------------------------------------------------------------------


def test_a_run_that_was_begun_is_known_again(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", dev=1, pool=1)
    begin(task, tmp_path / "run")
    before = contents(tmp_path / "run")
    check(task, tmp_path / "run")
    assert contents(tmp_path / "run") == before, "a look changes nothing"
    begin(task, tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"loop": {"rounds": 5}}, "loop.rounds"),
        ({"teacher": {"temperature": 0.1}, "loop": {"seed": 9}}, "loop.seed, teacher.temperature"),
        ({"dev": 1}, "data"),
    ],
)
def test_other_settings_or_data_are_refused_by_name(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    begin(make_task(tmp_path / "task"), tmp_path / "run")
    before = contents(tmp_path / "run")
    other = make_task(tmp_path / "other", **changes)
    with pytest.raises(InputError, match=f"was begun with other {named}$"):
        run_task(other, tmp_path / "run", watch=Silent(), open_model=ScriptedTeacher)
    assert contents(tmp_path / "run") == before


def test_settings_of_the_machine_may_be_others_when_a_run_goes_on(tmp_path: Path) -> None:
    """The hint "raise teacher.context" can be followed with the same folder."""
    begin(make_task(tmp_path / "task"), tmp_path / "run")
    teacher = {"context": 8192, "sequences": 4, "threads": 2, "gpu_layers": 0}
    machine = {"teacher": teacher, "student": {"threads": 1, "device": "cpu"}}
    check(make_task(tmp_path / "task", **machine), tmp_path / "run")
    other = make_task(tmp_path / "task", **machine | {"teacher": teacher | {"max_tokens": 99}})
    with pytest.raises(InputError, match=r"was begun with other teacher\.max_tokens$"):
        check(other, tmp_path / "run")


def test_a_run_of_an_earlier_version_goes_on_by_the_defaults_of_what_is_new(
    tmp_path: Path,
) -> None:
    task = make_task(tmp_path / "task")
    begin(task, tmp_path / "run")
    with closing(sqlite3.connect(tmp_path / "run" / "run.db")) as db, db:
        [told] = db.execute("SELECT value FROM meta WHERE key = 'run'").fetchone()
        record = json.loads(told)
        del record["settings"]["method"]["attributes"], record["settings"]["budget"]
        db.execute("UPDATE meta SET value = ? WHERE key = 'run'", (json.dumps(record),))
    check(task, tmp_path / "run")
    other = make_task(tmp_path / "task", method={"attributes": True})
    with pytest.raises(InputError, match=r"was begun with other method\.attributes$"):
        check(other, tmp_path / "run")


def test_an_encoders_folder_may_lie_elsewhere_and_must_hold_the_same(tmp_path: Path) -> None:
    def of(name: str, content: str) -> Task:
        folder = tmp_path / name / "mine"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_text(content)
        return make_task(tmp_path / "task", student={"model": str(folder)})

    begin(of("one", "weights"), tmp_path / "run")
    check(of("two", "weights"), tmp_path / "run")
    with pytest.raises(InputError, match=r"was begun with other encoder$"):
        check(of("three", "other"), tmp_path / "run")
    with pytest.raises(InputError, match=r"was begun with other encoder, student\.model$"):
        check(make_task(tmp_path / "task", student={"model": "mine"}), tmp_path / "run")


def test_a_run_of_another_way_of_working_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task(tmp_path / "task")
    begin(task, tmp_path / "run")
    monkeypatch.setattr("evokd.run.VERSION", "another")
    with pytest.raises(InputError, match=r"run: was begun by another version$"):
        check(task, tmp_path / "run")


def test_another_order_of_the_labels_is_another_task(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task")
    begin(task, tmp_path / "run")
    turned = task.model_copy(update={"labels": dict(reversed(task.labels.items()))})
    with pytest.raises(InputError, match=r"was begun with other labels$"):
        check(turned, tmp_path / "run")


def test_the_teachers_place_does_not_matter(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task")
    moved = task.model_copy(
        update={"teacher": task.teacher.model_copy(update={"model": "elsewhere.gguf"})}
    )
    data = load_data(task)
    assert identity(task, data) == identity(moved, data)
    assert json.loads(json.dumps(identity(task, data))) == identity(task, data)


def test_differences_are_named_by_their_place() -> None:
    old = {"settings": {"loop": {"rounds": 1, "hard": 2}}, "data": "x"}
    assert differences(old, old) == []
    new = {"settings": {"loop": {"rounds": 2, "hard": 2}}, "data": "y"}
    assert differences(old, new) == ["data", "loop.rounds"]
    assert differences({"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}}) == ["a"]
    assert differences({"a": 1}, {}) == ["a"]
    assert differences(1, 2) == ["settings"]


# -- folders --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["new", "deep/er/run", "50% of? my #runs"])
def test_a_new_or_empty_folder_will_do(tmp_path: Path, name: str) -> None:
    task = make_task(tmp_path / "task")
    check(task, tmp_path / name)
    assert not (tmp_path / name).exists()
    (tmp_path / name).mkdir(parents=True)
    check(task, tmp_path / name)
    assert not contents(tmp_path / name)
    begin(task, tmp_path / name)
    assert RunFiles(tmp_path / name).ledger.is_file()
    check(task, tmp_path / name)


def with_a_file(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")


def with_text_as_ledger(folder: Path) -> None:
    folder.mkdir()
    (folder / "run.db").write_text("not a database " * 99)


def with_another_database(folder: Path) -> None:
    folder.mkdir()
    with closing(sqlite3.connect(folder / "run.db")) as db, db:
        db.execute("CREATE TABLE recipes (name TEXT)")


def as_a_file(folder: Path) -> None:
    folder.write_text("a file")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (with_a_file, "is not empty and holds no run"),
        (as_a_file, "is not empty and holds no run"),
        (with_text_as_ledger, "not a ledger"),
        (with_another_database, "not a ledger"),
    ],
)
def test_a_folder_of_something_else_is_refused_and_left_alone(
    tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    task, folder = make_task(tmp_path / "task"), tmp_path / "run"
    make(folder)
    before = contents(tmp_path)
    with pytest.raises(InputError, match=said):
        run_task(task, folder, watch=Silent(), open_model=ScriptedTeacher)
    assert contents(tmp_path) == before


def test_a_run_that_was_killed_at_its_very_start_goes_on(tmp_path: Path) -> None:
    task, folder = make_task(tmp_path / "task"), tmp_path / "run"
    folder.mkdir()
    (folder / "run.lock").touch()
    check(task, folder)
    (folder / "run.db").touch()
    check(task, folder)
    Ledger(folder / "run.db").close()
    check(task, folder)
    begin(task, folder)
    assert (folder / "run.db").stat().st_size > 0


def test_a_run_that_was_killed_is_known_by_what_is_only_in_the_log(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task")
    (tmp_path / "run").mkdir()
    ledger = Ledger(tmp_path / "run" / "run.db")
    ledger.set_meta("run", identity(task, load_data(task)))
    shutil.copytree(tmp_path / "run", tmp_path / "killed")  # the log is not in the database yet
    ledger.close()
    check(task, tmp_path / "killed")
    with pytest.raises(InputError, match=r"other loop\.rounds"):
        check(make_task(tmp_path / "other", loop={"rounds": 5}), tmp_path / "killed")


# -- bad input ------------------------------------------------------------------------------------


def no_seed_file(folder: Path) -> None:
    (folder / "seed.jsonl").unlink()


def empty_seed(folder: Path) -> None:
    (folder / "seed.jsonl").write_text("")


def label_missing_in_seed(folder: Path) -> None:
    write_jsonl(folder / "seed.jsonl", [{"text": "rain", "label": "weather"}])


def label_unknown(folder: Path) -> None:
    write_jsonl(folder / "test.jsonl", [{"text": "rain", "label": "tides"}])


@pytest.mark.parametrize("spoil", [no_seed_file, empty_seed, label_missing_in_seed, label_unknown])
@pytest.mark.parametrize("begun", [False, True])
def test_bad_data_leaves_the_folder_as_it_was(
    tmp_path: Path, spoil: Callable[[Path], None], begun: bool
) -> None:
    task = make_task(tmp_path / "task")
    if begun:
        begin(task, tmp_path / "run")
    spoil(tmp_path / "task")
    before = contents(tmp_path)
    with pytest.raises(InputError) as caught:
        run_task(task, tmp_path / "run", watch=Silent(), open_model=ScriptedTeacher)
    assert ".jsonl" in caught.value.message
    assert caught.value.hint
    assert contents(tmp_path) == before


def test_gold_selection_needs_a_dev_file(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", selection={"by": "gold"})
    with pytest.raises(InputError, match=r"data\.dev is missing"):
        run_task(task, tmp_path / "run", watch=Silent(), open_model=ScriptedTeacher)
    assert not (tmp_path / "run").exists()
    assert load_data(make_task(tmp_path / "with", dev=1, selection={"by": "gold"})).dev


@pytest.mark.parametrize("model", ["missing.gguf", "seed.jsonl"])
def test_a_bad_teacher_is_refused_before_anything_is_made(tmp_path: Path, model: str) -> None:
    make_task(tmp_path / "task")
    settings = json.loads((tmp_path / "task" / "task.yaml").read_text())
    settings["teacher"]["model"] = model
    (tmp_path / "task" / "task.yaml").write_text(json.dumps(settings))
    with pytest.raises(EvokdError, match=model):
        run_task(load_task(tmp_path / "task" / "task.yaml"), tmp_path / "run", watch=Silent())
    assert not (tmp_path / "run").exists()


def test_another_model_in_a_run_is_refused(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task")
    begin(task, tmp_path / "run")
    learner: Any = FakeLearner()
    other = ScriptedTeacher(fingerprint="scripted-2")
    with pytest.raises(TeacherError, match="another model"):
        run_task(task, tmp_path / "run", watch=Silent(), open_model=lambda: other, learner=learner)
    assert other.asked == []


def test_a_run_that_failed_gives_its_lock_and_model_back(tmp_path: Path) -> None:
    teacher, learner = ScriptedTeacher(fail_after=3), FakeLearner()
    given: Any = learner
    with pytest.raises(Stopped):
        run_task(make_task(tmp_path / "task"), tmp_path / "run", watch=Silent(),
                 open_model=lambda: teacher, learner=given)  # fmt: skip
    assert teacher.closed
    Ledger(tmp_path / "run" / "run.db").close()


# -- exporting again ------------------------------------------------------------------------------


def test_export_of_what_is_no_finished_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run\.db: no such file"):
        export_run(tmp_path / "nothing", None)
    assert not (tmp_path / "nothing").exists()
    task = make_task(tmp_path / "task")
    begin(task, tmp_path / "begun")
    with pytest.raises(InputError, match="its student is not finished"):
        export_run(tmp_path / "begun", None)
    with pytest.raises(InputError, match=r"run\.db: no such file") as caught:
        export_run(tmp_path / "begun" / "student", None)
    assert str(caught.value.hint).endswith(f"here {tmp_path / 'begun'}")
    (tmp_path / "empty").mkdir()
    Ledger(tmp_path / "empty" / "run.db").close()
    with pytest.raises(InputError, match="holds no run"):
        export_run(tmp_path / "empty", None)
    Ledger(tmp_path / "empty" / "run.db").close()


def test_export_overwrites_nothing(tmp_path: Path) -> None:
    grow(make_task(tmp_path / "task"), tmp_path / "run", ScriptedTeacher())
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match="exists"):
        export_run(tmp_path / "run", tmp_path / "mine")
    assert contents(tmp_path / "mine") == {}
