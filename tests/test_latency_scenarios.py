"""benchmarks.latency.scenarios: what is timed, what is waited for, and how sure a percentile is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.latency.scenarios import (
    FULL,
    LEAST_AT_ONCE,
    Clock,
    Plan,
    cold,
    interval,
    offline,
    server,
    single_stream,
)


class World:
    """Time that passes only when somebody works or sleeps; a look at the clock takes a little."""

    def __init__(self, look: float = 1e-6) -> None:
        self.now = 0.0
        self.look = look
        self.answered: list[str] = []
        self.slept = 0.0

    @property
    def clock(self) -> Clock:
        return Clock(self._see, self._sleep)

    def work(self, seconds: float, text: str = "") -> None:
        self.answered.append(text)
        self.now += seconds

    def _see(self) -> float:
        self.now += self.look
        return self.now

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds


@given(
    step=st.floats(0.001, 100),
    seconds=st.floats(0.1, 100),
    queries=st.integers(1, 60),
    turns=st.integers(1, 4),
)
def test_a_stream_stops_after_its_seconds_but_not_too_soon(
    step: float, seconds: float, queries: int, turns: int
) -> None:
    world = World(0)
    plan = replace(FULL, queries=queries, seconds=seconds, turns=turns)
    made = stream(world, {"row": lambda text: world.work(step)}, ["x"] * 7, plan)["row"]
    assert min(queries, plan.least) <= made["queries"] <= queries
    if made["queries"] < queries:
        assert made["queries"] * step >= seconds * 0.999
        assert (made["queries"] - 1) * step < seconds * 1.001 or made["queries"] == plan.least
    assert made["p50"] == pytest.approx(1000 * step)
    assert made["mean"] == pytest.approx(1000 * step)
    assert made["texts"] == min(7, made["queries"])


def test_texts_begin_again_and_the_warm_up_is_not_counted() -> None:
    world = World()
    plan = replace(FULL, queries=5, turns=1)
    made = stream(world, {"row": lambda text: world.work(0.001, text)}, ["a", "b", "c"], plan)
    assert world.answered == ["a", "b", "c", *"abcab"]
    assert made["row"]["queries"] == 5


def test_the_warm_up_of_something_slow_is_one_text() -> None:
    world = World()
    plan = replace(FULL, least=2, turns=1)
    stream(world, {"row": lambda text: world.work(30, text)}, ["a", "b", "c"], plan)
    assert world.answered == ["a", "a", "b"]


def test_rows_take_turns_so_that_a_slow_while_slows_all() -> None:
    world = World(0)

    def answer(text: str) -> None:
        world.work(0.02 if world.now > 1 else 0.01)

    plan = replace(FULL, queries=100, turns=5)
    made = stream(world, {"one": answer, "other": answer}, ["x"], plan)
    assert made["one"]["queries"] == made["other"]["queries"] == 100
    assert made["one"]["mean"] == pytest.approx(made["other"]["mean"], rel=0.1)


def stream(
    world: World, answers: dict[str, Callable[[str], None]], texts: list[str], plan: Plan
) -> dict[str, dict[str, Any]]:
    ticks: list[None] = []
    made = single_stream(
        answers, texts, plan=plan, clock=world.clock, tick=lambda: ticks.append(None)
    )
    assert len(ticks) == plan.turns * len(answers)
    return made


def below(n: int, share: float, values: range) -> float:
    return sum(math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in values)


@given(n=st.integers(1, 300), share=st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_an_interval_holds_the_percentile_as_often_as_it_says(n: int, share: float) -> None:
    low, high = interval([float(i) for i in range(1, n + 1)][::-1], share)
    first, last = int(low or 0), int(high or n + 1)
    assert first < last
    # The percentile lies between value `first` and value `last` when as many values are below it.
    assert below(n, share, range(first, last)) >= 0.95 - 1e-9
    assert below(n, share, range(first + 1)) > 0.025 - 1e-9  # no narrower one would do
    assert below(n, share, range(last - 1)) < 0.975 + 1e-9


def test_the_99th_percentile_of_few_values_has_no_bound_above() -> None:
    values = list(np.linspace(0, 1, 368))
    assert interval(values[:367], 0.99)[1] is None
    assert interval(values, 0.99)[1] == 1.0
    assert interval([3.0], 0.5) == (None, None)


@pytest.mark.parametrize(("seconds", "count"), [(0.1, 10), (60.0, 3)])
def test_cold_answers_come_after_something_else(seconds: float, count: int) -> None:
    world = World()

    def answer(text: str) -> None:
        assert world.answered[-1] == "else"
        world.work(seconds, text)

    texts = list("abcdefghijklm")
    made = cold(answer, lambda: world.work(5, "else"), texts, plan=FULL, clock=world.clock)
    assert made == pytest.approx(1000 * seconds, rel=1e-3)
    assert world.answered[1::2] == texts[:count]


def test_offline_answers_as_many_at_once_as_fill_the_time() -> None:
    world = World(0)
    given_: list[int] = []

    def answer_all(texts: object) -> None:
        given_.append(len(texts))  # type: ignore[arg-type]
        world.now += 1 + 0.1 * given_[-1]  # the prompt's beginning, then each text

    texts = ["x"] * 100
    made = offline(answer_all, texts, plan=replace(FULL, offline=50), clock=world.clock, one=1.1)
    assert made["at_once"] == 45
    assert made["seconds"] == pytest.approx(5.5)
    assert made["texts_per_second"] == pytest.approx(45 / 5.5)
    assert len(given_) == 10  # passes until 50 seconds are over
    made = offline(answer_all, texts, plan=replace(FULL, offline=1), clock=world.clock, one=60.0)
    assert made["at_once"] == LEAST_AT_ONCE
    made = offline(answer_all, texts[:3], plan=replace(FULL, offline=1), clock=world.clock, one=9.0)
    assert made["at_once"] == 3


def test_requests_come_at_the_asked_rate_and_an_idle_worker_answers_at_once() -> None:
    world = World()
    made = server(
        lambda text: world.work(1e-6),
        ["x"],
        share=1e-4,
        one=1e-6,
        seconds=100.0,
        clock=world.clock,
    )
    assert made is not None
    assert made["rate"] == pytest.approx(100)
    assert made["requests"] == pytest.approx(10_000, rel=0.05)  # Poisson: a deviation is 100
    assert made["p99"] < 0.1  # milliseconds
    assert world.slept > 50


def test_latency_counts_from_when_a_request_was_due() -> None:
    world = World()

    def answer(text: str) -> None:
        world.work(1.0 if len(world.answered) == 100 else 1e-4)  # it stalls once

    made = server(answer, ["x"], share=0.01, one=1e-4, seconds=10.0, clock=world.clock)
    assert made is not None
    # 100 requests a second: a tenth of them met the stall and waited for half of it on average.
    assert 1 < made["p95"] < 1000
    assert made["p99"] > 700
    assert made["p50"] < 1


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_waiting_is_that_of_a_queue_with_one_worker(share: float) -> None:
    world = World()
    made = server(
        lambda text: world.work(0.01), ["x"], share=share, one=0.01, seconds=150.0,
        clock=world.clock,
    )  # fmt: skip
    assert made is not None
    mean_wait = 0.01 * share / (2 * (1 - share))  # Pollaczek-Khinchine, all services alike
    assert made["p50"] / 1000 < 0.01 + 2 * mean_wait
    assert made["p99"] / 1000 > 0.01 + 2 * mean_wait


def test_few_requests_say_nothing() -> None:
    world = World()
    slow = server(world.work, ["x"], share=0.8, one=3.0, seconds=10.0, clock=world.clock)  # type: ignore[arg-type]
    assert slow is None
    assert world.answered == []
    assert server(len, ["x"], share=0.8, one=0.001, seconds=0, clock=world.clock) is None
