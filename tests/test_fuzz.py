"""Whatever is sent, the service answers with sense: 200, a 4xx that says why, or shedding.

Requests are those of benchmarks.fuzz. The quick test asks in this process; the long ones ask a
running service, thousands of times, and watch it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from starlette.testclient import TestClient

from benchmarks import fuzz
from benchmarks.fuzz_requests import BODIES, RAW, TEXTS, Request, drawn, fault_in, requests
from serving.limits import API_KEY, LIMITS


@pytest.fixture(scope="module")
def client(tiny_sealed: Path) -> Iterator[TestClient]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVOKD_STUDENT", str(tiny_sealed))
        patch.delenv(API_KEY, raising=False)
        from serving.service import Student

        address = "http://127.0.0.1:3000"
        with TestClient(Student.to_asgi(), address, raise_server_exceptions=False) as client:
            yield client


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(request=requests)
def test_whatever_is_sent_is_answered_with_sense(client: TestClient, request: Request) -> None:
    method, path, body, headers = request
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = client.request(method, path, content=body, headers=raw)
    assert not fault_in(request, answer.status_code, answer.headers, answer.content), answer.text


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_a_broken_body_is_the_callers_fault(client: TestClient, body: bytes) -> None:
    answer = client.post("/predict", content=body, headers={"content-type": "application/json"})
    doubled = b'"text": "b"' in body  # the last one counts, as everywhere in JSON
    assert answer.status_code == (200 if doubled else 413 if len(body) > LIMITS.body_bytes else 400)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_every_text_gets_a_label_unless_it_is_too_long(client: TestClient, text: str) -> None:
    answer = client.post("/predict", json={"text": text})
    assert answer.status_code == (400 if len(text) > LIMITS.characters else 200)


def test_a_whole_number_may_be_written_with_a_point(client: TestClient) -> None:
    answer = client.post("/predict", json={"text": "play a song", "top_k": 2.0})
    assert len(answer.json()["predictions"][0]["probabilities"]) == 2
    assert client.post("/predict", json={"text": "play a song", "top_k": 2.5}).status_code == 400


def said(**changes: Any) -> bytes:
    return json.dumps(
        {"predictions": [{"label": "a", "probabilities": {"a": 1.0}} | changes]}
    ).encode()


ENTITY = {"start": 5, "end": 6, "text": "a", "score": 0.5}


@pytest.mark.parametrize(
    ("status", "headers", "body", "fault"),
    [
        (200, {}, said(), ""),
        (400, {}, b'{"error": "text: too long"}', ""),
        (503, {"retry-after": "1"}, b'{"error": "later"}', ""),
        (503, {}, b'{"error": "later"}', "not meant"),
        (500, {}, b'{"error": "no"}', "status 500"),
        (400, {}, b'{"error": "Traceback"}', "a traceback"),
        (400, {}, b"no", "another shape"),
        (400, {}, b'{"error": 1}', "without a reason"),
        (200, {}, b'{"predictions": []}', "0 predictions for 1 texts"),
        (200, {}, said(probabilities={"a": 1.5}), "no probability"),
        (200, {}, said(entities=[ENTITY]), ""),
        (200, {}, said(entities=[ENTITY | {"start": 4}]), "not in its text"),
        (200, {}, said(entities=[ENTITY | {"score": -1}]), "no probability"),
    ],
)
def test_what_is_a_fault(status: int, headers: dict[str, str], body: bytes, fault: str) -> None:
    request: Request = ("POST", "/predict", b'{"text": "play a song"}', {})
    found = fault_in(request, status, headers, body)
    assert fault in found
    assert bool(found) == bool(fault)


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """Run a server in a thread that says one thing to everybody; gives its port."""
    loop = asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(answer)
        writer.close()

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.close()


def test_a_fault_of_the_server_is_one_whatever_was_sent() -> None:
    with answering(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n") as port:
        assert fuzz.ask(port, fuzz.PLAIN).fault.startswith("status 500, to POST /predict")
        assert fuzz.ask_raw(port, RAW[1]).fault.startswith("status 500, to")


def test_hanging_up_answers_half_a_request_and_no_whole_one() -> None:
    with answering(b"") as port:
        ended = fuzz.ask(port, fuzz.PLAIN)
        assert (ended.status, ended.fault[:10]) == (fuzz.NO_ANSWER, "no answer:")
        assert not fuzz.ask_raw(port, RAW[1]).fault
        large: Request = ("POST", "/predict", b" " * 8 * LIMITS.body_bytes, {})
        assert not fuzz.ask(port, large).fault


def test_an_archive_is_read() -> None:
    def entry(status: int, **headers: str) -> dict[str, Any]:
        named = [{"name": name, "value": value} for name, value in headers.items()]
        request = {"method": "POST", "url": "/predict", "postData": {"text": "{}"}}
        return {"request": request, "response": {"status": status, "headers": named}, "time": 20.0}

    shed = entry(503, **{"Retry-After": "1"})
    ended = fuzz.read_har({"log": {"entries": [entry(200), shed, entry(502), entry(0)]}})
    assert [one.fault[:10] for one in ended] == ["", "", "status 502", "no answer,"]
    assert ended[0].seconds == 0.02


def test_the_same_seed_draws_the_same_requests() -> None:
    assert drawn(20, seeded=1) == drawn(20, seeded=1) != drawn(20, seeded=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("student", "count"),
    [("tiny_sealed", 10_000), ("tagger_sealed", 5_000), ("labeller_sealed", 5_000)],
)
def test_thousands_of_requests_leave_it_as_it_was(
    student: str, count: int, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(student)
    made = fuzz.fuzz(folder, of_schema=0, own=count, workers=1, seed=5)
    assert made["faults"] == []
    assert made["workers_died"] == 0
    assert made["rss_growth"] < fuzz.GROWTH
    assert made["statuses"]["200"] > count / 20
    assert made["statuses"]["400"] > count / 20


@pytest.mark.slow
def test_the_command_asks_what_the_description_promises(
    tiny_sealed: Path, tagger_sealed: Path, tmp_path: Path
) -> None:
    pytest.importorskip("schemathesis")
    file = tmp_path / "fuzz.json"
    fuzz.main(["--student", str(tiny_sealed), str(tagger_sealed), "--quick", "--json", str(file)])
    made = json.loads(file.read_text())
    assert [record["kind"] for record in made["students"]] == ["classification", "ner"]
    for record in made["students"]:
        assert record["faults"] == []
        assert record["requests"] >= fuzz.QUICK
        assert record["statuses"]["200"] > 50


@pytest.mark.parametrize(
    ("faults", "growth", "quick", "code"),
    [([], 0.01, False, None), (["status 500"], 0.01, True, 1), ([], 0.2, False, 1)],
)
def test_what_is_wrong_ends_the_command_with_1(
    faults: list[str],
    growth: float,
    quick: bool,
    code: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = {"student": "a", "kind": "ner", "requests": 9, "statuses": {}, "slowest_s": 0.1}
    made |= {"workers_died": 0, "rss_growth": growth, "faults": faults}
    monkeypatch.setattr(fuzz, "fuzz", lambda *_, **__: made)
    file = tmp_path / "fuzz.json"
    ended = None
    try:
        fuzz.main(["--student", "a", "--json", str(file), *(["--quick"] if quick else [])])
    except SystemExit as raised:
        ended = raised.code
    assert ended == code
    assert bool(json.loads(file.read_text())["students"][0]["faults"]) == bool(code)


def test_a_student_that_is_none_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        fuzz.main(["--student", str(tmp_path)])
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("error: ")
