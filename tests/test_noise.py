from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from evokd.answers import names_in
from evokd.noise import FEWEST, by_folds, by_mixture, folds
from evokd.records import Prediction

FINDERS = pytest.mark.parametrize("find", [by_mixture, by_folds])
NAMES = "abcde"


def student(right: Sequence[str], rng: np.random.Generator) -> list[Prediction]:
    """Return what a student says that knows the right labels, more or less surely."""
    sure = 1 / (1 + 4 * np.exp(-rng.normal(3, 1, len(right))))
    return [
        Prediction(name, float(p), float(p - (1 - p) / 4))
        for name, p in zip(right, sure, strict=True)
    ]


@FINDERS
@pytest.mark.parametrize("count", [FEWEST, 50, 200, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_clean_texts_all_stay(find: type[by_folds], count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    answers = rng.choice(list(NAMES), count).tolist()
    assert find(answers, student(answers, rng)) == []


@FINDERS
@pytest.mark.parametrize("share", [0.1, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_most_flipped_labels_are_found(find: type[by_folds], share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    right = rng.choice(list(NAMES), 300).tolist()
    flipped = set(rng.permutation(300)[: int(share * 300)].tolist())
    answers = [NAMES[NAMES.index(r) - 1] if i in flipped else r for i, r in enumerate(right)]
    said = student(right, rng)
    found = set(find(answers, said))
    assert found <= flipped
    assert len(found) > 0.75 * len(flipped)


@FINDERS
def test_half_of_a_rare_or_weak_label_stays(find: type[by_folds]) -> None:
    # A student that never gives b, to whose three texts it is surer of a than to those of a.
    answers = ["a"] * 60 + ["b"] * 3
    said = [Prediction("a", 0.7, 0.5)] * 60 + [Prediction("a", 0.75, 0.6)] * 3
    assert [answers[i] for i in find(answers, said)] == ["b"]
    answers = ["a"] * 40 + ["b"] * 40
    said = [Prediction("a", 0.5, 0.4)] * 40 + [Prediction("a", 0.55, 0.5)] * 40
    assert [answers[i] for i in find(answers, said)] == ["b"] * 20


@FINDERS
def test_the_surest_contradictions_go_first(find: type[by_folds]) -> None:
    answers = ["a"] * 60 + ["b"] * 3
    said = [Prediction("a", 0.7, 0.5)] * 60
    said += [Prediction("a", p, 2 * p - 1) for p in (0.75, 0.95, 0.85)]
    assert find(answers, said) == [61]


def test_every_label_is_as_sure_as_its_own_texts_are() -> None:
    """A label that the student is never sure of is doubted at less than one that it knows."""
    answers = ["a"] * 40 + ["b"] * 40
    said = [Prediction("a", 0.9, 0.8)] * 38 + [Prediction("b", 0.6, 0.2)] * 2
    said += [Prediction("b", 0.6, 0.2)] * 38 + [Prediction("a", 0.7, 0.4)] * 2
    assert by_folds(answers, said) == [38, 39]


def test_a_tagger_that_finds_nothing_contradicts_nothing() -> None:
    """How sure it is of that it does not say, so its constant is no evidence."""

    def labels_in(answer: str) -> tuple[str, ...]:
        return names_in(answer, "ner")

    found, nothing = '[[0, 4, "a"]]', "[]"
    answers = [found] * 39 + [nothing]
    said = [Prediction(found, 0.9, 0.9)] * 20 + [Prediction(nothing, 0.5, 0.5)] * 20
    assert by_folds(answers, said, labels_in, sure_of_none=False) == []
    assert by_folds(answers, said, labels_in) != []


def test_answers_of_several_labels_are_held_against_each_of_them() -> None:
    def labels_in(answer: str) -> tuple[str, ...]:
        return names_in(answer, "multilabel")

    both, one, nothing = (json.dumps(names) for names in (["a", "b"], ["a"], []))
    answers = [both] * 30 + [nothing] * 30 + [one] * 2 + [nothing] * 2
    said = [Prediction(both, 0.9, 0.8)] * 30 + [Prediction(nothing, 0.8, 0.6)] * 30
    said += [Prediction(both, 0.95, 0.9), Prediction(both, 0.6, 0.2)]
    said += [Prediction(json.dumps(["new"]), 0.99, 0.98), Prediction(one, 0.95, 0.9)]
    assert by_folds(answers, said, labels_in) == [60, 63]
    assert set(by_mixture(answers, said, labels_in)) == {60, 61, 62, 63}


def test_of_a_tagger_the_texts_count_that_it_confirms() -> None:
    """It does not tell how likely an answer is that it does not give."""
    spans = [json.dumps([[0, n + 1, "city"]]) for n in range(40)]
    said = [Prediction(answer, 0.8, 0.8) for answer in spans[:20]]
    other = json.dumps([[0, 99, "city"]])
    said += [Prediction(other, p, p) for p in [0.9] * 5 + [0.7] * 15]
    assert by_folds(spans, said, lambda answer: names_in(answer, "ner")) == [*range(20, 25)]


def test_what_a_tagger_does_not_find_contradicts_nothing() -> None:
    spans = [json.dumps([[0, n + 1, "city"]]) for n in range(100)]
    said = [Prediction(answer, 0.8, 0.8) for answer in spans[:40]]
    said += [Prediction("[]", 0.9, 0.9)] * 55 + [Prediction('[[0, 500, "city"]]', 0.9, 0.9)] * 5

    def labels_in(answer: str) -> Sequence[str]:
        return names_in(answer, "ner")

    assert by_mixture(spans, said, labels_in, sure_of_none=False) == [*range(95, 100)]


def test_losses_that_are_all_alike_are_one_heap() -> None:
    assert by_mixture(["a"] * 30, [Prediction("b", 0.9, 0.8)] * 30) == []


def test_nothing_is_said_of_few_texts_and_every_text_is_in_one_fold() -> None:
    few = ["a"] * (FEWEST - 1)
    said = [Prediction("a", 0.9, 0.8)] * (FEWEST - 2) + [Prediction("b", 0.9, 0.8)]
    assert by_mixture(few, said) == by_folds(few, said) == []
    parts = folds(10, seed=1)
    assert sorted(int(i) for part in parts for i in part) == list(range(10))
