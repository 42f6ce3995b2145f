from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evokd.teacher.choices import tree
from evokd.teacher.search import SPARE, SPEND, Search

END, WORDS = 9, 4
CHOICES = st.lists(
    st.lists(st.integers(0, WORDS - 1), max_size=4).map(tuple), min_size=1, max_size=20
)


class Model:
    """A language model of a few tokens: what follows depends on all tokens before."""

    def __init__(self, seed: int, spread: float) -> None:
        self.seed, self.spread = seed, spread

    def follow(self, before: Sequence[int]) -> dict[int, float]:
        chance = np.random.default_rng([self.seed, *before])
        logits = self.spread * chance.standard_normal(WORDS + 1)
        logits -= np.log(np.exp(logits - logits.max()).sum()) + logits.max()
        return dict(zip((*range(WORDS), END), logits.tolist(), strict=True))

    def logprobs(self, choices: list[tuple[int, ...]]) -> list[float]:
        lengths = tree(choices, end=END).lengths  # with the end where it is needed
        wholes = [(*c, END)[:n] for c, n in zip(choices, lengths, strict=True)]
        return [sum(self.follow(w[:i])[token] for i, token in enumerate(w)) for w in wholes]


def searched(
    model: Model, choices: list[tuple[int, ...]], *, every: bool, baseline: Sequence[float] = ()
) -> tuple[tuple[float, ...], tuple[int, ...], int]:
    """Return a search's result, and the tokens that it looked at."""
    made = tree(choices, end=END)
    before: dict[int, tuple[int, ...]] = {-1: ()}
    for number, branch in enumerate(made.branches):
        before[number] = before[branch.parent] + branch.tokens
    search = Search(made, every=every, baseline=baseline)
    looked = 0
    while wanted := search.wanted():
        assert len(set(wanted)) == len(wanted)
        for number in wanted:
            branch, way = made.branches[number], before[number]
            ways = [way[: len(way) - i] for i in range(len(branch.tokens))][::-1] or [()]
            rows = [
                [model.follow(w)[token] for token in after]
                for w, after in zip(ways, branch.after, strict=False)
            ]
            looked += len(branch.read)
            search.take(number, rows)
    return (*search.result(), looked)


@given(CHOICES, st.integers(0, 99), st.floats(0.1, 6))
def test_every_choice_is_worked_out(
    choices: list[tuple[int, ...]], seed: int, spread: float
) -> None:
    model = Model(seed, spread)
    values, bounded, looked = searched(model, choices, every=True)
    assert values == pytest.approx(model.logprobs(choices))
    assert not bounded
    assert looked == tree(choices, end=END).size


@given(CHOICES, st.integers(0, 99), st.floats(0.1, 6), st.booleans())
def test_the_best_choice_is_exact_and_the_rest_is_little(
    choices: list[tuple[int, ...]], seed: int, spread: float, calibrated: bool
) -> None:
    model = Model(seed, spread)
    base = Model(seed + 1, 1).logprobs(choices) if calibrated else [0.0] * len(choices)
    exact = np.array(model.logprobs(choices)) - base
    baseline = base if calibrated else ()
    values, bounded, looked = searched(model, choices, every=False, baseline=baseline)
    found = [i for i in range(len(choices)) if i not in bounded]
    assert np.array(values)[found] == pytest.approx(exact[found])
    assert int(np.argmax(values)) in found
    assert exact[int(np.argmax(values))] == pytest.approx(exact.max())
    assert all(values[i] >= exact[i] - 1e-9 for i in bounded)
    longest = max(map(len, choices)) + 1
    if looked <= SPEND - longest and not calibrated:  # with a baseline each has its own bound
        left = sum(np.exp(sorted({values[i] for i in bounded})))
        assert left <= 1.02 * SPARE * np.exp(exact[found]).sum()


def test_a_sure_model_is_asked_little() -> None:
    choices = [(a, b, c) for a in range(WORDS) for b in range(WORDS) for c in range(WORDS)]
    _, bounded, looked = searched(Model(0, 30), choices, every=False)
    assert len(bounded) > 50
    assert looked < tree(choices, end=END).size / 4


def test_log_probabilities_too_small_for_floats_still_have_an_order() -> None:
    search = Search(tree([(1, 1), (2, 2), (3, 4)], end=END), every=False)
    search.take(0, [[-2000.0, -1990.0, -2100.0]])
    (number,) = search.wanted()
    search.take(number, [[-1.0]])
    values, bounded = search.result()
    assert values == (-2000.0, -1991.0, -2100.0)
    assert bounded == (0, 2)
