"""What a running service loses when a worker is killed under load, and when it is asked to end."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from typing import Any

import psutil

from benchmarks.load_client import DROPPED, Sample, connect, open_loop

PATIENCE_S = 30.0


def workers_of(pid: int) -> set[int]:
    """Return the worker processes that live below the process `pid`."""
    found = set()
    for child in psutil.Process(pid).children(recursive=True):
        try:
            if child.status() != psutil.STATUS_ZOMBIE and "--worker-id" in child.cmdline():
                found.add(child.pid)
        except psutil.Error:
            continue  # it ended while it was looked at
    return found


async def kill_a_worker(
    pid: int, port: int, requests: Sequence[bytes], *, rate: float, seconds: float
) -> dict[str, Any]:
    """Kill one worker of the service under load, as the kernel would.

    Returns:
        "requests", those "lost" without an answer, "refused" ones, and "back_s": seconds until
        there are as many workers as before and all answer; None when that did not happen.
    """
    before = workers_of(pid)
    load = asyncio.create_task(open_loop(port, requests, rate=rate, seconds=seconds, seed=3))
    await asyncio.sleep(seconds / 4)
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    killed = time.perf_counter()
    back = None
    while back is None and time.perf_counter() - killed < PATIENCE_S:
        await asyncio.sleep(0.1)
        now = workers_of(pid)
        if len(now) == len(before) and victim not in now:
            back = time.perf_counter() - killed
    sample: Sample = await load
    refused = sum(n for status, n in sample.statuses.items() if status not in (200, DROPPED))
    return {
        "requests": sample.statuses.total(),
        "lost": sample.statuses[DROPPED],
        "refused": refused,
        "back_s": back,
    }


async def end_in_flight(pid: int, port: int, request: bytes, *, clients: int) -> dict[str, int]:
    """Ask the service to end while requests are in flight; return how many there were, and lost."""
    connections = [c for c in [await connect(port) for _ in range(clients)] if c]
    asked = [asyncio.create_task(connection.ask(request)) for connection in connections]
    await asyncio.sleep(0.05)
    os.kill(pid, signal.SIGTERM)
    statuses = await asyncio.gather(*asked)
    return {"in_flight": len(statuses), "lost": sum(status != 200 for status in statuses)}
