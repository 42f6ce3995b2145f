"""Opening a run: its input is checked before its folder is touched, and it is the same run again.

What a run does is in `evokd.stages`.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from evokd import prompts, writable
from evokd.calls import Calls
from evokd.curate import check_apart
from evokd.demo import TEACHERS, embedded_kinds
from evokd.errors import InputError
from evokd.learner import EncoderLearner
from evokd.ledger import Ledger, reading
from evokd.loop import VERSION, WAY
from evokd.replay import recorded_task
from evokd.report import write_report
from evokd.rundb import open_read_only
from evokd.runfiles import RunFiles
from evokd.stages import Stages
from evokd.task import Task, TaskData, load_data
from evokd.teacher import THOUGHTS, Teacher, check_teacher, open_teacher
from evokd.watch import Silent, Watch
from evokd.weights import check_shrinks, find_weights, fingerprint

OpenTeacher = Callable[[], Teacher]
FREE = {
    "teacher": ("context", "sequences", "threads", "gpu_layers"),
    "student": ("threads", "device"),
}
"""Settings that may be others where a run goes on: how a machine works, not what is asked."""


def run_task(
    task: Task,
    out: Path,
    *,
    watch: Watch,
    open_model: OpenTeacher | None = None,
    learner: EncoderLearner | None = None,
) -> dict[str, Any]:
    """Run all stages that are left and return the summary; see `open_run`."""
    with open_run(task, out, watch=watch, open_model=open_model, learner=learner) as stages:
        return stages.run()


@contextmanager
def open_run(
    task: Task,
    out: Path,
    *,
    watch: Watch,
    open_model: OpenTeacher | None = None,
    learner: EncoderLearner | None = None,
    refuses: bool = True,
) -> Iterator[Stages]:
    """Open a run's folder, new or begun, with everything its stages need.

    Args:
        out: a new folder, or the folder of the same run, which then goes on.
        open_model: opens the teacher when it is first needed; the task's own when None.
        refuses: see `evokd.loop.Loop`.

    Raises:
        EvokdError: for bad input, before the folder is touched.
    """
    data = load_data(task)
    check_apart(data)
    files = RunFiles(out)
    if open_model is None:
        check_models(task)
        open_model = lambda: open_teacher(task.teacher)  # noqa: E731
    check_folder(files, task, data)
    out.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(files.ledger)
    width, thoughts = task.teacher.side_by_side, THOUGHTS if task.teacher.remote else 0
    calls = Calls(ledger, open_model, budget=task.budget, width=width, thoughts=thoughts)
    try:
        if ledger.meta("run") is None:
            ledger.set_meta("data", data.to_json())
            ledger.set_meta("run", identity(task, data))
        learner = learner or EncoderLearner(task)
        yield Stages(task, data, files, ledger, calls, learner, watch, refuses)
    finally:
        calls.close()
        ledger.close()


def export_run(
    root: Path, out: Path | None, *, changes: Mapping[str, Any] | None = None, force: bool = False
) -> dict[str, Any]:
    """Export a finished run's student again, in place or as a copy; returns the export's report.

    Args:
        changes: settings of the group `export` other than the run's.
        force: serve INT8 whatever the gate says.

    Raises:
        InputError: when the folder holds no finished run, or `out` exists or cannot be made.
    """
    files = RunFiles(root)
    ledger_file = files.begun()
    if out is not None and out.exists():
        raise InputError(f"{out}: exists", "give --out a new folder")
    writable.check_folder(out)
    with reading(ledger_file) as begun:  # first, for opening it to write makes an empty one a run
        task, data = recorded_task(begun)
    ledger = Ledger(ledger_file, attempt=False)
    try:
        how = task.export.model_copy(update=dict(changes or {}))
        task = task.model_copy(update={"export": how})
        # The machine may be another one than trained it.
        here = task.student.model_copy(update={"device": "auto", "threads": 0})
        learner = EncoderLearner(task.model_copy(update={"student": here}))
        if ledger.stage("gate_texts") is None:
            raise InputError(f"{root}: its student is not finished", "run it to the end first")
        stages = Stages(task, data, files, ledger, Calls(ledger, None), learner, Silent())
        return _exported(stages, out, force=force)
    finally:
        ledger.close()


def _exported(stages: Stages, out: Path | None, *, force: bool) -> dict[str, Any]:
    """Export beside what is there, so that a folder that serves is whole at every moment."""
    files, ledger = stages.files, stages.ledger
    target = out or files.student
    aside, old = (target.with_name(f".{target.name}.{part}") for part in ("exporting", "old"))
    if out is None and old.exists() and not target.exists():
        os.replace(old, target)  # the last time was killed between its two renames
    if not files.student.is_dir():
        raise InputError(f"{files.student}: no such folder", "run the task again, to the end")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        shutil.copytree(files.student, aside)
        report, scores = stages.export(aside, force=force), stages.scores(aside)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    if out is not None:
        os.replace(aside, target)
        return report
    shutil.rmtree(old, ignore_errors=True)
    os.replace(target, old)
    os.replace(aside, target)
    with ledger.transaction():
        ledger.finish_stage("export", report)
        ledger.finish_stage("scores", scores)
    shutil.rmtree(old)
    if ledger.stage("latency") is not None:  # the run has come to its end: tell it anew
        write_report(files.report, stages.task, stages.data, ledger)
        stages.summary()
    return report


def check_models(task: Task) -> None:
    """Refuse a teacher or student weights that cannot be used, before anything is made."""
    model = task.teacher.model
    if model in TEACHERS and task.kind not in embedded_kinds(model):
        others = [name for name in TEACHERS if task.kind in embedded_kinds(name)]
        own = f" or, for voice assistants, {others[0]}" if others else ""
        raise InputError(
            f"the built-in teacher {model} knows no task of kind {task.kind}",
            f"teacher.model: an instruct model as a GGUF file{own}",
        )
    check_teacher(task.teacher)
    student = task.student
    check_shrinks(find_weights(student.model), layers=student.layers, words=student.words)


def identity(task: Task, data: TaskData) -> dict[str, Any]:
    """Return a run's record of how it was begun; what a resumed one may differ in is `FREE`."""
    return {
        "settings": _recorded(task),
        "data": data.fingerprint(),
        "prompts": prompts.VERSION,
        "encoder": fingerprint(task.student.model),
        WAY: VERSION,
    }


