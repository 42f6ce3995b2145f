"""Texts after the student's mistakes: EvoKD's P1 and P2 (arXiv 2403.06414, figure 2), and PGKD's.

The groups of mistakes, and whether a report stands before them, are the plan's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from evokd import prompts, replies
from evokd.arms.view import SURPLUS, Proposal, Proposed, Said, View
from evokd.feedback import Group
from evokd.teacher import TOO_LONG, Generate, Message, Written, grammar


def feedback_texts(view: View) -> Proposed:
    """Write hard and easy texts for every planned group of mistakes; groups go side by side.

    First the teacher analyses the mistakes, then it writes in the same conversation. Where the
    plan says `at_once`, it writes after the mistakes alone (ablation "no analysis"; also PGKD,
    arXiv 2411.05045, which asks for texts with the report in view).
    """
    weaknesses: tuple[tuple[str, ...], ...] = ()
    rejects: Counter[str] = Counter()
    numbers: Sequence[int] = range(len(_groups(view)))
    follow: Callable[[int], list[Generate]] = partial(writing_requests, view)
    if not view.plan.get("at_once"):
        analyses = view.ask("analyse", partial(analysis_requests, view), "analysing mistakes")
        weaknesses = tuple(replies.parse_patterns(said.reply) for said in analyses)
        # Where even one mistake was too long there is no conversation to write in.
        numbers = [n for n in numbers if analyses[n].reply.finish != TOO_LONG]
        rejects[TOO_LONG] += len(analyses) - len(numbers)
        follow = partial(_following, view, {n: analyses[n] for n in numbers})
    written = view.ask("write", follow, "writing hard and easy texts")
    texts: list[Proposal] = []
    for number, (key, _, reply) in zip(numbers, written, strict=True):
        read, refused = _read(view, reply)
        rejects.update(refused)
        source = f"group {number + 1}"
        texts += [Proposal(text, origin, key, source, label) for origin, text, label in read]
    return Proposed(tuple(texts), weaknesses, dict(+rejects))


def analysis_requests(view: View, level: int = 0) -> list[Generate]:
    """Return P1 for every planned group of feedback, shown at a level of `evokd.shorter`."""
    task, report = view.task, view.plan.get("report", ())
    return [
        view.sampling(
            prompts.ask_analysis(
                task.domain, task.labels, g.right, g.wrong, kind=task.kind, report=report
            ),
            "analyse", n,
        )
        for n, g in enumerate(_groups(view, level))
    ]  # fmt: skip


def writing_requests(view: View, level: int = 0) -> list[Generate]:
    """Return P2 without P1 for every planned group of feedback, shown at a level."""
    task, report = view.task, view.plan.get("report", ())
    return [
        _writing(
            view, n,
            prompts.ask_texts_at_once(
                task.domain, task.labels, g.right, g.wrong, report=report, **_asked(view)
            ),
        )
        for n, g in enumerate(_groups(view, level))
    ]  # fmt: skip


def _following(view: View, analyses: Mapping[int, Said], level: int) -> list[Generate]:
    """Return P2 in the conversations of some groups, or in what a level shows, where it is less."""
    shown = analysis_requests(view, level)
    made = []
    for number, said in analyses.items():
        begun = min(said.request.messages, shown[number].messages, key=_letters)
        asked = prompts.ask_texts(begun, said.reply.text.strip(), **_asked(view))
        made.append(_writing(view, number, asked))
    return made


def _letters(messages: Sequence[Message]) -> int:
    return sum(len(message.content) for message in messages)


def _groups(view: View, level: int = 0) -> list[Group]:
    groups = [Group.from_json(g) for g in view.plan.get("groups", ())]
    return [group.shorter(level, view.task.kind) for group in groups]


def _asked(view: View) -> dict[str, Any]:
    """Return what P2 asks for; a plan may ask for hard texts alone."""
    task, loop = view.task, view.task.loop
    hard, easy = (loop.hard + loop.easy, 0) if view.plan.get("all_hard") else (loop.hard, loop.easy)
    return {
        "hard": hard, "easy": easy, "kind": task.kind, "labelled": not task.method.separation
    }  # fmt: skip


def _most(view: View) -> dict[str, int]:
    """Return how many texts of each kind are taken."""
    asked = _asked(view)
    return {kind: SURPLUS * asked[kind] for kind in ("hard", "easy")}


def _writing(view: View, number: int, messages: tuple[Message, ...]) -> Generate:
    most = _most(view)
    if view.task.method.separation:
        shape = grammar.hard_easy(**most)
    else:
        shape = grammar.labelled(**most, labels=view.task.names)
    return view.sampling(messages, "write", number, grammar=shape)


def _read(view: View, reply: Written) -> tuple[list[tuple[str, str, str | None]], tuple[str, ...]]:
    """Return (origin, text, label) of a reply's texts, and why it, or texts of it, are refused."""
    task = view.task
    if task.method.separation:
        parsed = replies.parse_hard_easy(reply, _most(view))
        return [(origin, text, None) for origin, text in parsed.texts], replies.refusals(parsed)
    named = replies.parse_labelled(reply, task.names, _most(view))
    return list(named.texts), replies.refusals(named)
