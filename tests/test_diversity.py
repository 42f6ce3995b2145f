from __future__ import annotations

import re
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


def test_words_are_told_in_any_script() -> None:
    chinese = diversity(["打开客厅的灯", "打开卧室的灯"], seed=0)
    assert chinese["distinct_1"] == pytest.approx(8 / 12)
    assert chinese["distinct_2"] == pytest.approx(8 / 10)
    other = diversity(["打开客厅的灯", "明天会下雨吗"], seed=0)
    assert other["self_bleu"] < chinese["self_bleu"] < 1
    hindi = diversity(["दिन के बारे में", "दान के बारे में"], seed=0)
    assert (hindi["distinct_1"], hindi["distinct_2"]) == (5 / 8, 4 / 6)
    korean = diversity(["내일 서울에서", "내일 서울까지"], seed=0)
    assert korean["distinct_1"] == 3 / 4  # of words, which have blanks between them


@given(st.lists(st.text(st.sampled_from("ab9é ,.!'+$-👍")), min_size=2, max_size=5))
@example(["yes", "no"])
def test_there_are_no_pairs_in_texts_of_one_word(texts: list[str]) -> None:
    words = [re.findall(r"[^\W_]+", text) for text in texts]
    figures = diversity(texts, seed=0)
    assert figures["distinct_1"] == len({w for some in words for w in some}) / max(
        1, sum(map(len, words))
    )
    assert ("distinct_2" in figures) == any(len(some) > 1 for some in words)
    assert figures.keys() - {"distinct_2"} == {"distinct_1", "self_bleu", "nearest"}


def test_of_many_texts_a_sample_is_compared() -> None:
    texts = [f"text number {n} of many" for n in range(MOST)]
    many = [text for text in texts for _ in range(2)]
    made = [diversity(many, seed=seed)["self_bleu"] for seed in (0, 0, 1)]
    assert made[0] == made[1] != made[2]
    assert diversity(texts, seed=0)["self_bleu"] == pytest.approx(
        diversity(texts, seed=1)["self_bleu"]
    )
