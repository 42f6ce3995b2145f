from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evokd.pieces import LETTER, attached, merge, pieces, says_twice, words


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("play Blue, now", ["play", " ", "Blue", ",", " ", "now"]),
        ("नमस्ते दिल्ली।", ["नमस्ते", " ", "दिल्ली", "।"]),
        ("cafe\u0301s  a\u0302b", ["cafe\u0301s", "  ", "a\u0302b"]),
        ("می\u200cخواهم برم", ["می\u200cخواهم", " ", "برم"]),
        ("ok 👩\u200d🚀!", ["ok", " ", "👩\u200d🚀", "!"]),
        ("add 周杰伦9", ["add", " ", "周", "杰", "伦", "9"]),
        ("กี่ที่", ["กี่", "ที่"]),
        ("!\u0301x", ["!\u0301", "x"]),
        ("서울에서 KTX로", ["서", "울", "에", "서", " ", "KTX", "로"]),
        ("ｶﾞｽ𠮷", ["ｶﾞ", "ｽ", "𠮷"]),
    ],
)
def test_marks_and_joiners_stay_with_their_letter(text: str, cut: list[str]) -> None:
    assert pieces(text) == cut


@given(st.text(st.sampled_from("ab _.-'é\u0301\u093f\u200d\u200c周ก\u0e35🎵 \n")) | st.text())
@example("\u0301a \u200d b")
def test_pieces_make_up_the_text(text: str) -> None:
    made = pieces(text)
    assert "".join(made) == text
    for before, after in pairwise(made):
        assert not (before.isspace() and after.isspace())
        apart = before.isspace() or after.isspace()
        assert apart or not attached(before[-1], after[0])


@pytest.mark.parametrize(
    ("before", "after", "one"),
    [("Rome", "today", True), ("cafe\u0301", "s", True), ("Rome", ")", False), ("周", "杰", False),
     ("(", "7", False), ("Rome", " x", False), ("서울", "에서", True), ("서울", "(", False)],
)  # fmt: skip
def test_texts_that_make_one_word(before: str, after: str, one: bool) -> None:
    assert merge(before, after) == one


@pytest.mark.parametrize(
    ("text", "twice"),
    [
        ("Rome rome", True),
        ("the man in the moon", True),
        ("one, two, three", False),
        ("May I come in May?", True),
        ("Paris, or Paris", True),
        ("(Rome)-Rome", True),
        ("Priya and Priya’s friend", True),
        ("what's on, it's late", False),
        ("at 7:30 or 8:30 p.m.", False),
        ("दिल्ली से दिल्ली।", True),
        ("दिन दान", False),
        ("去东京还是东京", True),
        ("周杰伦的周", False),
        ("灯 灯", True),
        ("내일 서울에서 부산까지 가는 기차", False),
        ("서울에서 서울까지", True),
        ("Rome 👍 rome👍", True),
        ("👍 👍", True),
        ("👍", False),
        ("", False),
    ],
)
def test_a_word_that_stands_twice(text: str, twice: bool) -> None:
    assert says_twice(text) == twice


@given(st.text(st.sampled_from("ab 'é-:.,!?周ก\u0e35서🎵")) | st.text())
def test_what_stands_twice_between_blanks_stands_twice(text: str) -> None:
    alone = text.casefold().split()
    assert says_twice(text) or len({*alone}) == len(alone)


@given(st.lists(st.text(st.sampled_from("abcxyz019"), min_size=1)))
def test_of_plain_words_each_is_compared_as_it_is(said: list[str]) -> None:
    """As the embedded teacher's prompts were made when it was trained."""
    assert says_twice(" ".join(said)) == (len({*said}) < len(said))


letters = st.text(st.sampled_from("東京灯タイกี่ที่"), min_size=2).filter(
    lambda run: len(pieces(run)) > 1
)


@given(letters.filter(lambda run: re.match(LETTER, run)), st.text())
def test_a_run_of_letters_that_stands_twice(run: str, between: str) -> None:
    assert says_twice(f"{run}、{between}、{run}")


@given(st.text().map(lambda text: "".join(text.split())).filter(bool))
def test_words_make_up_the_run_and_each_has_a_letter(run: str) -> None:
    made = words(run)
    assert "".join(made) == run
    assert len(made) == 1 or all(any(map(str.isalnum, word)) for word in made)
    assert made == [run] or re.search(LETTER, run)


def test_words_without_blanks() -> None:
    assert words("《打开》wifi。") == ["《打", "开》", "wifi。"]
    assert words("กี่ที่!") == ["กี่", "ที่!"]
    assert words("what's-up!") == ["what's-up!"]
    assert words("서울에서") == ["서울에서"]
