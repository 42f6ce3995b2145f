from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file
from tiny_student import (
    LABELS,
    export_tiny,
    make_texts,
    meta,
    torch_probabilities,
)
from transformers import BertConfig

from evokd.errors import EvokdError, InputError, IntegrityError
from export.card import card
from export.gate import GateReport, Version
from export.quantize import PLAIN, isa, ladder
from export.student import _check_labels, add_scores, export_student
from serving import layout
from serving.layout import StudentFiles, read_manifest, verify
from serving.predictor import open_predictor


@pytest.fixture
def saved(tiny_saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_saved, tmp_path / "student"))


@pytest.fixture
def sealed(tiny_sealed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_sealed, tmp_path / "student"))


@pytest.fixture
def fragile(saved: Path) -> Path:
    """The same function in full precision, which INT8 cannot hold.

    The values of each layer's attention are scaled by very different factors and scaled back by
    the next matrix. One scale for all activations then leaves most of them no steps.
    """
    weights = load_file(saved / layout.WEIGHTS)
    factors = (10.0 ** np.linspace(-3, 3, 64)).astype(np.float32)
    for number in (0, 1):
        attention = f"bert.encoder.layer.{number}.attention"
        weights[f"{attention}.self.value.weight"] *= factors[:, None]
        weights[f"{attention}.self.value.bias"] *= factors
        weights[f"{attention}.output.dense.weight"] /= factors[None, :]
    save_file(weights, saved / layout.WEIGHTS, metadata={"format": "pt"})
    return saved


def test_a_sound_student_is_served_in_int8(tiny_sealed: Path) -> None:
    files = StudentFiles(tiny_sealed)
    manifest = read_manifest(tiny_sealed)
    verify(tiny_sealed, manifest)
    assert manifest.serve == layout.INT8
    assert {layout.ONNX, layout.INT8, layout.WEIGHTS, layout.CONFIG} <= manifest.sha256.keys()
    assert list(manifest.labels) == list(LABELS)
    assert manifest.gate["passed"]
    assert manifest.gate["tried"][-1]["gate"]["agreement"] >= 0.99
    assert manifest.gate["size_bytes"]["int8"] == files.int8.stat().st_size
    assert not list(tiny_sealed.rglob(".*")), "nothing is left aside"


def test_a_refused_student_ships_when_forced_and_its_card_says_so(fragile: Path) -> None:
    report = export_tiny(fragile, rungs=(PLAIN,), force=True)
    assert report.forced
    assert not report.passed
    manifest = read_manifest(fragile)
    verify(fragile, manifest)
    assert manifest.serve == layout.INT8
    assert "although the gate refused it" in card(manifest)
    open_predictor(fragile).predict(["play a song"])


def test_force_changes_nothing_where_the_gate_passes(saved: Path) -> None:
    report = export_tiny(saved, force=True)
    assert report.passed
    assert not report.forced
    assert "refused" not in card(read_manifest(saved))


def test_half_precision_answers_alike_in_half_the_room(saved: Path) -> None:
    report = export_tiny(saved, half=True)
    assert report.size_bytes["fp16"] < 0.7 * report.size_bytes["onnx"]
    manifest = read_manifest(saved)
    assert layout.HALF in manifest.sha256
    texts, _ = make_texts(30, seed=9)
    said = open_predictor(saved, file=layout.HALF).probabilities(texts)
    assert np.abs(said - torch_probabilities(saved, texts)).max() < 0.01
    export_tiny(saved)
    assert not StudentFiles(saved).half.exists(), "what was not asked for again is gone"


def test_a_student_that_int8_ruins_is_served_in_full_precision(fragile: Path) -> None:
    report = export_tiny(fragile, rungs=(PLAIN, PLAIN))
    assert not report.passed
    assert report.parity_max_diff < 1e-4
    assert [attempt.gate.passed for attempt in report.tried] == [False, False]
    assert report.tried[0].gate.reasons
    assert report.served == layout.ONNX
    assert "int8" not in report.size_bytes
    assert sorted(path.name for path in (fragile / "onnx").iterdir()) == ["model.onnx"]
    manifest = read_manifest(fragile)
    assert manifest.serve == layout.ONNX
    assert layout.INT8 not in manifest.sha256
    text = StudentFiles(fragile).card.read_text()
    assert "No INT8 file passed the gate" in text
    assert report.tried[0].gate.reasons[0] in text
    texts, labels = make_texts(20, seed=31)
    assert [answer.label for answer in open_predictor(fragile).predict(texts)] == labels


def test_the_ladder_is_walked_until_a_rung_holds(fragile: Path) -> None:
    """Leaving the matrices alone that rounding ruins saves what the first rungs lose."""
    report = export_tiny(fragile)
    names = [attempt.rung for attempt in report.tried]
    assert names == [rung.name for rung in ladder(isa())][: len(names)]
    assert [attempt.gate.passed for attempt in report.tried] == [False] * (len(names) - 1) + [True]
    assert names[-1] in {"keep_quarter", "keep_half"}


