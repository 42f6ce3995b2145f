"""How the embedded teacher is made: the parts that need no data set and no training."""

from __future__ import annotations

import dataclasses
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from evokd import prompts
from evokd.demo.training import conversations, corpus, noise, packing
from evokd.demo.training.conversations import Corpus, Segment, Tree, make_tree, trees
from evokd.demo.training.corpus import Row, held_out, near_any
from evokd.demo.training.model import Shape, TinyLlama, rotate
from evokd.demo.training.to_gguf import TEMPLATE
from evokd.examples import jaccard, normalise, trigrams
from evokd.prompts import Seen
from evokd.replies import parse_hard_easy, parse_list, parse_patterns
from evokd.teacher import Message, Written
from evokd.teacher.chat import render

WORDS = "please can you the a for me now some more new red loud long early cheap nearby friend's"
END = "<|im_end|>"
TREES = 12


def labels_of(source: str) -> list[str]:
    """Return every label of a public set."""
    about: dict[str, Any] = corpus.resource("definitions.json")
    return list(about[source]["labels"])


def made_up_rows() -> list[Row]:
    """Return 12 texts of every label that definitions.json knows, half A and half B alike."""
    rng = random.Random(0)
    rows = []
    for source in corpus.SETS:
        for label in labels_of(source):
            own = re.sub(r"[_/]|(?<=[a-z])(?=[A-Z])", " ", label).lower()
            for i in range(12):
                filler = rng.sample(WORDS.split(), rng.randint(1, 9))
                text = f"{own if i % 3 else ''} add remind remove {' '.join(filler)} {i}".strip()
                rows.append(Row(source, f"{text} {len(rows)}", label, "AB"[i % 2]))
                rows.append(Row(source, f"{text} x{len(rows)}", label, "AB"[i % 2]))
    return rows


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return made_up_rows()


@pytest.fixture(scope="module")
def made_up(rows: list[Row]) -> Corpus:
    return Corpus(rows)


@pytest.fixture(scope="module")
def some(made_up: Corpus) -> list[Tree]:
    rng = random.Random(1)
    return [make_tree(made_up, rng) for _ in range(TREES)]


# -- corpus ------------------------------------------------------------------------------------


def test_halves_are_stable_and_of_like_size() -> None:
    halves = [corpus.half(f"text number {n}") for n in range(4000)]
    assert set(halves) == {"A", "B"}
    assert 1850 < halves.count("A") < 2150
    assert [corpus.half(t) for t in ("play jazz", "wake me", "pizza", "rain?")] == list("BBAB")


@given(st.text(max_size=30))
def test_a_half_looks_at_what_is_compared(text: str) -> None:
    assert corpus.half(text) == corpus.half(normalise(text)) == corpus.half(f" {text}!")


def test_one_label_in_five_is_held_out() -> None:
    for source in ("clinc150", "massive_en"):
        labels = labels_of(source)
        hidden = held_out(source, labels)
        assert len(hidden) == len(labels) // 5
        assert hidden < set(labels)
        assert held_out(source, labels[::-1]) == hidden


def test_all_of_banking77_and_none_of_snips_is_held_out() -> None:
    assert held_out("banking77", ["b", "a"]) == {"a", "b"}
    assert held_out("snips_raw", ["b", "a"]) == frozenset()


def test_held_out_labels_are_never_drawn(rows: list[Row], made_up: Corpus) -> None:
    of_set = {source: held_out(source, labels_of(source)) for source in corpus.SETS}
    hidden = {row.text for row in rows if row.label in of_set[row.source]}
    drawn = {t for _, _, labels in made_up.inventories for label in labels for t in label.texts}
    assert drawn
    assert not drawn & hidden
    assert drawn <= {row.text for row in rows if row.half == "A" and row.source in corpus.TRAINED}


