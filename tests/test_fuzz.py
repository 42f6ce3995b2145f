"""Whatever is sent, the service answers with sense: 200, a 4xx that says why, or shedding.

Requests are made from the service's own description and from a list of what goes wrong in life. The
quick test asks in this process; the long one asks a running service 10,000 times and watches it.
"""

from __future__ import annotations

import http.client
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import Running, serving
from starlette.testclient import TestClient

from serving.limits import API_KEY, LIMITS

SENSE = {200, 307, 400, 404, 405, 408, 413, 415, 429, 503}
TEXTS = [
    *("", " ", "\x00", "\x00" * 50, "\n\r\t", "\ufeff", "\u202eright to left", "مرحبا بالعالم"),
    *("👩‍👩‍👧‍👦" * 20, "e\u0301" * 300, "日本語の文章です" * 40, "a" * 5000, "play a song"),
    *("\uffff\U0010ffff", "'; DROP TABLE texts; --", "{{7*7}}", "<script>", "%s%n", "../../etc"),
    *("a" * LIMITS.characters, "a" * (LIMITS.characters + 1), "[MASK] [SEP] [PAD] [CLS]"),
]
BODIES = [
    *(
        b"",
        b"\x00",
        b"{",
        b"}",
        b"null",
        b"true",
        b"0",
        b'""',
        b"[]",
        b"{}",
        b"\xff\xfe{",
        b"\xc3(",
    ),
    *(b"[" * 100_000, b'{"a":' * 50_000, b'{"text":' + b"[" * 20_000, b'{"text": "\\ud800"}'),
    *(b'{"text": NaN}', b'{"text": 1e999}', b'{"text": "a", "text": "b"}', b'{"text": "a"} x'),
    *(b'{"text": "\xed\xa0\x80"}', b"\xef\xbb\xbf{}", b'{"texts": ' + b"9" * 10_000 + b"}"),
    b" " * LIMITS.body_bytes + b"{}",
]
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
texts = st.sampled_from(TEXTS) | st.text(max_size=60)
questions = st.fixed_dictionaries(
    {},
    optional={
        "text": texts | json_values,
        "texts": st.lists(texts, max_size=4) | json_values,
        "top_k": st.integers(-2, 9) | json_values,
        "threshold": st.floats() | json_values,
        "explain_time": st.booleans() | json_values,
        "other": json_values,
    },
)
bodies = st.one_of(
    st.sampled_from(BODIES),
    st.binary(max_size=60),
    (questions | json_values).map(lambda value: json.dumps(value).encode()),
    texts.map(lambda text: json.dumps({"text": text}, ensure_ascii=False).encode(errors="replace")),
)
Request = tuple[str, str, bytes, dict[str, str]]
requests: st.SearchStrategy[Request] = st.tuples(
    st.sampled_from(["POST"] * 8 + ["GET", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"]),
    st.sampled_from(["/predict"] * 9 + ["/", "/info", "/predict/", "/..%2f", "/docs.json", "//"]),
    bodies,
    st.sampled_from(
        [{"content-type": "application/json"}] * 6
        + [
            {},
            {"content-type": "application/vnd.bentoml+pickle"},
            {"content-type": "multipart/form-data; boundary=x"},
            {"content-type": "application/json; charset=latin-1"},
            {"content-type": "\xff"},
            {"content-type": "application/json", "content-encoding": "gzip"},
            {"content-type": "application/json", "accept": "application/vnd.bentoml+pickle"},
        ]
    ),
)


@pytest.fixture(scope="module")
def client(tiny_sealed: Path) -> Iterator[TestClient]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVOKD_STUDENT", str(tiny_sealed))
        patch.delenv(API_KEY, raising=False)
        from serving.service import Student

        address = "http://127.0.0.1:3000"
        with TestClient(Student.to_asgi(), address, raise_server_exceptions=False) as client:
            yield client


def is_sense(request: Request, status: int, body: bytes) -> bool:
    """Return whether an answer is one that a caller can use."""
    if status not in SENSE or b"Traceback" in body:
        return False
    if request[0] == "HEAD" or request[1] != "/predict":
        return True
    told = json.loads(body)
    return bool(told["predictions"]) if status == 200 else isinstance(told["error"], str)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(request=requests)
def test_whatever_is_sent_is_answered_with_sense(client: TestClient, request: Request) -> None:
    method, path, body, headers = request
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = client.request(method, path, content=body, headers=raw)
    assert is_sense(request, answer.status_code, answer.content), answer.text


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_a_broken_body_is_the_callers_fault(client: TestClient, body: bytes) -> None:
    answer = client.post("/predict", content=body, headers={"content-type": "application/json"})
    doubled = b'"text": "b"' in body  # the last one counts, as everywhere in JSON
    assert answer.status_code == (200 if doubled else 413 if len(body) > LIMITS.body_bytes else 400)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_every_text_gets_a_label_unless_it_is_too_long(client: TestClient, text: str) -> None:
    answer = client.post("/predict", json={"text": text})
    assert answer.status_code == (400 if len(text) > LIMITS.characters else 200)


@pytest.fixture
def server(tiny_sealed: Path, tmp_path: Path) -> Iterator[Running]:
    with serving(tiny_sealed, tmp_path, workers=1, environment={}) as server:
        yield server


def ask(server: Running, request: Request) -> tuple[int, bytes]:
    """Send a request as it is; return status and body."""
    method, path, body, headers = request
    host, port = server.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (BrokenPipeError, ConnectionResetError):
        return 413, b'{"error": "the body was not read to its end"}'
    finally:
        connection.close()


@pytest.mark.slow
def test_ten_thousand_requests_leave_it_as_it_was(server: Running) -> None:
    def memory() -> int:
        children = psutil.Process(server.process.pid).children(recursive=True)
        return sum(child.memory_info().rss for child in children)

    def workers() -> set[int]:
        return {c.pid for c in psutil.Process(server.process.pid).children(recursive=True)}

    draw = random.Random(5)
    seen: Counter[int] = Counter()
    pool = list(_drawn(2000))
    before, alive = 0, workers()
    for number in range(10_000):
        request = draw.choice(pool)
        status, body = ask(server, request)
        seen[status] += 1
        assert is_sense(request, status, body), (request, status, body[:300])
        if number == 2000:
            before = memory()
    assert workers() == alive, "nobody died"
    assert memory() < before * 1.05
    assert seen[200] > 500
    assert seen[400] > 500
    assert server.ask("/predict", {"text": "play a song"})[0] == 200


def _drawn(count: int) -> Iterator[Request]:
    """Draw requests with hypothesis, without its shrinking."""
    kept: list[Request] = []

    @settings(max_examples=count, deadline=None, database=None, derandomize=True)
    @given(request=requests)
    def collect(request: Request) -> None:
        kept.append(request)

    collect()
    yield from kept
