"""How many questions may be under way at once: fewer, as a server turns out to take them."""

from __future__ import annotations

import asyncio


class Places:
    """Places for questions. All of it runs in one event loop.

    Attributes:
        room: how many there are.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self._gate = asyncio.Semaphore(room)
        self._owed = 0  # of the gate, that are not given back
        self._narrowed = 0.0

    async def __aenter__(self) -> None:
        await self._gate.acquire()

    async def __aexit__(self, *_: object) -> None:
        if self._owed:
            self._owed -= 1
        else:
            self._gate.release()

    async def at_most(self, room: int) -> None:
        """Leave no more places than that; never fewer than one."""
        while self.room > max(1, room):
            self.room -= 1
            if self._gate.locked():
                self._owed += 1
            else:
                await self._gate.acquire()

    async def narrow(self, began: float) -> None:
        """Leave half of them: of many questions, one after the other, the last wait for all others.

        Args:
            began: when a question was put that got no answer in time; of those put side by side
                the first alone says something.
        """
        if began > self._narrowed:
            self._narrowed = asyncio.get_running_loop().time()
            await self.at_most(self.room // 2)
