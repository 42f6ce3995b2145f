"""Ways to spend the teacher's tokens. An arm is `propose(view) -> Proposed`: it asks for texts.

Labelling, curation, the budget and training belong to the loop and are the same for every arm.
An arm first says all that it will show (`view.plan`, in the ledger before the first call), so a
round that was interrupted asks the same questions again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evokd import prompts, replies
from evokd.calls import Calls
from evokd.feedback import Group
from evokd.prompts import STYLES
from evokd.seeds import derive
from evokd.task import Task
from evokd.teacher import Generate, Message, grammar

COVER_TEXTS = 5
SURPLUS = 2  # times the texts asked for may be written: more are welcome, endless lists are not


@dataclass(frozen=True, slots=True)
class Proposal:
    """A text that the teacher wrote, or one of the user's pool.

    Attributes:
        origin: "cover", "hard", "easy" or "pool": what is expected of it.
        call: key of the call that wrote it; None for the pool.
        source: what the call was after: a label's name, or "group 2".
    """

    text: str
    origin: str
    call: str | None
    source: str


@dataclass(frozen=True, slots=True)
class Proposed:
    """An arm's yield: texts, the weaknesses that the teacher named, and refused replies."""

    texts: tuple[Proposal, ...]
    weaknesses: tuple[tuple[str, ...], ...] = ()
    rejects: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class View:
    """What an arm may see of a run: never a test text, and of dev only scores.

    Attributes:
        scope: opens the scope of every call, such as "round 3".
        plan: what the round will show: `groups` of feedback, `cover` counts of conversations a
            label, and `examples` a label to show in them.
        progress: called with the steps planned when a step begins; returns its tick.
    """

    task: Task
    calls: Calls
    scope: str
    plan: Mapping[str, Any]
    progress: Callable[[str, int], Callable[[], None]]

    def sampling(self, messages: tuple[Message, ...], *name: object, grammar: str = "") -> Generate:
        """Return a request with the task's sampling and a seed of its own."""
        teacher = self.task.teacher
        return Generate(
            messages,
            seed=derive(self.task.loop.seed, self.scope, *name),
            temperature=teacher.temperature,
            top_p=teacher.top_p,
            max_tokens=teacher.max_tokens,
            grammar=grammar if teacher.structure else "",
        )


def static(view: View) -> Proposed:
    """Write texts of every planned label, without feedback (the paper's static distillation)."""
    asked = cover_requests(view)
    scope = f"{view.scope}/cover"
    keys = view.calls.keys(scope, [request for _, request in asked])
    tick = view.progress("writing texts of every label", len(asked))
    said = view.calls.generate(scope, [request for _, request in asked], tick)
    texts: list[Proposal] = []
    rejects: Counter[str] = Counter()
    for (label, _), key, reply in zip(asked, keys, said, strict=True):
        parsed = replies.parse_list(reply)
        rejects.update([parsed.reject] if parsed.reject else [])
        texts += [Proposal(text, origin, key, label) for origin, text in parsed.texts]
    return Proposed(tuple(texts), rejects=dict(rejects))


def evokd(view: View) -> Proposed:
    """Analyse the mistakes, then write hard and easy texts in the same conversation (P1, P2).

    Groups are decoded side by side. The weakest labels get cover texts besides, as planned.
    """
    asked = analysis_requests(view)
    tick = view.progress("analysing mistakes", len(asked))
    analyses = view.calls.generate(f"{view.scope}/analyse", asked, tick)
    loop = view.task.loop
    shape = grammar.hard_easy(SURPLUS * loop.hard, SURPLUS * loop.easy)
    follow = [
        view.sampling(
            prompts.ask_texts(a.messages, said.text.strip(), hard=loop.hard, easy=loop.easy),
            "write", number, grammar=shape,
        )
        for number, (a, said) in enumerate(zip(asked, analyses, strict=True))
    ]  # fmt: skip
    scope = f"{view.scope}/write"
    keys = view.calls.keys(scope, follow)
    tick = view.progress("writing hard and easy texts", len(follow))
    written = view.calls.generate(scope, follow, tick)
    texts: list[Proposal] = []
    rejects: Counter[str] = Counter()
    for number, (key, reply) in enumerate(zip(keys, written, strict=True)):
        parsed = replies.parse_hard_easy(reply)
        rejects.update([parsed.reject] if parsed.reject else [])
        source = f"group {number + 1}"
        texts += [Proposal(text, origin, key, source) for origin, text in parsed.texts]
    covered = static(view)
    rejects.update(covered.rejects)
    weaknesses = tuple(replies.parse_patterns(said) for said in analyses)
    return Proposed((*texts, *covered.texts), weaknesses, dict(rejects))


ARMS: dict[str, Callable[[View], Proposed]] = {"evokd": evokd, "static": static}


def analysis_requests(view: View) -> list[Generate]:
    """Return P1 for every planned group of feedback."""
    groups = [Group.from_json(g) for g in view.plan["groups"]]
    task = view.task
    return [
        view.sampling(
            prompts.ask_analysis(task.domain, task.labels, g.right, g.wrong), "analyse", n
        )
        for n, g in enumerate(groups)
    ]


def cover_requests(view: View) -> list[tuple[str, Generate]]:
    """Return (label, request) for every planned conversation that covers a label."""
    made = []
    task = view.task
    for label, count in view.plan["cover"].items():
        for n in range(count):
            pick = derive(task.loop.seed, view.scope, label, n)
            messages = prompts.ask_cover(
                task.domain,
                task.labels,
                label=label,
                count=COVER_TEXTS,
                # Every style comes round before one comes again.
                style=STYLES[(n + derive(task.loop.seed, label)) % len(STYLES)],
                examples=_some(view.plan["examples"][label], pick),
            )
            shape = grammar.texts(SURPLUS * COVER_TEXTS)
            made.append((label, view.sampling(messages, "cover", label, n, grammar=shape)))
    return made


def _some(examples: Sequence[str], pick: int) -> list[str]:
    """Return one to three of the examples, a different choice for every conversation."""
    count = min(len(examples), 1 + pick % 3)
    return [examples[(pick // 3 + i) % len(examples)] for i in range(count)]
