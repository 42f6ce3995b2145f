"""How an encoder is fine-tuned: batches, goals and steps. Knows models and tensors, no files.

Made for speed on a CPU: texts of like length share a batch, bfloat16 where it is native, and only
the rows of the word table that the texts use are trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from evokd.answers import read_labels
from evokd.cpus import fast_bfloat16, usable_cpus
from evokd.errors import InputError
from evokd.examples import Example
from evokd.recipe import MIN_STEPS
from evokd.watch import OnStep

Losses = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

PREDICT_BATCH = 64
WARMUP = 0.06
SMOOTHING = 0.05

# oneDNN keeps code and buffers for every shape that it has seen, 6.5 MB a length of MiniLM's
# training step. Forty lengths took 260 MB, ten take 80 MB, for a little more padding.
MULTIPLE = 4


@dataclass(frozen=True, slots=True)
class Rows:
    """What is trained on, one entry a text.

    Attributes:
        tokens: the ids of every text.
        goals: what the model should answer, a row a text, as the losses of `train` read it.
        scale: how much every text counts, [texts]; 1 on average.
    """

    tokens: list[list[int]]
    goals: torch.Tensor
    scale: torch.Tensor


def targets(examples: Sequence[Example], labels: Sequence[str], *, soft: float) -> torch.Tensor:
    """Return what every example should be answered with, [examples, labels].

    Cross-entropy with this mixture is soft * KL(teacher || student) + (1 - soft) * CE with label
    smoothing, but for a constant. Rows without the teacher's probabilities have the CE part only.
    """
    goals = np.full((len(examples), len(labels)), SMOOTHING / len(labels), dtype=np.float32)
    for row, example in zip(goals, examples, strict=True):
        row[labels.index(example.label)] += 1 - SMOOTHING
        if example.soft:
            teacher = np.asarray(example.soft, dtype=np.float32)
            row[:] = (1 - soft) * row + soft * teacher / teacher.sum()
    return torch.from_numpy(goals)


def set_targets(examples: Sequence[Example], labels: Sequence[str], *, soft: float) -> torch.Tensor:
    """Return what every example of a multilabel task should be answered with, [examples, labels].

    Each entry is a probability by itself. Rows with the teacher's probabilities mix them in.
    """
    goals = np.full((len(examples), len(labels)), SMOOTHING / 2, dtype=np.float32)
    for row, example in zip(goals, examples, strict=True):
        row[[labels.index(name) for name in read_labels(example.label)]] = 1 - SMOOTHING / 2
        if example.soft:
            row[:] = (1 - soft) * row + soft * np.asarray(example.soft, dtype=np.float32)
    return torch.from_numpy(goals)


def each_by_itself(logits: torch.Tensor, goals: torch.Tensor) -> torch.Tensor:
    """Return each text's loss, [texts], where every label is a yes or no of its own."""
    losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, goals, reduction="none")
    return losses.sum(-1)


def cross_entropy(logits: torch.Tensor, goals: torch.Tensor) -> torch.Tensor:
    """Return each text's loss, [texts], where the goals are probabilities, [texts, labels]."""
    return -(goals * logits.log_softmax(-1)).sum(-1)


