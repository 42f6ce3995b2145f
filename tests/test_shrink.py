"""Smaller students: a cut vocabulary reads every text, fewer layers answer alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from encoders import save_encoder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_student import LABELS, make_texts

from evokd.errors import InputError
from evokd.settings import StudentSettings
from evokd.shrink import drop_layers, shrink, trim_vocabulary
from evokd.student import Student, load_student, untrained

SETTINGS = StudentSettings(device="cpu", threads=1, learning_rate=1e-3)


@pytest.fixture
def student(tiny_saved: Path) -> Student:
    return load_student(tiny_saved, device="cpu", threads=1)


def parameters(student: Student) -> int:
    return sum(p.numel() for p in student.model.parameters())


def test_half_the_layers_answer_as_the_whole_student(student: Student, tmp_path: Path) -> None:
    texts, _ = make_texts(200, seed=31)
    told: list[tuple[int, int]] = []
    small = shrink(
        student, texts, settings=SETTINGS.model_copy(update={"layers": 1}), epochs=6, seed=0,
        on_step=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    new, _ = make_texts(100, seed=32)
    whole = student.predict(new)
    assert (small.predict(new).argmax(1) == whole.argmax(1)).mean() > 0.9
    assert parameters(small) < parameters(student)
    assert told[-1][0] == told[-1][1] > 0
    small.save(tmp_path / "small")
    loaded = load_student(tmp_path / "small", device="cpu", threads=1)
    assert np.array_equal(loaded.predict(new), small.predict(new))
    assert np.array_equal(student.predict(new), whole), "the whole student is left as it was"


def test_words_of_the_texts_keep_their_vectors(student: Student, tmp_path: Path) -> None:
    texts, _ = make_texts(20, seed=33)
    before, size = student.predict(texts), len(student.tokenizer)
    small = trim_vocabulary(student, texts, words=1)
    assert len(small.tokenizer) == small.model.config.vocab_size
    assert len(small.tokenizer) <= size
    assert np.allclose(small.predict(texts), before, atol=1e-6)
    small.save(tmp_path / "small")
    loaded = load_student(tmp_path / "small", device="cpu", threads=1)
    assert np.allclose(loaded.predict(texts), before, atol=1e-6)


def test_a_cut_vocabulary_still_takes_emoji_from_words(tiny_saved: Path, tmp_path: Path) -> None:
    new = untrained(list(LABELS), StudentSettings(model=str(tiny_saved), device="cpu"))
    trim_vocabulary(new, ["play a song"], words=1).save(tmp_path / "small")
    loaded = load_student(tmp_path / "small", device="cpu", threads=1)
    assert loaded.tokenizer.tokenize("play😀") == ["play", "[UNK]"]


def test_a_cut_vocabulary_is_smaller(tiny_saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evokd.shrink.PLAIN_WORDS", 0)
    student = load_student(tiny_saved, device="cpu", threads=1)
    size = len(student.tokenizer)
    small = trim_vocabulary(student, ["play"], words=1)
    assert 5 < len(small.tokenizer) < size / 2
    assert small.tokenizer.tokenize("play") == ["play"]


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.text(max_size=40))
def test_any_text_is_still_answered(tiny_saved: Path, text: str) -> None:
    student = load_student(tiny_saved, device="cpu", threads=1)
    small = trim_vocabulary(student, ["play a song"], words=1)
    (row,) = small.predict([text])
    assert row.sum() == pytest.approx(1, abs=1e-5)


def test_more_layers_than_there_are(student: Student) -> None:
    with pytest.raises(InputError, match="3 of 2 layers"):
        drop_layers(student.model, keep=3)


def test_a_small_student_is_the_one_that_is_read_from_its_folder(tmp_path: Path) -> None:
    """ModernBERT attends to all of a text in every third layer, counted anew when it is read."""
    source = save_encoder(
        tmp_path / "modernbert", "modernbert",
        num_hidden_layers=6, global_attn_every_n_layers=3, local_attention=2,
    )  # fmt: skip
    whole = load_student(source, device="cpu", threads=1)
    texts, _ = make_texts(40, seed=34)
    small = shrink(whole, texts, settings=SETTINGS.model_copy(update={"layers": 4}), epochs=1,
                   seed=0)  # fmt: skip
    small.save(tmp_path / "small")
    loaded = load_student(tmp_path / "small", device="cpu", threads=1)
    assert np.array_equal(loaded.predict(texts), small.predict(texts))


def test_a_token_that_was_added_behind_the_vocabulary_is_kept(
    student: Student, tmp_path: Path
) -> None:
    student.tokenizer.add_tokens(["<product>"])
    student.model.resize_token_embeddings(len(student.tokenizer))
    texts = ["play <product>", "wake me"]
    before = student.predict(texts)
    trim_vocabulary(student, ["play a song", *texts], words=1).save(tmp_path / "small")
    loaded = load_student(tmp_path / "small", device="cpu", threads=1)
    assert loaded.tokenizer.tokenize("play <product>") == ["play", "<product>"]
    assert np.allclose(loaded.predict(texts), before, atol=1e-6)


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "deberta-v3", "modernbert"])
def test_layers_are_found_in_every_family(family: str, tmp_path: Path) -> None:
    model = load_student(save_encoder(tmp_path / family, family), device="cpu", threads=1)
    before = model.predict(["play a song"])
    drop_layers(model.model, keep=1)
    model.save(tmp_path / "small")
    loaded = load_student(tmp_path / "small", device="cpu", threads=1)
    said = loaded.predict(["play a song"])
    assert np.allclose(said, model.predict(["play a song"]))
    assert not np.allclose(said, before)
