"""How good a teacher is, is measured truly: a teacher that knows all gets 1, one that errs less."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence

import pytest
from made_corpus import made_up_rows, made_up_tagged

from evokd.demo.training import card, fitness_kinds
from evokd.demo.training.drawing import Corpus
from evokd.prompts import VERDICTS, YES_NO
from evokd.teacher import Generate, Score, Scored, Written


class Told:
    """A teacher that says what a function tells it."""

    name = fingerprint = "told"

    def __init__(self, say: Callable[[str], str]) -> None:
        self.say = say

    def generate(self, requests: Sequence[Generate], on_done: object = None) -> list[Written]:
        return [Written(self.say(r.messages[-1].content), "stop", 1, 1, 1) for r in requests]

    def score(self, requests: Sequence[Score], on_done: object = None) -> list[Scored]:
        said = [self.say(r.messages[-1].content) for r in requests]
        return [
            Scored(tuple(0.0 if c == a else -9.0 for c in r.choices), 1, 1, 1)
            for r, a in zip(requests, said, strict=True)
        ]

    def check(self, requests: Sequence[Generate | Score]) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def half_b() -> Corpus:
    return Corpus(made_up_rows(), made_up_tagged(), part="B")


def test_who_marks_nothing_gets_nothing(half_b: Corpus) -> None:
    figures = fitness_kinds.entity_figures(Told(lambda asked: "[]"), half_b, 12)
    assert set(figures) == {"snips", "wnut17", "wikigold"}
    for made in figures.values():
        assert made["parseable"] == 1
        assert made["entity_f1"] == 0
        assert made["texts"] == 12


def test_who_knows_all_gets_one(half_b: Corpus) -> None:
    known: dict[str, str] = {}
    for name in fitness_kinds.SETS:
        source = fitness_kinds.whole_task(half_b, name)
        for row in source.any:
            one = source.marked(row.pieces)
            listed = [{"text": one.text[s.start : s.end], "type": s.label} for s in one.spans]
            known[json.dumps(one.text)] = json.dumps(listed)

    def say(asked: str) -> str:
        if "Answer with one of" in asked:
            return VERDICTS[0]
        return known[asked.rpartition("Text: ")[2]]

    for made in fitness_kinds.entity_figures(Told(say), half_b, 15).values():
        assert made["entity_f1"] == made["entity_f1_without_grammar"] == 1
        assert made["whole_text_right"] == 1
        assert 0 < made["verdict_accuracy"] < 0.8


def test_a_reply_that_cannot_be_read_counts_as_nothing(half_b: Corpus) -> None:
    made = fitness_kinds.entity_figures(Told(lambda asked: "hm"), half_b, 5)["wikigold"]
    assert made["parseable"] == made["entity_f1"] == 0


@pytest.mark.parametrize("always", YES_NO)
def test_who_always_says_the_same_gets_half(half_b: Corpus, always: str) -> None:
    made = fitness_kinds.applies_figures(Told(lambda asked: always), half_b, 3)
    assert made["yes_no_accuracy"] == 0.5
    assert made["yes_right"] == (always == "yes")
    assert made["no_right"] == (always == "no")


def test_the_card_tells_how_it_was_made() -> None:
    first = {"done": 1300, "rows": 13, "length": 640, "seed": 1}
    second = {"done": 500, "rows": 8, "length": 768, "seed": 2, "tokens": 3_100_000, "start": first}
    lines = card._history(second).splitlines()
    assert len(lines) == 2
    assert "1,300 steps of 13 x 640 tokens (10.8 M), seed 1, from nothing." in lines[0]
    assert "(3.1 M), seed 2, going on from there" in lines[1]
    rng = random.Random(0)
    assert card.hashes([str(rng.random())] * 2) == card.hashes([str(random.Random(0).random())])
