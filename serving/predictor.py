"""A student folder -> a predictor that answers, with raw tokenizers, onnxruntime and numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from evokd.answers import KindName
from evokd.errors import InputError
from serving import layout
from serving.reading import Predictor
from serving.said import Entities, Entity, LabelSet, Prediction, Said
from serving.sorter import Classifier, MultiLabeller, Probabilities
from serving.tagger import Tagger

__all__ = [
    "Entities",
    "Entity",
    "LabelSet",
    "Prediction",
    "Predictor",
    "Probabilities",
    "Said",
    "open_predictor",
    "predictor_of",
]


def open_predictor(
    root: Path, *, file: str | None = None, threads: int = 1, verify: bool = True
) -> Predictor[Any]:
    """Open the student in a folder.

    Args:
        root: a sealed student folder.
        file: the ONNX file to answer with, relative to `root`; the manifest's choice when None.
        threads: CPU threads of one run.
        verify: compare the files that are read with the manifest's sha256 first.

    Raises:
        InputError: when the folder is no whole student.
        IntegrityError: when a file was changed after the export.
    """
    manifest = layout.read_manifest(root)
    chosen = file or manifest.serve
    if chosen not in manifest.sha256:
        raise InputError(f"{root / chosen}: not part of this student", "see evokd.json: sha256")
    if verify:
        layout.verify(root, manifest, only=(chosen, layout.TOKENIZER))
    return predictor_of(
        manifest.kind,
        thresholds=list(manifest.thresholds.values()),
        reject=manifest.reject,
        whole_words=manifest.whole_words,
    )(
        root / chosen,
        layout.StudentFiles(root).tokenizer,
        labels=list(manifest.labels),
        max_length=manifest.max_length,
        name=manifest.name,
        threads=threads,
        windowed=True,
        temperature=manifest.temperature,
    )


def predictor_of(
    kind: KindName,
    *,
    thresholds: Sequence[float] = (),
    reject: float = 0.0,
    whole_words: bool = False,
) -> Callable[..., Predictor[Any]]:
    """Return what opens the files of a student of a kind; see `serving.reading.Predictor`.

    Args:
        thresholds: of a multilabel student, in the order of its labels; a half each when empty.
        reject: of a classifier: its own score below which it gives no label.
        whole_words: of a student that finds entities: whether they begin and end with words.
    """
    if kind == "ner":
        return partial(Tagger, whole_words=whole_words)
    if kind == "multilabel":
        return partial(MultiLabeller, thresholds=thresholds)
    return partial(Classifier, reject=reject)
