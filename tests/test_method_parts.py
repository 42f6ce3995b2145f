"""What the switches of the method are made of, without a run."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fakes import LABELS, texts_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from evokd.answers import Span, write_labels, write_spans
from evokd.arms.attributes import COUNT, LENGTHS, styles
from evokd.arms.edits import Chunk, chunks, edit, written
from evokd.cleaning import suspects
from evokd.examples import Example
from evokd.kinds import KINDS
from evokd.labelling import opinions
from evokd.likeness import nearest, sure
from evokd.noise import FEWEST
from evokd.pieces import merge
from evokd.records import Row
from evokd.replies import Attributes, parse_attributes, parse_labelled
from evokd.shots import sample_shots
from evokd.sungen import learn_weights
from evokd.task import Task
from evokd.teacher import Written


def bare(kind: str, **method: Any) -> Task:
    """Return a task without files."""
    labels = dict.fromkeys(LABELS, "")
    return Task.model_validate(
        {"name": "t", "kind": kind, "domain": "d", "labels": labels, "data": {"seed": "s"},
         "method": method}
    )  # fmt: skip


def said(text: str) -> Written:
    return Written(text, "stop", 0, 0, 0)


def test_a_label_that_there_is_not_refuses_the_reply() -> None:
    good = {"hard": [{"text": "a  b", "class": "x"}], "easy": []}
    assert parse_labelled(said(json.dumps(good)), ["x"]).texts == (("hard", "a b", "x"),)
    assert parse_labelled(said(json.dumps(good)), ["y"]).reject == "unknown label"
    more: list[tuple[Any, str]] = [
        ({"hard": ["a"]}, "wrong shape"),
        ({"hard": [{"text": "a"}]}, "wrong shape"),
        ({"hard": [{"text": 1, "class": "x"}]}, "wrong shape"),
        ({"hard": [{"text": " ", "class": "x"}]}, "no text"),
        ([], "no json"),
        ({}, "wrong shape"),
    ]
    for value, reason in more:
        assert parse_labelled(said(json.dumps(value)), ["x"]).reject == reason


@given(st.text(max_size=60) | st.dictionaries(st.text(), st.lists(st.text())).map(json.dumps))
def test_no_text_breaks_the_new_parsers(text: str) -> None:
    assert bool(parse_labelled(said(text), ["x"]).texts) == (
        parse_labelled(said(text), ["x"]).reject is None
    )
    read = parse_attributes(said(text))
    assert bool(read.topics) == bool(read.styles) == bool(read.speakers) == (read.reject is None)


def test_every_topic_comes_with_two_styles() -> None:
    named = Attributes(("a", "b"), ("x", "y", "z"), ("p", "q"))
    made = styles(named)
    few, short, _, long, most = LENGTHS
    assert made == [f"about a, x, {few}, from p", f"about b, y, {short}, from q",
                    f"about a, y, {long}, from p", f"about b, z, {most}, from q"]  # fmt: skip
    assert styles(Attributes(reject="cut")) == []


def test_no_topic_style_or_speaker_is_always_as_long() -> None:
    of = [tuple(f"{name}{n}" for n in range(COUNT)) for name in "tws"]
    made = [style.split(", ") for style in styles(Attributes(*of))]
    for part in (0, 1, 3):
        lengths = {(style[part], style[2]) for style in made}
        assert len(lengths) == 2 * COUNT
    assert {style[2] for style in made} == {*LENGTHS}


pieces = st.sampled_from(["rain", "now", "(", "Paris", "New York", ",", "7", "là"])


@settings(max_examples=60)
@given(st.lists(st.tuples(pieces, st.sampled_from(["", " ", "  "]), st.booleans()), min_size=1,
                max_size=9), st.integers(0, 99))  # fmt: skip
def test_edits_keep_every_entity_whole(parts: list[tuple[str, str, bool]], seed: int) -> None:
    text, spans = "", []
    for words, gap, entity in parts:
        text += gap if text else ""
        if entity:
            spans.append(Span(len(text), len(text) + len(words), "x"))
        text += words
    cut = chunks(text, write_spans(spans))
    assert written(cut) == (text, spans)
    new, places = written(edit(cut, [c for c in cut if not c.label], random.Random(seed)))
    assert sorted(new[s.start : s.end] for s in places) == sorted(
        text[s.start : s.end] for s in spans
    )


@settings(max_examples=60)
@given(st.lists(st.tuples(pieces, st.booleans()), min_size=2, max_size=7), st.integers(0, 99))
@example([("(", False), ("Rome", True), (")", False), ("today", False)], 0)
def test_edits_make_no_word_of_two(parts: list[tuple[str, bool]], seed: int) -> None:
    cut: list[Chunk] = []
    for words, entity in parts:
        # Without a blank wherever a text may have none.
        gap = " " if cut and merge(cut[-1].words, words) else ""
        cut.append(Chunk(words, gap, "x" if entity else ""))
    new, _ = written(edit(cut, [c for c in cut if not c.label], random.Random(seed)))
    assert {*re.findall(r"\w+", new)} <= {*re.findall(r"\w+", written(cut)[0])}


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(["打开", "客厅的灯", "กี่ที่", "。", "wifi"]), min_size=1),
    st.integers(0, 99),
)
@example(["打开", "客厅的灯", "wifi", "。", "wifi", *["打开"] * 7], 24)  # together for a moment
def test_edits_put_no_blank_where_there_is_none(parts: list[str], seed: int) -> None:
    text = "灯".join(["", *parts])
    cut = chunks(text, "[]")
    assert written(cut) == (text, [])
    new, _ = written(edit(cut, cut, random.Random(seed)))
    assert " " not in re.sub(r"wifi\W* wifi", "", new)


def test_a_text_without_blanks_is_edited_in_many_ways() -> None:
    cut = chunks("打开客厅的灯", "[]")
    made = {written(edit(cut, cut, random.Random(seed)))[0] for seed in range(40)}
    assert len(made) > 20
    assert all({*text} <= {*"打开客厅的灯"} for text in made)


# As these texts were edited before scripts without blanks were: runs are compared with others.
@pytest.mark.parametrize(
    ("text", "seed", "new"),
    [
        ("play some jazz, in the kitchen!", 0, "play some jazz, the kitchen!"),
        ("play some jazz, in the kitchen!", 1, "the some jazz, in play kitchen!"),
        ("play some jazz, in the kitchen!", 5, "play some kitchen! jazz, in the kitchen!"),
        ("it's 7:30", 0, "it's"),
        ("Yes", 0, "Yes Yes"),
    ],
)
def test_edits_of_plain_words_stay(text: str, seed: int, new: str) -> None:
    cut = chunks(text, "[]")
    assert written(edit(cut, cut, random.Random(seed)))[0] == new


def test_the_likest_texts_stand_last() -> None:
    known = [Example("play some jazz", "music"), Example("wake me", "alarm"),
             Example("play some jazz songs", "music")]  # fmt: skip
    (shown,) = nearest(["play jazz songs"], known, count=2)
    assert shown == (("play some jazz", "music"), ("play some jazz songs", "music"))
    assert nearest(["a", "b"], [], count=2) == [(), ()]


def test_only_answers_that_are_known_to_be_right_are_shown() -> None:
    soft = [Example("a", "x", "hard", (0.95, 0.05)), Example("b", "x", "hard", (0.6, 0.4))]
    seed, set_by_arms = Example("c", "x", "seed"), [
        Example(text, "x", origin)
        for text, origin in (("d", "paraphrase"), ("e", "cover"), ("f", "hard"), ("g", "edited"))
    ]  # fmt: skip
    given_ = [*soft, seed, *set_by_arms]
    assert [e.text for e in sure(given_, bare("classification"))] == ["a", "c"]
    # Entities have no probability: what two readings left in no doubt is kept.
    tagged = [replace(e, label="[]", soft=()) for e in given_] + [Example("dropped", "", "hard")]
    assert [e.text for e in sure(tagged, bare("ner"))] == ["a", "b", "c", "d", "e", "f"]
    once = bare("ner", second_opinion=False)
    assert [e.text for e in sure(tagged, once)] == ["c"]
    lone = bare("ner").model_copy(update={"labels": {"city": ""}})
    assert opinions(lone) == [["city"]], "the other order is the same question"
    assert [e.text for e in sure(tagged, lone)] == ["c"]


@pytest.mark.parametrize("noise", ["mixture", "out-of-fold"])
def test_no_student_is_asked_about_too_few_texts(noise: str) -> None:
    task = bare("classification", noise=noise)
    loop: Any = SimpleNamespace(task=task, learner=None)  # it could train nothing
    rows = [Row(0, Example(f"text {n}", LABELS[0]), "train") for n in range(FEWEST - 1)]
    assert suspects(loop, rows) == []


def test_learned_weights_are_lower_where_labels_are_wrong() -> None:
    rng = np.random.default_rng(0)
    right = rng.integers(0, 3, 240)
    vectors = np.eye(3, 16)[right] + rng.normal(0, 0.15, (240, 16))
    wrong = rng.permutation(240)[:48]
    answers = right.copy()
    answers[wrong] = (answers[wrong] + rng.integers(1, 3, 48)) % 3
    weights = np.array(learn_weights(vectors, answers.tolist(), seed=0))
    off = np.isin(np.arange(240), wrong)
    assert weights.mean() == pytest.approx(1, abs=1e-4)
    assert weights[off].mean() < 0.5 * weights[~off].mean()
    assert learn_weights(vectors, answers.tolist(), seed=0) == weights.tolist()


@settings(max_examples=40)
@given(
    st.lists(st.sets(st.sampled_from(LABELS)), max_size=30), st.integers(1, 4), st.integers(0, 9)
)
def test_few_texts_hold_every_label_often_enough(given_: Any, shots: int, seed: int) -> None:
    kind = KINDS["multilabel"](bare("multilabel"))
    examples = [Example(f"text {i}", write_labels(names)) for i, names in enumerate(given_)]
    chosen = sample_shots(examples, kind, shots=shots, seed=seed)
    assert len({e.text for e in chosen}) == len(chosen)
    have = Counter(n for e in chosen for n in kind.labels_in(e.label))
    all_ = Counter(n for e in examples for n in kind.labels_in(e.label))
    assert all(have[n] >= min(shots, all_[n]) for n in LABELS)
    for e in chosen:  # none can be spared
        assert any(have[n] <= min(shots, all_[n]) for n in kind.labels_in(e.label))
    assert sample_shots(examples, kind, shots=shots, seed=seed) == chosen


def test_shots_of_a_classification_are_exact() -> None:
    kind = KINDS["classification"](bare("classification"))
    examples = texts_of(1, 20)
    draws = [sample_shots(examples, kind, shots=3, seed=n) for n in range(3)]
    for chosen in draws:
        assert Counter(e.label for e in chosen) == dict.fromkeys(LABELS, 3)
    assert len({tuple(e.text for e in chosen) for chosen in draws}) == 3


def test_shots_are_different_texts_and_none_of_test() -> None:
    kind = KINDS["classification"](bare("classification"))
    again = [Example(text, LABELS[0]) for text in ("hello", "Hello!", "barred", "hello there")]
    for seed in range(9):
        chosen = sample_shots(
            again, kind, shots=3, seed=seed, barred=[Example("Barred.", LABELS[1])]
        )
        assert sorted(len(e.text.split()) for e in chosen) == [1, 2]
