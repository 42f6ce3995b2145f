"""What a run may still ask of its teacher. It stops at the cap, at most one batch behind it.

A batch is what is decoded side by side. Requests are asked in their order, batch after batch, and
a batch begins only while the cap is not reached. So far as even the worst case stays below the
cap, batches are asked together: the engine fills a free place at once, and loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from evokd.ledger import Ledger
from evokd.settings import BudgetSettings
from evokd.spending import tokens
from evokd.teacher import Generate, Score

OUTSIDE = "gate "
"""Scopes that start so are no part of the loop, which alone has a budget."""
LONGEST = "longest training"  # seconds, in the ledger
MARGIN = 256  # tokens that a model's template may add to a request
TURN = 16  # and to each of its turns
THOUGHTS = 2  # a model that thinks may do so for as many tokens as the reply has
CAUTION = 2.0  # times the slowest pace so far, where minutes are counted


@dataclass(slots=True)
class Budget:
    """The budget of a run at work.

    Attributes:
        width: requests in a batch.
        thoughts: tokens that a reply may take besides its own.
        spent: tokens that the loop's calls have cost so far.
        pace: seconds that a request of a type took where it took longest.
        reserve: seconds that are kept for the training behind the requests: those of the longest
            so far, an earlier attempt's too.
    """

    settings: BudgetSettings
    ledger: Ledger
    width: int
    thoughts: int = 0
    spent: int = 0
    pace: dict[type, float] = field(default_factory=dict)
    reserve: float = 0.0

    def __post_init__(self) -> None:
        self.spent = loop_tokens(self.ledger)
        self.reserve = self.ledger.meta(LONGEST) or 0.0

    def keep_free(self, seconds: float) -> None:
        """Leave at least this long for the training that follows what is asked."""
        if seconds > self.reserve:
            self.reserve = seconds
            self.ledger.set_meta(LONGEST, seconds)

    def over(self, *, less: int = 0, share: float = 1.0) -> bool:
        """Say whether a cap on what is asked is reached.

        Args:
            less: tokens that do not count yet: of calls that come after those in question.
            share: of the caps, what the calls in question may come to.
        """
        return self.tokens_left(less, share) <= 0 or self.seconds_left(share) <= 0

    def tokens_left(self, less: int = 0, share: float = 1.0) -> float:
        """Return how many tokens may still be spent; without end where they have no cap."""
        tokens = self.settings.tokens
        return float("inf") if tokens is None else share * tokens - (self.spent - less)

    def seconds_left(self, share: float = 1.0) -> float:
        """Return how long may still be asked; without end where minutes have no cap."""
        minutes = self.settings.minutes
        if minutes is None:
            return float("inf")
        return share * (60 * minutes - self.reserve) - self.ledger.seconds()

    def fitting(
        self, requests: Sequence[Generate | Score], *, less: int = 0, share: float = 1.0
    ) -> int:
        """Return how many requests may be asked together: whole batches, one at least."""
        minutes = self.settings.minutes
        free, left = self.tokens_left(less, share), self.seconds_left(share)
        pace = self.pace.get(type(requests[0]), float("inf") if minutes is not None else 0.0)
        count = 0
        while count < len(requests) and free > 0 and left > 0:
            batch = requests[count : count + self.width]
            # A score may take two replies: a free one, and one that is held to the choices.
            free -= sum(map(most_tokens, batch)) + 2 * self.thoughts * len(batch)
            left -= CAUTION * pace * len(batch)
            count += len(batch)
        return max(count, min(self.width, len(requests)))

    def time(self, kind: type, count: int, ask: Callable[[], None]) -> None:
        """Ask for `count` requests of a type, and note how long they took."""
        began = self.ledger.clock()
        ask()
        pace = (self.ledger.clock() - began) / count
        self.pace[kind] = max(pace, self.pace.get(kind, 0.0))


def loop_tokens(ledger: Ledger) -> int:
    """Return the tokens of the loop's calls, prompt and output, scoring included."""
    return tokens(ledger.call_totals()) - tokens(ledger.call_totals(OUTSIDE))


def most_tokens(request: Generate | Score) -> int:
    """Return more tokens than a request can cost: no token is shorter than a byte."""
    prompt = sum(len(m.content.encode("utf-8", "replace")) + TURN for m in request.messages)
    if isinstance(request, Generate):
        return MARGIN + prompt + THOUGHTS * request.max_tokens
    return MARGIN + prompt + sum(len(c.encode("utf-8", "replace")) + 1 for c in request.choices)