def test_the_gate_judges_what_is_served(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the temperature and with `reject`, while torch is compared without."""
    from export import student as module

    versions: list[Version] = []

    def seen(*_: object, fp32: Version, **more: Any) -> GateReport:
        versions.append(fp32)
        return compare(*_, fp32=fp32, **more)  # type: ignore[arg-type]

    compare = module.compare
    monkeypatch.setattr(module, "compare", seen)
    texts, labels = make_texts(40, seed=7)
    texts[:4] = ["the of", "a", "please now", "you can"]
    report = export_student(
        saved,
        texts=texts,
        answers=labels,
        torch_probabilities=torch_probabilities(saved, texts),
        meta=replace(meta(), temperature=3.0, reject=0.8),
    )
    assert report.parity_max_diff < 1e-4
    served = open_predictor(saved, file=layout.ONNX).predict(texts)
    assert [*versions[0].given] == [[*one.given] for one in served]
    assert [*versions[0].scores] == [one.score for one in served]
    assert [] in versions[0].given


def test_corrupted_weights_are_caught(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx

    from export import student as module

    honest = module.quantize

    def corrupting(fp32: Path, out: Path, **options: Any) -> Path:
        honest(fp32, out, **options)
        model = onnx.load(out)
        weight = next(t for t in model.graph.initializer if t.name == "classifier.weight_quantized")
        weight.raw_data = weight.raw_data[::-1]
        onnx.save(model, out)
        return out

    monkeypatch.setattr(module, "quantize", corrupting)
    report = export_tiny(saved)
    assert not report.passed
    assert len(report.tried) == len(ladder(isa()))
    assert report.served == layout.ONNX


def test_onnx_that_differs_from_torch_is_an_error_and_no_seal(sealed: Path) -> None:
    texts, labels = make_texts(20, seed=8)
    other = torch_probabilities(sealed, texts) + np.float32(2e-4)
    with pytest.raises(EvokdError, match="differ from torch"):
        export_student(
            sealed,
            texts=texts,
            answers=labels,
            torch_probabilities=other,
            meta=meta(),
        )
    with pytest.raises(InputError):
        read_manifest(sealed)


@pytest.mark.parametrize("content", [None, "{", "{}", '{"id2label": {"1": "a"}}'])
def test_a_folder_without_labels_is_named(saved: Path, content: str | None) -> None:
    path = saved / layout.CONFIG
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=r"config\.json"):
        export_student(
            saved,
            texts=["a"],
            answers=["play_music"],
            torch_probabilities=np.ones((1, 4)),
            meta=meta(),
        )


def test_what_an_export_that_was_killed_left_is_removed(sealed: Path) -> None:
    (sealed / ".export-half").mkdir()
    (sealed / ".export-half" / "model.onnx").write_bytes(b"half")
    export_tiny(sealed)
    assert not list(sealed.glob(".export-*"))


def test_labels_that_transformers_leaves_out_are_read(tmp_path: Path) -> None:
    files = layout.StudentFiles(tmp_path)
    BertConfig(id2label={0: "LABEL_0", 1: "LABEL_1"}).save_pretrained(tmp_path)
    assert "id2label" not in files.config.read_text()
    _check_labels(files, replace(meta(), labels={"LABEL_0": "", "LABEL_1": ""}))


def test_labels_in_another_order_are_refused(saved: Path) -> None:
    turned = replace(meta(), labels=dict(reversed(LABELS.items())))
    with pytest.raises(InputError, match="id2label"):
        export_student(
            saved,
            texts=["a"],
            answers=["play_music"],
            torch_probabilities=np.ones((1, 4)),
            meta=turned,
        )


def test_scores_are_added_to_the_card_and_the_seal(sealed: Path) -> None:
    before = read_manifest(sealed)
    after = add_scores(sealed, {"test, INT8": {"accuracy": 0.925, "macro_f1": 0.91}})
    assert after.sha256 == before.sha256
    assert after.scores == {**before.scores, "test, INT8": {"accuracy": 0.925, "macro_f1": 0.91}}
    assert read_manifest(sealed) == after
    assert "0.925" in StudentFiles(sealed).card.read_text()
    (sealed / layout.INT8).write_bytes(b"other")
    with pytest.raises(IntegrityError):
        add_scores(sealed, {})


def test_the_card_can_be_read_by_the_hub(tiny_sealed: Path) -> None:
    manifest = replace(
        read_manifest(tiny_sealed),
        name='quote " colon: name',
        labels={"a|b": "line\nbreak", "c": "é"},
    )
    text = card(manifest)
    _, front, body = text.split("---\n", 2)
    facts = yaml.safe_load(front)
    assert facts["pipeline_tag"] == "text-classification"
    assert facts["library_name"] == "transformers"
    assert facts["base_model"] == "test/tiny-bert"
    (entry,) = facts["model-index"]
    assert entry["name"] == manifest.name
    (result,) = entry["results"]
    assert {metric["type"]: metric["value"] for metric in result["metrics"]} == {
        "accuracy": 0.975,
        "f1": 0.97,
    }
    assert "| a\\|b | line break |" in body
    assert "| share of synthetic training texts | 100.0% |" in body
    assert "a list of words" in body


def test_the_folder_loads_in_transformers_and_optimum(tiny_sealed: Path) -> None:
    from optimum.onnxruntime import ORTModelForSequenceClassification
    from transformers import AutoTokenizer, pipeline

    texts, labels = make_texts(12, seed=41)
    served = [answer.label for answer in open_predictor(tiny_sealed).predict(texts)]
    assert served == labels
    plain = pipeline("text-classification", str(tiny_sealed), device="cpu")
    assert [answer["label"] for answer in plain(texts)] == labels
    tokenizer = AutoTokenizer.from_pretrained(tiny_sealed)
    for name in ("model.onnx", "model_quantized.onnx"):
        model = ORTModelForSequenceClassification.from_pretrained(
            tiny_sealed, subfolder="onnx", file_name=name
        )
        fast = pipeline("text-classification", model=model, tokenizer=tokenizer)
        assert [answer["label"] for answer in fast(texts)] == labels
