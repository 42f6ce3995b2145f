"""One server: its address and its key, and when it is asked again."""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import replace

import pytest
from fakes import user
from faulty_server import Asked, Pauses, Reply, Serve, asks, pauses, serve, teacher
from toy_servers import chat, llama_server, plain, slow

from evokd.errors import TeacherError
from evokd.settings import TeacherSettings
from evokd.teacher import (
    TOO_LONG_TO_SCORE,
    TOO_LONG_TO_WRITE,
    Generate,
    Score,
    check_teacher,
    open_teacher,
)
from evokd.teacher.address import parse_address
from evokd.teacher.http import HttpTeacher

__all__ = ["pauses", "serve"]

SECRET = "sk-planted-0815"
BUSY = Reply({"error": {"message": "busy"}}, 503)


@pytest.mark.parametrize(
    ("text", "base", "model"),
    [
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1", ""),
        ("http://localhost:8080/", "http://localhost:8080/v1", ""),
        ("http://gpu:8000#Qwen/Qwen3-4B", "http://gpu:8000/v1", "Qwen/Qwen3-4B"),
        ("https://host/team/v1/#a b", "https://host/team/v1", "a b"),
        ("http://[::1]:9/v1", "http://[::1]:9/v1", ""),
    ],
)
def test_an_address_names_a_server_and_perhaps_a_model(text: str, base: str, model: str) -> None:
    address = parse_address(text)
    assert (address.base, address.model) == (base, model)
    assert address.root == base.removesuffix("/v1")


@pytest.mark.parametrize(
    ("name", "value"),
    [("ALL_PROXY", "socks9://127.0.0.1:9"), ("SSL_CERT_FILE", "gone.pem")],
)
def test_an_environment_that_cannot_be_used_is_one_line(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(TeacherError, match="no client can be made") as caught:
        open_teacher(TeacherSettings(model="https://example.invalid/v1"))
    assert name in caught.value.hint


@pytest.mark.parametrize(
    "text",
    ["http://", "http:///v1", "http://host:99999", "http://[::1", "ftp://host", f"http://{SECRET}@h",
     f"http://user:{SECRET}@host/v1", f"http://host/v1?key={SECRET}", "http://a b:c"],
)  # fmt: skip
def test_other_addresses_are_refused_without_repeating_a_key(text: str) -> None:
    with pytest.raises(TeacherError) as caught:
        parse_address(text)
    assert SECRET not in f"{caught.value.message} {caught.value.hint} {caught.value!r}"
    assert caught.value.hint


@pytest.mark.parametrize("host", ["http://8.8.8.8/v1", "http://example.com/v1", "http://gpu/v1"])
def test_a_key_does_not_cross_a_public_network_in_the_open(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVOKD_API_KEY", SECRET)
    with pytest.raises(TeacherError, match="readable on the way") as caught:
        check_teacher(TeacherSettings(model=host))
    assert SECRET not in str(caught.value)
    check_teacher(TeacherSettings(model=host.replace("http:", "https:")))
    monkeypatch.delenv("EVOKD_API_KEY")
    check_teacher(TeacherSettings(model=host))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "10.1.2.3", "192.168.0.9"])
