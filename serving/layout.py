"""What lies in a student folder: every file name, spelt once, and the manifest that seals it.

A student folder is a plain Hugging Face model folder with ONNX files beside it. `evokd.json` is
written last and names the sha256 of every model file: a folder without it is not a whole student.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import TypeAdapter, ValidationError

from evokd.answers import KindName
from evokd.errors import InputError, IntegrityError

VERSION = 1
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
ONNX = "onnx/model.onnx"
INT8 = "onnx/model_quantized.onnx"
HALF = "onnx/model_fp16.onnx"
MANIFEST = "evokd.json"
CARD = "README.md"
PACKED = "student"
"""Folder beside the sources where a Bento holds its student."""
SEALED = (
    CONFIG,
    WEIGHTS,
    TOKENIZER,
    "tokenizer_config.json",
    "special_tokens_map.json",
    ONNX,
    INT8,
    HALF,
)
"""Files whose sha256 the manifest records where they exist. The card may be edited."""


@dataclass(frozen=True, slots=True)
class StudentFiles:
    """The files of the student folder `root`, as paths."""

    root: Path

    @property
    def config(self) -> Path:
        """The Hugging Face config, with the label names."""
        return self.root / CONFIG

    @property
    def weights(self) -> Path:
        """The weights, as safetensors."""
        return self.root / WEIGHTS

    @property
    def tokenizer(self) -> Path:
        """The fast tokenizer, whole in one file."""
        return self.root / TOKENIZER

    @property
    def onnx(self) -> Path:
        """The full-precision ONNX file."""
        return self.root / ONNX

    @property
    def int8(self) -> Path:
        """The INT8 ONNX file; there only when it passed the gate."""
        return self.root / INT8

    @property
    def half(self) -> Path:
        """The half-precision ONNX file for GPUs; there only when it was asked for."""
        return self.root / HALF

    @property
    def manifest(self) -> Path:
        """The seal, written last."""
        return self.root / MANIFEST

    @property
    def card(self) -> Path:
        """The model card."""
        return self.root / CARD


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a student is and which bytes it is made of.

    Attributes:
        labels: name -> definition, in the order of the model's outputs; of a student that finds
            entities their types, of which `serving.spans.tags_of` makes the outputs.
        max_length: tokens of a text that are read, special tokens included.
        serve: the ONNX file that answers, relative to the folder.
        base_model: the encoder that the student started from.
        teacher: the language model that wrote and labelled.
        scores: set of texts ("test, INT8") -> measure ("accuracy") -> value in [0, 1] or count.
        gate: what export tried and what the gate said of it.
        training: facts of the training for the card ("synthetic_share", "rounds", "seed", ...).
        temperature: what the logits are divided by, so that a score of 0.9 is right nine times in
            ten; 1 where nobody fitted one.
        thresholds: of a multilabel student: label -> from which probability on it applies, in the
            order of the labels; a half each where empty.
        reject: of a classifier: a text is given no label when the student's own best score, the
            one before the temperature, is lower; 0 for never.
        whole_words: of a student that finds entities: whether they begin and end with words.
        examples: a few texts of the task for people to try; the page offers them.
        sha256: file, relative to the folder -> 64 hex digits.
    """

    name: str
    domain: str
    labels: dict[str, str]
    max_length: int
    serve: str
    base_model: str
    teacher: str
    kind: KindName = "classification"
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    gate: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    thresholds: dict[str, float] = field(default_factory=dict)
    reject: float = 0.0
    whole_words: bool = False
    examples: list[str] = field(default_factory=list)
    sha256: dict[str, str] = field(default_factory=dict)
    version: int = VERSION


def write_manifest(root: Path, manifest: Manifest) -> Manifest:
    """Seal the folder: write the manifest with the sha256 of the files as they now are.

    Call it last. Returns the manifest as written.

    Raises:
        InputError: when the file to serve is missing, or the manifest is not a valid one.
    """
    files = {name: root / name for name in SEALED if (root / name).is_file()}
    sealed = replace(manifest, sha256={name: _sha256(path) for name, path in files.items()})
    target = StudentFiles(root).manifest
    _check(sealed, target)
    aside = target.with_name(f".{target.name}.aside")
    text = json.dumps(asdict(sealed), ensure_ascii=False, indent=2)
    aside.write_text(text + "\n", encoding="utf-8")
    os.replace(aside, target)
    return sealed


def read_manifest(root: Path) -> Manifest:
    """Read the manifest of a student folder.

    Raises:
        InputError: when the folder or its manifest is missing, or the manifest is not valid.
    """
    path = StudentFiles(root).manifest
    try:
        manifest = TypeAdapter(Manifest).validate_json(path.read_bytes())
    except OSError as error:
        inside = root / "student"
        hint = "give the folder of a finished student; its run may have stopped before the export"
        if StudentFiles(inside).manifest.exists():
            hint = f"give {inside}"
        raise InputError(f"{path}: {error.strerror or error}", hint) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InputError(f"{path}: {where}: {first['msg']}", "export the student again") from error
    _check(manifest, path)
    return manifest


def verify(root: Path, manifest: Manifest, *, only: Iterable[str] | None = None) -> None:
    """Check that the sealed files, or `only` those named, still are the recorded bytes.

    Raises:
        IntegrityError: when one is missing, was changed, or was never recorded.
    """
    for name in manifest.sha256 if only is None else only:
        path = _inside(root, name)
        recorded = manifest.sha256.get(name)
        if recorded is None or not path.is_file() or _sha256(path) != recorded:
            raise IntegrityError(
                f"{path}: not the file that {MANIFEST} recorded",
                "restore the file, or export the student again",
            )


def _check(manifest: Manifest, path: Path) -> None:
    faults = [
        (manifest.version != VERSION, f"version {manifest.version} is not {VERSION}"),
        (len(manifest.labels) < 1 + (manifest.kind == "classification"), "labels: too few"),
        (manifest.max_length < 1, "max_length: must be positive"),
        (not 0 < manifest.temperature < math.inf, "temperature: must be positive"),
        (not _fits(manifest), "thresholds, reject: do not fit the kind and the labels"),
        (manifest.serve not in manifest.sha256, f"serve: {manifest.serve} has no sha256"),
    ]
    for name in (manifest.serve, *manifest.sha256):
        _inside(path.parent, name)
    for wrong, message in faults:
        if wrong:
            raise InputError(f"{path}: {message}", "export the student again")


def _fits(manifest: Manifest) -> bool:
    thresholds, reject = manifest.thresholds, manifest.reject
    return (
        (not thresholds or (manifest.kind == "multilabel" and [*thresholds] == [*manifest.labels]))
        and all(0 < value < 1 for value in thresholds.values())
        and (reject == 0 or (manifest.kind == "classification" and 0 < reject < 1))
    )


def _inside(root: Path, name: str) -> Path:
    """Return the path of a manifest's file; a name cannot lead out of the folder.

    A link inside the folder may lead elsewhere (hub caches do so): its bytes are checked.
    """
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or "\\" in name or ":" in name or not pure.parts:
        raise InputError(
            f"{root / MANIFEST}: {name!r} leads out of the student folder",
            "do not use this student; ask its maker for a whole one",
        )
    return root / pure


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
