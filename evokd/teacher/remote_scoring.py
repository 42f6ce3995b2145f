"""Score choices by a server that shows only its likeliest next tokens.

Choices are worked out one after the other, the most promising first, until none of the others can
come near the best: most texts need one question or two. `Scored` then holds the others' bounds.

A choice counts with the probability that the reply begins with it and goes on into no other
choice. Where choices do not begin alike that is one step cheaper than asking for the end of the
turn, and it holds for models that put a full stop behind their answer.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from evokd.errors import TeacherError

MARGIN = 8.0  # nats behind the best at which a choice is left at its bound: e^-8 is 0.03 %
LEAST = 1e-6  # of the probability that a reply ends where another choice goes on
Next = tuple[int, dict[int, float]]
Piece = tuple[str, float, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Values:
    """Log-probabilities of choices, in nats, and which of them are only bounds.

    `lengths` are the tokens that went into each, empty where nobody knows.
    """

    logprobs: tuple[float, ...]
    bounded: tuple[int, ...]
    lengths: tuple[int, ...] = ()


class Search(Protocol):
    """What is known so far of some choices."""

    def value(self, number: int) -> tuple[float, bool]:
        """Return a choice's log-probability or a bound of it, and whether it is exact."""
        ...

    async def ask(self, number: int) -> None:
        """Find out more about a choice that is not exact."""
        ...


async def best_first(search: Search, count: int, *, margin: float) -> Values:
    """Ask until every choice is known or more than `margin` nats behind the best one."""
    while True:
        values = [search.value(number) for number in range(count)]
        best = max((v for v, exact in values if exact), default=-math.inf)
        promising = [n for n, (v, exact) in enumerate(values) if not exact and v >= best - margin]
        if not promising:
            break
        await search.ask(max(promising, key=lambda n: values[n][0]))
    bounded = tuple(n for n, (_, exact) in enumerate(values) if not exact)
    return Values(tuple(v for v, _ in values), bounded)


@dataclass(slots=True)
class ByTokens:
    """Choices as the tokens that the server itself makes of them.

    Attributes:
        choices: each choice's tokens.
        ask_next: asks for so many likeliest tokens in a row behind some tokens.
        force: asks for the log-probability of a whole choice, by its number.
        known: tokens -> the likeliest ones behind them, with log-probabilities.
        forced: log-probabilities of choices with a token that is out of sight, not among those.
    """

    choices: Sequence[tuple[int, ...]]
    ask_next: Callable[[tuple[int, ...], int], Awaitable[list[Next]]]
    force: Callable[[int], Awaitable[float]]
    known: dict[tuple[int, ...], dict[int, float]] = field(default_factory=dict)
    forced: dict[int, float] = field(default_factory=dict)

    def value(self, number: int) -> tuple[float, bool]:
        """See `Search`. A token out of sight bounds a choice by the last one in sight."""
        path, total = self.choices[number], 0.0
        for depth, token in enumerate(path):
            if number in self.forced:
                total = self.forced[number]
                break
            node = self.known.get(path[:depth])
            if node is None:
                return total, False
            if token not in node:
                return total + min(node.values()), False
            total += node[token]
        longer = {c[len(path)] for c in self.choices if len(c) > len(path) and _begins(c, path)}
        if longer and path not in self.known:
            return total, False
        return total + _ends(self.known.get(path, {}), longer), True

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each choice, and one for that it goes on into no other."""
        longer = [any(len(c) > len(path) and _begins(c, path) for c in self.choices)
                  for path in self.choices]  # fmt: skip
        return tuple(len(path) + more for path, more in zip(self.choices, longer, strict=True))

    async def ask(self, number: int) -> None:
        """See `Search`. Where the likeliest tokens are a choice's, they say more than one step."""
        path = self.choices[number]
        for depth in range(len(path)):
            node = self.known.get(path[:depth])
            if node is not None and path[depth] not in node and number not in self.forced:
                self.forced[number] = await self.force(number)
                return
            if node is None and number not in self.forced:
                return await self._look(path[:depth])
        await self._look(path)

    async def _look(self, at: tuple[int, ...]) -> None:
        most = max(len(c) for c in self.choices if _begins(c, at)) - len(at)
        places = await self.ask_next(at, max(most, 1))
        if not places:
            raise TeacherError("the server gives no log-probabilities", "see its log")
        for token, likeliest in places:
            self.known.setdefault(at, likeliest)
            at = (*at, token)
            if not any(_begins(c, at) for c in self.choices):
                break


@dataclass(slots=True)
class ByTexts:
    """Choices as texts that the server is made to write.

    Attributes:
        choices: the texts.
        force: makes it write the likeliest of some texts; returns which, and its pieces.
        known: text so far -> the likeliest pieces behind it, with log-probabilities.
        written: what the choices got that were written.
    """

    choices: Sequence[str]
    force: Callable[[Sequence[str]], Awaitable[tuple[str, list[Piece]]]]
    known: dict[str, dict[str, float]] = field(default_factory=dict)
    written: dict[str, float] = field(default_factory=dict)

    def value(self, number: int) -> tuple[float, bool]:
        """See `Search`."""
        text = self.choices[number]
        if text not in self.written:
            return self._bound(text, ""), False
        others = [c for c in self.choices if c != text and c.startswith(text)]
        node = self.known.get(text, {})
        longer = {p for p in node if p and any(c.startswith(text + p) for c in others)}
        return self.written[text] + _ends(node, longer), True

    async def ask(self, number: int) -> None:
        """See `Search`. The first time the server chooses among all."""
        allowed = [self.choices[number]] if self.written else self.choices
        text, pieces = await self.force(allowed)
        if text not in allowed or not pieces:
            raise TeacherError(
                f"the server does not keep to a grammar: it says {text[:40]!r}", "see its log"
            )
        self.written[text] = sum(logprob for _, logprob, _ in pieces)
        at = ""
        for piece, _, likeliest in pieces:
            self.known.setdefault(at, likeliest)
            at += piece

    def _bound(self, text: str, at: str) -> float:
        """Return the most that a text can get behind what is written so far."""
        node, rest = self.known.get(at), text[len(at) :]
        if not node or not rest or not rest[0].isascii():  # pieces of such letters have no text
            return 0.0
        ways = [
            value + self._bound(text, at + piece)
            for piece, value in node.items()
            if piece and rest.startswith(piece)
        ]
        if not ways:
            return min(node.values())
        return math.log(sum(math.exp(value) for value in ways))


def _begins(whole: tuple[int, ...], start: tuple[int, ...]) -> bool:
    return whole[: len(start)] == start


def _ends(node: Mapping[Any, float], longer: set[Any]) -> float:
    """Return the log-probability that none of the longer choices goes on here."""
    goes_on = sum(math.exp(node[piece]) for piece in longer if piece in node)
    return math.log(max(1.0 - goes_on, LEAST)) if goes_on else 0.0
