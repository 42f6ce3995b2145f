"""Any number of labels a text. The student gives probabilities [texts, labels], each by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evokd import prompts
from evokd.answers import names_in, read_labels, write_labels
from evokd.calls import Calls
from evokd.examples import Example
from evokd.labelling import (
    DISAGREE,
    Labelled,
    distribution,
    first_unanswered,
    opinions,
)
from evokd.likeness import Demonstrations
from evokd.prompts import YES_NO
from evokd.records import Prediction
from evokd.scores import Scores, score_sets
from evokd.task import Task
from evokd.teacher import Score, Scored
from evokd.watch import Progress
from evokd.wording import Seen

HALF = 0.5
NOTHING = "no class"


class Multilabel:
    """The kind `multilabel`; see `evokd.kinds.Kind`.

    Args:
        thresholds: from which probability on a label applies, in the task's order; a half each
            when None.
    """

    def __init__(self, task: Task, thresholds: Sequence[float] | None = None) -> None:
        self.task = task
        self.thresholds = np.array(thresholds or [HALF] * len(task.names))

    def labels_in(self, answer: str) -> tuple[str, ...]:
        """Return the labels that apply; none of a text that has no answer."""
        return names_in(answer, "multilabel")

    def definitions(self) -> list[Example]:
        """Return the definitions as texts to which their label alone applies."""
        about = {name: text for name, text in self.task.labels.items() if text}
        return [Example(text, write_labels([name]), "definition") for name, text in about.items()]

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
        """Score yes and no for every label of every text, with the labels listed in two orders.

        `like` is not shown: an answer of several labels says little about one of them.
        """
        names, numbers = self.task.names, range(1, len(opinions(self.task)) + 1)
        size = len(numbers) * len(names)
        tick = progress("labelling", size * len(texts))
        # Text by text: what a budget cuts off is a few texts.
        asked = [request for text in texts for request in self.questions(text)]
        scopes = [f"{scope}/label {n}" for n in numbers for _ in names] * len(texts)
        scored = calls.score(scopes, asked, tick)
        parts = [scored[start : start + size] for start in range(0, len(scored), size)]
        return [self._labelled(part) for part in parts]

    def questions(self, text: str) -> list[Score]:
        """Return a yes or no for every label, in one order of the labels and in the other."""
        shown = [{n: self.task.labels[n] for n in order} for order in opinions(self.task)]
        return [
            Score(prompts.ask_applies(self.task.domain, labels, text, label=name), YES_NO)
            for labels in shown
            for name in self.task.names
        ]

    def _labelled(self, scored: Sequence[Scored]) -> Labelled:
        """Join the yes and no of every label in the first order, then in the second, if any."""
        if why := first_unanswered(scored):
            return Labelled("", reason=why)
        yes = [distribution(one, YES_NO, YES_NO)[0] for one in scored]
        said = np.array(yes).reshape(-1, len(self.task.names))
        return self._joined(said[0], said[-1])

    def confusion(self, seen: Seen) -> tuple[str, str]:
        """Return a label that was missed and one that was given wrongly."""
        gold, given = set(read_labels(seen.label)), set(read_labels(seen.predicted))
        return min(gold - given, default=NOTHING), min(given - gold, default=NOTHING)

    def predictions(self, outputs: Any) -> list[Prediction]:
        """Return the labels that apply; how sure the least sure yes or no is, and its lead."""
        probabilities = np.asarray(outputs)
        sure = np.maximum(probabilities, 1 - probabilities).min(axis=1)
        return [
            Prediction(write_labels(given), float(confidence), float(2 * confidence - 1))
            for given, confidence in zip(self._given(probabilities), sure, strict=True)
        ]

    def score(self, gold: Sequence[str], outputs: Any) -> Scores:
        """Compare the labels that apply with the right ones."""
        given = self._given(np.asarray(outputs))
        return score_sets([read_labels(answer) for answer in gold], given, self.task.names)

    def _given(self, probabilities: NDArray[Any]) -> list[list[str]]:
        applies = probabilities >= self.thresholds
        return [[n for n, yes in zip(self.task.names, row, strict=True) if yes] for row in applies]

    def _joined(self, one: NDArray[Any], other: NDArray[Any]) -> Labelled:
        mean = (one + other) / 2
        given = [n for n, p in zip(self.task.names, mean, strict=True) if p >= HALF]
        agreed = ((one >= HALF) == (other >= HALF)).all()
        soft = tuple(round(float(p), 6) for p in mean)
        return Labelled(write_labels(given), soft, "" if agreed else DISAGREE)
