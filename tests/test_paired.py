"""evokd.paired: pairing matters, certainty is not invented, and the score is what it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evokd.paired import Counts, Difference, bootstrap, counts, differences, ratio


def run(seed: int, share: float, texts: int = 200) -> Counts:
    """A run that is right on a share of the texts, the easy ones first."""
    hard = np.random.default_rng(0).random(texts)  # the same texts for every run
    lucky = np.random.default_rng(seed).normal(0, 0.05, texts)
    right = hard + lucky < share
    return np.column_stack([2.0 * right, np.full(texts, 2.0)])


def test_of_one_answer_a_text_the_score_is_the_accuracy() -> None:
    assert ratio(counts([("a",), ("b",), ("c",)], [("a",), ("c",), ("c",)])) == pytest.approx(2 / 3)


def test_of_several_it_is_micro_f1() -> None:
    counted = counts([("a", "b"), (), ("c",)], [("a",), (), ("c", "d")])
    # two hits; right answers 2 + 0 + 1, given 1 + 0 + 2
    assert counted.tolist() == [[2, 3], [0, 0], [2, 3]]
    assert ratio(counted) == pytest.approx(2 * 2 / 6)
    assert ratio(counts([()], [()])) == 0


def test_a_clear_gap_is_told_and_its_sign_is_that_of_the_first() -> None:
    good, bad = [run(n, 0.9) for n in range(3)], [run(n, 0.6) for n in range(3)]
    found = differences({"a": good, "b": bad})["b"]
    assert found.low > 0.2
    assert found.verdict == "paid"
    assert found.diff == pytest.approx(np.mean([ratio(r) for r in good]) - 0.6, abs=0.05)
    assert differences({"b": bad, "a": good})["a"].verdict == "did not pay"


def test_a_gap_between_seeds_alone_is_not_told() -> None:
    """Two of five seeds are lucky for one, two others for the other."""
    one = [run(n, share) for n, share in enumerate((0.9, 0.9, 0.7, 0.7, 0.8))]
    other = [run(n, share) for n, share in enumerate((0.7, 0.7, 0.9, 0.9, 0.78))]
    found = differences({"a": one, "b": other})["b"]
    assert found.diff > 0
    assert found.verdict == "cannot be told"


def test_pairing_takes_out_what_the_seeds_do_to_both() -> None:
    shares = (0.5, 0.6, 0.7, 0.8, 0.9)
    one = [run(n, share + 0.05, 1000) for n, share in enumerate(shares)]
    other = [run(n, share, 1000) for n, share in enumerate(shares)]
    paired = differences({"a": one, "b": other})["b"]
    shuffled = differences({"a": one, "b": [*other[2:], *other[:2]]})["b"]
    assert paired.diff == pytest.approx(shuffled.diff)
    assert paired.low > 0 > shuffled.low


def test_one_run_is_resampled_over_its_texts() -> None:
    alone = bootstrap({"a": [run(1, 0.7, 50)]}, seed=0, resamples=4000)["a"]
    # 50 texts of which 70 % are right: the binomial's deviation is 0.065
    assert alone.std() == pytest.approx((0.7 * 0.3 / 50) ** 0.5, rel=0.15)


def test_one_run_tells_nothing_however_clear_its_texts_are() -> None:
    found = differences({"a": [run(1, 0.9)], "b": [run(1, 0.3)]})["b"]
    assert found.low > 0.3, "the interval over the texts stays"
    assert found.verdict == "cannot be told"


def flat(score: float, texts: int = 1000) -> Counts:
    """A run whose every text has the same score, so that texts add no chance."""
    return np.tile((2 * score, 2.0), (texts, 1))


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_few_seeds_vary_by_what_seeds_vary_and_by_what_is_not_known_of_it(seeds: int) -> None:
    student = {2: 12.706, 3: 4.303, 5: 2.776, 10: 2.262}[seeds]  # t(seeds - 1, 0.975)
    scores = np.random.default_rng(seeds).normal(0.8, 0.02, seeds)
    found = bootstrap({"a": [flat(score) for score in scores]}, seed=0)["a"]
    assert found.mean() == pytest.approx(scores.mean(), abs=0.001)
    deviation = scores.std(ddof=1) / seeds**0.5
    assert found.std() == pytest.approx(deviation * student / 1.96, rel=0.03)


def test_an_interval_of_seeds_stays_among_the_scores_that_there_are() -> None:
    found = differences({"a": [flat(1), flat(1), flat(0)], "b": [flat(0)] * 3})["b"]
    assert (found.low, found.high) == (-1, 1)


def test_of_equal_ways_nothing_is_told_about_95_times_in_a_hundred() -> None:
    """Three trainings each, whose scores deviate by 0.02; any two differ on 6 % of the texts."""
    rng, told, trials = np.random.default_rng(3), 0, 300
    for trial in range(trials):
        hard, own = rng.normal(size=300), rng.normal(size=(2, 3, 300))
        skill = 0.85 + rng.normal(0, 0.07, (2, 3, 1))
        right = 0.97**0.5 * hard + 0.03**0.5 * own < skill
        scored = np.stack([2.0 * right, np.full(right.shape, 2.0)], axis=-1)
        made = bootstrap({"a": [*scored[0]], "b": [*scored[1]]}, seed=trial, resamples=300)
        low, high = np.quantile(made["a"] - made["b"], (0.025, 0.975))
        told += bool(low > 0 or high < 0)
    assert 0.01 <= told / trials <= 0.07, told


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_of_equal_ways_that_trainings_alone_tell_apart_nothing_is_told_as_often(seeds: int) -> None:
    """Texts add no chance: one for all of a run."""
    rng, told, trials = np.random.default_rng(seeds), 0, 500
    for trial in range(trials):
        scores = rng.normal(0.8, 0.02, (2, seeds))
        one, other = ([flat(score, 1) for score in of] for of in scores)
        made = bootstrap({"a": one, "b": other}, seed=trial, resamples=400)
        low, high = np.quantile(made["a"] - made["b"], (0.025, 0.975))
        told += bool(low > 0 or high < 0)
    assert 0.03 <= told / trials <= 0.08, told


def test_the_same_seed_gives_the_same_interval() -> None:
    runs = {"a": [run(1, 0.8)], "b": [run(2, 0.7)]}
    assert differences(runs, seed=3) == differences(runs, seed=3)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 40), st.integers(0, 99))
def test_intervals_are_ordered_and_equal_ways_differ_by_nothing(
    seeds: int, texts: int, at: int
) -> None:
    runs = [run(at + n, 0.6, texts) for n in range(seeds)]
    assert differences({"a": runs, "b": list(runs)})["b"] == Difference(0, 0, 0, seeds)
    others = [run(at + n, 0.5, texts) for n in range(seeds)]
    found = differences({"a": runs, "b": others})["b"]
    assert -1 <= found.low <= found.diff + 1e-9
    assert found.diff <= found.high + 1e-9 <= 1 + 1e-9
