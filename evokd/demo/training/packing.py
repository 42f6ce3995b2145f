"""Trees of conversations -> rows of tokens. A head is computed once for all its branches.

In a row each branch sees its tree's head and itself, not its sisters, and its positions go on
from the head's end. So a row trains many conversations at the cost of one head, and what the
model computes is exactly what it would compute for each conversation alone.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from torch.utils.data import Dataset

from evokd.demo.training.conversations import Corpus, Tree, make_tree

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
ANSWER_WEIGHT, LABEL_WEIGHT, QUESTION_WEIGHT = 1.0, 2.0, 0.1


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of tokens. `target[i, j]` follows `tokens[i, j]`; weight 0 means not learned.

    All of shape [rows, length] but `mask` [rows, 1, length, length] (true = may look). `answer`
    numbers the label answers from 1 on, for the accuracy of whole answers; 0 elsewhere.
    """

    tokens: Tensor
    positions: Tensor
    target: Tensor
    weight: Tensor
    answer: Tensor
    mask: Tensor


def train_tokenizer(texts: Iterator[str], size: int) -> Tokenizer:
    """Train a byte-level BPE with GPT-2's word pattern and the ChatML marks."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def plain(tree: Tree) -> str:
    """Return the tree as one text, to train the tokenizer on."""
    return tree.head + "".join(text for branch in tree.branches for text, _ in branch)


class Packer(Dataset[Batch]):
    """Steps -> batches: a map-style data set, so that any step can be made again alone."""

    def __init__(
        self, corpus: Corpus, tokenizer: Path, *, rows: int, length: int, steps: int, seed: int
    ) -> None:
        self.corpus, self.tokenizer = corpus, Tokenizer.from_file(str(tokenizer))
        self.rows, self.length, self.steps, self.seed = rows, length, steps, seed

    def __len__(self) -> int:
        """Return the number of steps."""
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        """Return the batch of one step, a function of the seed and the step alone."""
        rng = random.Random(self.seed * 1_000_003 + step)
        return stack([self._row(rng) for _ in range(self.rows)])

    def _row(self, rng: random.Random) -> np.ndarray:
        """Return one row: [6, length] of tokens, positions, target, weight, answer, and segment.

        The segment is tree * 64 + branch, where branch 0 is the head.
        """
        row = np.zeros((6, self.length), dtype=np.float64)
        row[5] = -1
        used, tree, answers = 0, 0, 0
        while used < self.length - 200:
            made = make_tree(self.corpus, rng)
            head = self.tokenizer.encode(made.head).ids
            if used + len(head) > self.length * 2 // 3:
                break
            _put(row, used, head, 0, [0.0] * len(head), tree * 64)
            first, used = len(head), used + len(head)
            for number, branch in enumerate(made.branches, start=1):
                ids, weights, is_label = self._branch(branch)
                if used + len(ids) > self.length:
                    continue
                _put(row, used, ids, first, weights, tree * 64 + number)
                if is_label:
                    answers += 1
                    row[4, used : used + len(ids)] = answers * (row[3, used : used + len(ids)] >= 1)
                used += len(ids)
            tree += 1
        return row

    def _branch(self, branch: tuple[tuple[str, bool], ...]) -> tuple[list[int], list[float], bool]:
        """Return tokens, the weight of each token as a target, and whether it is a label's."""
        is_label = "\nTo which class" in branch[0][0]
        ids: list[int] = []
        weights: list[float] = []
        for text, said in branch:
            new = self.tokenizer.encode(text).ids
            ids += new
            answer = LABEL_WEIGHT if is_label else ANSWER_WEIGHT
            weights += [answer if said else QUESTION_WEIGHT] * len(new)
        return ids, weights, is_label


def _put(
    row: np.ndarray, at: int, ids: list[int], first: int, weights: list[float], segment: int
) -> None:
    end = at + len(ids)
    row[0, at:end] = ids
    row[1, at:end] = np.arange(first, first + len(ids))
    # A token predicts the next one of its own segment; a segment's last token predicts nothing.
    row[2, at : end - 1] = ids[1:]
    row[3, at : end - 1] = weights[1:]
    row[5, at:end] = segment


def stack(rows: list[np.ndarray]) -> Batch:
    """Return the rows as a batch, with the mask of heads and branches."""
    data = torch.from_numpy(np.stack(rows))
    tokens, positions, target = data[:, 0].long(), data[:, 1].long(), data[:, 2].long()
    segment = data[:, 5].long()
    same = segment[:, :, None] == segment[:, None, :]
    head = (segment[:, None, :] // 64 == segment[:, :, None] // 64) & (
        segment[:, None, :] % 64 == 0
    )
    earlier = torch.ones(same.shape[1:], dtype=torch.bool).tril()
    mask = ((same | head) & earlier)[:, None]
    return Batch(tokens, positions, target, data[:, 3].float(), data[:, 4].long(), mask)
