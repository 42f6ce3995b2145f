"""What trains the students of a run. Loads torch when it is first used, and not before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evokd.examples import Example
from evokd.lessons import Fitted
from evokd.task import Task
from evokd.watch import OnStep


class EncoderLearner:
    """Trains the task's encoder, to sort or to tag; torch is loaded here and not before."""

    def __init__(self, task: Task) -> None:
        self.task = task

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
        """See `evokd.lessons.Learner`; texts with entities are all of one weight."""
        names, settings = self.task.names, self.task.student
        if self.task.kind == "ner":
            from evokd import tagging

            return tagging.fit(
                examples, names, settings, epochs=epochs, seed=seed, start=start, on_step=on_step
            )
        from evokd import student

        return student.fit(
            examples,
            names,
            settings,
            epochs=epochs,
            seed=seed,
            several=self.task.kind == "multilabel",
            weights=weights,
            start=start,
            on_step=on_step,
        )

    def load(self, folder: Path) -> Fitted:
        """See `evokd.lessons.Learner`."""
        settings = self.task.student
        if self.task.kind == "ner":
            from evokd.tagging import load_tagger

            return load_tagger(folder, device=settings.device, threads=settings.threads)
        from evokd.student import load_student

        return load_student(folder, device=settings.device, threads=settings.threads)

    def embed(self, texts: Sequence[str]) -> Any:
        """See `evokd.lessons.Learner`."""
        from evokd.student import untrained

        return untrained(self.task.names, self.task.student).embed(texts)

    def nearest(self, examples: Sequence[Example], texts: Sequence[str]) -> list[str] | None:
        """Label texts by the nearest centroid of untrained embeddings, where a text has a label."""
        if self.task.kind != "classification":
            return None
        from evokd.student import centroid_predict

        return centroid_predict(examples, texts, labels=self.task.names, settings=self.task.student)
