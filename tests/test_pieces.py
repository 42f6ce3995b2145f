from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evokd.pieces import attached, merge, pieces, says_twice


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
     ("(", "7", False), ("Rome", " x", False)],
)  # fmt: skip
def test_texts_that_make_one_word(before: str, after: str, one: bool) -> None:
    assert merge(before, after) == one


def test_a_word_that_stands_twice() -> None:
    assert says_twice("Rome rome")
    assert says_twice("the man in the moon")
    assert not says_twice("one, two, three")
    assert not says_twice("周杰伦的周")
