from __future__ import annotations

import asyncio
from typing import Any

import pytest

from evokd.errors import InputError
from serving.limits import API_KEY, BodyMiddleware, KeyMiddleware, Message, api_key


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
) -> tuple[int, bytes]:
    """Return status and body of one request whose body comes in parts."""
    pairs = [(k.lower().encode(), v.encode()) for k, v in (headers or {}).items()]
    scope = {"type": "http", "method": method, "path": path, "headers": pairs}
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
    ],
)
def test_the_key_protects_all_but_the_probes(
    headers: dict[str, str], path: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(API_KEY, "sésame")
    answered, body = ask(KeyMiddleware(Echo()), path=path, headers=headers)
    assert answered == status
    assert "sésame".encode() not in body


def test_without_a_key_everyone_may_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(API_KEY, raising=False)
    assert ask(KeyMiddleware(Echo()))[0] == 200


def test_a_blank_key_is_an_error_and_not_an_open_door(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_KEY, " ")
    with pytest.raises(InputError, match=API_KEY):
        api_key()
