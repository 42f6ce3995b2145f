"""The teacher behind HTTP: many requests at once, and how they end."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace

import pytest
from faulty_server import Asked, Pauses, Reply, Serve, asks, pauses, serve, teacher
from toy_servers import chat, plain, slow

from evokd.errors import TeacherError
from evokd.teacher import Written

__all__ = ["pauses", "serve"]

CHAT = "/v1/chat/completions"


def late(asked: Asked) -> Reply | None:
    """Keep every question waiting, but not the one by which an unknown server is recognised."""
    trial = asked.path != CHAT or "logprobs" in asked.body
    return plain(asked) if trial else Reply(chat("late"), pause=30)


def test_replies_come_in_order_and_are_reported_in_the_callers_thread(
    serve: Serve, pauses: Pauses
) -> None:
    def late_first(asked: Asked) -> Reply | None:
        reply = plain(asked)
        first = asked.path == CHAT and asked.body.get("seed") == 0
        return replace(reply, pause=0.3) if reply and first else reply

    seen: list[tuple[int, str, int]] = []
    with teacher(serve(late_first).url, pauses, most=2) as opened:
        made = opened.generate(
            asks(6), lambda i, w: seen.append((i, w.text, threading.get_ident()))
        )
        assert opened.generate([]) == []
    assert [w.text for w in made] == [f"you said number {i}, seed {i}" for i in range(6)]
    assert [w.text for w in made] == [text for _, text, _ in sorted(seen)]
    assert sorted(i for i, _, _ in seen) == list(range(6))
    assert seen[0][0] != 0
    assert {thread for _, _, thread in seen} == {threading.get_ident()}


def test_so_many_at_once_and_no_more(serve: Serve, pauses: Pauses) -> None:
    server = serve(slow(plain, 0.05))
    with teacher(server.url, pauses, most=3) as opened:
        server.most = 0
        opened.generate(asks(9))
    assert server.most == 3


def test_a_failure_lets_the_others_under_way_end_and_begins_no_more(
    serve: Serve, pauses: Pauses
) -> None:
    def refuse(asked: Asked) -> Reply | None:
        if asked.path != CHAT:
            return plain(asked)
        if asked.body.get("seed") == 1:
            return Reply({"error": "no"}, 400)
        return Reply(chat("ok"), pause=0.2)

    server, seen = serve(refuse), list[int]()
    with teacher(server.url, pauses, most=4) as opened:
        with pytest.raises(TeacherError, match="400"):
            opened.generate(asks(20), lambda i, _: seen.append(i))
        assert sorted(seen) == [0, 2, 3]
        assert len(server.questions()) == 4
        assert opened.generate(asks(1))[0].text == "ok"


def test_a_callback_that_fails_breaks_off_the_rest(serve: Serve, pauses: Pauses) -> None:
    def slow(asked: Asked) -> Reply | None:
        reply = plain(asked)
        return (
            replace(reply, pause=30 * (asked.body.get("seed", 0) > 0))
            if asked.path == CHAT
            else reply
        )

    def fail(index: int, written: Written) -> None:
        raise RuntimeError("ledger full")

    with teacher(serve(slow).url, pauses) as opened:
        began = time.monotonic()
        with pytest.raises(RuntimeError, match="ledger full"):
            opened.generate(asks(5), fail)
        assert opened.generate(asks(1))[0].text == "you said number 0, seed 0"
        assert time.monotonic() - began < 5


def test_ctrl_c_breaks_off_what_is_under_way_at_once(serve: Serve, pauses: Pauses) -> None:
    server = serve(late)
    pressed = []

    def press() -> None:
        while len(server.questions()) < 5:
            time.sleep(0.05)
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    # Tests that were started in the background of a shell ignore SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with teacher(server.url, pauses) as opened:
            threading.Thread(target=press, daemon=True).start()
            with pytest.raises(KeyboardInterrupt):
                opened.generate(asks(5))
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - pressed[0] < 5


def test_a_closed_teacher_says_so(serve: Serve, pauses: Pauses) -> None:
    opened = teacher(serve(plain).url, pauses)
    opened.close()
    opened.close()
    with pytest.raises(ValueError, match="closed"):
        opened.generate(asks(1))


def test_closing_ends_the_calls_of_other_threads(serve: Serve, pauses: Pauses) -> None:
    server = serve(late)
    opened = teacher(server.url, pauses)

    def close() -> None:
        while len(server.questions()) < 3:
            time.sleep(0.02)
        opened.close()

    closing = threading.Thread(target=close)
    closing.start()
    with pytest.raises(TeacherError, match="closed"):
        opened.generate(asks(3))
    closing.join()
