"""An HTTP server for tests that breaks at will, on 127.0.0.1 and a free port."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import pytest
from fakes import user

from evokd.settings import TeacherSettings
from evokd.teacher import Generate
from evokd.teacher.http import HttpTeacher
from evokd.teacher.wire import Patience


@dataclass(frozen=True)
class Asked:
    """A request that reached the server."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any

    @property
    def tries(self) -> bool:
        """Whether it is the question by which the teacher finds out whether a chat tells more."""
        said = self.body["messages"][-1]["content"] if "logprobs" in (self.body or {}) else ""
        return bool(said == "Hello")


@dataclass(frozen=True)
class Reply:
    """What it answers, or how it fails.

    Attributes:
        length: the Content-Length that is claimed, the true one when None.
        pause: seconds before the answer; ends early when the server stops.
        reset: break the connection without an answer.
    """

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: str = "application/json"
    length: int | None = None
    pause: float = 0.0
    reset: bool = False

    @property
    def data(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


Answer = Callable[[Asked], Reply | None]
Serve = Callable[..., "Server"]


class Server:
    """A server with an answer to every request; `faults` come first, for chat questions.

    The question by which the teacher tries out what the server tells meets no faults.

    Attributes:
        asked: every request, in order.
        faults: replies that the next chat questions get instead.
        most: how many questions were under way at once.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer, self.asked, self.faults = answer, list[Asked](), deque[Reply]()
        self.most = self._now = 0
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def questions(self, path: str = "/v1/chat/completions") -> list[Asked]:
        return [asked for asked in self.asked if asked.path == path and not asked.tries]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._http.shutdown()
        self._http.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self._do(None)

            def do_POST(self) -> None:
                self._do(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _do(self, body: Any) -> None:
                server._serve(self, Asked(self.command, self.path, dict(self.headers), body))

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler

    def _serve(self, handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        with self._lock:
            self.asked.append(asked)
            self._now += 1
            self.most = max(self.most, self._now)
            chat = asked.path.endswith("/chat/completions")
            faulty = self.faults and chat and not asked.tries
            reply = self.faults.popleft() if faulty else None
        try:
            self._send(handler, reply or self.answer(asked) or Reply({"error": "none"}, 404))
        except OSError:
            handler.close_connection = True
        finally:
            with self._lock:
                self._now -= 1

    def _send(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        self._stop.wait(reply.pause)
        if reply.reset:  # lingering for 0 s makes closing send a reset
            linger = struct.pack("ii", 1, 0)
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            handler.connection.close()
            handler.close_connection = True
            return
        handler.send_response(reply.status)
        handler.send_header("Content-Type", reply.kind)
        length = len(reply.data) if reply.length is None else reply.length
        handler.send_header("Content-Length", str(length))
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(reply.data)
        if length > len(reply.data):
            handler.close_connection = True


# -- a teacher that speaks to it -----------------------------------------------------------------


@dataclass
class Pauses:
    """Notes the pauses that are asked for, and takes none."""

    taken: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.taken.append(seconds)
        await asyncio.sleep(0)

    def patience(self, **changes: Any) -> Patience:
        return replace(Patience(sleep=self.sleep, clock=lambda: 1_700_000_000.0), **changes)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start servers, which stop with the test."""
    begun: list[Server] = []

    def start(answer: Answer, *faults: Reply) -> Server:
        server = Server(answer)
        server.faults.extend(faults)
        begun.append(server.__enter__())
        return server

    yield start
    for server in begun:
        server.__exit__(None, None, None)


def teacher(
    url: str, pauses: Pauses, *, key: str = "", most: int = 8, **changes: Any
) -> HttpTeacher:
    given = TeacherSettings(model=url, sequences=most)
    return HttpTeacher(given, key=key, patience=pauses.patience(**changes))


def asks(count: int) -> list[Generate]:
    return [Generate(user(f"number {i}"), seed=i) for i in range(count)]
