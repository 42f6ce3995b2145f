"""The whole export of a trained student: ONNX, the ladder of INT8 under the gate, card and seal."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from evokd.answers import KindName, Span, items_in
from evokd.errors import EvokdError, InputError
from export.card import write_card
from export.gate import PARITY, GateReport, Given, Item, Version, compare, parity
from export.half import write_half
from export.onnx import ASIDE, Exporter, export_onnx
from export.quantize import Isa, Rung, Target, isa, ladder, quantize
from serving import layout
from serving.layout import Manifest, StudentFiles
from serving.predictor import Said, predictor_of
from serving.spans import WHOLE_WORDS, tags_of


@dataclass(frozen=True, slots=True)
class StudentMeta:
    """What the manifest and the card say of a student beside what export measures.

    Attributes:
        labels: name -> definition, in the order of the model's outputs; of a student that finds
            entities their types.
        max_length: tokens of a text that are read, special tokens included.
        scores: set of texts -> measure -> value; see `serving.layout.Manifest`.
        training: facts for the card: "synthetic_share" (0 to 1), "rounds", "seed", ...
        temperature: what logits are divided by when the student serves; torch is compared without.
        thresholds, reject: see `serving.layout.Manifest`.
        examples: a few texts of the task for people to try.
    """

    name: str
    domain: str
    labels: Mapping[str, str]
    max_length: int
    base_model: str
    teacher: str
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    kind: KindName = "classification"
    temperature: float = 1.0
    thresholds: Mapping[str, float] = field(default_factory=dict)
    reject: float = 0.0
    examples: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How to export.

    Attributes:
        opset: ONNX operator set.
        exporter: see `export.onnx.export_onnx`.
        target: the instruction set that INT8 is made for; "auto" is this machine's.
        rungs: ways to quantise, in order; by the target when None.
        force: ship the first rung's INT8 even when the gate refuses them all.
        half: also write a half-precision file, for GPUs.
    """

    opset: int = 17
    exporter: Exporter = "auto"
    target: Target = "auto"
    rungs: tuple[Rung, ...] | None = None
    force: bool = False
    half: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One rung of the ladder and what the gate said of it."""

    rung: str
    gate: GateReport


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What export made and measured.

    Attributes:
        passed: an INT8 file passed the gate; else full precision is served, unless `forced`.
        served: the ONNX file that answers, relative to the folder.
        isa: the instruction set that the ladder was chosen for.
        parity_max_diff: largest difference of a probability, torch against fp32 ONNX.
        tried: the rungs in the order in which they were tried; the last one is the one served
            when `passed`, the first one when `forced`.
        size_bytes: "onnx", "int8" when there is one, "fp16" when it was asked for.
        forced: INT8 is served although the gate refused it.
    """

    passed: bool
    served: str
    isa: Isa
    parity_max_diff: float
    tried: tuple[Attempt, ...]
    size_bytes: dict[str, int]
    forced: bool = False


def export_student(
    root: Path,
    *,
    texts: Sequence[str],
    answers: Sequence[str],
    torch_probabilities: NDArray[Any],
    meta: StudentMeta,
    options: ExportOptions = ExportOptions(),
) -> ExportReport:
    """Turn a saved Hugging Face folder into a sealed student folder.

    Args:
        texts: what the gate compares on; never test texts.
        answers: the right one of each, as `evokd.answers` writes it.
        torch_probabilities: what the trained model says of them in float32, [texts, labels]; of
            entities the probabilities of the tags, [tokens of all texts, tags].
        meta: facts for manifest and card.

    Raises:
        InputError: when the folder's labels are not `meta`'s.
        EvokdError: when the model cannot be exported, or ONNX does not answer as torch does.
    """
    files = StudentFiles(root)
    _check_labels(files, meta)
    for left in root.glob(f"{ASIDE}*"):  # of an export that was killed
        shutil.rmtree(left, ignore_errors=True)
    # From here to the new seal the folder is no whole student.
    for path in (files.manifest, files.int8, files.half):
        path.unlink(missing_ok=True)
    export_onnx(root, opset=options.opset, exporter=options.exporter)
    fp32 = version_of(files, files.onnx, meta, texts)
    difference = _faithful(files, torch_probabilities, fp32.rows)
    if options.half:
        write_half(files.onnx, files.half)
    target = isa() if options.target == "auto" else options.target
    gold = [items_in(answer, meta.kind) for answer in answers]
    rungs = ladder(target) if options.rungs is None else options.rungs
    tried = climb(files, rungs, meta, texts=texts, gold=gold, torch=torch_probabilities, fp32=fp32)
    forced = options.force and bool(tried) and not tried[-1].gate.passed
    if forced:
        quantize(files.onnx, files.int8, rung=rungs[0])
    report = report_on(files, target, difference, tried, forced=forced)
    seal(root, report, meta=meta)
    return report


