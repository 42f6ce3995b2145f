"""Whether a teacher is good enough for a task: what a pilot measured, in plain words."""

from __future__ import annotations

from collections.abc import Iterator

from evokd.doctor import Finding, good, warning, wrong
from evokd.measured import Measured, Share
from evokd.task import Task
from evokd.trust import FEWEST, beyond_chance

# What a student of its labels can still learn from; below, label noise is the ceiling. Whole
# answers with several labels or entities are right more rarely than single labels.
AGREES = {"classification": 0.8, "multilabel": 0.6, "ner": 0.5}
ABOVE_CHANCE = 0.2
FEW = 10  # gold texts; what fewer of them say may be luck
SURE, PARSES, KEPT = 0.85, 0.7, 0.3
MODERATE = 0.4  # Cohen's kappa from which on agreement is called moderate (Landis and Koch 1977)
MOSTLY = 0.8  # texts with the label that they were written for, where each may have several
SLOW = 10.0  # tokens a second, written side by side


def judge(task: Task, measured: Measured) -> Iterator[Finding]:
    """Give what there is to say of a teacher, and what to do about it."""
    if task.undefined:
        says = f"none for {', '.join(task.undefined)}: the teacher has these names alone"
        yield warning("definitions", says, "a line each: what it is, and what it is not")
    yield _gold(task, measured)
    yield _sure(task, measured)
    if measured.own.of >= FEWEST:
        yield _own(task, measured)
    yield _replies(task, measured)
    yield _kept(measured)
    yield _speed(measured)


def _gold(task: Task, measured: Measured) -> Finding:
    share, topic = measured.gold, "labels"
    low, high = share.interval
    says = f"right on {_counts(share)} of your texts; {low:.2f} to {high:.2f} with 95 % confidence"
    facts = {"hits": share.hits, "of": share.of, "low": low, "high": high}
    chance = 1 / len(task.names) if task.kind == "classification" else 0.0
    if measured.confused:
        right, given, count = measured.confused[0]
        often = "once" if count == 1 else f"{count} times"
        says += f"; most often it takes {right} for {given} ({often})"
    none, few = share.hits == 0, share.of < FEW
    if high < chance + ABOVE_CHANCE or (none and not few):
        hint = "this is little better than chance: take a larger model"
        return wrong(topic, says, hint, **facts)
    if share.value < AGREES[task.kind] and not none:
        return warning(topic, says, _better(measured), **facts)
    if none or low < chance + ABOVE_CHANCE or (few and not chance):
        hint = "too few texts to tell: give more seed examples, or a dev file"
        return warning(topic, says, hint, **facts)
    return good(topic, says, **facts)


def _better(measured: Measured) -> str:
    """Say what helps a teacher that labels badly; the first is the cheapest."""
    if not measured.confused:
        return "take a larger model, or fewer labels"
    right, given, _ = measured.confused[0]
    return (
        f"say in the definitions what tells {right} and {given} apart; else a larger model, or"
        " fewer labels"
    )


def _sure(task: Task, measured: Measured) -> Finding:
    share = measured.sure
    if not task.method.second_opinion:
        return good("agreement", "not tried: it is asked once (method.second_opinion)")
    how = "names the same label in both orders" if task.kind == "classification" else "is sure"
    says = f"{how} for {_counts(share)} texts"
    facts = {"hits": share.hits, "of": share.of}
    if share.value >= SURE:
        return good("agreement", says, **facts)
    hint = (
        "position decides too often, and such texts are dropped: definitions that exclude each"
        " other, a larger model, or fewer labels"
    )
    return warning("agreement", says, hint, **facts)


def _own(task: Task, measured: Measured) -> Finding:
    share = measured.own
    says = (
        f"by its own labels {_counts(share)} texts are of the label that it wrote them for; kappa"
        f" {measured.kappa:.2f}"
    )
    facts = {"hits": share.hits, "of": share.of, "kappa": measured.kappa}
    several = task.kind != "classification"
    if measured.kappa > MODERATE or (several and share.value >= MOSTLY):
        return good("own texts", says, **facts)
    if beyond_chance(task, share, measured.kappa):
        hint = "its labels are noisy: better definitions, more seed examples, a larger model"
        return warning("own texts", says, hint, **facts)
    hint = "hardly more than by chance: take a larger model"
    if task.kind == "multilabel":
        return warning("own texts", says, hint, **facts)
    hint += "; without gold dev texts a run trains on none of them"
    return wrong("own texts", says, hint, **facts)


def _replies(task: Task, measured: Measured) -> Finding:
    share = measured.parsed
    says = f"{_counts(share)} replies could be read"
    facts = {"hits": share.hits, "of": share.of}
    if not measured.cover.texts:
        return wrong("replies", says, "it cannot do what is asked: take another model", **facts)
    if share.value >= PARSES:
        return good("replies", says, **facts)
    first = "" if task.teacher.structure else "set teacher.structure: true; "
    hint = f"{first}raise teacher.max_tokens if replies are cut; else a larger model"
    return warning("replies", says, hint, **facts)


def _kept(measured: Measured) -> Finding:
    trials = (measured.cover, measured.feedback)
    share = Share(sum(t.kept for t in trials), sum(t.texts for t in trials))
    says = f"{_counts(share)} texts that it wrote would be trained on"
    facts = {"kept": share.hits, "written": share.of}
    if share.value >= KEPT:
        return good("texts", says, **facts)
    hint = "writer and labeller disagree: better definitions, more seed examples, a larger model"
    return warning("texts", says, hint, **facts)


def _speed(measured: Measured) -> Finding:
    written = measured.cover.writing + measured.feedback.writing
    labelled = measured.labelling + measured.cover.labelling + measured.feedback.labelling
    writes = written.tokens_out / written.seconds if written.seconds else 0.0
    reads = labelled.tokens_in / labelled.seconds if labelled.seconds else 0.0
    says = (
        f"{measured.teacher}: {writes:,.0f} tokens/s written side by side; labelling takes in"
        f" {reads:,.0f} prompt tokens/s"
    )
    facts = {"written_per_second": writes, "read_per_second": reads}
    if writes >= SLOW:
        return good("speed", says, **facts)
    return warning("speed", says, "take a smaller model, a GPU or a server", **facts)


def _counts(share: Share) -> str:
    return f"{share.hits} of {share.of} ({share.value:.2f})"
