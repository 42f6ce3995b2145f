"""P3 of a classification, by scoring: the probability of every label, in two label orders.

What the teacher says whatever the text is taken out of each (`evokd.prior`). A text whose two
orders disagree about the best label is not to be trusted: position, not meaning, decided. The
mean of the two distributions is the soft target.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evokd import prior, prompts, shorter
from evokd.calls import Calls, refused
from evokd.ledger import Ledger
from evokd.likeness import Demonstrations
from evokd.task import Task
from evokd.teacher import Refusal, Score, Scored, Written
from evokd.watch import Progress

DISAGREE = "labels disagree"
"""Why a text has no answer that can be trusted: two readings of it differ."""

NO_ANSWER: Final = "no answer"
"""Why a text has none: the teacher's reply is no label, such as a refusal or nothing at all."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text's answer by the teacher.

    Attributes:
        label: the answer, as `evokd.answers` writes it.
        soft: the teacher's probability of every label, in the task's order; () where it has none.
        reason: why the answer cannot be trusted; "" when it can.
        left_out: why parts of what the teacher said are not in an answer that can be trusted, a
            reason for each part.
    """

    label: str
    soft: tuple[float, ...] = ()
    reason: str = ""
    left_out: tuple[str, ...] = ()


def orders(names: Sequence[str]) -> list[list[str]]:
    """Return the two orders in which labels are shown: the task's, and its reverse."""
    return [list(names), list(reversed(names))]


def opinions(task: Task) -> list[list[str]]:
    """Return the orders in which a teacher is asked for labels: both, or the task's own alone.

    Of a lone type both would be the same question.
    """
    return orders(task.names)[: 2 if task.method.second_opinion and len(task.names) > 1 else 1]


def label_requests(
    task: Task, texts: Sequence[str], order: Sequence[str], *, like: Sequence[Demonstrations] = ()
) -> list[Score]:
    """Return P3 for every text, with the labels in one order.

    Args:
        like: for every text, like texts with their labels; nothing shows none.
    """
    shown = {name: task.labels[name] for name in order}
    return [
        Score(prompts.ask_label(task.domain, shown, text, examples=examples), tuple(order))
        for text, examples in zip(texts, like or [()] * len(texts), strict=True)
    ]


def question_of(task: Task) -> str:
    """Return a fingerprint of what a teacher is asked about any text, in every label order."""
    asked = [asdict(one) for order in opinions(task) for one in label_requests(task, [""], order)]
    return hashlib.blake2b(json.dumps(asked).encode("ascii"), digest_size=16).hexdigest()


def prior_lacks(task: Task, ledger: Ledger) -> str:
    """Say of which labels no text told the prior that is taken out of the answers; else ""."""
    return prior.told(ledger, question_of(task)) if task.method.calibrate else ""


def label_texts(
    task: Task,
    calls: Calls,
    scope: str,
    texts: Sequence[str],
    progress: Progress,
    *,
    like: Sequence[Demonstrations] = (),
    asked_for: Sequence[str | None] = (),
) -> list[Labelled]:
    """Label every text in both orders, or in one where no second opinion is wanted.

    Args:
        asked_for: for every text the label that it was written for, or None where it was for none;
            () for none of them. The first texts of every label tell the teacher's prior.
    """
    asked_in = opinions(task)
    count = len(asked_in)
    tick = progress("labelling", count * len(texts))
    # Text by text: what a budget cuts off is a few texts, not the second opinion of all of them.
    scopes = [f"{scope}/label {n}" for n in range(1, count + 1)] * len(texts)

    def requests(level: int) -> list[Score]:
        shown = [likest(examples, level) for examples in like]
        by_order = [label_requests(task, texts, order, like=shown) for order in asked_in]
        return [request for pair in zip(*by_order, strict=True) for request in pair]

    def put(numbers: Sequence[int], asked: Sequence[Score]) -> list[Scored]:
        return calls.score([scopes[i] for i in numbers], asked, tick)

    _, scored = shorter.ask(put, requests)
    said = [
        None if unanswered(one) else _heard(one, order, task.names)
        for one, order in zip(scored, asked_in * len(texts), strict=True)
    ]
    by_text = [said[i : i + count] for i in range(0, len(said), count)]
    priors = _priors(task, calls, scope, by_text, asked_for)
    refusals = [first_unanswered(scored[i : i + count]) for i in range(0, len(said), count)]
    return [
        Labelled("", reason=why) if why else _joined(task.names, given, priors)
        for given, why in zip(by_text, refusals, strict=True)
    ]


def unanswered(said: Written | Scored) -> Refusal | Literal["no answer"] | None:
    """Return why a question has no answer; None where it has one.

    A server's reply that is none of the choices leaves all of them at a bound.
    """
    if isinstance(said, Scored) and said.logprobs and len(said.bounded) == len(said.logprobs):
        return NO_ANSWER
    return refused(said)


def first_unanswered(said: Sequence[Written | Scored]) -> Refusal | Literal["no answer"] | None:
    """Return why the first of a text's questions that got no answer got none."""
    return next(filter(None, map(unanswered, said)), None)


def likest(examples: Demonstrations, level: int) -> Demonstrations:
    """Return the like texts that a level of `evokd.shorter` shows, the likest; none at the last."""
    return examples[len(examples) - (len(examples) >> level) :]


class _Heard(NamedTuple):
    """What one request told: probabilities [labels], and which of them are only bounds."""

    probabilities: NDArray[Any]
    bounded: list[int]


def _heard(scored: Scored, order: Sequence[str], names: Sequence[str]) -> _Heard:
    bounded = [list(names).index(order[i]) for i in scored.bounded]
    return _Heard(distribution(scored, order, names), bounded)


def _priors(
    task: Task,
    calls: Calls,
    scope: str,
    by_text: Sequence[Sequence[_Heard | None]],
    asked_for: Sequence[str | None],
) -> Sequence[Sequence[float] | None]:
    """Return the prior of every order: the ledger's, or that of these texts, then recorded."""
    unknown = [None] * len(opinions(task))
    if not task.method.calibrate:
        return unknown
    question = question_of(task)
    if (known := prior.recorded(calls.ledger, question)) is not None:
        return known
    if not any(asked_for):
        return unknown
    said = [[one and one.probabilities for one in order] for order in zip(*by_text, strict=True)]
    found = [prior.prior_of(order, asked_for, task.names) for order in said]
    known = [one for one in found if one is not None] if None not in found else None
    # The last order's: what a budget cuts off is cut off there first.
    missing = prior.lacking(said[-1], asked_for, task.names)
    prior.record(calls.ledger, known, question=question, missing=missing, scope=scope)
    return known or unknown


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


def _joined(
    names: Sequence[str],
    said: Sequence[_Heard | None],
    priors: Sequence[Sequence[float] | None],
) -> Labelled:
    pairs = zip(said, priors, strict=True)
    given = [
        prior.without(known, one.probabilities, bounded=one.bounded) for one, known in pairs if one
    ]
    mean = np.mean(given, axis=0)
    agreed = len({int(one.argmax()) for one in given}) == 1
    return Labelled(
        label=names[int(mean.argmax())],
        soft=tuple(round(float(p), 6) for p in mean),
        reason="" if agreed else DISAGREE,
    )
