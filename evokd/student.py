"""The student: a small encoder that is fine-tuned, answers, is saved and loaded.

Knows no teacher, no rounds and no files but model folders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evokd.answers import read_labels
from evokd.errors import InputError, MissingExtra
from evokd.examples import Example
from evokd.recipe import MIN_STEPS
from evokd.settings import StudentSettings

try:
    import torch
    import transformers  # noqa: F401 (says here, in a user's words, that it is missing)
except ImportError as exc:
    raise MissingExtra("train", exc) from exc

from evokd.pooling import MARK, centre_between, first_token_only, start_at_centroids
from evokd.pretrained import SEVERAL, new_classifier, saved_classifier, write_model
from evokd.training import (
    Rows,
    by_length,
    cross_entropy,
    each_by_itself,
    fast_matrices,
    partly_kept,
    pick_device,
    plan_batches,
    set_targets,
    targets,
    taught_share,
    train,
    use_threads,
    used_rows_only,
)
from evokd.watch import OnStep

Floats = NDArray[np.float32]
PER_CENTROID = 64  # texts; more move a centroid by less than the first training step does


class Student:
    """A model, its tokenizer and its labels, on one device.

    Attributes:
        labels: the names of the answers, in the order of the probabilities.
    """

    def __init__(self, model: Any, tokenizer: Any, labels: Sequence[str], *, threads: int) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.labels = tuple(labels)
        self.threads = threads

    @property
    def several(self) -> bool:
        """Whether a text may have several labels: each probability is then one of its own."""
        return bool(self.model.config.problem_type == SEVERAL)

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of every text, special tokens included, cut at the max length."""
        if not texts:
            return []
        encoded = self.tokenizer(list(texts), truncation=True, padding=False)
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def predict(self, texts: Sequence[str]) -> Floats:
        """Return the probability of every label, float32 [texts, labels], in full precision."""

        def probabilities(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(input_ids=ids, attention_mask=mask).logits
            return logits.float().sigmoid() if self.several else logits.float().softmax(-1)

        return self._in_batches(texts, len(self.labels), probabilities)

    def embed(self, texts: Sequence[str]) -> Floats:
        """Return the encoder's mean-pooled outputs of length 1, float32 [texts, hidden]."""

        # The pooling layer stands behind the encoder's own layers.
        last = -2 if getattr(self.model.config, MARK, False) else -1

        def pooled(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            encoded = self.model.base_model(
                input_ids=ids, attention_mask=mask, output_hidden_states=True
            )
            hidden = encoded.hidden_states[last]
            mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            return torch.nn.functional.normalize(mean.float(), dim=-1)

        return self._in_batches(texts, int(self.model.config.hidden_size), pooled)

    def pooled(self, texts: Sequence[str]) -> Floats:
        """Return what the head reads, float32 [texts, hidden]; for models with a BERT's pooler."""

        def output(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            encoded = self.model.base_model(input_ids=ids, attention_mask=mask)
            pooled: torch.Tensor = encoded.pooler_output.float()
            return pooled

        return self._in_batches(texts, int(self.model.config.hidden_size), output)

    def save(self, folder: Path) -> None:
        """Write a plain Hugging Face model folder, whole or not at all; an old one is replaced."""
        write_model(folder, self.model, self.tokenizer)

    def _in_batches(
        self,
        texts: Sequence[str],
        width: int,
        answer: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    ) -> Floats:
        """Answer texts of like length together and return the rows in the order of the texts."""
        rows = np.zeros((len(texts), width), dtype=np.float32)
        tokens, pad = self.tokens(texts), self.tokenizer.pad_token_id
        self.model.eval()
        with use_threads(self.threads), torch.inference_mode():
            for batch, ids, mask in by_length(tokens, pad=pad, device=self.model.device):
                rows[batch] = answer(ids, mask).cpu().numpy()
        return rows


def load_student(folder: Path, *, device: str = "auto", threads: int = 0) -> Student:
    """Load a folder that `Student.save` wrote, or any sequence classifier saved as safetensors.

    Raises:
        InputError: when the folder is missing or is no such model.
    """
    model, tokenizer = saved_classifier(folder)
    names = model.config.id2label
    labels = [names[i] for i in range(len(names))]
    return Student(model.to(pick_device(device)), tokenizer, labels, threads=threads)


def fit(
    examples: Sequence[Example],
    labels: Sequence[str],
    settings: StudentSettings,
    *,
    epochs: int,
    seed: int,
    weights: Sequence[float] | None = None,
    start: Student | None = None,
    several: bool = False,
    on_step: OnStep | None = None,
) -> Student:
    """Fine-tune from the pretrained weights and return the student.

    The same arguments and the same number of CPU threads give the same weights.

    Args:
        examples: at least one; an example given twice counts twice.
        labels: the task's labels, in the order of `Example.soft`.
        epochs: passes over the examples; without `start` more when they would be under MIN_STEPS
            steps.
        weights: how much each example counts; all alike when None.
        start: a student of the same labels to go on from, which is changed, instead of the
            pretrained weights.
        several: whether a text may have several labels (see `evokd.answers.write_labels`).
        on_step: called as (steps done, steps in all) after every step.

    Raises:
        InputError: when there are no examples, or the pretrained weights are not found.
        IntegrityError: when a preset's weights are not the published ones.
    """
    if not examples:
        raise InputError("there are no examples to train on", "give at least one example a label")
    device = pick_device(settings.device)
    generators = [device] if device.type == "cuda" else []
    with use_threads(settings.threads), torch.random.fork_rng(devices=generators):
        torch.manual_seed(seed)
        student = start or untrained(labels, settings, several=several)
        tokens = student.tokens([example.text for example in examples])
        # A head that is trained already needs no more steps than are asked for.
        steps, size = 0 if start else MIN_STEPS, settings.batch_size
        batches = plan_batches([*map(len, tokens)], size, epochs=epochs, seed=seed, steps=steps)
        goals = (set_targets if several else targets)(examples, labels, soft=settings.soft)
        rows = Rows(tokens, goals, _scale(len(examples), weights))
        with first_token_only(student.model):
            kept = 0.0
            if start is None and getattr(student.model.config, MARK, False):
                _centre_head(student, examples)
                kept = settings.keep * taught_share(examples)
            _fine_tune(student, rows, batches, settings, kept=kept, on_step=on_step)
    return student


def _fine_tune(
    student: Student,
    rows: Rows,
    batches: list[list[int]],
    settings: StudentSettings,
    *,
    kept: float,
    on_step: OnStep | None,
) -> None:
    model, pad = student.model, student.tokenizer.pad_token_id
    with used_rows_only(model, rows.tokens, pad=pad) as tokens, partly_kept(model, kept):
        train(
            model,
            replace(rows, tokens=tokens),
            batches,
            pad=pad,
            learning_rate=settings.learning_rate,
            on_step=on_step,
            losses=each_by_itself if student.several else cross_entropy,
        )


def _scale(examples: int, weights: Sequence[float] | None) -> torch.Tensor:
    """Return how much every example counts, [examples]; 1 on average."""
    if weights is None:
        return torch.ones(examples)
    scale = torch.tensor(list(map(float, weights)))
    return scale / scale.mean()


def _centre_head(student: Student, examples: Sequence[Example]) -> None:
    """Start the head at the centroids of the examples, of at most PER_CENTROID a label."""
    given = {e.text: read_labels(e.label) if student.several else (e.label,) for e in examples}
    of_label = {
        label: sorted(text for text, names in given.items() if label in names)
        for label in student.labels
    }
    texts: list[str] = []
    numbers: list[int] = []
    for number, every in enumerate(of_label.values()):
        some = every[:: max(1, -(-len(every) // PER_CENTROID))]
        texts += some
        numbers += [number] * len(some)
    device = student.model.device
    with fast_matrices(device):
        features = torch.from_numpy(student.pooled(texts)).to(device)
    start_at_centroids(student.model, features, torch.tensor(numbers, device=device))
    if student.several:
        applies = torch.tensor([[n in given[t] for n in student.labels] for t in texts])
        centre_between(student.model, features, applies.to(device))


def centroid_predict(
    examples: Sequence[Example],
    texts: Sequence[str],
    *,
    labels: Sequence[str],
    settings: StudentSettings,
) -> list[str]:
    """Label texts by the nearest mean embedding of a label's examples: nothing is trained.

    A baseline: mean-pooled outputs of the pretrained encoder, cosine similarity. Labels without
    an example are never answered.
    """
    if not examples:
        raise InputError("there are no examples to compare with", "give one example a label")
    with torch.random.fork_rng(devices=[]):
        encoder = untrained(labels, settings)
    vectors = encoder.embed([example.text for example in examples])
    present = [label for label in labels if any(e.label == label for e in examples)]
    of_label = np.array([present.index(example.label) for example in examples])
    centroids = np.stack([vectors[of_label == i].mean(0) for i in range(len(present))])
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    nearest = (encoder.embed(texts) @ centroids.T).argmax(1)
    return [present[i] for i in nearest]


def untrained(
    labels: Sequence[str], settings: StudentSettings, *, several: bool = False
) -> Student:
    """Return the pretrained encoder under a new random head (torch's generator is used)."""
    model, tokenizer = new_classifier(labels, settings, several=several)
    model.to(pick_device(settings.device))
    return Student(model, tokenizer, labels, threads=settings.threads)
