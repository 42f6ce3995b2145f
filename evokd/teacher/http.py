"""A teacher behind HTTP: llama-server, vLLM, llama-cpp-python's server, any OpenAI-like endpoint.

`remote` asks one request, in the words of `dialect` and over `wire`; here many are asked at once.
An event loop in a thread of its own does the waiting; callbacks run in the caller's thread.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from pathlib import PurePath
from queue import SimpleQueue
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Self, TypeVar

from evokd.errors import TeacherError
from evokd.settings import TeacherSettings
from evokd.teacher import Generate, OnScored, OnWritten, Score, Scored, Written
from evokd.teacher.address import parse_address
from evokd.teacher.recognise import recognise
from evokd.teacher.remote import Remote
from evokd.teacher.wire import Patience, Wire

Q = TypeVar("Q")
R = TypeVar("R")


class HttpTeacher:
    """A model that a server holds; a `Teacher`.

    Several threads may call it at once. `on_done` must not call the teacher.

    Args:
        settings: `model` is the address, such as "http://127.0.0.1:8080/v1#name"; as many
            requests as `sequences` are under way at once.
        key: the server's key, "" when it wants none.
        patience: how long to wait for it and how often to ask.

    Raises:
        TeacherError: when nobody answers there, or it is not clear which model is meant.
    """

    def __init__(
        self, settings: TeacherSettings, *, key: str = "", patience: Patience | None = None
    ) -> None:
        address = parse_address(settings.model)
        self._most = settings.side_by_side
        self._wire = Wire(address, key=key, most=self._most, patience=patience or Patience())
        loop = asyncio.new_event_loop()
        self._loop: asyncio.AbstractEventLoop | None = loop
        self._turn = Lock()  # nothing is begun on a loop that is about to stop
        self._thread = Thread(target=loop.run_forever, name="http-teacher", daemon=True)
        self._thread.start()
        try:
            dialect = self._begin(recognise(self._wire, address.model)).result()
        except BaseException:
            self.close()
            raise
        self._remote = Remote(self._wire, dialect)

    @property
    def name(self) -> str:
        """The server's name for the model; of a path, the file's name."""
        model = self._remote.dialect.model
        return PurePath(model).stem if model.endswith(".gguf") else model

    @property
    def fingerprint(self) -> str:
        """Model, kind and build of the server, and how it scores."""
        d = self._remote.dialect
        return " ".join(f"{d.model} {d.server} {d.build} {d.way}".split())

    def generate(
        self, requests: Sequence[Generate], on_done: OnWritten | None = None
    ) -> list[Written]:
        """Answer every request; `on_done(index, reply)` is called as each one ends.

        Raises:
            TeacherError: when a request fails for good; no new ones are begun then, and those
                under way are still reported.
        """
        return self._all(requests, self._remote.write, on_done)

    def score(self, requests: Sequence[Score], on_done: OnScored | None = None) -> list[Scored]:
        """Score every request's choices; `on_done(index, scored)` is called as each one ends.

        `search` "auto" is "best" here: choices far behind the best are `bounded`. Where a server
        cannot be made to write a choice, "all" is no more than that, and no baseline is taken off;
        where it tells no log-probabilities, all but its answer are at a floor. See `Dialect.way`.

        Raises:
            TeacherError: as `generate` does.
        """
        if not all(request.choices for request in requests):
            raise ValueError("a Score needs at least one choice")
        return self._all(requests, self._remote.score, on_done)

    def check(self, requests: Sequence[Generate | Score]) -> None:
        """Raise nothing: a server says only when it is asked that a prompt is too long for it."""

    def close(self) -> None:
        """Break off what is under way and hang up; a second time does nothing.

        Calls that other threads wait for end in a TeacherError.
        """
        with self._turn:
            loop, self._loop = self._loop, None
        if loop is None:
            return
        asyncio.run_coroutine_threadsafe(self._hang_up(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join()
        loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- many at once -------------------------------------------------------------------------

    def _all(
        self,
        requests: Sequence[Q],
        answer: Callable[[Q], Awaitable[R]],
        on_done: Callable[[int, R], None] | None,
    ) -> list[R]:
        """Answer all requests, `sequences` at a time, and report them in the caller's thread."""
        waiting = deque(enumerate(requests))
        done: SimpleQueue[tuple[int, R] | None] = SimpleQueue()
        problems: list[Exception] = []

        async def work() -> None:
            while waiting:
                index, request = waiting.popleft()
                try:
                    done.put((index, await answer(request)))
                except Exception as problem:
                    waiting.clear()
                    problems.append(problem)

        async def everybody() -> None:
            await asyncio.gather(*(work() for _ in range(min(self._most, len(requests)))))

        future = self._begin(everybody())
        future.add_done_callback(lambda _: done.put(None))
        results: dict[int, R] = {}
        try:
            while item := done.get():
                results[item[0]] = item[1]
                if on_done:
                    on_done(*item)
        finally:  # whatever breaks the wait off, Ctrl-C too, breaks off the rest
            future.cancel()
        if problems:
            raise problems[0]
        if len(results) < len(requests):
            raise TeacherError("the teacher was closed while it answered", "run again")
        return [results[index] for index in range(len(requests))]

    def _begin(self, work: Coroutine[Any, Any, R]) -> Future[R]:
        with self._turn:
            if self._loop is None:
                work.close()
                raise ValueError("the teacher is closed")
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _hang_up(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._wire.close()
