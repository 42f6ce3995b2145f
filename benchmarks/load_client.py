"""A cheap HTTP client for load: many connections in one event loop, next to no work a request."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
MOST_CONNECTIONS = 512
DROPPED = 0
"""Status of a request that got no answer."""


@dataclass(slots=True)
class Sample:
    """What came back: seconds of every answered request, and how many of every status."""

    seconds: float
    answered: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    def add(self, status: int, seconds: float) -> None:
        """Note one request; only an answer with a label counts as answered."""
        self.statuses[status] += 1
        if status == 200:
            self.answered.append(seconds)

    def facts(self) -> dict[str, object]:
        """Return requests a second, percentiles in milliseconds, and statuses other than 200."""
        p50, p90, p99 = np.percentile(self.answered or [np.nan], (50, 90, 99)) * 1000
        others = {str(status): n for status, n in sorted(self.statuses.items()) if status != 200}
        return {
            "rps": len(self.answered) / self.seconds,
            **{"p50_ms": float(p50), "p90_ms": float(p90), "p99_ms": float(p99)},
            **{"p99_over_p50": float(p99 / p50), "requests": self.statuses.total()},
            "not_200": others,
        }


class Connection(asyncio.Protocol):
    """One kept-open connection that carries one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[int] | None = None
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Collect; when the answer is whole, hand over its status."""
        self._held += data
        head, end, body = self._held.partition(b"\r\n\r\n")
        found = LENGTH.search(head) if end else None
        if found and len(body) >= int(found[1]) and self._answer and not self._answer.done():
            self._held = b""
            self._answer.set_result(int(head[9:12]))
            if b"\r\nconnection: close" in head.lower():
                self.close()

    def connection_lost(self, _error: Exception | None) -> None:
        """Tell whoever waits that nothing will come."""
        self._transport = None
        if self._answer and not self._answer.done():
            self._answer.set_result(DROPPED)

    async def ask(self, request: bytes) -> int:
        """Send a request; return the status of its answer."""
        if self._transport is None:
            return DROPPED
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    @property
    def open(self) -> bool:
        """Whether another request can be sent."""
        return self._transport is not None

    def close(self) -> None:
        """Close it."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None


def requests_of(texts: Sequence[str], *, key: str = "") -> list[bytes]:
    """Return whole HTTP requests that ask for the label of each text."""
    bodies = [json.dumps({"text": text}).encode() for text in texts]
    head = "POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    head += f"X-API-Key: {key}\r\n" if key else ""
    return [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]


async def connect(port: int) -> Connection | None:
    """Open a connection; None when nobody listens."""
    try:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, "127.0.0.1", port)
    except OSError:
        return None
    return connection


async def closed_loop(
    port: int, requests: Sequence[bytes], *, clients: int, seconds: float
) -> Sample:
    """Let each client ask again as soon as it was answered: what the server can do at most."""
    sample = Sample(seconds)
    end = time.perf_counter() + seconds

    async def client(number: int) -> None:
        connection = await connect(port)
        turn = number * 7
        while connection and (begun := time.perf_counter()) < end:
            if not connection.open:  # a server may end it; coming again is part of the time
                connection = await connect(port)
                continue
            status = await connection.ask(requests[turn % len(requests)])
            sample.add(status, time.perf_counter() - begun)
            turn += 1
            if status == DROPPED:
                break
        if connection:
            connection.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    return sample


async def open_loop(
    port: int, requests: Sequence[bytes], *, rate: float, seconds: float, seed: int
) -> Sample:
    """Ask at Poisson times whatever the server does; time runs from when a request was due."""
    sample = Sample(seconds)
    draw = random.Random(seed)
    free: list[Connection] = []
    tasks: set[asyncio.Task[None]] = set()

    async def one(number: int, due: float) -> None:
        # What the server closed meanwhile carries nothing: no request is lost with it.
        while free and not free[-1].open:
            free.pop()
        connection = free.pop() if free else await connect(port)
        status = await connection.ask(requests[number % len(requests)]) if connection else DROPPED
        sample.add(status, time.perf_counter() - due)
        if connection and connection.open:
            free.append(connection)

    due = start = time.perf_counter()
    number = 0
    while due < start + seconds:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        if len(tasks) < MOST_CONNECTIONS:
            task = asyncio.ensure_future(one(number, due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        else:
            sample.add(DROPPED, 0.0)
        number += 1
        due += draw.expovariate(rate)
    await asyncio.gather(*tasks)
    for connection in free:
        connection.close()
    return sample