def _faithful(files: StudentFiles, torch: NDArray[Any], fp32: NDArray[Any]) -> float:
    """Return the largest difference of a probability between torch and ONNX."""
    difference = parity(torch, fp32)
    if difference <= PARITY:
        return difference
    raise EvokdError(
        f"{files.onnx}: its probabilities differ from torch's by {difference:.1e}",
        f"the limit is {PARITY:.0e}; take a student model that exports faithfully",
    )


def climb(
    files: StudentFiles,
    rungs: Sequence[Rung],
    meta: StudentMeta | Manifest,
    *,
    texts: Sequence[str],
    gold: Given,
    torch: NDArray[Any],
    fp32: Version,
) -> list[Attempt]:
    """Try the rungs until the gate passes one, which becomes the INT8 file."""
    tried, names = [], list(meta.labels)
    with tempfile.TemporaryDirectory(prefix=ASIDE, dir=files.root) as aside:
        candidate = Path(aside) / files.int8.name
        for rung in rungs:
            quantize(files.onnx, candidate, rung=rung)
            int8 = version_of(files, candidate, meta, texts)
            gate = compare(gold, kind=meta.kind, labels=names, torch=torch, fp32=fp32, int8=int8)
            tried.append(Attempt(rung.name, gate))
            if tried[-1].gate.passed:
                os.replace(candidate, files.int8)
                break
    return tried


def seal(root: Path, report: ExportReport, *, meta: StudentMeta) -> Manifest:
    """Write the card and, last, the manifest."""
    manifest = Manifest(
        name=meta.name,
        domain=meta.domain,
        labels=dict(meta.labels),
        max_length=meta.max_length,
        serve=report.served,
        base_model=meta.base_model,
        teacher=meta.teacher,
        scores={name: dict(values) for name, values in meta.scores.items()},
        gate=json.loads(json.dumps(asdict(report))),
        kind=meta.kind,
        training=dict(meta.training),
        temperature=meta.temperature,
        thresholds=dict(meta.thresholds),
        reject=meta.reject,
        whole_words=_config(StudentFiles(root)).get(WHOLE_WORDS, False),
        examples=list(meta.examples),
    )
    write_card(root, manifest)
    return layout.write_manifest(root, manifest)


def add_scores(root: Path, scores: Mapping[str, Mapping[str, float]]) -> Manifest:
    """Put scores that were measured after the export into the card and the manifest.

    Raises:
        InputError: when the folder is no whole student.
        IntegrityError: when one of its files was changed since the export.
    """
    manifest = layout.read_manifest(root)
    layout.verify(root, manifest)
    merged = {**manifest.scores, **{name: dict(values) for name, values in scores.items()}}
    manifest = replace(manifest, scores=merged)
    write_card(root, manifest)
    return layout.write_manifest(root, manifest)


def _check_labels(files: StudentFiles, meta: StudentMeta) -> None:
    labels = list(tags_of(meta.labels) if meta.kind == "ner" else meta.labels)
    try:
        # transformers leaves out what is its default: two labels of these names.
        names = _config(files).get("id2label", {"0": "LABEL_0", "1": "LABEL_1"})
        found = [names[str(index)] for index in range(len(names))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{files.config}: has no readable labels", "give the folder of a saved student"
        ) from error
    if found != labels:
        raise InputError(
            f"{files.config}: id2label names {found} where the task names {labels}",
            "train the student on this task",
        )


def _config(files: StudentFiles) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(files.config.read_text(encoding="utf-8"))
    return config


def version_of(
    files: StudentFiles, model: Path, meta: StudentMeta | Manifest, texts: Sequence[str]
) -> Version:
    """Return what an ONNX file says: its answers as it serves, its rows without the temperature."""
    predictor = predictor_of(
        meta.kind,
        thresholds=list(meta.thresholds.values()),
        reject=meta.reject,
        whole_words=_config(files).get(WHOLE_WORDS, False),
    )(
        model,
        files.tokenizer,
        labels=list(meta.labels),
        max_length=meta.max_length,
        temperature=meta.temperature,
    )
    rows, said = predictor.judged(texts)
    if meta.temperature != 1:
        predictor.temperature = 1.0
        rows = predictor.probabilities(texts)
    return Version(rows, [_items_of(one) for one in said], [one.score for one in said])


def _items_of(said: Said) -> list[Item]:
    return [one if isinstance(one, str) else Span(*one) for one in said.given]


def report_on(
    files: StudentFiles, target: Isa, difference: float, tried: list[Attempt], *, forced: bool
) -> ExportReport:
    """Return what was made of the rungs that were tried; the files are there."""
    passed = bool(tried) and tried[-1].gate.passed
    present = {"onnx": files.onnx, "int8": files.int8, "fp16": files.half}
    return ExportReport(
        passed=passed,
        served=layout.INT8 if passed or forced else layout.ONNX,
        isa=target,
        parity_max_diff=difference,
        tried=tuple(tried),
        size_bytes={name: path.stat().st_size for name, path in present.items() if path.exists()},
        forced=forced,
    )
