"""What is told of a trained student, and how a finished one is scored, whatever its kind of task.

A finished student's manifest alone says what it was made for: it needs no task file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from evokd.calibrating import Calibration
from evokd.examples import Example
from evokd.kinds import Kind, kind_of
from evokd.kinds.multilabel import Multilabel
from evokd.ledger import Ledger
from evokd.scores import Scores
from evokd.selection import learnt
from evokd.task import DataFiles, Task, TaskData

if TYPE_CHECKING:
    from export.student import StudentMeta
    from serving.layout import Manifest
    from serving.predictor import Predictor

NOWHERE = DataFiles(seed=Path("none"))


def task_of(manifest: Manifest) -> Task:
    """Return the task that a student was made for; its files are not known."""
    return Task(
        name="student",
        kind=manifest.kind,
        domain=manifest.domain,
        labels=manifest.labels,
        data=NOWHERE,
    )


def kind_served(manifest: Manifest) -> Kind:
    """Return the student's kind, which decides as the service does, but for `reject`.

    A kind has the likeliest label count also where the service would give none.
    """
    task = task_of(manifest)
    if manifest.kind == "multilabel":
        return Multilabel(task, list(manifest.thresholds.values()))
    return kind_of(task)


def scores_served(
    manifest: Manifest, predictor: Predictor[Any], examples: Sequence[Example]
) -> Scores:
    """Score a student as it is served; `InputError` when there are no examples.

    Of one that may give no label (`reject`) the likeliest counts all the same; how many texts are
    answered, and how many of those rightly, stands beside.
    """
    from serving.sorter import own_score

    outputs = predictor.outputs([example.text for example in examples])
    gold = [example.label for example in examples]
    scores = kind_served(manifest).score(gold, outputs)
    if not manifest.reject:
        return scores
    given = own_score(outputs, manifest.temperature) >= manifest.reject
    right = outputs.argmax(axis=1) == [list(manifest.labels).index(label) for label in gold]
    of_given = float(right[given].mean()) if given.any() else None
    return replace(scores, answered=float(given.mean()), accuracy_answered=of_given)


def gold_scores(folder: Path, data: TaskData, *, file: str | None = None) -> dict[str, Any]:
    """Return the scores of a student folder on dev and test, where there are any, as plain types.

    Args:
        file: the ONNX file to score; the one that is served when None.
    """
    from serving.layout import read_manifest
    from serving.predictor import open_predictor

    manifest, predictor = read_manifest(folder), open_predictor(folder, file=file)
    return {
        name: scores_served(manifest, predictor, examples).to_dict()
        for name, examples in (("dev", data.dev), ("test", data.test))
        if examples
    }


def probabilities_of(student: Any, texts: Sequence[str]) -> NDArray[Any]:
    """Return what the gate compares: of a student's labels, or of the tags of all tokens."""
    read = getattr(student, "log_probabilities", None)
    if read is None:
        return np.asarray(student.predict(texts))
    tags: NDArray[Any] = np.exp(np.concatenate([rows for rows in read(texts) if len(rows)]))
    return tags


def meta_of(
    task: Task, data: TaskData, ledger: Ledger, fitted: Calibration, *, student: Any
) -> StudentMeta:
    """Return what manifest and card say of a run's student beside what export measures.

    Args:
        student: the loaded one; its encoder may read fewer tokens than the task asks for.
    """
    from export.student import StudentMeta

    kept = learnt(ledger)
    written = sum(row.example.origin != "pool" for row in kept)  # those are the user's own texts
    training: dict[str, Any] = {
        "synthetic_share": written / (len(kept) + len(data.seed)),
        "rounds": len(ledger.results()) - 1,
        "seed": task.loop.seed,
    }
    if fitted.record:
        training["calibrated on"] = f"{fitted.record['texts']} texts of {fitted.record['by']}"
    return StudentMeta(
        name=task.name,
        domain=task.domain,
        labels=task.labels,
        max_length=min(task.student.max_length, student.tokenizer.model_max_length),
        base_model=task.student.encoder,
        teacher=(ledger.meta("teacher") or {"name": "unknown"})["name"],
        training=training,
        examples=_shown(kind_of(task), [row.example for row in ledger.rows(split="gate")]),
        kind=task.kind,
        temperature=fitted.temperature,
        thresholds=fitted.thresholds,
        reject=fitted.reject,
    )


def _shown(kind: Kind, written: Sequence[Example]) -> list[str]:
    """Return a text of every label, each once.

    All were written by the teacher: a student that is given away shows no text of the user's.
    """
    of_label = {name: e.text for e in written for name in kind.labels_in(e.label)}
    return list(dict.fromkeys(of_label.values()))
