"""What a round will show the teacher, decided before its first call. Asks no model itself.

A plan is plain JSON in the ledger:

    groups       feedback, as `Group.to_json`; `at_once` and `all_hard` say how to write after it
    report       lines on the weakest labels, shown before the feedback
    cover        conversations a label; `blind` without examples and with the label taken as asked
    covered      conversations a label that were before, so that the styles go on from there
    dev          conversations a label, of the first round, whose texts are all held out
    styles       in place of `prompts.STYLES`
    examples     texts a label that prompts may show
    paraphrases  (text, answer) of the seeds to be said in other ways
    edits        seeds to be edited, and how many texts to make of them
    pool         unlabelled texts to be labelled

Whatever an arm does with them, a round has as many conversations: `loop.conversations` and
`loop.quota` together; a round without a teacher makes as many texts as they would.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from evokd.acquisition import Embed, Predict, least_sure, untried
from evokd.examples import Example
from evokd.feedback import borderline, confident, groups, report
from evokd.kinds import Kind, kind_of
from evokd.ledger import Ledger
from evokd.records import Prediction, Row
from evokd.seeds import derive
from evokd.task import Task, TaskData

COVER_REPLY = 4  # texts that a cover conversation yields, as a round figure for planning
SHOWN = 4  # kept texts a label that prompts may show beside the seed examples
Tested = Sequence[tuple[Row, Prediction]]


@dataclass(frozen=True)
class Planner:
    """What a round is planned from.

    Attributes:
        known: texts that the run has already.
        held_out: texts a label that are held out of the round's own.
        predict: what the student of the round before says of texts.
        embed: vectors of texts, [texts, hidden].
    """

    task: Task
    data: TaskData
    ledger: Ledger
    number: int
    known: Container[str]
    predict: Predict
    embed: Embed
    held_out: int = 0

    def plan(self, parts: Sequence[str], *, dev: int = 0) -> dict[str, Any]:
        """Plan a round of these parts; see `evokd.arms.PARTS`.

        Args:
            dev: texts a label to have written apart, because the round's own are not held out.
        """
        made: dict[str, Any] = {"groups": [], "cover": {}, "pool": []}
        made["examples"] = _examples(self)
        if dev:
            made["dev"] = dict.fromkeys(self.task.names, -(-dev // COVER_REPLY))
        if styles := (self.ledger.stage("attributes") or {}).get("styles"):
            made["styles"] = styles
        for part in parts:
            made |= PLANNERS[part](self, made)
        if made["cover"]:
            made["covered"] = dict(_covered(self, made))
        return made

    def untried(self) -> list[str]:
        """Return the user's unlabelled texts that the run has not had yet."""
        return untried(self.data.unlabeled, ledger=self.ledger, known=self.known)

    @cached_property
    def kept(self) -> list[tuple[str, str]]:
        """The texts that are trained on, with their answers; a long run has many: read once."""
        return self.ledger.labels("train")

    @property
    def conversations(self) -> int:
        """How many conversations the round has in all."""
        if self.number:
            return self.task.loop.quota + self.task.loop.conversations
        return len(self.task.names) * -(-self.task.loop.cover // COVER_REPLY)

    def tested(self) -> Tested:
        """Return the last texts with what the student said of them before it learnt them.

        A run that starts from the seeds alone is first asked about these.
        """
        tested = self.ledger.tested(self.number - 1)
        if tested or self.number != 1 or self.task.method.init != "none":
            return tested
        said = self.predict([example.text for example in self.data.seed])
        rows = [Row(0, example, "train") for example in self.data.seed]
        return list(zip(rows, said, strict=True))

    def report(self) -> list[str]:
        """Return what the teacher is told of the weakest labels."""
        return report(self.per_label, self.tested(), kind_of(self.task))

    @property
    def per_label(self) -> dict[str, Any]:
        """The dev scores a label of the student so far; a round rolled back left none."""
        scored: dict[str, Any] = [r for r in self.ledger.results() if not r["rolled_back"]][-1]
        found: dict[str, Any] = scored["dev"]["per_label"]
        return found


def texts_of(kind: Kind, label: str, examples: Sequence[Example]) -> list[str]:
    """Return the texts whose answer gives a label."""
    return [e.text for e in examples if label in kind.labels_in(e.label)]


# -- the parts of a plan ----------------------------------------------------------------------


def _mistakes(planner: Planner, _: dict[str, Any]) -> dict[str, Any]:
    method, most = planner.task.method, planner.task.loop.conversations
    tested, kind = planner.tested(), kind_of(planner.task)
    shown = groups(tested, most, kind, correct=method.correct)
    if not shown and method.empty_wrong == "least-sure":
        shown = borderline(tested, most, kind)
    made: dict[str, Any] = {"groups": [g.to_json() for g in shown]}
    if shown and method.report:
        made["report"] = planner.report()
    return made if method.analysis else made | {"at_once": True}


def _confident(planner: Planner, _: dict[str, Any]) -> dict[str, Any]:
    most, correct = planner.task.loop.conversations, planner.task.method.correct
    shown = confident(planner.tested(), most, kind_of(planner.task), correct=correct)
    told = {"groups": [g.to_json() for g in shown], "at_once": True, "all_hard": True}
    return told | {"report": planner.report()}


def _cover(planner: Planner, made: dict[str, Any]) -> dict[str, Any]:
    """The usual empty-wrong rule: conversations that no group fills go to the weakest labels.

    A label comes first with few kept texts and a low dev score, which makes three times as much
    of it at most. What was asked counts as well: were it kept texts alone, labels of which none
    can be kept would take every conversation.
    """
    if planner.number == 0:
        return _even_cover(planner, made)
    names, kind, of_label = planner.task.names, kind_of(planner.task), planner.per_label
    kept = Counter(name for _, answer in planner.kept for name in kind.labels_in(answer))
    asked, shares = _covered(planner, made), Counter[str]()

    def having(name: str) -> float:
        strength = of_label[name]["f1"] if of_label[name]["support"] else 1.0
        return (kept[name] + COVER_REPLY * (asked[name] + shares[name])) * float(strength + 0.5)

    for _ in range(planner.conversations - len(made["groups"])):
        shares[min(names, key=having)] += 1
    return {"cover": dict(sorted(shares.items()))}


def _even_cover(planner: Planner, made: dict[str, Any]) -> dict[str, Any]:
    """No feedback at all: neither the student nor what became of texts decides what is asked.

    Were labels with few kept texts to come first, those of which none can be kept would take all.
    """
    names, loop = planner.task.names, planner.task.loop
    if planner.number == 0:
        count = -(-(loop.cover + planner.held_out) // COVER_REPLY)
        return {"cover": dict.fromkeys(names, count)}
    asked, shares = _covered(planner, made), Counter[str]()
    for _ in range(planner.conversations):
        shares[min(names, key=lambda name: asked[name] + shares[name])] += 1
    return {"cover": dict(sorted(shares.items()))}


def _blind_cover(planner: Planner, made: dict[str, Any]) -> dict[str, Any]:
    return _even_cover(planner, made) | {"blind": True}


def _paraphrases(planner: Planner, _: dict[str, Any]) -> dict[str, Any]:
    """Every seed example as often as the next, those that came last time at the end."""
    seed, count = planner.data.seed, planner.conversations
    first = _before(planner) % len(seed)
    turns = [seed[(first + n) % len(seed)] for n in range(count)]
    return {"paraphrases": [[e.text, e.label] for e in turns]}


def _edits(planner: Planner, _: dict[str, Any]) -> dict[str, Any]:
    sources = [[e.text, e.label] for e in planner.data.seed]
    return {"edits": {"sources": sources, "count": planner.conversations * COVER_REPLY}}


def _pool(planner: Planner, _: dict[str, Any]) -> dict[str, Any]:
    loop = planner.task.loop
    chosen = least_sure(
        planner.untried(),
        most=loop.pool,
        predict=planner.predict,
        embed=planner.embed,
        seed=derive(loop.seed, "pool", planner.number),
    )
    return {"pool": chosen}


def _random_pool(planner: Planner, _: dict[str, Any]) -> dict[str, Any]:
    rest, loop = planner.untried(), planner.task.loop
    order = np.random.default_rng(derive(loop.seed, "pool", planner.number)).permutation(len(rest))
    return {"pool": [rest[i] for i in order[: loop.pool]]}


PLANNERS: dict[str, Callable[[Planner, dict[str, Any]], dict[str, Any]]] = {
    "mistakes": _mistakes,
    "confident mistakes": _confident,
    "cover": _cover,
    "even cover": _even_cover,
    "blind cover": _blind_cover,
    "paraphrases": _paraphrases,
    "edits": _edits,
    "pool": _pool,
    "random pool": _random_pool,
}


def _before(planner: Planner) -> int:
    """Return how many paraphrases earlier rounds have asked for."""
    plans = [planner.ledger.plan(n) or {} for n in range(planner.number)]
    return sum(len(plan.get("paraphrases", ())) for plan in plans)


def _covered(planner: Planner, made: dict[str, Any]) -> Counter[str]:
    """Return the conversations a label that earlier rounds, and held-out texts, have had.

    Texts that are held out are written before those of their own round, whose plan is `made`.
    """
    plans = [planner.ledger.plan(n) or {} for n in range(planner.number)]
    counts = Counter(made.get("dev", {}))
    for plan in plans:
        counts.update(plan.get("cover", {}))
        counts.update(plan.get("dev", {}))
    return counts


def _examples(planner: Planner) -> dict[str, list[str]]:
    """Return what cover prompts may show: seed examples, later also a few kept texts."""
    task, number, kind = planner.task, planner.number, kind_of(planner.task)
    shown = {n: texts_of(kind, n, planner.data.seed) for n in task.names}
    rng = np.random.default_rng(derive(task.loop.seed, "examples", number))
    of_label: dict[str, list[str]] = defaultdict(list)
    for text, answer in planner.kept:
        for name in kind.labels_in(answer):
            of_label[name].append(text)
    for name in task.names if number else ():
        texts = of_label[name]
        shown[name] += [texts[i] for i in rng.permutation(len(texts))[:SHOWN]]
    return shown
