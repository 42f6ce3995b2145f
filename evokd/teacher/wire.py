"""Talk to one HTTP server: its address, its key, and asking again where that may help.

Knows nothing of language models. The key goes to this one server: redirects are not followed, and
it is part of no message, no log and no repr.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

from evokd.errors import MissingExtra, TeacherError
from evokd.teacher import KEY

try:
    import httpx
except ImportError as missing:
    raise MissingExtra("teacher", missing) from missing

PASSING = frozenset({408, 425, 429, *range(500, 600)}) - {501, 505}
MOST_BYTES = 32 << 20
SHOWN = 200  # letters of a server's complaint that are repeated
EXAMPLE = "teacher.model is like http://127.0.0.1:8080/v1, or .../v1#MODEL where it has several"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is.

    Attributes:
        base: what OpenAI's paths are added to, such as "http://127.0.0.1:8080/v1".
        model: the model named after "#", empty when none is.
        near: whether it is this machine or one with a private address.
    """

    base: str
    model: str
    near: bool

    @property
    def root(self) -> str:
        """What the server's own paths are added to."""
        return self.base.removesuffix("/v1")


def parse_address(text: str) -> Address:
    """Return the address that `teacher.model` names.

    Raises:
        TeacherError: when it is no address, or carries a password or a query.
    """
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as problem:
        raise TeacherError(f"teacher.model is no address: {problem}", EXAMPLE) from None
    if url.userinfo or url.query:
        raise TeacherError(
            f"teacher.model must not hold a key or a query: {url.scheme}://{url.host}",
            f"put the key into the environment variable {KEY}",
        )
    if url.scheme not in ("http", "https") or not url.host or (url.port or 0) > 65535:
        raise TeacherError(f"teacher.model is no address: {text}", EXAMPLE)
    path = url.path.rstrip("/") or "/v1"
    base = str(url.copy_with(path=path, fragment=None)).rstrip("/")
    return Address(base, url.fragment.strip(), _is_near(url.host))


