"""Turns: in the order of asking, one step at a time, not too many, not too late."""

from __future__ import annotations

import asyncio
import time

import pytest

from serving.turns import Late, Overloaded, Turns


async def worker(turns: Turns, name: str, steps: int, done: list[str]) -> None:
    with turns.admitted() as deadline:
        for _ in range(steps):
            await turns.take(lambda: done.append(name), deadline)


def test_a_short_request_passes_a_long_one() -> None:
    async def both() -> list[str]:
        turns, done = Turns(8, 10), []
        await asyncio.gather(worker(turns, "long", 9, done), worker(turns, "short", 1, done))
        return done

    done = asyncio.run(both())
    assert done.count("long") == 9
    assert done.index("short") <= 2


def test_requests_of_one_step_are_answered_in_their_order() -> None:
    async def all_of_them() -> list[str]:
        turns, done = Turns(50, 10), []
        await asyncio.gather(*(worker(turns, str(i), 1, done) for i in range(50)))
        return done

    assert asyncio.run(all_of_them()) == [str(i) for i in range(50)]


def test_one_too_many_is_refused_while_the_others_wait_and_room_comes_back() -> None:
    async def crowd() -> tuple[list[object], list[str]]:
        turns, done = Turns(3, 10), []
        first = await asyncio.gather(
            *(worker(turns, str(i), 2, done) for i in range(5)), return_exceptions=True
        )
        await worker(turns, "later", 1, done)
        return first, done

    ended, done = asyncio.run(crowd())
    assert [type(end) for end in ended] == [type(None)] * 3 + [Overloaded] * 2
    assert done[-1] == "later"
    assert len(done) == 7


def test_a_refused_or_failed_request_leaves_no_trace() -> None:
    async def failing() -> str:
        turns = Turns(1, 10)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError), turns.admitted() as deadline:
                await turns.take(lambda: 1 // 0, deadline)
        done: list[str] = []
        await worker(turns, "after", 1, done)
        return done[0]

    assert asyncio.run(failing()) == "after"


def test_who_waited_too_long_is_given_up() -> None:
    now = [0.0]

    async def late() -> None:
        turns = Turns(2, 5, clock=lambda: now[0])
        with turns.admitted() as deadline:
            now[0] = 5.0
            assert await turns.take(lambda: "in time", deadline) == "in time"
            now[0] = 5.1
            await turns.take(lambda: "late", deadline)

    with pytest.raises(Late):
        asyncio.run(late())


async def large(turns: Turns, name: str, steps: int, done: list[str]) -> None:
    with turns.admitted() as deadline:
        async with turns.alone(deadline):
            for _ in range(steps):
                await turns.take(lambda: done.append(name), deadline)


def test_large_requests_come_one_after_another_and_small_ones_between() -> None:
    async def crowd() -> list[str]:
        turns, done = Turns(8, 10), []
        await asyncio.gather(
            large(turns, "one", 9, done),
            large(turns, "two", 9, done),
            worker(turns, "small", 1, done),
        )
        return done

    done = asyncio.run(crowd())
    assert [name for name in done if name != "small"] == ["one"] * 9 + ["two"] * 9
    assert done.index("small") <= 2


def test_of_too_many_large_requests_the_first_are_answered() -> None:
    """Where all had shared the model, none would have been in time."""

    async def slow(turns: Turns) -> None:
        with turns.admitted() as deadline:
            async with turns.alone(deadline):
                for _ in range(5):
                    await turns.take(lambda: time.sleep(0.02), deadline)
                    await asyncio.sleep(0)

    async def crowd() -> list[object]:
        turns = Turns(20, 1.0)
        made = (slow(turns) for _ in range(20))
        ended = await asyncio.gather(*made, return_exceptions=True)
        await large(turns, "after", 1, [])  # nothing is held by those that were late
        return [type(end) for end in ended]

    ended = asyncio.run(crowd())
    assert ended[0] is type(None)
    assert ended[-1] is Late
