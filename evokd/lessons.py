"""What the student of a round is trained on, and what must be able to train it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from evokd.examples import Example
from evokd.kinds import Kind
from evokd.records import Row
from evokd.seeds import derive
from evokd.task import Task
from evokd.watch import OnStep

TAUGHT = ("cover", "hard", "easy", "paraphrase")
"""Origins of texts that a teacher wrote; of arms that are weighed, none of which relabels."""


class Fitted(Protocol):
    """A trained student."""

    def predict(self, texts: Sequence[str]) -> Any:
        """Return what the task's kind reads, such as probabilities [texts, labels]."""
        ...

    def save(self, folder: Path) -> None:
        """Write the student, whole or not at all."""
        ...


class Learner(Protocol):
    """What trains students for one task."""

    def fit(
        self,
        examples: Sequence[Example],
        *,
        epochs: int,
        seed: int,
        on_step: OnStep,
        start: Any = None,
        weights: Sequence[float] | None = None,
    ) -> Fitted:
        """Train a student.

        Args:
            start: one to go on from, which is changed; None for the pretrained weights.
            weights: how much every example counts; None for all alike.
        """
        ...

    def load(self, folder: Path) -> Fitted:
        """Read a student that was saved."""
        ...

    def embed(self, texts: Sequence[str]) -> Any:
        """Return the untrained encoder's vectors, [texts, hidden]."""
        ...


def everything(
    task: Task, seeds: Sequence[Example], kind: Kind, rows: Sequence[Row], *, newest: int = -1
) -> list[Example]:
    """Return seeds, definitions and all kept texts; those of round `newest` repeated."""
    kept = [*seeds, *kind.definitions()] * task.loop.anchor
    for row in rows:
        kept += [row.example] * (task.loop.repeat if row.round == newest else 1)
    return kept


def new_alone(
    task: Task, own: Sequence[Example], rows: Sequence[Row], number: int
) -> list[Example]:
    """Return a round's texts, repeated, and in rounds of review some earlier ones.

    The paper's own training (arXiv 2403.06414: repeated batch, review history).

    Args:
        own: seeds and definitions, the first batch that a review may draw from.
    """
    batch = [row.example for row in rows if row.round == number]
    earlier = [*own, *(row.example for row in rows if 0 <= row.round < number)]
    made = batch * task.loop.repeat
    every = task.method.review
    if every and number % every == 0:
        rng = np.random.default_rng(derive(task.loop.seed, "review", number))
        most = task.method.review_texts or len(batch)
        made += [earlier[i] for i in rng.permutation(len(earlier))[:most]]
    return made


def learned_weights(task: Task, learner: Learner, examples: Sequence[Example]) -> list[float]:
    """Return SunGen's weights of what the teacher wrote, 1 on average; the user's count as 1.

    An answer is weighed against the other answers that occur.
    """
    from evokd.sungen import learn_weights

    written = list({e.text: e for e in examples if e.origin in TAUGHT}.values())
    answers = sorted({e.label for e in written})
    if len(answers) < 2:
        return [1.0] * len(examples)
    learned = learn_weights(
        learner.embed([e.text for e in written]),
        [answers.index(e.label) for e in written],
        seed=derive(task.loop.seed, "sungen"),
    )
    of_text = dict(zip((e.text for e in written), learned, strict=True))
    return [of_text.get(e.text, 1.0) for e in examples]