def plan_batches(
    lengths: Sequence[int], size: int, *, epochs: int, seed: int, steps: int = MIN_STEPS
) -> list[list[int]]:
    """Return the batches of a whole training as row numbers: every row once in every epoch.

    There are more epochs than asked for when they would be under `steps` batches.

    Rows are shuffled, then sorted by length within stretches of 16 batches, then the batches are
    shuffled: little padding, and the order of training does not follow the length.
    """
    rng = np.random.default_rng(seed)
    batches: list[list[int]] = []
    per_epoch = -(-len(lengths) // size)
    for _ in range(max(epochs, -(-steps // per_epoch))):
        order = rng.permutation(len(lengths)).tolist()
        epoch = []
        for start in range(0, len(order), 16 * size):
            stretch = sorted(order[start : start + 16 * size], key=lengths.__getitem__)
            epoch += [stretch[i : i + size] for i in range(0, len(stretch), size)]
        batches += [epoch[i] for i in rng.permutation(len(epoch))]
    return batches


def by_length(
    tokens: Sequence[list[int]], *, pad: int, device: torch.device
) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]:
    """Give texts of like length together: their numbers, ids and mask, [texts, length]."""
    order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
    for start in range(0, len(order), PREDICT_BATCH):
        batch = order[start : start + PREDICT_BATCH]
        yield batch, *pad_batch([tokens[i] for i in batch], pad, device)


def train(
    model: Any,
    rows: Rows,
    batches: list[list[int]],
    *,
    pad: int,
    learning_rate: float,
    on_step: OnStep | None = None,
    losses: Losses = cross_entropy,
) -> None:
    """Take one AdamW step a batch: linear warm-up, linear decay, gradients clipped at norm 1.

    Args:
        losses: called with the logits of a batch and its rows of the goals; a loss for each row.
    """
    device, steps = model.device, len(batches)
    # Where the last positions make no multiple, rounding a longest text up would pass them.
    positions = getattr(model.config, "max_position_embeddings", 0)
    multiple = MULTIPLE if device.type == "cpu" and positions % MULTIPLE == 0 else 1
    goals, scale = rows.goals.to(device), rows.scale.to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, weight_decay=0.0, fused=True
    )
    warm = max(1, round(WARMUP * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda done: min((done + 1) / warm, (steps - done) / (steps - warm + 1))
    )
    model.train()
    for step, batch in enumerate(batches, start=1):
        ids, mask = pad_batch([rows.tokens[i] for i in batch], pad, device, multiple=multiple)
        with fast_matrices(device):
            logits = model(input_ids=ids, attention_mask=mask).logits
        loss: Any = (losses(logits.float(), goals[batch]) * scale[batch]).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if on_step is not None:
            on_step(step, steps)
    model.eval()


def taught_share(examples: Sequence[Example]) -> float:
    """Return the share of examples that are not the user's own texts.

    A definition is none either, nor an edited seed: both are further from real texts than a seed.
    """
    return sum(example.origin not in ("seed", "gold") for example in examples) / len(examples)


@contextmanager
def partly_kept(model: Any, share: float) -> Iterator[None]:
    """Go back from the weights that training ends with by a share of the way (WiSE-FT, 2109.01903).

    The average of both generalises to other wordings than those trained on, and repeats fewer of
    the teacher's mistakes. It needs a head that means something before training.
    """
    before = [(p, p.detach().clone()) for p in model.parameters() if p.requires_grad and share > 0]
    yield
    with torch.no_grad():
        for parameter, old in before:
            parameter.lerp_(old, share)


@contextmanager
def used_rows_only(model: Any, tokens: list[list[int]], *, pad: int) -> Iterator[list[list[int]]]:
    """Train only the rows of the word table that the texts use; put them back at the end.

    Rows of absent words get no gradient, so the result is the same, and the optimiser no longer
    walks over half of the model's weights for nothing. Yields the tokens renumbered. Ids up to
    the padding id keep their numbers, because some encoders count positions from it.
    """
    full = model.get_input_embeddings()
    used = sorted(set(range(pad + 1)).union(*tokens))
    number = {token: i for i, token in enumerate(used)}
    rows = torch.tensor(used, device=full.weight.device)
    small = torch.nn.Embedding(
        len(used),
        full.embedding_dim,
        padding_idx=full.padding_idx,
        _weight=full.weight[rows].detach().clone(),
    )
    model.set_input_embeddings(small)
    try:
        yield [[number[token] for token in text] for text in tokens]
    finally:
        with torch.no_grad():
            full.weight[rows] = small.weight
        model.set_input_embeddings(full)


def pad_batch(
    tokens: list[list[int]], pad: int, device: torch.device, *, multiple: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and attention mask, [texts, longest], the longest rounded up to a multiple."""
    longest = -(-max(map(len, tokens)) // multiple) * multiple
    ids = torch.tensor([text + [pad] * (longest - len(text)) for text in tokens])
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in tokens])
    return ids.to(device), mask.to(device)


def fast_matrices(device: torch.device) -> torch.autocast:
    """Multiply matrices in bfloat16 for a while, where the device gains by it."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast_bf16(device))


@cache
def fast_bf16(device: torch.device) -> bool:
    """Return whether the device multiplies matrices faster in bfloat16; emulated, it does not."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return fast_bfloat16()


@contextmanager
def use_threads(threads: int) -> Iterator[None]:
    """Let torch use so many CPU threads for a while; 0 means all that this process may use."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or usable_cpus())
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pick_device(name: str) -> torch.device:
    """Return the device of "auto" (CUDA when present), "cpu" or "cuda"."""
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "student.device is cuda, but torch sees no GPU", "set student.device: auto"
        )
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
