"""How answers are timed, after the scenarios of MLPerf Inference: single stream, offline, server.

A warm-up is never counted. Knows no models: what answers is a function.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evokd.watch import Tick

SHARES = (0.5, 0.9, 0.95, 0.99)
LOADS = {"50%": 0.5, "80%": 0.8}
FEW, MANY = 20, 20_000  # requests of a server: fewer say nothing, more take only memory
LEAST_AT_ONCE, MOST_COLD = 8, 10
WARM_UP = 5
SPIN = 0.001  # seconds before a request is due from which a sleep might end too late
Answer = Callable[[str], object]
AnswerAll = Callable[[Sequence[str]], object]


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds that only rise, and how to let some pass."""

    now: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], None] = time.sleep


CLOCK = Clock()


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured of every row.

    Attributes:
        queries: of the single stream; the texts begin again when they run out.
        seconds: of the single stream, which ends there, though not before `least` queries.
        least: queries that even the slowest row answers.
        turns: parts that the single stream of each row is cut into.
        offline: seconds of the offline scenario; it answers at least LEAST_AT_ONCE texts.
        server: seconds of each load of the server scenario; 0 leaves it out.
        processes: fresh processes each row is started in, for memory and start; 0 leaves it out.
        scored: texts that accuracy is worked out on at most; 0 leaves it out.
    """

    queries: int = 1024
    seconds: float = 20.0
    least: int = 5
    turns: int = 5
    offline: float = 10.0
    server: float = 10.0
    processes: int = 3
    scored: int = 500


FULL = Plan()
QUICK = Plan(128, seconds=2.0, least=2, turns=2, offline=1.0, server=1.0, processes=1, scored=40)
IN_A_RUN = Plan(256, seconds=0.8, turns=2, offline=0.3, server=0.3, processes=0, scored=0)


def single_stream(
    answers: Mapping[str, Answer], texts: Sequence[str], *, plan: Plan, clock: Clock, tick: Tick
) -> dict[str, dict[str, Any]]:
    """Let each answer one text after another; return percentiles in milliseconds.

    They take turns, so that what slows the machine for a while slows all of them.

    Returns:
        For each: mean, p50, p90, p95 and p99; under "interval" each one's 95 % interval, None
        where too few queries bound it; "queries" that were timed and the "texts" among them.
    """
    taken: dict[str, list[float]] = {name: [] for name in answers}
    for turn in range(1, plan.turns + 1):
        for name, answer in answers.items():
            _turn(answer, texts, taken[name], plan=plan, part=turn / plan.turns, clock=clock)
            tick()
    return {name: _facts(times, len(texts)) for name, times in taken.items()}


def cold(
    answer: Answer, forget: Callable[[], object], texts: Sequence[str], *, plan: Plan, clock: Clock
) -> float:
    """Return the median milliseconds of answers whose prompt is not in memory.

    Args:
        forget: makes the memory hold something else; not timed.
    """
    taken: list[float] = []
    for text in texts[:MOST_COLD]:
        if 2 * len(taken) >= plan.least and sum(taken) > 1000 * plan.seconds / 4:
            break
        forget()
        start = clock.now()
        answer(text)
        taken.append(1000 * (clock.now() - start))
    return statistics.median(taken)


def offline(
    answer_all: AnswerAll, texts: Sequence[str], *, plan: Plan, clock: Clock, one: float
) -> dict[str, Any]:
    """Answer many texts that are all there from the start; return texts a second.

    Args:
        one: seconds of one text alone: so many are given at once as fill the time.
    """
    fitting = int(plan.offline / one) if one > 0 else len(texts)
    given = texts[: max(LEAST_AT_ONCE, fitting)]
    passes, start = 0, clock.now()
    while not passes or clock.now() - start < plan.offline:
        answer_all(given)
        passes += 1
    seconds = (clock.now() - start) / passes
    return {
        "texts_per_second": len(given) / seconds if seconds else None,
        "at_once": len(given),
        "seconds": seconds,
    }


def server(
    answer: Answer, texts: Sequence[str], *, share: float, one: float, seconds: float, clock: Clock
) -> dict[str, Any] | None:
    """Answer requests that come at Poisson times, one worker; None where they would be few.

    A latency counts from when its request was due, so waiting for earlier ones is in it.

    Args:
        share: of what the single stream could answer that is asked.
        one: seconds of one text alone, on average.
    """
    rate = share / one
    if rate * seconds < FEW:
        return None
    chance = random.Random(0)
    end = min(seconds, MANY / rate)
    taken: list[float] = []
    due, start = chance.expovariate(rate), clock.now()
    while due < end:
        _wait(start + due, clock)
        answer(texts[len(taken) % len(texts)])
        taken.append(1000 * (clock.now() - start - due))
        due += chance.expovariate(rate)
    return {**percentiles(taken), "requests": len(taken), "rate": rate} if taken else None


def percentiles(taken: Sequence[float]) -> dict[str, float]:
    """Return p50, p90, p95 and p99."""
    # Values that were measured, as an interval's bounds are: no means of two neighbours.
    ranks = [100 * share for share in SHARES]
    values = np.percentile(taken, ranks, method="inverted_cdf")
    return {_name(share): float(value) for share, value in zip(SHARES, values, strict=True)}


def interval(
    taken: Sequence[float], share: float, *, sure: float = 0.95
) -> tuple[float | None, float | None]:
    """Return between which two of the values a percentile lies, whatever their distribution.

    By order statistics: how many of n values lie below the percentile is binomial. A bound that
    so few values do not give is None; the 99th percentile has none above under 368 values.

    Args:
        share: of values below the percentile, such as 0.99.
        sure: how often the interval holds the true percentile, at least.
    """
    n, ordered = len(taken), sorted(taken)
    below = np.cumsum([_binomial(k, n, share) for k in range(n + 1)])
    rest = (1 - sure) / 2
    low = int(np.searchsorted(below, rest, side="right"))  # P(fewer than low below) <= rest
    high = 1 + int(np.searchsorted(below, 1 - rest))  # P(fewer than high below) >= 1 - rest
    return (
        ordered[low - 1] if low >= 1 else None,
        ordered[high - 1] if high <= n else None,
    )


def _binomial(k: int, n: int, share: float) -> float:
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(share) + (n - k) * math.log1p(-share))


def _name(share: float) -> str:
    return f"p{100 * share:.0f}"


def _turn(
    answer: Answer,
    texts: Sequence[str],
    taken: list[float],
    *,
    plan: Plan,
    part: float,
    clock: Clock,
) -> None:
    """Warm up, then go on until this part of the plan is done."""
    _warm_up(answer, texts, plan, clock)
    while len(taken) < part * plan.queries:
        if len(taken) >= part * plan.least and sum(taken) >= 1000 * part * plan.seconds:
            break
        text = texts[len(taken) % len(texts)]
        start = clock.now()
        answer(text)
        taken.append(1000 * (clock.now() - start))


def _facts(taken: Sequence[float], texts: int) -> dict[str, Any]:
    intervals = {_name(share): interval(taken, share) for share in SHARES}
    counts = {"queries": len(taken), "texts": min(len(taken), texts)}
    mean = sum(taken) / len(taken)
    return {"mean": mean, **percentiles(taken), "interval": intervals, **counts}


def _warm_up(answer: Answer, texts: Sequence[str], plan: Plan, clock: Clock) -> None:
    """Answer a few texts unseen: one where that is slow."""
    start = clock.now()
    for text in texts[:WARM_UP]:
        answer(text)
        if clock.now() - start > plan.seconds / 20:
            break


def _wait(until: float, clock: Clock) -> None:
    while (left := until - clock.now()) > 0:
        if left > SPIN:
            clock.sleep(left - SPIN)
