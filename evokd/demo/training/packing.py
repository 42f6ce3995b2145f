"""Trees of conversations -> rows of tokens. What conversations have in common is computed once.

In a row each branch sees its tree's head, the stem (the words of the question) that it shares
with others, and itself, not its sisters; its positions go on from what it sees. So a row trains
many conversations at the cost of one head, and what the model computes is exactly what it would
compute for each conversation alone.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from torch.utils.data import Dataset

from evokd.demo.training.conversations import ECHOES, MAKERS, make_tree
from evokd.demo.training.drawing import Corpus
from evokd.demo.training.turns import Branch, Tree

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
QUESTION_WEIGHT, QUESTIONS_LEARNED = 0.3, 0.15
"""What is asked is learned too, a little, and in so many of the branches (the rest costs less)."""

ANSWER_WEIGHT = 1.0
EXACT = (
    ("label", "To which class does", 3.0),
    ("applies", "Answer with yes or no", 3.0),
    ("verdict", "Answer with one of: right", 3.0),
    ("entities", "Which entities are", 2.0),
)
"""Questions that have one right answer: name, words that only they have, weight of the answer."""


STEM = re.compile(
    r"\n(?:(?:To which class|Which entities) .*\nText:|Text: .*\n(?:Does the class|Is))(?= )"
)
"""The words with which the questions of several branches of a tree may begin alike."""

WITH_BLANK = 500
"""Words of the vocabulary that are one token with the blank before them."""

FIELDS = 8  # of a row: tokens, positions, target, weight, answer, segment, stem, head


@dataclass(frozen=True, slots=True)
class Part:
    """A branch without its stem, in tokens: the weight of each as a target, its place in EXACT."""

    ids: list[int]
    weights: list[float]
    exact: int | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of tokens. `target[i, j]` follows `tokens[i, j]`; weight 0 means not learned.

    All of shape [rows, length] but `mask` [rows, 1, length, length] (true = may look). `answer`
    numbers the exact answers of a row, for the accuracy of whole ones: number * 4 + place in
    EXACT, from 4 on; 0 elsewhere.
    """

    tokens: Tensor
    positions: Tensor
    target: Tensor
    weight: Tensor
    answer: Tensor
    mask: Tensor


