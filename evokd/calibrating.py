"""Probabilities that people can use: what is fitted on dev for each kind of task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evokd.answers import read_labels
from evokd.calibration import (
    LEAST,
    fit_temperature,
    fit_temperature_each,
    fit_thresholds,
    tempered,
    tempered_each,
)
from evokd.scores import calibration_error
from evokd.selection import SEEDS, Judge
from evokd.task import Task

SUREST = 0.999999  # a threshold of 1 would give no text a label


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was fitted.

    Attributes:
        thresholds: label -> from which probability, under the temperature, it applies; of a
            multilabel task alone.
        reject: own score below which a classifier gives no label (`serving.sorter.own_score`).
        record: what the run's record and the report say: temperature, texts, who labelled them,
            calibration error before and after, thresholds, labels too rare for one. Empty where
            nothing is fitted.
    """

    temperature: float = 1.0
    thresholds: dict[str, float] = field(default_factory=dict)
    reject: float = 0.0
    record: dict[str, Any] = field(default_factory=dict)


def calibrate(task: Task, said: Any, answers: Sequence[str], *, by: Judge) -> Calibration:
    """Fit the temperature, of a multilabel task the thresholds, and when to give no label.

    Nothing is fitted for entities, for the scores of spans come of many tokens, and nothing on the
    seed examples, which the student was trained on.

    Args:
        said: a student's outputs for the dev texts.
        answers: the right ones.
        by: whose texts they are. A teacher's are easy: they must not make the student surer.
    """
    if task.kind == "ner" or by == SEEDS:
        return Calibration()
    lowest = {} if by == "gold dev" else {"lowest": 1.0}
    record = {"by": by, "texts": len(answers)}
    probabilities = np.asarray(said)
    if task.kind == "multilabel":
        return _each(task.names, probabilities, answers, record, lowest)
    names = task.names
    temperature = fit_temperature(probabilities, [names.index(a) for a in answers], **lowest)
    sure = probabilities.argmax(axis=1)
    right = np.array([names[int(i)] == answer for i, answer in zip(sure, answers, strict=True)])
    before, after = (
        calibration_error(p.max(axis=1), right)
        for p in (probabilities, tempered(probabilities, temperature))
    )
    fitted = {"temperature": temperature, "ece": before, "ece_after": after}
    reject = rejects_below(probabilities.max(axis=1), task.export.unanswered)
    if reject:
        fitted["reject"] = reject
    return Calibration(temperature, reject=reject, record=record | fitted)


def rejects_below(scores: NDArray[Any], share: float) -> float:
    """Return the score that a share of dev texts, at most, are below; 0 when none may be.

    Args:
        scores: a student's own best score of every text, before any temperature.
    """
    below = int(share * len(scores) + 1e-9)  # 0.29 of 100 are 29, not 28.999
    return min(float(np.sort(scores)[below]), SUREST) if below else 0.0


def _each(
    names: Sequence[str],
    said: NDArray[Any],
    answers: Sequence[str],
    record: dict[str, Any],
    lowest: dict[str, float],
) -> Calibration:
    applies = np.array([[name in read_labels(answer) for name in names] for answer in answers])
    temperature = fit_temperature_each(said, applies, **lowest)
    after = tempered_each(said, temperature)
    thresholds = dict(zip(names, fit_thresholds(after, applies), strict=True))
    counts = np.minimum(applies.sum(axis=0), (~applies).sum(axis=0))
    fitted = {
        "temperature": temperature,
        "ece": calibration_error(said, applies),
        "ece_after": calibration_error(after, applies),
        "thresholds": thresholds,
        "too_rare": [name for name, n in zip(names, counts, strict=True) if n < LEAST],
    }
    return Calibration(temperature, thresholds, record=record | fitted)
