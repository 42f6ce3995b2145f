"""What one request may cost, and who may ask: body size and API key, as ASGI middleware."""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from evokd.errors import InputError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

API_KEY = "EVOKD_API_KEY"
JSON = b"application/json"
OPEN_PATHS = frozenset({"/livez", "/readyz"})
"""Paths that need no key, so that an orchestrator can probe them."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one request may hold."""

    texts: int = 64
    characters: int = 10_000
    body_bytes: int = 1024 * 1024


LIMITS = Limits()


def api_key() -> str | None:
    """Return the key that callers must show, from the environment; None when nobody needs one.

    Raises:
        InputError: when the variable is set but blank, for that is a secret gone missing.
    """
    key = os.environ.get(API_KEY)
    if key is not None and not key.strip():
        raise InputError(f"{API_KEY}: is empty", "set a key, or unset the variable to need none")
    return key


class KeyMiddleware:
    """Answers 401 where the key of the environment is not shown.

    It is read as `Authorization: Bearer KEY` or `X-API-Key: KEY`.
    """

    def __init__(self, app: App) -> None:
        self.app = app
        key = api_key()
        self._key = None if key is None else key.encode("utf-8")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or self._admits(scope):
            await self.app(scope, receive, send)
        else:
            await _refuse(send, 401, "an API key is needed: Authorization: Bearer KEY")

    def _admits(self, scope: Scope) -> bool:
        return self._key is None or hmac.compare_digest(_shown_key(scope), self._key)


class BodyMiddleware:
    """Answers 413 where the body is too large and 415 where it is not JSON, before it is parsed."""

    def __init__(self, app: App, max_bytes: int = LIMITS.body_bytes) -> None:
        self.app = app
        self._max = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body within the limit and pass it on whole, or refuse the request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        media = headers.get(b"content-type", JSON).partition(b";")[0].strip().lower()
        if scope["method"] == "POST" and media != JSON:
            await _refuse(send, 415, "send JSON: Content-Type: application/json")
            return
        body = await self._read(headers.get(b"content-length", b"0"), receive)
        if body is None:
            await _refuse(send, 413, f"the body is larger than {self._max} bytes")
            return
        await self.app(scope, _replay(body, receive), send)

    async def _read(self, declared: bytes, receive: Receive) -> list[Message] | None:
        """Return the body's messages; None when it is too large, whatever its header declared."""
        if not declared.isdigit() or int(declared) > self._max:
            return None
        messages: list[Message] = []
        size = 0
        more = True
        while more:
            message = await receive()
            messages.append(message)
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
            if size > self._max:
                return None
        return messages


def _replay(messages: list[Message], receive: Receive) -> Receive:
    pending = iter(messages)

    async def replayed() -> Message:
        message = next(pending, None)
        return await receive() if message is None else message

    return replayed


def _shown_key(scope: Scope) -> bytes:
    headers: dict[bytes, bytes] = dict(scope["headers"])
    scheme, _, bearer = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return bearer.strip()
    return headers.get(b"x-api-key", b"")


async def _refuse(send: Send, status: int, message: str) -> None:
    body = json.dumps({"error": message}).encode("utf-8")
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status == 413:
        # The rest of the body was not read, so the connection cannot carry another request.
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