def _recorded(task: Task) -> dict[str, Any]:
    settings = task.settings()
    settings["teacher"].pop("model")  # the model itself is compared by its fingerprint
    return settings


def _compared(identity: dict[str, Any]) -> dict[str, Any]:
    """Return what a resumed run must have in common with its beginning."""
    settings = {
        name: {key: v for key, v in value.items() if key not in FREE[name]}
        if name in FREE
        else value
        for name, value in identity["settings"].items()
    }
    if identity.get("encoder"):  # its folder may lie elsewhere now
        del settings["student"]["model"]
    return identity | {"settings": settings}


def check_folder(files: RunFiles, task: Task, data: TaskData) -> None:
    """Refuse a folder of something else, or of a run with other settings; reads only."""
    if not files.ledger.exists():
        # The lock is alone when a run was killed at its very start; a plan may have been made here.
        ours = {files.ledger.with_suffix(".lock"), *files.root.glob("plan.*")}
        if files.root.exists() and (not files.root.is_dir() or {*files.root.iterdir()} - ours):
            raise InputError(
                f"{files.root}: is not empty and holds no run", "give --out a new folder"
            )
        writable.check_folder(files.root)
        return
    begun = _begun(files.ledger)
    if begun and begun.get(WAY) != VERSION:
        raise InputError(f"{files.root}: was begun by another version", "give --out a new folder")
    if begun and (other := differences(_compared(begun), _compared(identity(task, data)))):
        raise InputError(
            f"{files.root}: was begun with other {', '.join(other)}", "give --out a new folder"
        )


def _begun(ledger: Path) -> Any:
    """Return the identity of the run in a ledger, or None when it was killed before that."""
    try:
        with closing(open_read_only(ledger)) as db:
            if db.execute("SELECT name FROM sqlite_master").fetchone() is None:
                return None
            row = db.execute("SELECT value FROM meta WHERE key = 'run'").fetchone()
    except sqlite3.DatabaseError as broken:
        raise InputError(
            f"{ledger}: not a ledger ({broken})", "give --out a new folder"
        ) from broken
    return _in_full(json.loads(row[0])) if row else None


def _in_full(begun: dict[str, Any]) -> dict[str, Any]:
    """Give a run that an earlier version began the defaults of settings that are new since."""
    try:
        task = Task.model_validate({**begun["settings"], "data": {"seed": "seed"}})
    except ValidationError:  # it has settings that are gone; they are named as other
        return begun
    return begun | {"settings": _recorded(task)}


def differences(old: Any, new: Any, name: str = "") -> list[str]:
    """Return the dotted names of the settings in which two records differ."""
    shown = name.removeprefix("settings.") or "settings"
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted({*old, *new})
        found = [differences(old.get(k), new.get(k), f"{name}.{k}".strip(".")) for k in keys]
        # Order matters too: label order is the order of every probability vector.
        return [n for part in found for n in part] or ([shown] if list(old) != list(new) else [])
    return [] if old == new else [shown]
