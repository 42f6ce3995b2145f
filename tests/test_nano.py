"""The nano student, distilled from the tiny one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from tiny_student import LABELS, make_texts

from export import nano as nano_module
from export.nano import NanoShape, make_nano, token_vectors
from export.nano_onnx import write_nano_onnx
from serving import layout
from serving.layout import read_manifest, verify
from serving.predictor import open_predictor

SHAPE = NanoShape(size=32, hidden=32, epochs=20)


@pytest.fixture(scope="module")
def nano(tiny_sealed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("nano") / "nano"
    texts, _ = make_texts(300, seed=21)
    said = open_predictor(tiny_sealed).probabilities(texts)
    make_nano(tiny_sealed, out, texts=texts, probabilities=said, shape=SHAPE)
    return out


def test_it_answers_as_the_student_does_on_new_texts(nano: Path, tiny_sealed: Path) -> None:
    texts, _ = make_texts(100, seed=22)
    theirs = open_predictor(tiny_sealed).probabilities(texts).argmax(axis=1)
    ours = open_predictor(nano).probabilities(texts).argmax(axis=1)
    assert (ours == theirs).mean() > 0.9


def test_it_is_sealed_and_says_what_it_is(nano: Path, tiny_sealed: Path) -> None:
    manifest = read_manifest(nano)
    verify(nano, manifest)
    assert list(manifest.labels) == list(LABELS)
    assert "static vectors" in manifest.base_model
    assert manifest.scores == {}
    size = (nano / layout.INT8).stat().st_size
    assert size < (tiny_sealed / layout.INT8).stat().st_size / 3
    assert not list(nano.parent.glob(".*")), "nothing is left aside"


@pytest.mark.parametrize(("target", "rung"), [("vnni", "plain"), ("avx2", "reduce_range")])
def test_int8_is_made_for_the_target_and_judged(
    tiny_sealed: Path, tmp_path: Path, target: Any, rung: str
) -> None:
    texts, _ = make_texts(60, seed=23)
    said = open_predictor(tiny_sealed).probabilities(texts)
    manifest = make_nano(
        tiny_sealed, tmp_path / "nano", texts=texts, probabilities=said, shape=SHAPE, target=target
    )
    assert manifest.gate["tried"][0]["rung"] == rung
    assert manifest.gate["passed"]
    assert (manifest.serve, manifest.gate["isa"]) == (layout.INT8, target)


def test_int8_that_its_own_gate_refuses_is_not_served(
    tiny_sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.gate.AGREEMENT", 1.1)
    texts, _ = make_texts(40, seed=23)
    said = open_predictor(tiny_sealed).probabilities(texts)
    made = make_nano(tiny_sealed, tmp_path / "nano", texts=texts, probabilities=said, shape=SHAPE)
    assert made.serve == layout.ONNX
    assert not (tmp_path / "nano" / layout.INT8).exists()
    open_predictor(tmp_path / "nano").predict(texts[:1])


def test_the_same_seed_gives_the_same_file(tiny_sealed: Path, tmp_path: Path) -> None:
    texts, _ = make_texts(40, seed=23)
    said = open_predictor(tiny_sealed).probabilities(texts)
    shape = NanoShape(size=8, hidden=8, epochs=2)
    files = []
    for name in ("one", "two"):
        make_nano(tiny_sealed, tmp_path / name, texts=texts, probabilities=said, shape=shape)
        files.append((tmp_path / name / layout.ONNX).read_bytes())
    assert files[0] == files[1]


def test_steps_are_told_to_the_end(tiny_sealed: Path, tmp_path: Path) -> None:
    texts, _ = make_texts(40, seed=23)
    said = open_predictor(tiny_sealed).probabilities(texts)
    told: list[tuple[int, int]] = []
    make_nano(
        tiny_sealed, tmp_path / "nano", texts=texts, probabilities=said,
        shape=NanoShape(size=8, hidden=8, epochs=2, batch=16),
        on_step=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert told == [(n, 6) for n in range(1, 7)]


def test_rare_tokens_weigh_more_than_common_ones(tiny_sealed: Path) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tiny_sealed / layout.TOKENIZER))
    table = token_vectors(tiny_sealed, tokenizer, size=16)
    assert table.shape == (tokenizer.get_vocab_size(), 16)
    lengths = np.linalg.norm(table, axis=1)
    assert lengths[-10:].mean() > lengths[:10].mean()


def test_tokens_that_are_not_read_are_guessed(
    tiny_sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tiny_sealed / layout.TOKENIZER))
    read: list[list[int]] = []

    def encoded(model: Any, tokens: list[int], *, frame: list[int]) -> Any:
        read.append(tokens)
        return whole(model, tokens, frame=frame)

    whole = nano_module._encoded
    monkeypatch.setattr(nano_module, "_encoded", encoded)
    monkeypatch.setattr(nano_module, "READ", 10)
    guessed = token_vectors(tiny_sealed, tokenizer, size=8, used={12, 30, 4})
    assert read == [[*range(10), 12, 30]]
    assert guessed.shape == (tokenizer.get_vocab_size(), 8)
    assert np.isfinite(guessed).all()
    assert (np.linalg.norm(guessed, axis=1) > 0).all()


def test_padding_does_not_change_an_answer(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    arrays = {
        "table": chance.standard_normal((9, 4)).astype(np.float32),
        "hidden": chance.standard_normal((4, 5)).astype(np.float32),
        "hidden_bias": chance.standard_normal(5).astype(np.float32),
        "head": chance.standard_normal((5, 3)).astype(np.float32),
        "head_bias": chance.standard_normal(3).astype(np.float32),
    }
    write_nano_onnx(tmp_path / "nano.onnx", arrays)
    session = onnxruntime.InferenceSession(str(tmp_path / "nano.onnx"))
    bare = {"input_ids": np.array([[1, 5, 7]]), "attention_mask": np.ones((1, 3), np.int64)}
    padded = {
        "input_ids": np.array([[1, 5, 7, 0, 0]]),
        "attention_mask": np.array([[1, 1, 1, 0, 0]]),
    }
    (one,), (two,) = session.run(None, bare), session.run(None, padded)
    mean = arrays["table"][[1, 5, 7]].mean(axis=0)
    hidden = np.maximum(mean @ arrays["hidden"] + arrays["hidden_bias"], 0)
    assert np.allclose(one, hidden @ arrays["head"] + arrays["head_bias"], atol=1e-5)
    assert np.allclose(one, two, atol=1e-6)
