"""Talk to one HTTP server, and ask again where that may help.

Knows nothing of language models. The key goes to this one server: redirects are not followed, and
it is part of no message, no log and no repr.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

from evokd.errors import MissingExtra, TeacherError
from evokd.teacher import KEY
from evokd.teacher.address import EXAMPLE, Address, checked_key
from evokd.teacher.places import Places

try:
    import httpx
except ImportError as missing:
    raise MissingExtra("teacher", missing) from missing

PASSING = frozenset({408, 425, 429, *range(500, 600)}) - {501, 505}
BUSY = frozenset({0, 408, 425, 429, 502, 503, 504})  # tells nothing of the path; 0: no answer
PROBES = 3  # attempts to find out whether a path is there
MOST_BYTES = 32 << 20
REFUSED = frozenset({400, 404, 405, 422, 501})
LONG = (
    b"exceed_context_size_error",  # llama-server, type
    b"context_length_exceeded",  # OpenAI, llama-cpp-python, code
    b"maximum context length",  # vLLM, message
)
"""What servers call it that a prompt has no place in their context."""
SHOWN = 200  # letters of a server's complaint that are repeated


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server is waited for; all times in seconds.

    Attributes:
        attempts: how often a question is put before it counts as failed.
        first: pause after the first attempt; it doubles with each, and half of it is random.
        longest: the pause does not grow beyond this.
        asked: how long a pause the server may ask for (Retry-After).
        answer: how long one answer may take.
        about: how long a server may take to tell about itself.
        seed: of the random half.
        sleep, clock: replaced in tests.
    """

    attempts: int = 6
    first: float = 0.5
    longest: float = 30.0
    asked: float = 300.0
    answer: float = 900.0
    about: float = 60.0
    seed: int = 0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.time


class Refused(TeacherError):
    """The server does not take a question as it is worded."""


class TooLong(TeacherError):
    """The server says that a question is too long for its context."""


class _Passing(Exception):
    """A failure that may be gone at the next attempt; `pause` is what the server asks for.

    Some servers say 500 to a question that they do not understand: `kind` is what it is if it
    does not pass.
    """

    def __init__(
        self,
        message: str,
        pause: float = 0.0,
        status: int = 0,
        hint: str = "see the server's log",
    ) -> None:
        super().__init__(message)
        self.pause, self.status, self.hint = pause, status, hint
        self.kind = Refused if status == 500 else TeacherError


class Wire:
    """A connection pool to one server. All of it runs in one event loop.

    Args:
        address: where the server is.
        key: sent as a bearer token; empty means none.
        most: questions under way at once.
        patience: how long to wait and how often to ask.

    Raises:
        TeacherError: when the key is malformed, or would cross a public network unencrypted; when
            the proxy or the certificates that the environment names cannot be used.
    """

    def __init__(self, address: Address, *, key: str, most: int, patience: Patience) -> None:
        self.address = address
        self._key = checked_key(key, address)
        self._patience = patience
        self._random = random.Random(patience.seed)
        self._met = False
        self.places = Places(most)
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
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
        except (ImportError, OSError, ValueError) as problem:  # what the environment asks for
            hint = "check ALL_PROXY, HTTPS_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
            self._fail(f"no client can be made: {problem}", hint)

    async def ask(
        self,
        url: str,
        body: object = None,
        *,
        attempts: int = 0,
        seconds: float = 0.0,
        failing: bool = True,
    ) -> dict[str, Any]:
        """Return the JSON object that the server answers with; POST when there is a body.

        Args:
            attempts, seconds: how often and how long, instead of what is usual.
            failing: ask a server again that fails at the question, or asks for a long pause, not
                only one that is BUSY for a moment.

        Raises:
            TooLong: when the server says that it is too long for its context.
            Refused: when the server does not take this body, or says 500 at every attempt.
            TeacherError: when it takes no question at all, or fails otherwise at every attempt.
        """
        most = attempts or self._patience.attempts
        attempt = 1
        while True:
            try:
                return await self._once(url, body, seconds)
            except _Passing as problem:
                if attempt == most or not (failing or problem.status in BUSY):
                    times = f" ({attempt} attempts)" if attempt > 1 else ""
                    self._fail(f"{problem}{times}", problem.hint, retryable=True, kind=problem.kind)
                if not failing and problem.pause > self._patience.longest:
                    self._fail(f"{problem}", problem.hint, retryable=True)
                pause = self._pause(attempt, problem.pause)
            await self._patience.sleep(pause)
            attempt += 1

    async def probe(self, url: str, body: object = None) -> dict[str, Any]:
        """Return an empty object where the server lacks this path or does not take the body."""
        about = self._patience.about
        try:
            if body is not None:
                return await self.ask(url, body, seconds=about)
            # Many servers fail on a path that they lack; that may not keep a run waiting.
            return await self.ask(url, attempts=PROBES, seconds=about, failing=False)
        except TeacherError:
            return {}

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def _once(self, url: str, body: object, seconds: float) -> dict[str, Any]:
        content = None if body is None else json.dumps(body).encode()
        method = "GET" if body is None else "POST"
        usual = self._patience.about if body is None else self._patience.answer
        longest, began = seconds or usual, 0.0
        try:
            async with self.places:
                began = asyncio.get_running_loop().time()
                async with (
                    asyncio.timeout(longest),
                    self._client.stream(method, url, content=content) as response,
                ):
                    data = await self._read(response)
        except TimeoutError:
            if body is None:
                hint = "is it the right address? a server that is busy may be asked again later"
                self._fail(f"no answer in {longest:g} s", hint)
            await self.places.narrow(began)
            hint = "it answers too slowly: lower teacher.sequences or teacher.max_tokens"
            raise _Passing(f"no answer in {longest:g} s", hint=hint) from None
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
        if status >= 400 and any(sign in data for sign in LONG):
            self._fail(_said(response, data), _hint(status), kind=TooLong)
        if status in PASSING:
            raise _Passing(_said(response, data), self._asked_pause(response), status)
        if response.is_redirect:
            where = response.headers.get("Location", "nowhere").partition("?")[0][:SHOWN]
            hint = "name the final address; redirects are not followed, so that no key goes astray"
            self._fail(f"it redirects to {where}", hint)
        if status != 200:
            # Some models may not tell log-probabilities: 403, of a key that else is good.
            refused = status in REFUSED or (status == 403 and b"logprob" in data)
            kind = Refused if refused else TeacherError
            self._fail(_said(response, data), _hint(status), kind=kind)
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

    def _fail(
        self,
        message: str,
        hint: str,
        *,
        retryable: bool = False,
        kind: type[TeacherError] = TeacherError,
    ) -> NoReturn:
        """Raise an error of one line that names the server and hides the key."""
        line = " ".join(f"{self.address.base}: {message}".split())
        if self._key:
            line = line.replace(self._key, "***")
        raise kind(line, hint, retryable=retryable) from None


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
