from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import exp, log

import pytest
from fakes import texts_of
from hypothesis import example, given
from hypothesis import strategies as st

from evokd.diversity import MOST, diversity, self_bleu


def bleu(text: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """BLEU by its definition, a reference at a time (Papineni et al. 2002)."""
    logs = []
    for size in range(1, min(4, len(text)) + 1):
        own, *others = (
            Counter(tuple(words[i : i + size]) for i in range(len(words) - size + 1))
            for words in (text, *references)
        )
        met = sum(min(n, max(count[run] for count in others)) for run, n in own.items())
        logs.append(log((met or 0.1) / own.total()))
    lengths = sorted(len(words) for words in references)
    nearest = min(lengths, key=lambda length: abs(length - len(text)))
    return exp(sum(logs) / len(logs)) * exp(min(0, 1 - nearest / len(text)))


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=7), min_size=2, max_size=6))
@example([list("aab"), list("aab"), list("aaab")])
@example([["a"], list("bbbbbbb")])
def test_self_bleu_is_the_mean_bleu_against_all_others(texts: list[list[str]]) -> None:
    each = [bleu(text, texts[:i] + texts[i + 1 :]) for i, text in enumerate(texts)]
    assert self_bleu(texts) == pytest.approx(sum(each) / len(each))
    assert 0 < self_bleu(texts) <= 1 + 1e-9


def test_self_bleu_by_hand() -> None:
    five = ["play", "some", "jazz", "for", "me"]
    assert self_bleu([five, five]) == pytest.approx(1)
    # Runs of 1 to 4 words that are met: 4 of 5, 3 of 4, 2 of 3 and 1 of 2, either way.
    other = [*five[:-1], "us"]
    assert self_bleu([five, other]) == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4))
    # Nothing is met: a tenth of a run of each length counts.
    assert self_bleu([["a", "b"], ["c", "d"]]) == pytest.approx((0.1 / 2 * 0.1) ** (1 / 2))


def test_diversity_falls_with_repetition() -> None:
    texts = [e.text for e in texts_of(5, 10)]
    varied, same = diversity(texts, seed=0), diversity([texts[0]] * 5, seed=0)
    assert varied["distinct_1"] > same["distinct_1"]
    assert varied["distinct_2"] > same["distinct_2"]
    assert varied["nearest"] < same["nearest"] == 1.0
    assert varied["self_bleu"] < same["self_bleu"] == pytest.approx(1)
    assert diversity(texts[:1], seed=0) == {}


def test_texts_without_words_are_compared_as_they_are() -> None:
    assert diversity(["!!!", "!!!"], seed=0)["self_bleu"] == pytest.approx(1)
    assert diversity(["!!!", "???"], seed=0)["self_bleu"] < 0.2


def test_of_many_texts_a_sample_is_compared() -> None:
    texts = [f"text number {n} of many" for n in range(MOST)]
    many = [text for text in texts for _ in range(2)]
    made = [diversity(many, seed=seed)["self_bleu"] for seed in (0, 0, 1)]
    assert made[0] == made[1] != made[2]
    assert diversity(texts, seed=0)["self_bleu"] == pytest.approx(
        diversity(texts, seed=1)["self_bleu"]
    )
