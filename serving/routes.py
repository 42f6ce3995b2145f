"""What the service answers by itself, before BentoML: /predict, /info, /metrics, /docs.json, /.

BentoML's own way to an API method (spans, metrics, contexts, a thread) costs about half as much
again as the model. This ASGI layer answers the same question with the same desk; what it does not
know, such as /livez and /readyz, it passes on.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bentoml import get_current_service
from pydantic import ValidationError

from serving import metrics
from serving.desk import Desk, Stages
from serving.limits import CLOSE, OPEN_PATHS, App, Message, Receive, Scope, Send, refuse, reply
from serving.messages import Question, complaint
from serving.openapi import describe
from serving.turns import Late, Overloaded

access = logging.getLogger("bentoml.access")  # under "bentoml" the workers show it
log = logging.getLogger("bentoml.student")

PAGE = Path(__file__).parent / "page" / "index.html"
HTML = b"text/html; charset=utf-8"
KNOWN = frozenset({"/predict", "/info", "/", "/metrics", "/docs.json", *OPEN_PATHS})
POLICY = (
    b"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS = ((b"content-security-policy", POLICY), (b"x-content-type-options", b"nosniff"))
SOON = ((b"retry-after", b"1"),)
CROWDED, ONE_IN = 4, 8
"""Where so many requests are inside this worker, one answer in so many ends its connection.

Connections stay with the worker that took them, and one that is idle when many come together takes
nearly all. A caller who comes again is met by the worker that has time.
"""
Answerer = Callable[[Receive, Send], Awaitable[None]]


class Watched:
    """Counts, times and logs every request; a fault of ours becomes a 500 that says nothing more.

    The log has the path and never the body: no text of a caller is written down.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and see how it ends."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 0

        async def seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, seen)
        except Exception:
            log.exception("a request failed")
            if not status:
                await refuse(seen, 500, "something went wrong here; the log says what")
        finally:
            self._end(scope, status, time.perf_counter() - began)

    def _end(self, scope: Scope, status: int, seconds: float) -> None:
        path = scope["path"] if scope["path"] in KNOWN else "other"
        count, timed = metrics.ended(path, status)
        count.inc()
        timed.observe(seconds)
        if path in OPEN_PATHS:
            return  # probes would fill the log
        client = (scope.get("client") or ("-", 0))[0]
        access.info("%s %s %s %d %.1f ms", client, scope["method"], path, status, seconds * 1000)


class Routes:
    """Answers the paths it knows and passes the others on."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._page = PAGE.read_bytes()
        self._answered = 0
        self._answerers: dict[str, tuple[str, Answerer]] = {
            "/predict": ("POST", self._predict),
            "/info": ("GET", self._info),
            "/metrics": ("GET", self._metrics),
            "/docs.json": ("GET", self._docs),
            "/": ("GET", self._home),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass the request on."""
        found = self._answerers.get(scope["path"]) if scope["type"] == "http" else None
        if found is None:
            await self.app(scope, receive, send)
        elif scope["method"] != found[0]:
            allow = (b"allow", found[0].encode("ascii"))
            await refuse(send, 405, f"{scope['path']} is for {found[0]}", headers=[allow])
        else:
            await found[1](receive, send)

    async def _predict(self, receive: Receive, send: Send) -> None:
        body = await _whole(receive)
        try:
            question = Question.model_validate_json(body)
        except ValidationError as error:
            told = complaint(error.errors(include_url=False, include_input=False))
            await reply(send, 400, told.model_dump_json().encode("utf-8"))
            return
        try:
            answers, stages = await _desk().answer(question)
        except Overloaded:
            await refuse(send, 429, "too many requests are waiting; ask again", headers=SOON)
        except Late:
            await refuse(send, 503, "this took too long; ask for less, or again", headers=SOON)
        else:
            body = answers.model_dump_json(exclude_unset=True).encode("utf-8")
            headers = [(b"server-timing", _timing(stages)), *self._parting()]
            await reply(send, 200, body, headers=headers)

    def _parting(self) -> list[tuple[bytes, bytes]]:
        self._answered += 1
        crowded = _desk().turns.inside >= CROWDED
        return [CLOSE] if crowded and self._answered % ONE_IN == 0 else []

    async def _info(self, _receive: Receive, send: Send) -> None:
        await reply(send, 200, _desk().info.model_dump_json().encode("utf-8"))

    async def _metrics(self, _receive: Receive, send: Send) -> None:
        await reply(send, 200, metrics.render(), media=metrics.MEDIA)

    async def _docs(self, _receive: Receive, send: Send) -> None:
        documents = describe(_desk().info.kind)
        await reply(send, 200, json.dumps(documents, ensure_ascii=False).encode("utf-8"))

    async def _home(self, _receive: Receive, send: Send) -> None:
        await reply(send, 200, self._page, media=HTML, headers=PAGE_HEADERS)


def _desk() -> Desk:
    desk: Desk = get_current_service().desk
    return desk


async def _whole(receive: Receive) -> bytes:
    """Return a body that `BodyMiddleware` has let in."""
    parts = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _timing(stages: Stages) -> bytes:
    times = stages.milliseconds().items()
    return ", ".join(f"{name};dur={ms}" for name, ms in times).encode("ascii")
