from __future__ import annotations

import dataclasses
import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evokd.examples import Example, is_unicode, jaccard, normalise, text_id, trigrams

texts = st.text(max_size=40)


@given(texts)
@example("ΐ\u0345\u0301 ŉ ẞ ﬃ Å İ \u1100\u1161")
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("  Play\tsome  JAZZ!! ", "play some jazz"),
        ("ＷＡＫＥ me at ７", "wake me at 7"),
        ("Straße", "STRASSE"),
        ("what's_up", "what s up"),
        ("?! …", ""),
        ("5−3", "5 - 3"),
        ("C++", " c + + "),
        ("½", "1/2"),
        ("cafe\u0301", "CAFÉ"),
        ("ｶﾞｽ", "ガス"),
        ("❤\ufe0f", "❤"),
        ("👍🏽!", "👍"),
        ("می\u200cخواهم", "می خواهم"),
        ("what´s", "what's"),
    ],
)
def test_what_counts_as_the_same_text(text: str, same: str) -> None:
    assert normalise(text) == normalise(same)


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("दिन", "दान"),
        ("ข้าว", "ข่าว"),
        ("படி", "படு"),
        ("C++", "C#"),
        ("C#", "C"),
        ("5 + 3", "5 - 3"),
        ("6 * 3", "6 / 3"),
        ("👍", "👎"),
        ("$5", "€5"),
    ],
)
def test_what_makes_two_texts(text: str, other: str) -> None:
    assert normalise(text) != normalise(other)


@given(st.text(st.sampled_from("abC9_ \t\n'!?,.:;-()")) | st.text(st.sampled_from("éßشд東 「。")))
def test_words_with_punctuation_are_compared_by_the_words_alone(text: str) -> None:
    assert normalise(text).split() == re.findall(r"[^\W_]+", text.casefold())


@given(st.text(st.sampled_from("कदनिाुेंขา้่ีபடிு்שָרّ")))
def test_no_vowel_is_lost(letters: str) -> None:
    word = f"क{letters}"
    assert normalise(f"({word}) !") == unicodedata.normalize("NFKC", word)


@given(texts, texts)
def test_jaccard_is_symmetric_and_between_0_and_1(one: str, other: str) -> None:
    a, b = trigrams(one), trigrams(other)
    assert 0 <= jaccard(a, b) <= 1
    assert jaccard(a, b) == jaccard(b, a)
    assert (jaccard(a, b) == 1) == (a == b)
    assert jaccard(a, a) == 1


def test_jaccard_counts_what_is_shared() -> None:
    assert jaccard(frozenset({"a", "b", "c"}), frozenset({"b", "c", "d"})) == 0.5
    assert jaccard(frozenset({"a"}), frozenset()) == 0
    assert jaccard(frozenset(), frozenset()) == 1


def test_trigrams_know_where_a_text_begins_and_ends() -> None:
    assert trigrams("Jazz!") == {" ja", "jaz", "azz", "zz "}
    assert trigrams("a") == {" a "}
    assert len(trigrams("")) == 1


@given(texts)
def test_an_identity_is_16_hex_digits_of_the_exact_text(text: str) -> None:
    assert len(text_id(text)) == 16
    assert int(text_id(text), 16) >= 0
    assert text_id(text) != text_id(text + " ")
    assert Example(text, "a").id == Example(text, "b", "hard").id == text_id(text)


def test_an_example_cannot_be_changed() -> None:
    made = Example("play jazz", "music")
    assert (made.origin, made.soft) == ("gold", ())
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.label = "other"  # type: ignore[misc]


@given(texts)
def test_half_a_character_is_no_text(text: str) -> None:
    assert is_unicode(text)
    assert not is_unicode(text + "\udc00")
