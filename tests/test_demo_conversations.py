"""The conversations that teach the embedded teacher are the product's own."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from made_corpus import END, made_up_corpus, made_up_rows, made_up_tagged, some_trees

from evokd import prompts
from evokd.answers import Span, read_labels, read_spans, write_labels
from evokd.demo.training import applying, classes, marking, tagger
from evokd.demo.training.conversations import MAKERS, make_tree, trees
from evokd.demo.training.drawing import Corpus, draw_task
from evokd.demo.training.echo import echo_tree
from evokd.demo.training.marked import Marked, Source, draw_source, drawn_from
from evokd.demo.training.to_gguf import TEMPLATE
from evokd.demo.training.turns import Branch, Tree
from evokd.replies import (
    parse_attributes,
    parse_entities,
    parse_hard_easy,
    parse_labelled,
    parse_list,
    parse_patterns,
)
from evokd.teacher import Message, Written
from evokd.teacher.chat import render
from evokd.wording import Seen

ASKS = [name for name in dir(prompts) if name.startswith("ask_")]


def labels_in(head: str) -> list[str]:
    """Return the labels that a head lists."""
    listed = [line for line in head.splitlines() if line.startswith("- ")]
    return [line.removeprefix("- ").partition(": ")[0] for line in listed]


def branches() -> Iterator[tuple[Tree, Branch]]:
    for tree in some_trees():
        for branch in tree.branches:
            yield tree, branch


def written(text: str) -> Written:
    assert text.endswith(END)
    return Written(text.removesuffix(END), "stop", 0, 0, 0)


def test_every_question_is_the_products_word_by_word(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[str] = set()
    used: set[str] = set()

    def recorded(name: str, ask: Callable[..., tuple[Message, ...]]) -> Callable[..., Any]:
        def again(*args: Any, **options: Any) -> tuple[Message, ...]:
            messages = ask(*args, **options)
            asked.add(render(TEMPLATE, messages, add_generation_prompt=True, bos="", eos=END))
            used.add(name)
            return messages

        return again

    for name in ASKS:
        monkeypatch.setattr(prompts, name, recorded(name, getattr(prompts, name)))
    rng = random.Random(7)
    made = [make(made_up_corpus(), rng) for make in MAKERS.values() for _ in range(70)]
    for tree in made:
        for branch in tree.branches:
            *before, (_, learned) = branch
            assert learned
            assert tree.head + "".join(text for text, _ in before) in asked
    assert used == set(ASKS)


def test_only_answers_are_learned_and_the_product_can_read_them() -> None:
    seen: Counter[str] = Counter()
    for tree, branch in branches():
        assert [learned for _, learned in branch] == [False, True] * (len(branch) // 2)
        question = branch[-2][0]
        what, allowed = read(labels_in(tree.head), question, written(branch[-1][0]))
        assert allowed, branch
        seen[what] += 1
        if len(branch) == 4:
            assert 1 <= len(parse_patterns(written(branch[1][0]))) <= 6
    assert set(seen) >= {"label", "applies", "verdict", "entities", "list", "hard and easy"}


def read(labels: list[str], question: str, reply: Written) -> tuple[str, bool]:
    """Return what is asked, and whether the product can read the reply."""
    if "To which class does" in question:
        return "label", reply.text in labels
    if "yes or no only" in question:
        return "applies", reply.text in prompts.YES_NO
    if "Answer with one of: " in question:
        return "verdict", reply.text in prompts.VERDICTS
    if "Which entities" in question:
        text = json.loads(question.partition("\nText: ")[2].partition(END)[0])
        return "entities", parse_entities(reply, text, labels).reject is None
    if '"hard": [{' in question:
        return "labelled", parse_labelled(reply, labels).reject is None
    if '"hard"' in question:
        made = parse_hard_easy(reply)
        counts = Counter(kind for kind, _ in made.texts)
        told = {f"Write {counts['hard']} new texts", f"and {counts['easy']} that"}
        return "hard and easy", made.reject is None and all(t in question for t in told)
    if '"topics"' in question:
        return "attributes", parse_attributes(reply).reject is None
    count = len(parse_list(reply).texts)
    return "list", bool(re.search(rf"(Write|in) {count} (new texts|other ways)", question))


def test_a_mistake_shown_is_a_mistake_of_the_task() -> None:
    rng = random.Random(2)
    corpus = made_up_corpus()
    found = 0
    for _ in range(6):
        task = draw_task(corpus, rng)
        if lesson := classes.mistakes(corpus, task, rng):
            found += 1
            assert all(s.right for s in lesson.right)
            assert not any(s.right for s in lesson.wrong)
            assert {s.label for s in (*lesson.wrong, *lesson.right)} <= set(task.labels)
            assert {label for _, label in (*lesson.hard, *lesson.easy)} <= set(task.labels)
    assert found


def test_the_same_seed_gives_the_same_trees() -> None:
    one, other, third = (
        trees(made_up_corpus(), 5),
        trees(made_up_corpus(), 5),
        trees(made_up_corpus(), 6),
    )
    first = [next(one) for _ in range(4)]
    assert first == [next(other) for _ in range(4)]
    assert first != [next(third) for _ in range(4)]


def test_without_entities_no_text_is_marked() -> None:
    plain = Corpus(made_up_rows())
    rng = random.Random(3)
    heads = "".join(make_tree(plain, rng).head for _ in range(16))
    assert "A small tagger" not in heads
    assert "sorts" in heads


def test_an_analysis_names_the_most_frequent_confusion_first() -> None:
    shown = [Seen("t1", "a", "b"), Seen("t2", "b", "a"), Seen("t3", "b", "a")]
    pull = {"t1": ["song"], "t2": [], "t3": []}
    assert classes.analyse(shown, pull).splitlines() == [
        "- It takes b for a.",
        '- It takes a for b, for example in texts with "song".',
    ]


def test_what_applies_is_what_a_text_is_made_of() -> None:
    rng = random.Random(4)
    task = draw_task(made_up_corpus(), rng, kind="multilabel")
    sizes = Counter()
    for _ in range(200):
        made = applying.compose(task, rng)
        sizes[len(made.labels)] += 1
        assert made.labels <= set(task.labels)
        for label, part in made.parts.items():
            assert part in task.texts[label]
        yes = [b for b in applying.applies_branches(task, made, rng) if b[1][0] == f"yes{END}"]
        assert len(yes) == len(made.labels)
    assert set(sizes) == {0, 1, 2, 3}


def test_a_habit_does_what_it_says() -> None:
    both = frozenset({"a", "b"})
    assert applying.Habit("misses", "a", "c").applied(both) == {"b"}
    assert applying.Habit("misses", "a", "c").applied(frozenset("a")) == {"a"}
    assert applying.Habit("adds", "a", "c").applied(both) == {"a", "b", "c"}
    assert applying.Habit("takes", "a", "c").applied(both) == {"b", "c"}
    assert applying.Habit("takes", "d", "c").applied(both) == both
    rng = random.Random(1)
    task = draw_task(made_up_corpus(), rng, kind="multilabel")
    made = [applying.compose(task, rng) for _ in range(60)]
    lesson = applying.mistakes(made_up_corpus(), task, made, rng)
    assert lesson
    assert all(set(read_labels(s.label)) <= set(task.labels) for s in lesson.wrong)
    assert not any(s.right for s in lesson.wrong)
    assert [s.label for s in lesson.right] == [s.predicted for s in lesson.right]
    assert write_labels(["b", "a"]) == '["a", "b"]'


@pytest.fixture(scope="module")
def drawn() -> list[tuple[Source, Marked]]:
    """Texts of thirty tasks with their entities."""
    rng = random.Random(5)
    sources = [draw_source(made_up_corpus(), rng) for _ in range(30)]
    return [(source, source.text(rng)) for source in sources for _ in range(10)]


def test_an_answer_names_exactly_the_entities(drawn: list[tuple[Source, Marked]]) -> None:
    for source, made in drawn:
        answer = marking.answer_of(made, nth=True)
        assert answer is not None
        said = parse_entities(written(answer + END), made.text, list(source.labels))
        assert said.spans == made.spans
        assert {s.label for s in made.spans} <= set(source.labels)


def test_the_second_of_equal_words_is_told_apart() -> None:
    made = Marked("Rome to Rome", (Span(8, 12, "place"),))
    assert marking.answer_of(made, nth=False) is None
    assert json.loads(marking.answer_of(made, nth=True) or "") == [
        {"text": "Rome", "type": "place", "nth": 2}
    ]
    both = Marked("Rome to Rome", (Span(0, 4, "place"), Span(8, 12, "place")))
    assert "nth" not in (marking.answer_of(both, nth=True) or "nth")


def test_a_verdict_is_true(drawn: list[tuple[Source, Marked]]) -> None:
    rng = random.Random(6)
    seen = Counter()
    for source, made in drawn:
        if not made.spans:
            continue
        words, label, verdict = marking.judged(made, list(source.labels), rng)
        gold = {(made.text[s.start : s.end], s.label) for s in made.spans}
        assert words in made.text
        assert (verdict == "right") == ((words, label) in gold) or made.text.count(words) > 1
        seen[verdict] += 1
    assert set(seen) == set(prompts.VERDICTS)


def test_a_tagger_errs_as_its_habits_say(drawn: list[tuple[Source, Marked]]) -> None:
    rng = random.Random(8)
    for source, made in drawn:
        one, other, *_ = [*source.labels, ""]
        assert tagger.tagger(made, [], rng) == (list(made.spans), [])
        marked, errors = tagger.tagger(made, [tagger.Habit("takes", one, other)], rng)
        assert [(s.start, s.end) for s in marked] == [(s.start, s.end) for s in made.spans]
        assert bool(errors) == (marked != list(made.spans))
        left, _ = tagger.tagger(made, [tagger.Habit("misses", one, other)], rng)
        assert {*made.spans} - {*left} <= {s for s in made.spans if s.label == one}
        more, _ = tagger.tagger(made, [tagger.Habit("invents", one, other)], rng)
        assert len(more) >= len(made.spans) or more == sorted(more)


def test_a_lesson_on_a_tagger_shows_what_it_says() -> None:
    rng = random.Random(9)
    found = 0
    for _ in range(20):
        source = draw_source(made_up_corpus(), rng)
        task = drawn_from(source, rng)
        lesson = tagger.mistakes(source, task, rng)
        if lesson is None:
            continue
        found += 1
        assert not any(s.right for s in lesson.wrong)
        assert lesson.hard
        assert lesson.easy
        for line in lesson.analysis.splitlines():
            first = re.findall(r'"(?:[^"\\]|\\.)*"', line.partition(", for example ")[2])[0]
            assert any(json.loads(first) in seen.text for seen in lesson.wrong)
        for seen in (*lesson.right, *lesson.wrong):
            read_spans(seen.predicted)
    assert found >= 5


def test_all_sets_with_entities_are_drawn_from() -> None:
    rng = random.Random(10)
    domains = {draw_source(made_up_corpus(), rng).domain for _ in range(60)}
    assert any("encyclopedia" in d or "articles" in d for d in domains)
    assert any("social media" in d or "internet" in d for d in domains)
    assert any("voice" in d for d in domains)
    assert {row.half for row in made_up_corpus().tagged} == {"A"}
    assert {row.half for row in made_up_tagged()} == {"A", "B"}


def test_an_echo_has_exactly_the_words_of_its_text() -> None:
    rng = random.Random(11)
    sizes = set()
    for _ in range(24):
        tree = echo_tree(made_up_corpus(), rng)
        found = re.search(r"pieces of (\d) words", tree.head)
        size = int(found[1]) if found else 0
        sizes.add(size)
        for branch in tree.branches:
            text = json.loads(branch[0][0].partition("Text: ")[2].partition(END)[0])
            pieces = json.loads(branch[1][0].removesuffix(END))
            if size:
                assert " ".join(pieces) == text
                assert all(len(piece.split()) == size for piece in pieces[:-1])
            else:
                assert pieces == [text] * 3
    assert sizes == {0, 1, 2, 3}
