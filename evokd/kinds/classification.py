"""One label a text. The student gives probabilities [texts, labels] whose rows sum to 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evokd.answers import names_in
from evokd.examples import Example
from evokd.labelling import Labelled, label_requests, label_texts, opinions
from evokd.likeness import Demonstrations
from evokd.records import Prediction
from evokd.scores import Scores, score
from evokd.task import Task
from evokd.teacher import Score
from evokd.watch import Progress
from evokd.wording import Seen

if TYPE_CHECKING:
    from evokd.calls import Calls


class Classification:
    """The kind `classification`; see `evokd.kinds.Kind`."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def labels_in(self, answer: str) -> tuple[str, ...]:
        """Return the one label, or none of a text that has no answer."""
        return names_in(answer, "classification")

    def definitions(self) -> list[Example]:
        """Return the definitions as texts: a sentence encoder reads their meaning."""
        about = {name: text for name, text in self.task.labels.items() if text}
        named = [(f"{name.replace('_', ' ')}: {text}", name) for name, text in about.items()]
        plain = [(text, name) for name, text in about.items()]
        return [Example(text, name, "definition") for text, name in named + plain]

    def label(
        self,
        calls: Calls,
        scope: str,
        texts: Sequence[str],
        progress: Progress,
        *,
        like: Sequence[Demonstrations] = (),
        asked_for: Sequence[str | None] = (),
    ) -> list[Labelled]:
        """Score every label of every text in two orders."""
        return label_texts(self.task, calls, scope, texts, progress, like=like, asked_for=asked_for)

    def questions(self, text: str) -> list[Score]:
        """Return the labels to score, in one order and in the other."""
        orders = opinions(self.task)
        return [asked for order in orders for asked in label_requests(self.task, [text], order)]

    def confusion(self, seen: Seen) -> tuple[str, str]:
        """Return the right label and the one given."""
        return seen.label, seen.predicted

    def predictions(self, outputs: Any) -> list[Prediction]:
        """Return the likeliest label of each text, its probability, and its lead over the next."""
        probabilities = np.asarray(outputs)
        ranked = np.sort(probabilities, axis=1)
        best = probabilities.argmax(axis=1)
        lead = ranked[:, -1] - ranked[:, -2]
        return [
            Prediction(self.task.names[int(b)], float(top), float(margin))
            for b, top, margin in zip(best, ranked[:, -1], lead, strict=True)
        ]

    def score(self, gold: Sequence[str], outputs: Any) -> Scores:
        """Compare the likeliest labels with the right ones."""
        predicted = [self.task.names[int(i)] for i in np.asarray(outputs).argmax(axis=1)]
        return score(gold, predicted, self.task.names, outputs)
