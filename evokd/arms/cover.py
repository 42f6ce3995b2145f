"""Texts of every label, without feedback: the paper's static distillation, and ZeroGen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from evokd import prompts, replies
from evokd.answers import write_labels
from evokd.arms.view import SURPLUS, Proposal, Proposed, View
from evokd.prompts import STYLES
from evokd.seeds import derive
from evokd.shorter import clipped, fewer
from evokd.task import Task
from evokd.teacher import Generate, grammar

COVER_TEXTS = 5
MOST = SURPLUS * COVER_TEXTS


def covered(view: View) -> Proposed:
    """Write texts of every label in the plan's `cover`.

    Where the plan says `blind`, no examples are shown and the asked label is the text's label,
    never checked (ZeroGen, arXiv 2202.07922). Entities cannot be set that way, because a prompt
    names only their type: of a NER task the teacher labels them after all.
    """
    blind = bool(view.plan.get("blind"))
    labels = [label for label, _ in cover_requests(view)]
    with view.writing(labelled=not blind or view.task.kind == "ner"):
        said = view.ask(
            "cover",
            lambda level: [request for _, request in cover_requests(view, level)],
            "writing texts of every label",
        )
    texts: list[Proposal] = []
    rejects: Counter[str] = Counter()
    for label, (key, _, reply) in zip(labels, said, strict=True):
        parsed = replies.parse_list(reply, MOST)
        rejects.update(replies.refusals(parsed))
        given = label_alone(view.task, label) if blind else None
        texts += [Proposal(text, origin, key, label, given) for origin, text in parsed.texts]
    return Proposed(tuple(texts), rejects=dict(rejects))


def cover_requests(view: View, level: int = 0) -> list[tuple[str, Generate]]:
    """Return (label, request) for every planned conversation that covers a label.

    Args:
        level: of `evokd.shorter`, of the examples.
    """
    made = []
    task = view.task
    styles = view.plan.get("styles") or STYLES
    shape = grammar.texts(MOST)
    cover, before = view.plan.get("cover", {}), view.plan.get("covered", {})
    first = {label: derive(task.loop.seed, label) for label in cover}
    # Of every label in turn, so that a budget that ends here has covered them alike.
    for n in range(max(cover.values(), default=0)):
        for label in (name for name, count in cover.items() if n < count):
            pick = derive(task.loop.seed, view.scope, label, n)
            shown = [] if view.plan.get("blind") else some(view.plan["examples"][label], pick)
            messages = prompts.ask_cover(
                task.domain,
                task.labels,
                label=label,
                count=COVER_TEXTS,
                # Every style comes round before one comes again, from round to round.
                style=styles[(before.get(label, 0) + n + first[label]) % len(styles)],
                examples=[clipped(text, level) for text in fewer(shown, level)],
                kind=task.kind,
            )
            made.append((label, view.sampling(messages, "cover", label, n, grammar=shape)))
    return made


def label_alone(task: Task, label: str) -> str | None:
    """Return the answer that gives one label and no other; None where it needs places too."""
    return {"classification": label, "multilabel": write_labels([label])}.get(task.kind)


def some(examples: Sequence[str], pick: int) -> list[str]:
    """Return one to three of the examples, a different choice for every conversation."""
    count = min(len(examples), 1 + pick % 3)
    return [examples[(pick // 3 + i) % len(examples)] for i in range(count)]
