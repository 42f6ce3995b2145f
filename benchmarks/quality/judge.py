"""A teacher whose labels are right: would feedback pay, were it not for the labels?

It writes and analyses as the one that it stands for. Labels come from a student of all gold rows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.quality.tasks import Setting, rows_of
from evokd.examples import normalise
from evokd.learner import EncoderLearner
from evokd.student import Student, load_student
from evokd.task import Task
from evokd.teacher import (
    Generate,
    OnScored,
    OnWritten,
    Score,
    Scored,
    Teacher,
    Written,
    open_teacher,
)

EPOCHS = 3  # over all gold rows: where dev stopped rising on the set it was made for
LEAST = 1e-6  # a probability whose logarithm is still a number


class JudgedTeacher:
    """A teacher's words with a student's labels. The teacher is asked for labels as well.

    So tokens are counted as its own, and what differs from a run with the teacher is the labels.
    """

    def __init__(self, teacher: Teacher, judge: Student) -> None:
        self._teacher, self._judge = teacher, judge
        self.name = f"{teacher.name}, judged"
        self.fingerprint = f"{teacher.fingerprint}-judged"

    def generate(
        self, requests: Sequence[Generate], on_done: OnWritten | None = None
    ) -> list[Written]:
        """See `evokd.teacher.Teacher`."""
        return self._teacher.generate(requests, on_done)

    def score(self, requests: Sequence[Score], on_done: OnScored | None = None) -> list[Scored]:
        """See `evokd.teacher.Teacher`; the choices have to be the judge's labels."""
        probabilities = self._judge.predict([_text(request) for request in requests])
        answers = np.log(np.maximum(probabilities, LEAST))
        at = {label: n for n, label in enumerate(self._judge.labels)}

        def judged(index: int, scored: Scored) -> Scored:
            if scored.refused:
                return scored
            chosen = (answers[index, at[choice]] for choice in requests[index].choices)
            return replace(scored, logprobs=tuple(map(float, chosen)), bounded=())

        def done(index: int, scored: Scored) -> None:
            if on_done:
                on_done(index, judged(index, scored))

        return [judged(n, one) for n, one in enumerate(self._teacher.score(requests, done))]

    def check(self, requests: Sequence[Generate | Score]) -> None:
        """See `evokd.teacher.Teacher`."""
        self._teacher.check(requests)

    def close(self) -> None:
        """See `evokd.teacher.Teacher`."""
        self._teacher.close()


def judged(setting: Setting, task: Task, data: Path, folder: Path) -> JudgedTeacher:
    """Return the task's teacher with right labels.

    Args:
        task: of a cell.
        data: the folder of the public sets.
        folder: where the judge is kept, once it is trained.
    """
    kept = folder / "judge"
    if not kept.exists():
        train, dev, test = (rows_of(setting, data, part) for part in ("train", "dev", "test"))
        known = {normalise(example.text) for example in test}
        rows = [row for row in (*train, *dev) if normalise(row.text) not in known]
        learner = EncoderLearner(task)
        learner.fit(rows, epochs=EPOCHS, seed=1, on_step=lambda done, total: None).save(kept)
    return JudgedTeacher(
        open_teacher(task.teacher), load_student(kept, threads=task.student.threads)
    )


def _text(request: Score) -> str:
    """Return the text that a labelling question ends with."""
    text: str = json.loads(request.messages[-1].content.rpartition("\nText: ")[2])
    return text