def test_concepts_refuse_a_held_out_label(rows: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = min(held_out("clinc150", labels_of("clinc150")))
    concept = {"names": ["x"], "definitions": ["y"], "members": {"clinc150": [hidden]}}
    real = corpus.resource

    def resource(name: str) -> dict[str, object]:
        return {"labels": {"bad": concept}} if name == "concepts.json" else real(name)

    monkeypatch.setattr(corpus, "resource", resource)
    with pytest.raises(ValueError, match=hidden):
        corpus.concept_labels(rows, part="A")


def test_labels_of_few_texts_are_left_out(rows: list[Row]) -> None:
    few = [row for row in rows if row.label != "PlayMusic"]
    few += [row for row in rows if row.label == "PlayMusic" and row.half == "A"][:7]
    made = corpus.fine_labels(few, part="A", unseen=False)["snips_raw"]
    assert "PlayMusic" not in made
    assert len(made) == 6


near = st.text("abc A!", max_size=8)


@given(st.lists(near, min_size=1, max_size=6), st.lists(near, min_size=1, max_size=6))
def test_near_is_exact(texts: list[str], guarded: list[str]) -> None:
    expected = [
        any(jaccard(trigrams(text), trigrams(g)) >= corpus.NEAR for g in guarded) for text in texts
    ]
    assert near_any(texts, guarded) == expected


def test_near_counts_more_texts_than_one_block() -> None:
    texts = [f"number {n} of the texts" for n in range(1201)]
    assert near_any(texts, ["NUMBER 1200, of the texts!"])[-1]
    assert not any(near_any(texts, ["something else entirely"]))


def test_what_is_guarded_or_double_is_not_read(tmp_path: Path) -> None:
    labels = {"snips_raw": "PlayMusic", "clinc150": "timer", "massive_en": "alarm_set",
              "banking77": "Refund_not_showing_up"}  # fmt: skip
    for source, label in labels.items():
        folder = tmp_path / source
        folder.mkdir()
        train = [
            "olly play jazz",
            "Play jazz!",
            "what a long unheard of sentence",
            "Crank up Thunderstruck!",
        ]
        text = "".join(json.dumps({"text": t, "label": label}) + "\n" for t in train)
        (folder / "train.jsonl").write_text(text)
    (tmp_path / "banking77" / "test.jsonl").write_text(
        json.dumps({"text": "What a long, unheard-of sentence", "label": "x"}) + "\n"
    )
    kept, removed = corpus.read_rows(tmp_path)
    assert [(row.source, row.text) for row in kept] == [(s, "play jazz") for s in corpus.SETS]
    assert removed == 3 * len(labels)


# -- noise --------------------------------------------------------------------------------------

spoken = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from([*WORDS.split(), "7", "Monday", "?!"])).map(" ".join),
).filter(normalise)


@given(spoken, st.randoms(use_true_random=False), st.booleans())
def test_noise_leaves_something_to_read(text: str, rng: random.Random, strong: bool) -> None:
    assert normalise(noise.disturb(text, rng, strong=strong))
    assert normalise(noise.vary(text, rng))
    assert all(normalise(noise.typo(word, rng)) for word in text.split() if normalise(word))


@given(spoken, st.sampled_from(prompts.STYLES), st.randoms(use_true_random=False))
def test_a_style_is_one_of_the_products(text: str, style: str, rng: random.Random) -> None:
    assert noise.style_of(text) in prompts.STYLES
    made = noise.styled(text, style, rng)
    assert made == "" or normalise(made)
    assert noise.styled(text, noise.style_of(text), rng) == text


def test_a_style_can_be_seen() -> None:
    rng = random.Random(0)
    assert noise.style_of("play jazz") == "short"
    assert noise.style_of("will it rain in Oslo tomorrow") == "phrased as a question"
    assert noise.style_of("could you wake me at seven") == "polite"
    assert noise.styled("put a meeting in my calendar", "polite", rng) != ""
    assert noise.styled("play jazz", "long and detailed", rng) == ""


# -- conversations ------------------------------------------------------------------------------


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


def branches(some: list[Tree]) -> Iterator[tuple[Tree, tuple[Segment, ...]]]:
    for tree in some:
        for branch in tree.branches:
            yield tree, branch


def test_every_question_is_the_products_word_by_word(some: list[Tree]) -> None:
    kinds = set()
    for tree, branch in branches(some):
        messages = asked_again(tree, branch)
        shown = render(TEMPLATE, messages, add_generation_prompt=True, bos="", eos=END)
        *before, (_, learned) = branch
        assert learned
        assert tree.head + "".join(text for text, _ in before) == shown
        kinds.add((len(messages), messages[0].content.rpartition("\n")[2][:5]))
    assert len(kinds) >= 3


def test_only_answers_are_learned_and_the_product_can_read_them(some: list[Tree]) -> None:
    for tree, branch in branches(some):
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


def test_a_mistake_shown_is_a_mistake_of_the_task(some: list[Tree]) -> None:
    for tree, branch in branches(some):
        if len(branch) == 4:
            _, labels = task_of(tree.head)
            shown = [seen(x) for x in branch[0][0].splitlines() if x.startswith('- "')]
            assert any(not s.right for s in shown)
            assert all(s.label in labels and s.predicted in labels for s in shown)


def test_the_same_seed_gives_the_same_trees(made_up: Corpus) -> None:
    one, other, third = trees(made_up, 5), trees(made_up, 5), trees(made_up, 6)
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


# -- packing and model --------------------------------------------------------------------------

LENGTH = 1200


@pytest.fixture(scope="module")
def packer(
    made_up: Corpus, some: list[Tree], tmp_path_factory: pytest.TempPathFactory
) -> packing.Packer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    packing.train_tokenizer(map(packing.plain, some), 800).save(str(path))
    return packing.Packer(made_up, path, rows=2, length=LENGTH, steps=3, seed=4)


@pytest.fixture(scope="module")
def model(packer: packing.Packer) -> TinyLlama:
    torch.manual_seed(0)
    vocabulary = packer.tokenizer.get_vocab_size()
    return TinyLlama(Shape(width=32, layers=2, heads=2, hidden=64, vocabulary=vocabulary)).eval()


def segments(row: NDArray[Any]) -> dict[int, NDArray[Any]]:
    """Return the places of every segment of a row: heads and branches."""
    return {int(s): np.flatnonzero(row[5] == s) for s in np.unique(row[5]) if s >= 0}


