from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from evokd.errors import InputError
from serving.limits import (
    API_KEY,
    WITHOUT_KEY,
    BodyMiddleware,
    KeyMiddleware,
    Message,
    api_key,
)


class Echo:
    """An ASGI app that answers with the body it read."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


def ask(
    app: Any,
    *parts: bytes,
    path: str = "/predict",
    method: str = "POST",
    headers: dict[str, str] | None = None,
    server: str = "127.0.0.1",
) -> tuple[int, bytes]:
    """Return status and body of one request whose body comes in parts."""
    pairs = [(k.lower().encode(), v.encode()) for k, v in (headers or {}).items()]
    scope = {
        **{"type": "http", "method": method, "path": path, "headers": pairs},
        "server": (server, 3000),
    }
    incoming = [
        {"type": "http.request", "body": part, "more_body": i + 1 < len(parts)}
        for i, part in enumerate(parts or (b"",))
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return incoming.pop(0) if incoming else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def basic(pair: str) -> str:
    """Return what a browser sends when its user typed a name and a password."""
    return "Basic " + base64.b64encode(pair.encode()).decode()


@pytest.mark.parametrize(
    ("parts", "declared", "status"),
    [
        ((b"12345", b"67890"), "10", 200),
        ((b"12345", b"67890", b"1"), None, 413),
        ((b"x" * 11,), "11", 413),
        ((b"",), "99999999999999999999", 413),
        ((b"x" * 11,), "3", 413),
        ((b"",), "-1", 413),
        ((b"",), None, 200),
    ],
)
def test_a_body_is_read_up_to_the_limit(
    parts: tuple[bytes, ...], declared: str | None, status: int
) -> None:
    headers = {} if declared is None else {"content-length": declared}
    answered, body = ask(BodyMiddleware(Echo(), max_bytes=10), *parts, headers=headers)
    assert answered == status
    assert (body == b"".join(parts)) == (status == 200)


@pytest.mark.parametrize(
    ("media", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("application/vnd.bentoml+pickle", 415),
        ("multipart/form-data", 415),
        ("text/plain", 415),
    ],
)
def test_only_json_is_read(media: str, status: int) -> None:
    assert ask(BodyMiddleware(Echo()), b"1", headers={"content-type": media})[0] == status


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({}, "/predict", 401),
        ({}, "/", 401),
        ({}, "/metrics", 401),
        ({}, "/livez/", 401),
        ({}, "/livez", 200),
        ({}, "/readyz", 200),
        ({"x-api-key": "sésame"}, "/predict", 200),
        ({"authorization": "Bearer sésame"}, "/metrics", 200),
        ({"authorization": "bearer sésame"}, "/metrics", 200),
        ({"authorization": "Basic sésame"}, "/predict", 401),
        ({"authorization": "Bearer wrong"}, "/predict", 401),
        ({"authorization": "Bearer wrong", "x-api-key": "sésame"}, "/predict", 401),
        ({"x-api-key": ""}, "/predict", 401),
        ({"x-api-key": "sésam"}, "/predict", 401),
        ({"authorization": basic("anyone:sésame")}, "/", 200),
        ({"authorization": basic(":sésame")}, "/predict", 200),
        ({"authorization": basic("sésame")}, "/", 401),
        ({"authorization": basic("anyone:wrong")}, "/", 401),
    ],
)
def test_the_key_protects_all_but_the_probes(
    headers: dict[str, str], path: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(API_KEY, "sésame")
    answered, body = ask(KeyMiddleware(Echo()), path=path, headers=headers)
    assert answered == status
    assert "sésame".encode() not in body


@pytest.mark.parametrize(
    ("server", "without_key", "path", "status"),
    [
        ("127.0.0.1", None, "/predict", 200),
        ("127.9.9.9", None, "/predict", 200),
        ("::1", None, "/predict", 200),
        ("172.17.0.2", None, "/predict", 403),
        ("fe80::1", None, "/", 403),
        ("somewhere", None, "/metrics", 403),
        ("172.17.0.2", None, "/readyz", 200),
        ("172.17.0.2", "1", "/predict", 200),
        ("172.17.0.2", "no", "/predict", 403),
    ],
)
def test_without_a_key_only_this_machine_may_ask(
    server: str,
    without_key: str | None,
    path: str,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(API_KEY, raising=False)
    monkeypatch.delenv(WITHOUT_KEY, raising=False)
    if without_key is not None:
        monkeypatch.setenv(WITHOUT_KEY, without_key)
    assert ask(KeyMiddleware(Echo()), path=path, server=server)[0] == status


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("localhost:3000", 200),
        ("127.0.0.1", 200),
        ("[::1]:3000", 200),
        ("attacker.example:3000", 403),
        ("10.0.0.7", 403),
        ("[", 403),
        ("", 403),
    ],
)
def test_without_a_key_the_service_must_be_called_by_a_name_of_this_machine(
    name: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(API_KEY, raising=False)
    monkeypatch.delenv(WITHOUT_KEY, raising=False)
    assert ask(KeyMiddleware(Echo()), headers={"host": name})[0] == status
    monkeypatch.setenv(WITHOUT_KEY, "1")
    assert ask(KeyMiddleware(Echo()), headers={"host": name})[0] == 200
    monkeypatch.setenv(API_KEY, "sesame")
    shown = {"host": name, "x-api-key": "sesame"}
    assert ask(KeyMiddleware(Echo()), headers=shown)[0] == 200


@pytest.mark.parametrize(("path", "scheme"), [("/", b"Basic"), ("/predict", b"Bearer")])
def test_a_browser_is_told_how_to_ask_for_the_key(
    path: str, scheme: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(API_KEY, "sesame")
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def refused() -> None:
        scope = {"type": "http", "method": "GET", "path": path, "headers": []}
        await KeyMiddleware(Echo())(scope, asyncio.Event().wait, send)  # type: ignore[arg-type]

    asyncio.run(refused())
    assert dict(sent[0]["headers"])[b"www-authenticate"].startswith(scheme)


@pytest.mark.parametrize("key", ["sesame", None])
def test_a_web_socket_is_closed(key: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_KEY, key) if key else monkeypatch.delenv(API_KEY, raising=False)
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def asked() -> None:
        scope = {"type": "websocket", "path": "/predict", "headers": [], "server": ("0.0.0.0", 1)}
        await KeyMiddleware(Echo())(scope, asyncio.Event().wait, send)  # type: ignore[arg-type]

    asyncio.run(asked())
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_a_body_that_never_ends_is_given_up() -> None:
    async def silent() -> Message:
        await asyncio.sleep(60)
        raise AssertionError

    async def slow() -> int:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": []}
        await BodyMiddleware(Echo(), seconds=0.05)(scope, silent, send)
        return int(sent[0]["status"])

    assert asyncio.run(slow()) == 408


def test_the_line_break_of_a_file_is_no_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_KEY, "sesame\n")
    assert api_key() == "sesame"


def test_a_blank_key_is_an_error_and_not_an_open_door(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_KEY, " ")
    with pytest.raises(InputError, match=API_KEY):
        api_key()
