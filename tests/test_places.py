"""Places for questions: never more than there are, none lost, whatever is broken off."""

from __future__ import annotations

import asyncio
import random

import pytest

from evokd.teacher.places import Places


@pytest.mark.parametrize("seed", range(20))
def test_no_more_are_inside_than_there_is_room_and_none_is_lost(seed: int) -> None:
    rng = random.Random(seed)
    inside = most = 0

    async def one(places: Places) -> None:
        nonlocal inside, most
        async with places:
            inside += 1
            most = max(most, inside)
            try:
                await asyncio.sleep(rng.random() / 500)
            finally:
                inside -= 1

    async def all_() -> int:
        nonlocal most
        places = Places(16)
        tasks = [asyncio.create_task(one(places)) for _ in range(100)]
        await asyncio.sleep(0.002)
        for task in rng.sample(tasks, 20):
            task.cancel()
        await places.at_most(rng.randint(-1, 20))
        await asyncio.gather(*tasks, return_exceptions=True)
        most = 0
        await asyncio.gather(*(one(places) for _ in range(60)))
        return places.room

    room = asyncio.run(all_())
    assert 1 <= room <= 16
    assert most == room


def test_of_questions_put_side_by_side_the_first_alone_narrows() -> None:
    async def narrowed() -> list[int]:
        places, now = Places(8), asyncio.get_running_loop().time
        began, rooms = now(), []
        for _ in range(3):
            await places.narrow(began)
            rooms.append(places.room)
        await asyncio.sleep(0.001)
        await places.narrow(now())
        return [*rooms, places.room]

    assert asyncio.run(narrowed()) == [4, 4, 4, 2]
