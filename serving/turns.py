"""Who may use the model next: one window at a time, in the order of asking, and not too many.

The model runs in the event loop. That saves a hop to a thread for every request, and since a long
request takes a turn for every window, a short one waits for one window of each of the others and
the loop is never held longer than one window takes. Large requests among themselves come one after
another: sharing the model they would all end at the same time, and be late together.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

T = TypeVar("T")


class Overloaded(Exception):
    """More requests are waiting than can be answered soon."""


class Late(Exception):
    """A request has waited so long that nobody is likely to want its answer."""


class Turns:
    """The queue before one model.

    Args:
        most: requests that may be inside at once.
        patience: seconds after which a request is given up.
        clock: seconds that only rise.
    """

    def __init__(
        self, most: int, patience: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._patience = patience
        self._clock = clock
        self._inside = 0
        self._turn, self._large = asyncio.Lock(), asyncio.Lock()

    @contextmanager
    def admitted(self) -> Iterator[float]:
        """Count a request in until it leaves; gives the time at which it must be done.

        Raises:
            Overloaded: when as many as allowed are inside.
        """
        if self._inside >= self._most:
            raise Overloaded
        self._inside += 1
        try:
            yield self._clock() + self._patience
        finally:
            self._inside -= 1

    @property
    def inside(self) -> int:
        """Return how many requests are being answered or wait for it."""
        return self._inside

    @asynccontextmanager
    async def alone(self, deadline: float) -> AsyncIterator[None]:
        """Wait until no other large request is under way; small ones go on meanwhile.

        Raises:
            Late: when the deadline passed first.
        """
        try:
            async with asyncio.timeout(max(0.0, deadline - self._clock())):
                await self._large.acquire()
        except TimeoutError:
            raise Late from None
        try:
            yield
        finally:
            self._large.release()

    async def take(self, step: Callable[[], T], deadline: float) -> T:
        """Run a step when it is this caller's turn.

        Raises:
            Late: when the deadline passed first.
        """
        async with self._turn:
            # The loop first looks who else has come, so that they are counted and not just queued.
            await asyncio.sleep(0)
            if self._clock() > deadline:
                raise Late
            return step()
