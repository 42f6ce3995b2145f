"""Turns: in the order of asking, one step at a time, not too many, not too late."""

from __future__ import annotations

import asyncio

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
