"""Which of the user's unlabelled texts are labelled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evokd.acquisition import LOOKED_AT, least_sure, untried
from evokd.examples import Example
from evokd.ledger import Ledger
from evokd.records import Prediction, Row

TEXTS = [f"{number:03d}" for number in range(300)]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "run.db")
    yield opened
    opened.close()


def by_number(texts: Sequence[str]) -> list[Prediction]:
    """Be the surer of a text, the higher its number."""
    return [Prediction("alarm", int(text) / 1000, 0.1) for text in texts]


def by_last_digit(texts: Sequence[str]) -> np.ndarray:
    """Point texts whose numbers end alike into one direction, some longer."""
    return np.array([np.eye(10)[int(text) % 10] * (1 + int(text) % 3) for text in texts])


def never(texts: Sequence[str]) -> Any:
    raise AssertionError(texts)


def test_of_the_least_sure_one_of_each_group_is_taken() -> None:
    most = 10
    chosen = least_sure(TEXTS, most=most, predict=by_number, embed=by_last_digit, seed=0)
    assert sorted(int(text) % 10 for text in chosen) == list(range(10))
    assert max(map(int, chosen)) < LOOKED_AT * most
    assert chosen == least_sure(TEXTS, most=most, predict=by_number, embed=by_last_digit, seed=0)


@given(st.lists(st.sampled_from(TEXTS), unique=True, max_size=60), st.integers(1, 9))
def test_so_many_different_texts_and_no_more(texts: list[str], most: int) -> None:
    rng = np.random.default_rng(0)
    chosen = least_sure(
        texts, most=most, predict=by_number, embed=lambda some: rng.normal(size=(len(some), 4)),
        seed=1,
    )  # fmt: skip
    assert len({*chosen}) == len(chosen) == min(most, len(texts))
    assert {*chosen} <= {*texts}


def test_where_all_mean_the_same_the_least_sure_fill_up() -> None:
    same = least_sure(TEXTS[:50], most=5, predict=by_number, seed=0,
                      embed=lambda some: np.ones((len(some), 3)))  # fmt: skip
    assert sorted(same)[:4] == TEXTS[:4]
    assert len(same) == 5


def test_nothing_is_asked_when_there_is_nothing_to_choose() -> None:
    assert least_sure([], most=9, predict=never, embed=never, seed=0) == []
    assert least_sure(["1"], most=0, predict=never, embed=never, seed=0) == []
    assert least_sure(["2", "1"], most=2, predict=by_number, embed=never, seed=0) == ["1", "2"]


def test_texts_of_the_run_are_not_asked_again(ledger: Ledger) -> None:
    ledger.add_rows([Row(1, Example("tried", "", "pool"), None, "duplicate")])
    texts = ["tried", "known", "new", "new"]
    assert untried(texts, ledger=ledger, known={"known"}) == ["new"]
    assert untried([], ledger=ledger, known=()) == []
