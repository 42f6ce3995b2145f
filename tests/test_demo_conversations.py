"""The conversations that teach the embedded teacher are the product's own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from made_corpus import END, made_up_corpus, some_trees

from evokd import prompts
from evokd.demo.training import conversations
from evokd.demo.training.conversations import Segment, Tree, trees
from evokd.demo.training.to_gguf import TEMPLATE
from evokd.prompts import Seen
from evokd.replies import parse_hard_easy, parse_list, parse_patterns
from evokd.teacher import Message, Written
from evokd.teacher.chat import render


def task_of(head: str) -> tuple[str, dict[str, str]]:
    """Return domain and labels of a tree's head, by reading it."""
    first, *lines = head.removeprefix("<|im_start|>user\n").splitlines()
    found = re.fullmatch(r"A small text classifier sorts (.+) into these classes:", first)
    assert found
    named = [line.removeprefix("- ").partition(": ") for line in lines if line]
    return found[1], {name: about for name, _, about in named}


def strings(text: str) -> list[str]:
    """Return the quoted strings in a piece of a prompt."""
    return [json.loads(s) for s in re.findall(r'"(?:[^"\\]|\\.)*"', text)]


def seen(line: str) -> Seen:
    """Return what a line of an analysis prompt says."""
    found = re.fullmatch(r'- ("(?:[^"\\]|\\.)*") is (.+?)(?:, but it said (.+))?', line)
    assert found, line
    return Seen(json.loads(found[1]), found[2], found[3] or found[2])


def asked_again(tree: Tree, branch: tuple[Segment, ...]) -> tuple[Message, ...]:
    """Ask the product's question of a branch once more, from what can be read in it."""
    domain, labels = task_of(tree.head)
    question = branch[0][0].strip().partition(END)[0]
    if question.startswith("To which class"):
        return prompts.ask_label(domain, labels, strings(question)[-1])
    if found := re.match(r"Write (\d+) new texts of the class (.+?), (.+?)\. Examples", question):
        count, label, style = found.groups()
        assert style in prompts.STYLES
        examples = strings(question.splitlines()[0])
        return prompts.ask_cover(
            domain, labels, label=label, count=int(count), style=style, examples=examples
        )
    shown = [seen(line) for line in question.splitlines() if line.startswith('- "')]
    right, wrong = [s for s in shown if s.right], [s for s in shown if not s.right]
    analysis = prompts.ask_analysis(domain, labels, right, wrong)
    found = re.search(r"Write (\d+) new texts .* and (\d+) that", branch[2][0])
    assert found
    said = branch[1][0].removesuffix(END)
    return prompts.ask_texts(analysis, said, hard=int(found[1]), easy=int(found[2]))


def branches() -> Iterator[tuple[Tree, tuple[Segment, ...]]]:
    for tree in some_trees():
        for branch in tree.branches:
            yield tree, branch


def test_every_question_is_the_products_word_by_word() -> None:
    kinds = set()
    for tree, branch in branches():
        messages = asked_again(tree, branch)
        shown = render(TEMPLATE, messages, add_generation_prompt=True, bos="", eos=END)
        *before, (_, learned) = branch
        assert learned
        assert tree.head + "".join(text for text, _ in before) == shown
        kinds.add((len(messages), messages[0].content.rpartition("\n")[2][:5]))
    assert len(kinds) >= 3


def test_only_answers_are_learned_and_the_product_can_read_them() -> None:
    for tree, branch in branches():
        _, labels = task_of(tree.head)
        assert [learned for _, learned in branch] == [False, True] * (len(branch) // 2)
        last = branch[-1][0]
        assert last.endswith(END)
        reply = Written(last.removesuffix(END), "stop", 0, 0, 0)
        if "To which class" in branch[0][0]:
            assert reply.text in labels
        elif len(branch) == 2:
            made = parse_list(reply)
            assert made.reject is None
            assert branch[0][0].startswith(f"\nWrite {len(made.texts)} new texts")
        else:
            made = parse_hard_easy(reply)
            assert {kind for kind, _ in made.texts} <= {"hard", "easy"}
            assert made.reject is None
            said = Written(branch[1][0].removesuffix(END), "stop", 0, 0, 0)
            assert 1 <= len(parse_patterns(said)) <= 6


def test_a_mistake_shown_is_a_mistake_of_the_task() -> None:
    for tree, branch in branches():
        if len(branch) == 4:
            _, labels = task_of(tree.head)
            shown = [seen(x) for x in branch[0][0].splitlines() if x.startswith('- "')]
            assert any(not s.right for s in shown)
            assert all(s.label in labels and s.predicted in labels for s in shown)


def test_the_same_seed_gives_the_same_trees() -> None:
    one, other, third = (
        trees(made_up_corpus(), 5),
        trees(made_up_corpus(), 5),
        trees(made_up_corpus(), 6),
    )
    first = [next(one) for _ in range(3)]
    assert first == [next(other) for _ in range(3)]
    assert first != [next(third) for _ in range(3)]


def test_an_analysis_names_the_most_frequent_confusion_first() -> None:
    shown = [Seen("t1", "a", "b"), Seen("t2", "b", "a"), Seen("t3", "b", "a")]
    pull = {"t1": ["song"], "t2": [], "t3": []}
    assert conversations.analyse(shown, pull).splitlines() == [
        "- It takes b for a.",
        '- It takes a for b, for example in texts with "song".',
    ]
