"""What a new student reads of a text: words that are glued to a symbol too, all else as before."""

from __future__ import annotations

import io
import json
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import torch
from encoders import save_encoder
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_student import LABELS, tiny_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from evokd.errors import InputError
from evokd.pretrained import (
    SYMBOLS,
    _parted,
    new_classifier,
    new_tagger,
    saved_classifier,
    write_model,
)
from evokd.settings import StudentSettings
from serving import spans

OLD = tiny_tokenizer().backend_tokenizer
NEW = _parted(tiny_tokenizer(), SYMBOLS).backend_tokenizer
GLUED = [
    ("play the song❤️", ["play", "the", "song", "❤️"]),
    ("rain😀sun", ["rain", "😀", "sun"]),
    ("rain🇩🇪", ["rain", "🇩🇪"]),
    ("✈️rain!", ["✈️", "rain", "!"]),
    ("six⏰", ["six", "⏰"]),
    ("play👍🏽👩\u200d🚀 now", ["play", "👍🏽👩\u200d🚀", "now"]),
    ("£5m", ["£", "5m"]),
    ("💰€5", ["💰", "€", "5"]),
    ("rain→sun", ["rain", "→", "sun"]),
    ("東京😀タワー", ["東", "京", "😀", "タワー"]),
    ("café✨cafe\u0301✨", ["café", "✨", "cafe\u0301", "✨"]),
    ("« rain™ »", ["«", "rain", "™", "»"]),
]


def read(tokenizer: Tokenizer, text: str) -> Any:
    encoding = tokenizer.encode(text)
    return encoding.ids, encoding.offsets, encoding.word_ids


def is_symbol(character: str) -> bool:
    return not character.isascii() and unicodedata.category(character).startswith("S")


@pytest.mark.parametrize(("text", "shown"), GLUED)
def test_symbols_stand_apart_in_the_texts_own_characters(text: str, shown: list[str]) -> None:
    encoding = NEW.encode(text, add_special_tokens=False)
    units = spans.units(text, encoding.offsets, encoding.word_ids)
    assert [text[unit.start : unit.end] for unit in units] == shown


def test_a_word_before_an_emoji_is_read_and_the_emoji_is_unknown() -> None:
    assert NEW.encode("Play❤️").tokens == ["[CLS]", "play", "[UNK]", "[SEP]"]
    assert NEW.encode("❤️😀").tokens == OLD.encode("❤️😀").tokens == ["[CLS]", "[UNK]", "[SEP]"]


def test_every_character_but_symbols_is_read_as_before() -> None:
    every = map(chr, range(sys.maxunicode + 1))
    plain = [c for c in every if unicodedata.category(c) not in ("Cn", "Co", "Cs")]
    plain = [c for c in plain if not is_symbol(c)]
    for start in range(0, len(plain), 1000):
        text = " ".join(f"a{c}b" for c in plain[start : start + 1000])
        assert read(NEW, text) == read(OLD, text)


@settings(deadline=None)
@given(
    st.text(st.characters(codec="ascii"))
    | st.text(st.characters(codec="utf-8").filter(lambda character: not is_symbol(character)))
)
def test_texts_without_symbols_are_read_as_before(text: str) -> None:
    assert read(NEW, text) == read(OLD, text)


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """Return an encoder whose tokenizer is of BERT's own class, as MiniLM's is."""
    root = save_encoder(tmp_path / "bert", "bert")
    config = json.loads((root / "tokenizer_config.json").read_text())
    config["tokenizer_class"] = "BertTokenizer"
    (root / "tokenizer_config.json").write_text(json.dumps(config))
    return root


def test_every_reader_of_a_saved_student_reads_the_same(encoder: Path, tmp_path: Path) -> None:
    model, tokenizer = new_classifier(list(LABELS), StudentSettings(model=str(encoder)))
    write_model(tmp_path / "student", model, tokenizer)
    texts = [text for text, _ in GLUED]
    ids = tokenizer(texts)["input_ids"]
    assert ids == [encoding.ids for encoding in NEW.encode_batch(texts)]
    assert AutoTokenizer.from_pretrained(tmp_path / "student")(texts)["input_ids"] == ids
    served = Tokenizer.from_file(str(tmp_path / "student" / "tokenizer.json"))
    assert [encoding.ids for encoding in served.encode_batch(texts)] == ids


def test_all_else_of_the_encoders_tokenizer_is_kept(encoder: Path) -> None:
    bert = AutoTokenizer.from_pretrained(encoder)
    _, tokenizer = new_classifier(list(LABELS), StudentSettings(model=str(encoder)))
    assert tokenizer.special_tokens_map == bert.special_tokens_map
    assert tokenizer.model_input_names == bert.model_input_names
    assert tokenizer.model_max_length == bert.model_max_length
    assert tokenizer("play")["token_type_ids"] == [0, 0, 0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ヴェネツィアに行く", "ヴェネツィア"),
        ("ฉันชอบปารีสมาก", "ปารีส"),
        ("ຂ້ອຍຢູ່ວຽງຈັນ", "ວຽງຈັນ"),
        ("ខ្ញុំនៅភ្នំពេញ", "ភ្នំពេញ"),
    ],
)
def test_a_tagger_finds_where_words_without_blanks_begin_and_end(
    encoder: Path, text: str, words: str
) -> None:
    _, tokenizer = new_tagger(spans.tags_of(["place"]), StudentSettings(model=str(encoder)))
    encoding = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
    units = spans.units(text, encoding.offsets, encoding.word_ids)
    start = text.index(words)
    assert start in {unit.start for unit in units}
    assert start + len(words) in {unit.end for unit in units}


def test_a_student_that_was_saved_before_goes_on_as_it_was(encoder: Path) -> None:
    _, tokenizer = saved_classifier(encoder)
    assert tokenizer.tokenize("play❤️") == ["[UNK]"]


def test_tokenizers_that_know_every_byte_are_left_alone() -> None:
    inside = Tokenizer(models.BPE())
    inside.pre_tokenizer = pre_tokenizers.ByteLevel()
    other = PreTrainedTokenizerFast(tokenizer_object=inside)
    assert _parted(other, SYMBOLS) is other
    assert isinstance(other.backend_tokenizer.pre_tokenizer, pre_tokenizers.ByteLevel)


@pytest.mark.parametrize("mean", [False, True])
def test_weights_in_half_precision_are_trained_in_full(mean: bool, tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "half", "bert")
    model, _ = saved_classifier(folder)
    model.half().save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text("utf-8"))["dtype"] == "float16"
    if mean:
        (folder / "1_Pooling").mkdir()
        pooling = {"pooling_mode_mean_tokens": True}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling), "utf-8")
    settings = StudentSettings(model=str(folder), device="cpu")
    for made, _ in (new_classifier(list(LABELS), settings), new_tagger(["O", "B-x"], settings)):
        assert {p.dtype for p in made.parameters()} == {torch.float32}


def test_a_folders_own_code_is_neither_run_nor_asked_about(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_encoder(tmp_path / "own", "bert")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "configuration_own.OwnConfig"}}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    ran = tmp_path / "ran"
    code = f"open({str(ran)!r}, 'w')\nfrom transformers import BertConfig as OwnConfig\n"
    (folder / "configuration_own.py").write_text(code, "utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(InputError, match="cannot be loaded"):
        new_classifier(list(LABELS), StudentSettings(model=str(folder), device="cpu"))
    assert not ran.exists()
    assert "[y/N]" not in capfd.readouterr().out
