"""Packed rows and the model: what is trained is what the product will ask."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy as np
import pytest
import torch
from made_corpus import END, made_up_corpus, some_trees
from numpy.typing import NDArray

from evokd.demo.training import packing
from evokd.demo.training.model import Shape, TinyLlama, rotate

LENGTH = 1200


@pytest.fixture(scope="module")
def packer(tmp_path_factory: pytest.TempPathFactory) -> packing.Packer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    packing.train_tokenizer([packing.plain(tree) for tree in some_trees()], 1300).save(str(path))
    return packing.Packer(made_up_corpus(), path, rows=2, length=LENGTH, steps=3, seed=4)


@pytest.fixture(scope="module")
def model(packer: packing.Packer) -> TinyLlama:
    torch.manual_seed(0)
    vocabulary = packer.tokenizer.get_vocab_size()
    return TinyLlama(Shape(width=32, layers=2, heads=2, hidden=64, vocabulary=vocabulary)).eval()


def segments(row: NDArray[Any]) -> dict[int, NDArray[Any]]:
    """Return the places of every segment of a row: heads, stems and branches."""
    return {int(s): np.flatnonzero(row[5] == s) for s in np.unique(row[5]) if s >= 0}


def conversations(row: NDArray[Any]) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Return every branch's places, and those of all that it goes on from (head and stem)."""
    places = segments(row)
    made = []
    for own in places.values():
        stem, head = row[6, own[0]], row[7, own[0]]
        above = [places[int(s)] for s in (head, stem) if s >= 0 and s in places]
        if stem >= 0:
            made.append((own, np.concatenate(above)))
    return made


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
    checked = 0
    for seed in range(3, 9):
        row = packer._row(random.Random(seed))
        batch = packing.stack([row])
        packed = model.logits(model(batch.tokens, batch.positions, batch.mask)[0])
        for own, above in conversations(row)[::3]:
            expected = alone(model, [*row[0, above].astype(int), *row[0, own].astype(int)])
            torch.testing.assert_close(packed[own], expected[len(above) :], atol=1e-4, rtol=0)
            torch.testing.assert_close(packed[above], expected[: len(above)], atol=1e-4, rtol=0)
            checked += 1
    assert checked >= 10  # how many there are varies: equal pairs are merged in any order


def test_a_row_holds_whole_conversations(packer: packing.Packer) -> None:
    shared = 0
    for seed in range(8):
        row = packer._row(random.Random(seed))
        for own, above in conversations(row):
            ids = [*row[0, above].astype(int), *row[0, own].astype(int)]
            text = packer.tokenizer.decode(ids, skip_special_tokens=False)
            assert text.startswith(("<|im_start|>user\nA small t", "<|im_start|>user\nRepeat"))
            assert text.endswith(END)
            # Head, stem and branch are encoded apart; the product encodes the whole.
            assert packer.tokenizer.encode(text).ids == ids
            assert row[1, [*above, *own]].tolist() == list(range(len(ids)))
            shared += len({*row[5, above]}) == 2
    assert shared >= 20


def test_targets_follow_their_tokens(packer: packing.Packer) -> None:
    answers: set[str] = set()
    for seed in range(6):
        row = packer._row(random.Random(seed))
        numbers = []
        for own in segments(row).values():
            assert (row[2, own[:-1]] == row[0, own[1:]]).all()
            assert row[3, own[-1]] == 0
            learned = own[row[3, own] >= 1]
            if not len(learned):
                continue
            ids = row[2, learned].astype(int).tolist()
            said = packer.tokenizer.decode(ids, skip_special_tokens=False)
            assert said.endswith(END)
            assert said.count("im_start") == 0
            if row[4, own].any():
                (number,) = {*row[4, learned]}
                name, _, weight = packing.EXACT[int(number) % len(packing.EXACT)]
                numbers.append(int(number) // len(packing.EXACT))
                answers.add(name)
                assert set(row[3, learned]) == {weight}
                assert said.count(END) == 1
            else:
                assert set(row[3, learned]) == {packing.ANSWER_WEIGHT}
        assert numbers == list(range(1, len(numbers) + 1))
    assert answers == {name for name, *_ in packing.EXACT}


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
