from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_student import LABELS, make_texts

from evokd.examples import Example
from evokd.recipe import MIN_STEPS
from evokd.settings import StudentSettings
from evokd.student import untrained
from evokd.training import (
    Rows,
    pad_batch,
    partly_kept,
    plan_batches,
    targets,
    train,
    use_threads,
    used_rows_only,
)

NAMES = list(LABELS)


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 128), min_size=1, max_size=200), st.integers(1, 32), st.integers(1, 3)
)
def test_every_row_is_trained_on_once_in_every_epoch(
    lengths: list[int], size: int, epochs: int
) -> None:
    batches = plan_batches(lengths, size, epochs=epochs, seed=0)
    per_epoch = -(-len(lengths) // size)
    assert len(batches) >= max(MIN_STEPS, epochs * per_epoch)
    assert max(map(len, batches)) <= size
    for start in range(0, len(batches), per_epoch):
        epoch = [row for batch in batches[start : start + per_epoch] for row in batch]
        assert sorted(epoch) == list(range(len(lengths)))


def test_enough_rows_get_just_the_epochs_asked_for() -> None:
    assert len(plan_batches([5] * 1600, 16, epochs=2, seed=0)) == 200


def test_batches_waste_little_padding() -> None:
    lengths = [3 + (i * 7919) % 29 for i in range(1024)]
    batches = plan_batches(lengths, 16, epochs=1, seed=0)
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    assert padded < 1.1 * sum(lengths) * len(batches) / 64


def test_batches_follow_the_seed() -> None:
    plans = [plan_batches([5] * 64, 8, epochs=1, seed=seed) for seed in (0, 0, 1)]
    assert plans[0] == plans[1] != plans[2]


def test_goals_mix_the_label_and_the_teacher() -> None:
    rows = [Example("a", "x"), Example("b", "x", soft=(0.2, 0.8))]
    goals = targets(rows, ["x", "y"], soft=0.5)
    assert goals.tolist() == [
        pytest.approx([0.975, 0.025]),
        pytest.approx([0.5 * 0.975 + 0.1, 0.5 * 0.025 + 0.4]),
    ]


def test_training_on_the_used_rows_only_changes_nothing(
    tiny_saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evokd.training.fast_bf16", lambda _: False)
    texts, _ = make_texts(12, seed=3)
    goals = torch.eye(4)[torch.arange(12) % 4]
    results = []
    for whole in (True, False):
        torch.manual_seed(0)
        student = untrained(NAMES, StudentSettings(model=str(tiny_saved), device="cpu", threads=1))
        table = student.model.get_input_embeddings()
        tokens, pad = student.tokens(texts), student.tokenizer.pad_token_id
        with use_threads(1), used_rows_only(student.model, tokens, pad=pad) as renumbered:
            if whole:
                student.model.set_input_embeddings(table)
            rows = Rows(tokens if whole else renumbered, goals, torch.ones(12))
            train(
                student.model,
                rows,
                [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]] * 4,
                pad=pad,
                learning_rate=1e-3,
            )
            if whole:
                trained = table.weight.detach().clone()
        if whole:
            with torch.no_grad():
                table.weight.copy_(trained)
        assert student.model.get_input_embeddings() is table
        results.append(student.predict(texts))
    assert results[0] == pytest.approx(results[1], abs=1e-5)


def test_padding_is_masked() -> None:
    ids, mask = pad_batch([[5, 6, 7], [8]], 0, torch.device("cpu"))
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def test_a_share_of_the_starting_weights_is_kept() -> None:
    layer = torch.nn.Linear(2, 1)
    layer.bias.requires_grad_(False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, 8.0]]))
    with partly_kept(layer, 0.25), torch.no_grad():
        layer.weight.copy_(torch.tensor([[4.0, 4.0]]))
        layer.bias.fill_(1.0)
    assert layer.weight.tolist() == [[3.0, 5.0]]
    assert layer.bias.tolist() == [1.0]  # frozen, so not training's to change


def test_few_lengths_come_out_of_many() -> None:
    padded = {
        pad_batch([[5] * length], 0, torch.device("cpu"), multiple=4)[0].shape[1]
        for length in range(1, 33)
    }
    assert padded == {4, 8, 12, 16, 20, 24, 28, 32}


def test_a_longest_text_is_not_padded_past_the_last_position(tiny_saved: Path) -> None:
    settings = StudentSettings(model=str(tiny_saved), device="cpu", threads=1)
    model = untrained(NAMES, settings).model
    model.config.max_position_embeddings = 30
    model.bert.embeddings.position_ids = model.bert.embeddings.position_ids[:, :30]
    table = model.bert.embeddings.position_embeddings.weight[:30].detach().clone()
    model.bert.embeddings.position_embeddings = torch.nn.Embedding(30, 64, _weight=table)
    rows = Rows([[5] * 30], torch.eye(4)[:1], torch.ones(1))
    before = model.classifier.bias.detach().clone()
    train(model, rows, [[0]], pad=0, learning_rate=1e-3)
    assert not torch.equal(model.classifier.bias, before)


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with use_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
