"""P3, by scoring: the teacher's probability of every label, asked twice in two label orders.

A text whose two orders disagree about the best label is not to be trusted: position, not
meaning, decided. The mean of the two distributions is the soft target.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evokd import prompts
from evokd.calls import Calls
from evokd.task import Task
from evokd.teacher import Score, Scored


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text's label by the teacher.

    Attributes:
        label: the best label of the mean distribution.
        soft: the mean distribution, in the task's order of labels.
        agreed: whether both orders have the same best label.
    """

    label: str
    soft: tuple[float, ...]
    agreed: bool


def orders(names: Sequence[str]) -> list[list[str]]:
    """Return the two orders in which labels are shown: the task's, and its reverse."""
    return [list(names), list(reversed(names))]


def label_requests(task: Task, texts: Sequence[str], order: Sequence[str]) -> list[Score]:
    """Return P3 for every text, with the labels in one order."""
    shown = {name: task.labels[name] for name in order}
    return [Score(prompts.ask_label(task.domain, shown, text), tuple(order)) for text in texts]


def label_texts(
    task: Task,
    calls: Calls,
    scope: str,
    texts: Sequence[str],
    progress: Callable[[str, int], Callable[[], None]],
) -> list[Labelled]:
    """Label every text in both orders."""
    tick = progress("labelling", 2 * len(texts))
    both = [
        [
            distribution(scored, order, task.names)
            for scored in calls.score(
                f"{scope}/label {number}", label_requests(task, texts, order), tick
            )
        ]
        for number, order in enumerate(orders(task.names), start=1)
    ]
    return [_joined(task.names, one, other) for one, other in zip(*both, strict=True)]


def distribution(scored: Scored, order: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Return the probabilities of the labels, in the order of `names`, from log-probabilities.

    Where there are many labels, the teacher gives some of them a bound in place of a value. It
    bounds all labels together that begin alike, so those with one bound share it; the best label
    never is one of them. What they get is too much rather than too little, which makes the soft
    targets softer, and leaves the order of the others as it is.
    """
    logprobs = np.array(scored.logprobs, dtype=np.float64)
    together = Counter(scored.logprobs[i] for i in scored.bounded)
    logprobs[list(scored.bounded)] -= [np.log(together[scored.logprobs[i]]) for i in scored.bounded]
    probabilities = np.exp(logprobs - logprobs.max())
    probabilities /= probabilities.sum()
    ordered: np.ndarray = probabilities[[list(order).index(name) for name in names]]
    return ordered


def _joined(names: Sequence[str], one: np.ndarray, other: np.ndarray) -> Labelled:
    mean = (one + other) / 2
    return Labelled(
        label=names[int(mean.argmax())],
        soft=tuple(round(float(p), 6) for p in mean),
        agreed=bool(one.argmax() == other.argmax()),
    )
