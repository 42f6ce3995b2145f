"""task.yaml: what the user wants, read and checked. Paths are relative to the file."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from evokd.answers import names_in
from evokd.demo import TEACHERS
from evokd.errors import InputError
from evokd.examples import Example
from evokd.formats import read_examples, read_texts
from evokd.paths import expanded
from evokd.settings import (
    FEEDBACK,
    BudgetSettings,
    ExportSettings,
    Group,
    LoopSettings,
    MethodSettings,
    SelectionSettings,
    StudentSettings,
    TeacherSettings,
)
from evokd.taskfile import apply, explained, parsed


def _clean(name: str) -> str:
    if name != " ".join(name.split()) or not name:
        raise ValueError("a label's name must be one line without spaces at its ends")
    return name


LabelName = Annotated[str, AfterValidator(_clean)]


log = logging.getLogger("evokd")  # a warning goes to stderr, where nothing is set up


class DataFiles(Group):
    """The task's files. Only `seed` is needed."""

    seed: Path = Field(description="labelled examples; one a label can be enough")
    unlabeled: Path | None = Field(None, description="texts that the teacher may label")
    dev: Path | None = Field(None, description="labelled texts that decide which rounds count")
    test: Path | None = Field(None, description="labelled texts for the report alone")


class Task(Group):
    """A validated task.yaml."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="names the run")
    kind: Literal["classification", "multilabel", "ner"] = Field(
        "classification", description="one label a text, any number of labels, or entities"
    )
    domain: str = Field(min_length=1, description="what the texts are, such as 'bank mails'")
    labels: dict[LabelName, str] = Field(min_length=1, description="label: its definition")
    data: DataFiles
    teacher: TeacherSettings = TeacherSettings()
    student: StudentSettings = StudentSettings()
    loop: LoopSettings = LoopSettings()
    method: MethodSettings = MethodSettings()
    budget: BudgetSettings = BudgetSettings()
    selection: SelectionSettings = SelectionSettings()
    export: ExportSettings = ExportSettings()

    @field_validator("labels", mode="before")
    @classmethod
    def _texts(cls, labels: object) -> object:
        """YAML reads bare yes, no, on and numbers as other types; an empty definition is None.

        A definition of several lines is folded into one: prompts list a label a line.
        """
        if not isinstance(labels, dict):
            return labels
        for name in labels:
            if not isinstance(name, str):
                raise ValueError(f"the label {name!r} is not text; put it in quotes")
        filled = {name: "" if about is None else about for name, about in labels.items()}
        return {n: " ".join(a.split()) if isinstance(a, str) else a for n, a in filled.items()}

    @model_validator(mode="after")
    def _two_classes(self) -> Task:
        if self.kind == "classification" and len(self.labels) < 2:
            raise ValueError("labels: a classification needs at least two")
        return self

    @model_validator(mode="after")
    def _settings_fit(self) -> Task:
        """Refuse settings that the task's kind, arm or training would ignore or cannot serve."""
        kind, arm, training, method = self.kind, self.loop.arm, self.loop.training, self.method
        cumulative, reviews = training != "sequential", MethodSettings.model_fields
        misfits = {
            f"method.separation: false does not fit kind: {kind}": kind != "classification"
            and not method.separation,
            f"student.layers and student.words do not fit kind: {kind}": kind == "ner"
            and (self.student.layers or self.student.words),
            f"export.unanswered does not fit kind: {kind}": kind != "classification"
            and self.export.unanswered,
            f"method.demonstrations does not fit kind: {kind}": kind == "multilabel"
            and method.demonstrations,
            f"method.noise does not fit loop.training: {training}": method.noise != "none"
            and training == "sequential",
            f"method.review does not fit loop.training: {training}": cumulative
            and method.review != reviews["review"].default,
            f"method.review_texts does not fit loop.training: {training}": cumulative
            and method.review_texts != reviews["review_texts"].default,
            f"loop.arm: sungen weighs labels, and does not fit kind: {kind}": kind == "ner"
            and arm == "sungen",
            f"loop.hard and loop.easy: 0 does not fit loop.arm: {arm}": arm in FEEDBACK
            and not self.loop.hard + self.loop.easy,
        }
        for says, misfit in misfits.items():
            if misfit:
                raise ValueError(says)
        return self

    @property
    def names(self) -> list[str]:
        """The labels in the task's order, which is the order of every probability vector."""
        return list(self.labels)

    @property
    def undefined(self) -> list[str]:
        """The labels without a definition."""
        return [name for name, definition in self.labels.items() if not definition]

    def settings(self) -> dict[str, Any]:
        """Return everything but file locations, every default included, for the run's record."""
        return self.model_dump(mode="json", exclude={"data"})


