"""Texts after the student's mistakes: EvoKD's P1 and P2 (arXiv 2403.06414, figure 2), and PGKD's.

The groups of mistakes, and whether a report stands before them, are the plan's.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from evokd import prompts, replies
from evokd.arms.view import SURPLUS, Proposal, Proposed, View
from evokd.feedback import Group
from evokd.teacher import Generate, Message, Written, grammar


def feedback_texts(view: View) -> Proposed:
    """Write hard and easy texts for every planned group of mistakes; groups go side by side.

    First the teacher analyses the mistakes, then it writes in the same conversation. Where the
    plan says `at_once`, it writes after the mistakes alone (ablation "no analysis"; also PGKD,
    arXiv 2411.05045, which asks for texts with the report in view).
    """
    weaknesses: tuple[tuple[str, ...], ...] = ()
    if view.plan.get("at_once"):
        follow = writing_requests(view)
    else:
        asked = analysis_requests(view)
        if not asked:
            return Proposed()
        analyses = [said for _, said in view.ask("analyse", asked, "analysing mistakes")]
        weaknesses = tuple(replies.parse_patterns(said) for said in analyses)
        follow = [
            _writing(view, number, prompts.ask_texts(a.messages, said.text.strip(), **_asked(view)))
            for number, (a, said) in enumerate(zip(asked, analyses, strict=True))
        ]
    written = view.ask("write", follow, "writing hard and easy texts") if follow else []
    texts: list[Proposal] = []
    rejects: Counter[str] = Counter()
    for number, (key, reply) in enumerate(written):
        read, refused = _read(view, reply)
        rejects.update(refused)
        source = f"group {number + 1}"
        texts += [Proposal(text, origin, key, source, label) for origin, text, label in read]
    return Proposed(tuple(texts), weaknesses, dict(rejects))


def analysis_requests(view: View) -> list[Generate]:
    """Return P1 for every planned group of feedback."""
    task, report = view.task, view.plan.get("report", ())
    return [
        view.sampling(
            prompts.ask_analysis(
                task.domain, task.labels, g.right, g.wrong, kind=task.kind, report=report
            ),
            "analyse", n,
        )
        for n, g in enumerate(_groups(view))
    ]  # fmt: skip


def writing_requests(view: View) -> list[Generate]:
    """Return P2 without P1 for every planned group of feedback."""
    task, report = view.task, view.plan.get("report", ())
    return [
        _writing(
            view, n,
            prompts.ask_texts_at_once(
                task.domain, task.labels, g.right, g.wrong, report=report, **_asked(view)
            ),
        )
        for n, g in enumerate(_groups(view))
    ]  # fmt: skip


def _groups(view: View) -> list[Group]:
    return [Group.from_json(g) for g in view.plan.get("groups", ())]


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