def _is_near(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_private


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server is waited for; all times in seconds.

    Attributes:
        attempts: how often a question is put before it counts as failed.
        first: pause after the first attempt; it doubles with each, and half of it is random.
        longest: the pause does not grow beyond this.
        asked: how long a pause the server may ask for (Retry-After).
        answer: how long one answer may take.
        seed: of the random half.
        sleep, clock: replaced in tests.
    """

    attempts: int = 6
    first: float = 0.5
    longest: float = 30.0
    asked: float = 300.0
    answer: float = 900.0
    seed: int = 0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.time


class _Passing(Exception):
    """A failure that may be gone at the next attempt; `pause` is what the server asks for."""

    def __init__(self, message: str, pause: float = 0.0) -> None:
        super().__init__(message)
        self.pause = pause


class Wire:
    """A connection pool to one server. All of it runs in one event loop.

    Args:
        address: where the server is.
        key: sent as a bearer token; empty means none.
        most: connections at once.
        patience: how long to wait and how often to ask.

    Raises:
        TeacherError: when the key is malformed, or would cross a public network unencrypted.
    """

    def __init__(self, address: Address, *, key: str, most: int, patience: Patience) -> None:
        self.address = address
        self._key = checked_key(key, address)
        self._patience = patience
        self._random = random.Random(patience.seed)
        self._met = False
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        self._client = httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(None, connect=10.0),
            # Servers drop idle connections after 5 s or so: be the first to let go.
            limits=httpx.Limits(
                max_connections=most, max_keepalive_connections=most, keepalive_expiry=3.0
            ),
            follow_redirects=False,
            trust_env=not address.near,  # no proxy between this machine and itself
        )

    async def ask(self, url: str, body: object = None, *, attempts: int = 0) -> dict[str, Any]:
        """Return the JSON object that the server answers with; POST when there is a body.

        Args:
            attempts: instead of the usual number.

        Raises:
            TeacherError: when the server refuses, or fails at every attempt.
        """
        most = attempts or self._patience.attempts
        attempt = 1
        while True:
            try:
                return await self._once(url, body)
            except _Passing as problem:
                if attempt == most:
                    times = f" ({most} attempts)" if most > 1 else ""
                    self._fail(f"{problem}{times}", "see the server's log", retryable=True)
                pause = self._pause(attempt, problem.pause)
            await self._patience.sleep(pause)
            attempt += 1

    async def probe(self, url: str, body: object = None) -> dict[str, Any]:
        """Ask once; return an empty object where the server fails or lacks this path."""
        try:
            return await self.ask(url, body, attempts=1)
        except TeacherError:
            return {}

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _once(self, url: str, body: object) -> dict[str, Any]:
        content = None if body is None else json.dumps(body).encode()
        method = "GET" if body is None else "POST"
        try:
            async with (
                asyncio.timeout(self._patience.answer),
                self._client.stream(method, url, content=content) as response,
            ):
                data = await self._read(response)
        except TimeoutError:
            raise _Passing(f"no answer in {self._patience.answer:g} s") from None
        except httpx.RequestError as problem:
            if not self._met and isinstance(problem, httpx.ConnectError | httpx.ConnectTimeout):
                hint = "start it, for example: llama-server -m model.gguf --port 8080"
                self._fail(f"no server answers: {problem}", hint)
            raise _Passing(f"the connection broke: {problem or type(problem).__name__}") from None
        self._met = True
        return self._judged(response, data)

    async def _read(self, response: httpx.Response) -> bytes:
        data = bytearray()
        async for part in response.aiter_bytes():
            data += part
            if len(data) > MOST_BYTES:
                self._fail(f"an answer of more than {MOST_BYTES >> 20} MiB", EXAMPLE)
        return bytes(data)

    def _judged(self, response: httpx.Response, data: bytes) -> dict[str, Any]:
        """Return what a finished answer says, or raise what is wrong with it."""
        status = response.status_code
        if status in PASSING:
            raise _Passing(_said(response, data), self._asked_pause(response))
        if response.is_redirect:
            where = response.headers.get("Location", "nowhere").partition("?")[0][:SHOWN]
            hint = "name the final address; redirects are not followed, so that no key goes astray"
            self._fail(f"it redirects to {where}", hint)
        if status != 200:
            self._fail(_said(response, data), _hint(status))
        kind = response.headers.get("Content-Type", "no type")
        if "json" not in kind:
            self._fail(f"it answers with {kind}, not with JSON", EXAMPLE)
        try:
            answer = json.loads(data)
        except (ValueError, RecursionError):
            raise _Passing("its answer is cut off or no JSON") from None
        if not isinstance(answer, dict):
            self._fail("its answer is no JSON object", EXAMPLE)
        return answer

    def _pause(self, attempt: int, asked: float) -> float:
        if asked > self._patience.asked:
            self._fail(f"it asks to come back in {asked:g} s", "run again later", retryable=True)
        usual = min(self._patience.longest, self._patience.first * 2.0 ** (attempt - 1))
        return max(asked, usual * (0.5 + 0.5 * self._random.random()))

    def _asked_pause(self, response: httpx.Response) -> float:
        """Return the seconds that Retry-After names, as a number or as a date."""
        given = response.headers.get("Retry-After", "").strip()
        try:
            return max(0.0, float(given))
        except ValueError:
            pass
        try:
            return max(0.0, parsedate_to_datetime(given).timestamp() - self._patience.clock())
        except (ValueError, OverflowError):
            return 0.0

    def _fail(self, message: str, hint: str, *, retryable: bool = False) -> NoReturn:
        """Raise an error of one line that names the server and hides the key."""
        line = " ".join(f"{self.address.base}: {message}".split())
        if self._key:
            line = line.replace(self._key, "***")
        raise TeacherError(line, hint, retryable=retryable) from None


def checked_key(key: str, address: Address) -> str:
    """Return the key without blanks around it, empty when there is none.

    Raises:
        TeacherError: when it is malformed, or would cross a public network unencrypted.
    """
    key = key.strip()
    if not key:
        return ""
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise TeacherError(f"{KEY} holds signs that no key has", "set it again, without quotes")
    if address.base.startswith("http:") and not address.near:
        raise TeacherError(
            f"{address.base}: the key in {KEY} would be readable on the way",
            f"use https, a tunnel to localhost, or unset {KEY}",
        )
    return key


def _said(response: httpx.Response, data: bytes) -> str:
    """Return the server's complaint in one line."""
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        said = data[: 4 * SHOWN].decode("utf-8", "replace")
    for name in ("error", "message", "detail"):
        if isinstance(said, dict) and said.get(name):
            said = said[name]
    reason = f"{response.status_code} {response.reason_phrase}".strip()
    line = " ".join(str(said).split())[:SHOWN]
    return f"{reason}: {line}" if line else reason


def _hint(status: int) -> str:
    if status in (401, 403):
        return f"set the server's key in the environment variable {KEY}"
    if status in (404, 405):
        return EXAMPLE
    return "see the server's log; too long a text needs a larger context on the server's side"
