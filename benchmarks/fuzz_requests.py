"""Requests that nobody planned for, and what makes an answer to one of them a fault.

They are made from what the service understands, and from a list of what goes wrong in life: huge,
empty and of wrong types, invalid UTF-8, deep JSON, NULs, emoji, text from right to left, pickles.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from serving.limits import LIMITS

SENSE = {200, 307, 400, 404, 405, 408, 413, 415, 429, 503}
RETRY = "retry-after"
"""A header of those 503s that are meant: the service sheds load and says when to come again."""
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
START = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
RAW = [
    *(b"", b"\x00" * 100, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET /info\r\n\r\n"),
    *(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /\x00 HTTP/1.1\r\n\r\n", START, START + b"\r\n"),
    *(START + b"Content-Length: " + n + b'\r\n\r\n{"text": "a"' for n in (b"900", b"-1", b"x")),
    START + b"Content-Length: 13\r\nContent-Length: 2\r\n\r\n{}",
    START + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}",
    START + b"Transfer-Encoding: chunked\r\n\r\nd\r\n{}\r\nzz\r\n",
    START + b"X-Long: " + b"a" * 200_000 + b"\r\n\r\n",
]
"""Bytes that are no whole HTTP request; the caller hangs up after them."""
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
"""Method, path, body and headers."""
requests: st.SearchStrategy[Request] = st.tuples(
    st.sampled_from(["POST"] * 30 + ["GET", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"]),
    st.sampled_from(["/predict"] * 30 + ["/", "/info", "/predict/", "/..%2f", "/docs.json", "//"]),
    bodies,
    st.sampled_from(
        [{"content-type": "application/json"}] * 20
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


def drawn(count: int, *, seeded: int) -> list[Request]:
    """Draw requests with hypothesis, without its shrinking."""
    kept: list[Request] = []

    @seed(seeded)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(request=requests)
    def collect(request: Request) -> None:
        kept.append(request)

    collect()
    return kept


def fault_in_status(status: int, headers: Mapping[str, str]) -> str:
    """Return what is wrong with a status, or nothing; header names are in small letters."""
    if status not in SENSE:
        return f"status {status}"
    if status == 503 and RETRY not in headers:
        return "a 503 that was not meant"
    return ""


def fault_in(request: Request, status: int, headers: Mapping[str, str], body: bytes) -> str:
    """Return what makes an answer one that a caller cannot use, or nothing."""
    if fault := fault_in_status(status, headers):
        return fault
    if b"Traceback" in body:
        return "a traceback"
    method, path, asked, _ = request
    if method == "HEAD" or path != "/predict":
        return ""
    try:
        told = json.loads(body)
        if status != 200:
            return "" if isinstance(told["error"], str) else "a refusal without a reason"
        question = json.loads(asked)
        wanted = question.get("texts")
        return _nonsense([question["text"]] if wanted is None else wanted, told["predictions"])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        return f"an answer of another shape: {type(error).__name__}: {error}"


def _nonsense(texts: list[str], predictions: list[dict[str, Any]]) -> str:
    """Return how predictions of any kind of student do not fit the texts, or nothing."""
    if len(texts) != len(predictions):
        return f"{len(predictions)} predictions for {len(texts)} texts"
    for text, said in zip(texts, predictions, strict=True):
        scores = [*said.get("probabilities", {}).values()]
        for entity in said.get("entities", ()):
            if text[entity["start"] : entity["end"]] != entity["text"] or not entity["text"]:
                return f"an entity that is not in its text: {entity}"
            scores.append(entity["score"])
        if not all(0 <= score <= 1 for score in scores):
            return f"a score that is no probability: {said}"
    return ""
