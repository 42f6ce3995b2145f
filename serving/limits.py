"""What one request may cost, and who may ask: body size and API key, as ASGI middleware."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
import os
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from evokd.errors import InputError

CLOSE = (b"connection", b"close")
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

API_KEY = "EVOKD_API_KEY"
WITHOUT_KEY = "EVOKD_WITHOUT_KEY"
JSON = b"application/json"
BODY_SECONDS = 20.0
"""A body that takes longer to come is refused."""
POLICY = 1008  # code with which a WebSocket is closed that is not wanted (RFC 6455)
OPEN_PATHS = frozenset({"/livez", "/readyz"})
"""Paths that need no key, so that an orchestrator can probe them."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that one request may hold."""

    texts: int = 64
    characters: int = 10_000
    characters_in_all: int = 64_000
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
    return key and key.strip()  # a secret from a file often ends in a line break


@lru_cache(maxsize=64)
def is_local(host: str) -> bool:
    """Return whether an address or name means this machine, so that no stranger gets there."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class KeyMiddleware:
    """Answers 401 where the key of the environment is not shown.

    It is read as `Authorization: Bearer KEY`, as `X-API-Key: KEY`, or as the password of HTTP
    Basic, which is what browsers ask for. Without a key only this machine may ask.
    """

    def __init__(self, app: App) -> None:
        self.app = app
        key = api_key()
        self._key = None if key is None else _digest(key.encode("utf-8"))
        self._everyone = os.environ.get(WITHOUT_KEY) == "1"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "websocket":  # which the service has none of
            await send({"type": "websocket.close", "code": POLICY})
        elif scope["type"] == "lifespan" or scope["path"] in OPEN_PATHS:
            await self.app(scope, receive, send)
        elif self._key is None:
            await self._keyless(scope, receive, send)
        elif hmac.compare_digest(_digest(_shown_key(scope)), self._key):
            await self.app(scope, receive, send)
        else:
            scheme = b'Basic realm="student"' if scope["path"] == "/" else b"Bearer"
            message = "an API key is needed: Authorization: Bearer KEY"
            await refuse(send, 401, message, headers=[(b"www-authenticate", scheme)])

    async def _keyless(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._everyone or _is_neighbour(scope):
            await self.app(scope, receive, send)
        else:
            message = f"only this machine may ask: set {API_KEY}, or {WITHOUT_KEY}=1 to let all ask"
            await refuse(send, 403, message)


class BodyMiddleware:
    """Answers 413 where the body is too large and 415 where it is not JSON, before it is parsed."""

    def __init__(
        self, app: App, max_bytes: int = LIMITS.body_bytes, seconds: float = BODY_SECONDS
    ) -> None:
        self.app = app
        self._max = max_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body within the limit and pass it on whole, or refuse the request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        media = headers.get(b"content-type", JSON).partition(b";")[0].strip().lower()
        if scope["method"] == "POST" and media != JSON:
            await refuse(send, 415, "send JSON: Content-Type: application/json")
            return
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._read(headers.get(b"content-length", b"0"), receive)
        except TimeoutError:
            await refuse(send, 408, "the body took too long to come", headers=[CLOSE])
            return
        if body is None:
            message = f"the body is larger than {self._max} bytes"
            # The rest of it was not read, so the connection cannot carry another request.
            await refuse(send, 413, message, headers=[CLOSE])
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
    scheme, _, value = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return value.strip()
    if scheme.lower() == b"basic":
        return _password(value.strip())
    return headers.get(b"x-api-key", b"")


def _is_neighbour(scope: Scope) -> bool:
    """Return whether a request came to an address of this machine and by a name of it.

    The address is the one that was reached, whatever started this service; a Unix socket has none.
    A proxy here, or a web page whose name was bent to this machine, calls it by another name.
    """
    host, port = scope.get("server") or ("", None)
    name = dict(scope["headers"]).get(b"host", b"localhost")
    return port is None or (is_local(host) and _names_here(name))


@lru_cache(maxsize=64)
def _names_here(name: bytes) -> bool:
    try:
        return is_local(urlsplit(f"//{name.decode('latin-1')}").hostname or "")
    except ValueError:
        return False


def _password(basic: bytes) -> bytes:
    try:
        return base64.b64decode(basic, validate=True).partition(b":")[2]
    except binascii.Error:
        return b""


def _digest(key: bytes) -> bytes:
    """Return a digest of one length, so that comparing tells nothing of the key's length."""
    return hashlib.sha256(key).digest()


async def refuse(
    send: Send, status: int, message: str, *, headers: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    """Answer with a status and one line that says why."""
    await reply(send, status, json.dumps({"error": message}).encode(), headers=headers)


async def reply(
    send: Send,
    status: int,
    body: bytes,
    *,
    media: bytes = JSON,
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """Send a whole answer."""
    lines = [(b"content-type", media), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})