def test_near_servers_get_a_key_over_http(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVOKD_API_KEY", SECRET)
    check_teacher(TeacherSettings(model=f"http://{host}:8000/v1"))
    assert parse_address(f"http://{host}:8000/v1").near


@pytest.mark.parametrize("key", [f"{SECRET}\nX: y", f"{SECRET} {SECRET}", f"{SECRET}é"])
def test_a_malformed_key_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(TeacherError, match="EVOKD_API_KEY") as caught:
        HttpTeacher(TeacherSettings(model="http://127.0.0.1:9/v1"), key=key)
    assert SECRET not in str(caught.value)


def test_the_key_goes_to_the_server_and_nowhere_else(
    serve: Serve,
    pauses: Pauses,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    other = serve(plain)
    away = Reply(status=307, headers={"Location": f"{other.url}/chat/completions"})
    echo = Reply({"error": {"message": f"bad key {SECRET}"}}, 401)
    server = serve(plain, away, echo, replace(echo, status=500))
    monkeypatch.setenv("EVOKD_API_KEY", SECRET)
    with open_teacher(TeacherSettings(model=server.url)) as opened:  # type: ignore[attr-defined]
        opened._wire._patience = pauses.patience(attempts=1)
        said = [repr(opened), repr(opened._wire), repr(opened._wire._client), opened.fingerprint]
        for what in ("redirects to http://127.0.0.1", "401", "500"):
            with pytest.raises(TeacherError, match=what) as caught:
                opened.generate(asks(1))
            said += [caught.value.message, caught.value.hint, repr(caught.value)]
    assert {a.headers["Authorization"] for a in server.asked} == {f"Bearer {SECRET}"}
    assert not other.asked
    assert SECRET not in "\n".join([*said, caplog.text])
    assert "***" in said[-3]


def test_a_server_that_answers_one_by_one_is_asked_fewer_at_once(
    serve: Serve, pauses: Pauses
) -> None:
    """Sixteen at once wait for each other longer than any may take; then fewer are asked."""
    turn = threading.Lock()

    def one_by_one(asked: Asked) -> Reply | None:
        if asked.body and "seed" in asked.body:
            with turn:
                time.sleep(0.05)
        return plain(asked)

    patience = pauses.patience(answer=0.3)
    settings = TeacherSettings(model=serve(one_by_one).url, sequences=16)
    with HttpTeacher(settings, patience=patience) as opened:
        assert len(opened.generate(asks(16))) == 16
        assert opened._wire.places.room < 16


def test_the_slots_of_a_server_are_all_that_is_asked_at_once(serve: Serve, pauses: Pauses) -> None:
    def two(asked: Asked) -> Reply | None:
        if asked.path == "/props":
            return Reply({"build_info": "b1-x", "total_slots": 2})
        return slow(llama_server, 0.03)(asked)

    server = serve(two)
    with teacher(server.url, pauses, most=8) as opened:
        server.most = 0
        opened.generate(asks(8))
    assert server.most == 2


def test_a_server_that_stays_silent_about_itself_is_not_waited_for(
    serve: Serve, pauses: Pauses
) -> None:
    silent = serve(lambda asked: Reply({}, pause=30))
    patience = pauses.patience(about=0.1)
    with pytest.raises(TeacherError, match=r"no answer in 0\.1 s") as caught:
        HttpTeacher(TeacherSettings(model=silent.url), patience=patience)
    assert "address" in caught.value.hint
    assert len(silent.asked) == 1


def test_without_a_key_none_is_sent(serve: Serve, pauses: Pauses) -> None:
    server = serve(plain)
    with teacher(server.url, pauses) as opened:
        opened.generate(asks(1))
    assert not any("Authorization" in asked.headers for asked in server.asked)


@pytest.mark.parametrize(
    "fault",
    [
        Reply(reset=True),
        Reply({"error": "boom"}, 500),
        Reply({"error": "loading"}, 503),
        Reply({"error": "slow down"}, 429),
        Reply(b'{"choices": [{"mess'),
        Reply(b'{"choices": [{"mess', length=400),
        Reply(b"\xff\xfe"),
        Reply(chat("too late"), pause=5),
    ],
    ids=["reset", "500", "503", "429", "cut", "cut connection", "no text", "slow"],
)
def test_what_may_pass_is_asked_again(serve: Serve, pauses: Pauses, fault: Reply) -> None:
    server = serve(plain, fault, fault)
    with teacher(server.url, pauses, answer=0.5) as opened:
        (written,) = opened.generate(asks(1))
        assert written.text == "you said number 0, seed 0"
        with_body = [asked.body for asked in server.questions()]
        assert len(with_body) == 3
        assert with_body[0] == with_body[2]
        assert len(pauses.taken) == 2
        server.faults.extend([fault] * 2)
        opened._wire._patience = pauses.patience(attempts=2, answer=0.5)
        with pytest.raises(TeacherError, match=r"^http://127.* \(2 attempts\)$") as caught:
            opened.generate(asks(1))
        assert caught.value.retryable
        assert "\n" not in caught.value.message


def test_pauses_double_with_a_random_half_that_the_seed_decides(
    serve: Serve,
) -> None:
    taken = []
    for _ in range(2):
        pauses = Pauses()
        with teacher(serve(plain, *[BUSY] * 5).url, pauses, longest=3.0, seed=7) as opened:
            opened.generate(asks(1))
        taken.append(pauses.taken)
    assert taken[0] == taken[1]
    for pause, most in zip(taken[0], (0.5, 1.0, 2.0, 3.0, 3.0), strict=True):
        assert most / 2 <= pause <= most
    assert len({p / m for p, m in zip(taken[0], (0.5, 1, 2, 3, 3), strict=True)}) == 5


def test_retry_after_is_kept_to(serve: Serve, pauses: Pauses) -> None:
    date = "Tue, 14 Nov 2023 22:13:32 GMT"  # 12 s after the clock of these tests
    given = ["7", "0", date, "soon"]
    faults = [Reply({"error": "busy"}, 429, {"Retry-After": after}) for after in given]
    server = serve(plain, *faults, Reply({}, 503, {"Retry-After": "3600"}))
    with teacher(server.url, pauses, first=0.5) as opened:
        opened._wire._patience = pauses.patience(attempts=9)
        with pytest.raises(TeacherError, match="asks to come back in 3600 s") as caught:
            opened.generate(asks(1))
    assert caught.value.retryable
    assert [pause for pause in pauses.taken if pause > 5] == [7.0, 12.0]
    assert pauses.taken[1] <= 1.0
    assert pauses.taken[3] <= 4.0


@pytest.mark.parametrize(
    ("says", "status"),
    [
        ({"error": {"code": 400, "message": "no", "type": "exceed_context_size_error"}}, 400),
        ({"error": {"message": "no", "code": "context_length_exceeded"}}, 400),
        ({"message": "This model's maximum context length is 64 tokens. You requested 90"}, 400),
        ({"error": {"message": "no", "code": "context_length_exceeded"}}, 500),
    ],
)
def test_a_prompt_that_the_server_has_no_place_for_is_refused_alone(
    serve: Serve, pauses: Pauses, says: object, status: int
) -> None:
    def small(asked: Asked) -> Reply | None:
        return Reply(says, status) if "LONG" in json.dumps(asked.body) else plain(asked)

    score = Score(user("LONG"), ("a", "b"))
    with teacher(serve(small).url, pauses) as opened:
        one, long, other = opened.generate([*asks(1), Generate(user("LONG")), *asks(1)])
        assert (one.finish, long, other.finish) == ("stop", TOO_LONG_TO_WRITE, "stop")
        assert opened.score([score]) == [TOO_LONG_TO_SCORE]
    assert not pauses.taken


@pytest.mark.parametrize(
    ("fault", "says", "hints"),
    [
        (Reply({"error": {"message": "too\nlong"}}, 400), "400 Bad Request: too long", "context"),
        (Reply({"detail": "no"}, 401), "401 Unauthorized: no", "EVOKD_API_KEY"),
        (Reply(b"<p>gone</p>", 404, kind="text/html"), "404 Not Found: <p>gone", "/v1"),
        (Reply(b"hello", kind="text/plain"), "answers with text/plain, not with JSON", "/v1"),
        (Reply([1]), "no JSON object", "/v1"),
        (Reply({"error": "odd"}), "gives no reply: odd", "log"),
        (Reply(b" " * (33 << 20)), "more than 32 MiB", "/v1"),
        (
            Reply({}, 302, {"Location": "https://else.where/x?key=1"}),
            "redirects to https://else.where/x",
            "final",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_will_not_pass_is_asked_once_and_explained(
    serve: Serve, pauses: Pauses, fault: Reply, says: str, hints: str
) -> None:
    server = serve(plain, fault)
    with teacher(server.url, pauses) as opened, pytest.raises(TeacherError) as caught:
        opened.generate(asks(1))
    assert says in caught.value.message
    assert hints in caught.value.hint
    assert "\n" not in caught.value.message
    assert not caught.value.retryable
    assert len(server.questions()) == 1