def load_task(path: Path, changes: Sequence[str] = ()) -> Task:
    """Read a task file.

    Args:
        changes: settings that replace the file's, such as "loop.rounds=3"; values are YAML.

    Raises:
        InputError: naming the file and the field at fault; unknown keys name the known ones.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as broken:
        raise InputError(f"{path}: cannot be read", "give the path of a task.yaml") from broken
    given = parsed(text, str(path))
    if not isinstance(given, dict):
        raise InputError(f"{path}: holds no settings", "see `evokd init` for a sample")
    for change in changes:
        apply(given, change)
    try:
        task = Task.model_validate(given)
    except ValidationError as invalid:
        raise explained(str(path), invalid, Task) from None
    if task.kind == "multilabel" and len(task.names) < 2:
        # Every text that is written for it has it: nothing would tell when one does not.
        hint = "make a classification of two, such as spam and not_spam"
        raise InputError(f"{path}: labels: a multilabel task needs at least two", hint)
    return _located(task, path.parent)


def _located(task: Task, folder: Path) -> Task:
    """Return the task with its paths made relative to the working folder."""
    found = {name: folder / p for name, p in task.data if p is not None}
    teacher = task.teacher
    named = teacher.model in TEACHERS or teacher.model.startswith("hf:") or teacher.remote
    if not named and not expanded(teacher.model).is_absolute():
        teacher = teacher.model_copy(update={"model": str(folder / teacher.model)})
    student = task.student
    if (folder / student.model).is_dir():
        student = student.model_copy(update={"model": str((folder / student.model).resolve())})
    update = {"data": DataFiles(**found), "teacher": teacher, "student": student}
    return task.model_copy(update=update)


class TaskData(Group):
    """The texts of a task, read and checked.

    Attributes:
        dev: empty when the user gives none.
        test: read by scoring and by the leak check alone; never reaches a prompt.
    """

    model_config = Group.model_config | {"arbitrary_types_allowed": True}

    seed: tuple[Example, ...]
    unlabeled: tuple[str, ...] = ()
    dev: tuple[Example, ...] = ()
    test: tuple[Example, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain lists, for the ledger."""
        return {
            name: [t if isinstance(t, str) else [t.text, t.label, t.origin] for t in texts]
            for name, texts in self
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> TaskData:
        """Read back what `to_json` made."""
        return cls(
            **{
                name: tuple(t if isinstance(t, str) else Example(*t) for t in texts)
                for name, texts in stored.items()
            }
        )

    def fingerprint(self) -> str:
        """Return a hash of all texts and labels, so that a run is not resumed on other data."""
        plain = json.dumps(self.to_json())
        return hashlib.blake2b(plain.encode("utf-8"), digest_size=16).hexdigest()


def load_data(task: Task) -> TaskData:
    """Read the task's files.

    Raises:
        InputError: naming file and line; also when a label has no seed example, or when
            `selection.by` is gold and there is no dev file.
    """
    files, names = task.data, task.names
    if task.selection.by == "gold" and files.dev is None:
        raise InputError(
            "selection.by is gold, but data.dev is missing", "give a dev file, or take by: auto"
        )
    if task.loop.arm in ("pool", "pool-random") and files.unlabeled is None:
        raise InputError(
            f"loop.arm is {task.loop.arm}, but data.unlabeled is missing", "give a file of texts"
        )
    read = partial(read_examples, labels=names, kind=task.kind)
    seed = tuple(Example(e.text, e.label, "seed") for e in read(files.seed))
    given = {name for e in seed for name in names_in(e.label, task.kind)}
    missing = [name for name in names if name not in given]
    if missing:
        raise InputError(
            f"{files.seed}: no example of {', '.join(missing)}", "give at least one a label"
        )
    answers = {e.text: e.label for e in seed}
    if twice := [*dict.fromkeys(e.text for e in seed if e.label != answers[e.text])]:
        log.warning("%s: two answers for %d texts, such as %r", files.seed, len(twice), twice[0])
    return TaskData(
        seed=seed,
        unlabeled=tuple(read_texts(files.unlabeled)) if files.unlabeled else (),
        dev=tuple(read(files.dev)) if files.dev else (),
        test=tuple(read(files.test)) if files.test else (),
    )


def demo_task(changes: Sequence[str] = (), *, name: str = "intents") -> Task:
    """Return a demo task, whose files are inside the package; `changes` as in `load_task`.

    Args:
        name: "intents", or "slots", the entities of such requests.
    """
    folder = Path(str(resources.files("evokd.demo")))
    return load_task((folder if name == "intents" else folder / name) / "task.yaml", changes)
