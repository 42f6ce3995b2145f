"""What an arm may see of a run, and what it hands over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from evokd import shorter
from evokd.calls import Calls
from evokd.seeds import derive
from evokd.task import Task
from evokd.teacher import Generate, Message, Written
from evokd.watch import Progress

FIRST = "round 0"
WRITING = 0.5  # of a budget, what the texts that a run begins with may take; the rest labels them
APART = 0.5  # what writing and labelling texts to hold out, apart from a round's own, may take
SURPLUS = 2  # times the texts asked for may be written: more are welcome, endless lists are not


@dataclass(frozen=True, slots=True)
class Proposal:
    """A text that the teacher wrote, one of the user's pool, or an edited seed.

    Attributes:
        origin: "cover", "hard", "easy", "paraphrase", "edited" or "pool": what is expected of it.
        call: key of the call that wrote it; None where no call did.
        source: what the call was after: a label's name, "group 2" or "pool".
        label: its answer where the arm sets it, unchecked; None leaves it to the teacher (P3).
    """

    text: str
    origin: str
    call: str | None
    source: str
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Proposed:
    """An arm's yield: texts, the weaknesses that the teacher named, and what was refused.

    Attributes:
        rejects: replies, and single texts of those that were read, by reason.
    """

    texts: tuple[Proposal, ...] = ()
    weaknesses: tuple[tuple[str, ...], ...] = ()
    rejects: Mapping[str, int] = field(default_factory=dict)


class Said(NamedTuple):
    """A reply, with the request that it answers and the key of the call."""

    key: str
    request: Generate
    reply: Written


@dataclass(frozen=True, slots=True)
class View:
    """What an arm may see of a run: never a test text, and of dev only scores.

    Attributes:
        scope: opens the scope of every call, such as "round 3".
        plan: what the round will show; see `evokd.planning` for its parts.
        progress: called with the steps planned when a step begins; returns its tick.
    """

    task: Task
    calls: Calls
    scope: str
    plan: Mapping[str, Any]
    progress: Progress

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

    @contextmanager
    def writing(self, *, labelled: bool) -> Iterator[None]:
        """Leave of the budget what labels the texts that a run begins with, written inside.

        Args:
            labelled: whether they are to be labelled at all.
        """
        begins = labelled and self.scope.startswith(FIRST)
        # Texts that are held out apart have had their half by then.
        share = APART + WRITING * (1 - APART) if self.plan.get("dev") else WRITING
        with self.calls.part_of_budget(share if begins else 1.0):
            yield

    def ask(
        self, step: str, requests: Callable[[int], Sequence[Generate]], what: str
    ) -> list[Said]:
        """Ask for texts; returns what was asked in the end, and its reply.

        Args:
            step: ends the scope of the calls, such as "write".
            requests: makes them at a level of `evokd.shorter`.
            what: what a watcher is told.
        """
        scope = f"{self.scope}/{step}"

        def put(_: Sequence[int], asked: Sequence[Generate]) -> list[Written]:
            return self.calls.generate(scope, asked, self.progress(what, len(asked)))

        asked, replies = shorter.ask(put, requests)
        return list(map(Said, self.calls.keys(scope, asked), asked, replies))


def joined(parts: Iterable[Proposed]) -> Proposed:
    """Return several yields as one."""
    texts: list[Proposal] = []
    weaknesses: list[tuple[str, ...]] = []
    rejects: Counter[str] = Counter()
    for part in parts:
        texts += part.texts
        weaknesses += part.weaknesses
        rejects.update(part.rejects)
    return Proposed(tuple(texts), tuple(weaknesses), dict(rejects))