def train_tokenizer(texts: Sequence[str], size: int, *, apart: Iterable[str] = ()) -> Tokenizer:
    """Train a byte-level BPE with GPT-2's word pattern and the ChatML marks.

    A word that is copied stands after a blank in one place and after a quote in another: only
    where it is the same tokens in both is copying easy. So a blank is a token of its own, but
    before WITH_BLANK frequent words that are seldom copied.

    Args:
        texts: what it is trained on.
        size: tokens of the vocabulary.
        apart: words that are copied, and so never get a blank of their own.
    """
    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    blanks_apart = pre_tokenizers.Split(" ", behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([blanks_apart, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size - WITH_BLANK,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    counts = Counter(word for text in texts for word in re.findall(r"(?<= )[^\W\d_]+", text))
    own, never = tokenizer.get_vocab(), set(apart)
    words = [w for w, _ in counts.most_common() if w in own and w not in never and len(w) > 1]
    return _with_blanks(tokenizer, words[:WITH_BLANK], byte_level)


def _with_blanks(
    tokenizer: Tokenizer, words: Sequence[str], pre_tokenizer: pre_tokenizers.ByteLevel
) -> Tokenizer:
    """Return the tokenizer with a token more for each of the words behind a blank."""
    stored = json.loads(tokenizer.to_str())
    model, blank = stored["model"], pre_tokenizer.pre_tokenize_str(" ")[0][0]
    for word in words:
        model["vocab"][blank + word] = len(model["vocab"])
        model["merges"].append([blank, word])
    made = Tokenizer.from_str(json.dumps(stored))
    made.pre_tokenizer = pre_tokenizer
    return made


def plain(tree: Tree) -> str:
    """Return the tree as one text, to train the tokenizer on."""
    return tree.head + "".join(text for branch in tree.branches for text, _ in branch)


class Packer(Dataset[Batch]):
    """Steps -> batches: a map-style data set, so that any step can be made again alone.

    Args:
        copying: the first so many steps only teach to copy (`echo`).
        kinds: of the tasks to draw.
        echoes: the share of trees that only teach to copy.
    """

    def __init__(
        self,
        corpus: Corpus,
        tokenizer: Path,
        *,
        rows: int,
        length: int,
        steps: int,
        seed: int,
        copying: int = 0,
        kinds: Sequence[str] = tuple(MAKERS),
        echoes: float = ECHOES,
    ) -> None:
        self.corpus, self.tokenizer = corpus, Tokenizer.from_file(str(tokenizer))
        self.copying, self.kinds, self.echoes = copying, tuple(kinds), echoes
        self.rows, self.length, self.steps, self.seed = rows, length, steps, seed

    def __len__(self) -> int:
        """Return the number of steps."""
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        """Return the batch of one step, a function of the seed and the step alone."""
        rng = random.Random(self.seed * 1_000_003 + step)
        echoes = 1.0 if step < self.copying else self.echoes
        return stack([self._row(rng, echoes=echoes) for _ in range(self.rows)])

    def _row(self, rng: random.Random, *, echoes: float = ECHOES) -> np.ndarray:
        """Return one row: [FIELDS, length], with the segments that a token may look at."""
        row = np.zeros((FIELDS, self.length), dtype=np.float64)
        row[5:] = -1
        used, segment, answers = 0, 0, 0
        while used < self.length - 200:
            made = make_tree(self.corpus, rng, echoes=echoes, among=self.kinds)
            head = self._encode(made.head)
            if used + len(head) > self.length * 2 // 3:
                break
            root = segment
            _put(row, used, Part(head, [0.0] * len(head), None), (root, -1, -1), 0)
            used, segment = used + len(head), segment + 1
            for stem, parts in self._groups(made, rng):
                if used + len(stem) + len(parts[0].ids) > self.length:
                    continue
                shared = segment
                _put(row, used, Part(stem, [0.0] * len(stem), None), (shared, -1, root), len(head))
                used, segment = used + len(stem), segment + 1
                for part in parts:
                    if used + len(part.ids) > self.length:
                        continue
                    answers += part.exact is not None
                    at = len(head) + len(stem)
                    _put(row, used, part, (segment, shared, root), at, answers)
                    used, segment = used + len(part.ids), segment + 1
        return row

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text).ids
        return ids

    def _groups(self, tree: Tree, rng: random.Random) -> list[tuple[list[int], list[Part]]]:
        """Return the branches by stem, those without one alone, in any order."""
        by_stem: dict[str, list[Branch]] = {}
        for branch in tree.branches:
            found = STEM.match(branch[0][0])
            by_stem.setdefault(found[0] if found else "", []).append(branch)
        groups = []
        for stem, branches in by_stem.items():
            parts = [self._part(branch, len(stem), rng) for branch in branches]
            stem_ids = self._encode(stem)
            groups += [(stem_ids, parts)] if stem else [([], [part]) for part in parts]
        rng.shuffle(groups)
        return groups

    def _part(self, branch: Branch, stem: int, rng: random.Random) -> Part:
        exact = next((i for i, (_, words, _) in enumerate(EXACT) if words in branch[0][0]), None)
        answer = ANSWER_WEIGHT if exact is None else EXACT[exact][2]
        question = QUESTION_WEIGHT if rng.random() < QUESTIONS_LEARNED else 0.0
        ids: list[int] = []
        weights: list[float] = []
        for number, (text, said) in enumerate(branch):
            new = self._encode(text if number else text[stem:])
            ids += new
            weights += [answer if said else question] * len(new)
        return Part(ids, weights, exact)


def _put(
    row: np.ndarray,
    at: int,
    part: Part,
    seen: tuple[int, int, int],
    first: int,
    answers: int = 0,
) -> None:
    """Write a part into the row: its segment, and the stem's and the head's that it sees."""
    end = at + len(part.ids)
    row[0, at:end] = part.ids
    row[1, at:end] = np.arange(first, first + len(part.ids))
    # A token predicts the next one of its own segment; a segment's last token predicts nothing.
    row[2, at : end - 1] = part.ids[1:]
    row[3, at : end - 1] = part.weights[1:]
    if part.exact is not None:
        row[4, at:end] = (answers * len(EXACT) + part.exact) * (row[3, at:end] >= 1)
    row[5:, at:end] = np.array(seen)[:, None]


def stack(rows: list[np.ndarray]) -> Batch:
    """Return the rows as a batch, with the mask of heads, stems and branches."""
    data = torch.from_numpy(np.stack(rows))
    tokens, positions, target = data[:, 0].long(), data[:, 1].long(), data[:, 2].long()
    segment, stem, head = data[:, 5, None, :], data[:, 6, :, None], data[:, 7, :, None]
    own = segment == segment.transpose(1, 2)
    earlier = torch.ones(own.shape[1:], dtype=torch.bool).tril()
    # No head or stem is -1 among the segments but where a row is empty.
    above = ((segment == stem) | (segment == head)) & (segment >= 0)
    mask = ((own | above) & earlier)[:, None]
    return Batch(tokens, positions, target, data[:, 3].float(), data[:, 4].long(), mask)
