from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.windows import Window, frame, joined, windows


def test_an_empty_text_has_no_window() -> None:
    assert windows(0, 10) == []
    assert joined([], []).shape == (0, 0)


def test_a_text_that_fits_is_one_window() -> None:
    assert windows(10, 10) == [Window(0, 10, 0, 10)]
    said = np.arange(30).reshape(10, 3)
    assert np.array_equal(joined(windows(10, 10), [said]), said)


@given(st.integers(1, 400), st.integers(1, 60))
def test_every_token_is_answered_where_it_is_farthest_from_a_cut(tokens: int, room: int) -> None:
    parts = windows(tokens, room)
    assert [i for part in parts for i in range(part.first, part.last)] == list(range(tokens))
    if len(parts) > 1:
        assert {part.stop - part.start for part in parts} == {room}
        assert all(one.stop - two.start >= room // 4 for one, two in itertools.pairwise(parts))

    def distance(part: Window, token: int) -> float:
        left = token - part.start if part.start else np.inf
        right = part.stop - 1 - token if part.stop < tokens else np.inf
        return min(left, right)

    for part in parts:
        for token in range(part.first, part.last):
            assert part.start <= token < part.stop
            others = (other for other in parts if other.start <= token < other.stop)
            assert distance(part, token) == max(distance(other, token) for other in others)


@given(st.integers(1, 200), st.integers(1, 40))
def test_windows_that_agree_say_what_one_window_says(tokens: int, room: int) -> None:
    whole = np.arange(tokens * 3).reshape(tokens, 3)
    parts = windows(tokens, room)
    assert np.array_equal(joined(parts, [whole[p.start : p.stop] for p in parts]), whole)


def test_special_tokens_are_told_from_any_text() -> None:
    assert frame([101, 7, 8, 102], [1, 0, 0, 1]) == ([101], [102])
    assert frame([7], [0]) == ([], [])