def alone(model: TinyLlama, tokens: list[int]) -> torch.Tensor:
    """Return the logits of a conversation that has the model for itself."""
    length = len(tokens)
    mask = torch.ones(1, 1, length, length, dtype=torch.bool).tril()
    hidden = model(torch.tensor([tokens]), torch.arange(length)[None], mask)
    return model.logits(hidden[0])


@torch.no_grad()
def test_a_packed_branch_computes_what_it_would_alone(
    packer: packing.Packer, model: TinyLlama
) -> None:
    row = packer._row(random.Random(3))
    batch = packing.stack([row])
    packed = model.logits(model(batch.tokens, batch.positions, batch.mask)[0])
    places = segments(row)
    numbers = [n for n in places if n % 64]
    assert len(numbers) >= 5
    for number in (*numbers[:3], *numbers[-3:]):
        head, own = places[number // 64 * 64], places[number]
        expected = alone(model, [*row[0, head].astype(int), *row[0, own].astype(int)])
        torch.testing.assert_close(packed[own], expected[len(head) :], atol=1e-4, rtol=0)
        torch.testing.assert_close(packed[head], expected[: len(head)], atol=1e-4, rtol=0)


def test_a_row_holds_whole_conversations(packer: packing.Packer) -> None:
    row = packer._row(random.Random(3))
    places = segments(row)
    for number in (n for n in places if n % 64):
        head, own = places[number // 64 * 64], places[number]
        ids = [*row[0, head].astype(int), *row[0, own].astype(int)]
        text = packer.tokenizer.decode(ids, skip_special_tokens=False)
        assert text.startswith("<|im_start|>user\nA small text classifier sorts ")
        assert text.endswith(END)
        # Head and branch are encoded apart; the product encodes the whole.
        assert packer.tokenizer.encode(text).ids == ids
        assert row[1, [*head, *own]].tolist() == list(range(len(ids)))


def test_targets_follow_their_tokens(packer: packing.Packer) -> None:
    row = packer._row(random.Random(3))
    label_answers = 0
    for number, own in segments(row).items():
        assert (row[2, own[:-1]] == row[0, own[1:]]).all()
        assert row[3, own[-1]] == 0
        learned = own[row[3, own] >= 1]
        if number % 64 == 0:
            assert row[3, own].sum() == 0
            continue
        said = packer.tokenizer.decode(
            row[2, learned].astype(int).tolist(), skip_special_tokens=False
        )
        assert said.endswith(END)
        assert said.count("im_start") == 0
        if row[4, own].any():
            label_answers += 1
            assert set(row[3, learned]) == {packing.LABEL_WEIGHT}
            assert (row[4, learned] == label_answers).all()
            assert said.count(END) == 1
    assert label_answers >= 3


def test_a_step_can_be_made_again_alone(packer: packing.Packer) -> None:
    assert len(packer) == 3
    batches = [packer[step] for step in (1, 1, 2)]
    for field in dataclasses.fields(packing.Batch):
        one, again, other = (getattr(batch, field.name) for batch in batches)
        assert torch.equal(one, again)
        assert one.shape[0] == 2
        assert one.shape[-1] == LENGTH
        assert not torch.equal(one, other)


@torch.no_grad()
def test_the_model_looks_back_only(model: TinyLlama) -> None:
    tokens = torch.arange(12)[None]
    mask = torch.ones(1, 1, 12, 12, dtype=torch.bool).tril()
    hidden = model(tokens, torch.arange(12)[None], mask)
    assert hidden.shape == (1, 12, 32)
    assert model.logits(hidden[0]).shape == (12, model.shape.vocabulary)
    changed = tokens.clone()
    changed[0, 7] = 99
    other = model(changed, torch.arange(12)[None], mask)
    torch.testing.assert_close(other[:, :7], hidden[:, :7])
    assert not torch.allclose(other[:, 7:], hidden[:, 7:])


def turned(vector: torch.Tensor, position: int) -> torch.Tensor:
    """Return [size] turned as the model turns it at a position."""
    half = len(vector) // 2
    angles = position * 10000.0 ** (-torch.arange(half) / half)
    return rotate(vector[None, None, None], angles.cos(), angles.sin())[0, 0, 0]


def test_turning_keeps_lengths_and_knows_distances_only() -> None:
    torch.manual_seed(0)
    q, k = torch.randn(2, 16)
    torch.testing.assert_close(turned(q, 0), q)
    torch.testing.assert_close(turned(q, 9).norm(), q.norm())
    torch.testing.assert_close(turned(q, 9) @ turned(k, 5), turned(q, 104) @ turned(k, 100))
    assert not torch.allclose(turned(q, 9) @ turned(k, 5), turned(q, 9) @ turned(k, 6))


def test_turning_pairs_neighbours_as_llama_cpp_does() -> None:
    first = torch.tensor([1.0, 0.0, 0.0, 0.0])
    angle = torch.tensor(3.0)
    expected = torch.stack([angle.cos(), angle.sin(), torch.zeros(()), torch.zeros(())])
    torch.testing.assert_close(turned(first, 3), expected)
