"""The HTTP teacher and a real server: llama-cpp-python's own, with the embedded teacher."""

from __future__ import annotations

import json
import math
import os
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_run import grow, make_task, prompts_of, replies
from fakes import FakeLearner, Stopped, user

from evokd.errors import TeacherError
from evokd.ledger import Ledger
from evokd.replay import replay
from evokd.settings import TeacherSettings
from evokd.teacher import Generate, Score, open_teacher
from evokd.teacher.grammar import choice
from evokd.teacher.http import HttpTeacher
from evokd.teacher.llamacpp import LlamaCppTeacher, find_model
from evokd.teacher.wire import Wire

for package in ("fastapi", "uvicorn", "sse_starlette", "starlette_context", "pydantic_settings"):
    pytest.importorskip(package)

SECRET = "sk-planted-4711"
LABELS = ("set_alarm", "play_music", "get_weather", "play")
TEXTS = (
    "wake me at seven", "play some jazz", "will it rain tomorrow", "is it cold outside",
    "an alarm for six please", "put on my favourite song", "I want to hear the radio",
    "do I need an umbrella", "get me up early", "turn the music on",
)  # fmt: skip


def question(text: str) -> Score:
    listed = "".join(f"- {label}\n" for label in LABELS)
    asked = f"Classes:\n{listed}To which class does this text belong?\nText: {text}"
    return Score(user(asked), LABELS)


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[str]:
    """Serve the embedded teacher on a free port; yields the address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    model = ["--model", str(find_model("demo")), "--model_alias", "demo", "--n_ctx", "1024"]
    command = [sys.executable, "-m", "llama_cpp.server", "--port", str(port), *model]
    env = {k: v for k, v in os.environ.items() if k != "EVOKD_API_KEY"}
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--n_threads", "1", *arguments], stdout=log, stderr=log, env=env
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/openapi.json", server)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.kill()
        server.wait()


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            assert server.poll() is None, "the server ended"
            time.sleep(0.1)
    raise AssertionError("the server does not begin")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that tells log-probabilities, as it does by default."""
    with running(tmp_path_factory.mktemp("open")) as url:
        yield url


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that wants a key and tells no log-probabilities."""
    arguments = ("--logits_all", "false", "--api_key", SECRET)
    with running(tmp_path_factory.mktemp("locked"), *arguments) as url:
        yield url


@pytest.fixture(scope="module")
def native() -> Iterator[LlamaCppTeacher]:
    """The same model in this process."""
    with LlamaCppTeacher(find_model("demo"), TeacherSettings(threads=1)) as teacher:
        yield teacher


def test_scores_are_those_of_the_model_in_this_process(
    address: str, native: LlamaCppTeacher
) -> None:
    requests = [question(text) for text in TEXTS]
    with HttpTeacher(TeacherSettings(model=address, sequences=4)) as teacher:
        assert teacher.fingerprint.startswith("demo llama-cpp-python 0.")
        assert teacher.fingerprint.endswith(" texts")
        scored = teacher.score(requests)
    for one, other in zip(scored, native.score(requests), strict=True):
        assert one.tokens_in == other.tokens_in
        shares = [[math.exp(v) / sum(map(math.exp, s.logprobs)) for v in s.logprobs]
                  for s in (one, other)]  # fmt: skip
        # "play" ends here where no "play_music" follows, there by the end of the turn.
        assert shares[0] == pytest.approx(shares[1], abs=0.05)
        assert max(LABELS, key=dict(zip(LABELS, shares[0], strict=True)).get) == max(
            LABELS, key=dict(zip(LABELS, shares[1], strict=True)).get
        )


def test_a_server_that_nobody_knows_tells_by_its_reply(
    address: str, native: LlamaCppTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same server without the paths by which it is known."""

    async def nothing(self: Wire, url: str, body: object = None) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(Wire, "probe", nothing)
    requests = [question(text) for text in TEXTS[:6]]
    with HttpTeacher(TeacherSettings(model=address, sequences=4)) as teacher:
        assert teacher.fingerprint == "demo openai reply"
        scored = teacher.score(requests)
    told = [  # the others' replies were no label, or left it open
        (one, other.logprobs)
        for one, other in zip(scored, native.score(requests), strict=True)
        if -20.0 not in one.logprobs
    ]
    assert len(told) >= len(requests) / 3
    for one, true in told:
        assert one.logprobs.index(max(one.logprobs)) == true.index(max(true))
        assert all(v >= t - 0.05 for v, t in zip(one.logprobs, true, strict=True))
        assert one.bounded != tuple(range(len(LABELS)))


def test_replies_follow_seed_grammar_stop_and_length(address: str) -> None:
    ask = Generate(user("Write a text."), seed=3, max_tokens=12)
    held = Generate(ask.messages, grammar=choice(["only this 🙂", "or that"]), max_tokens=40)
    with HttpTeacher(TeacherSettings(model=address, sequences=2)) as teacher:
        one, two, other, kept = teacher.generate(
            [ask, ask, Generate(ask.messages, seed=4, max_tokens=12), held]
        )
        stopped = Generate(ask.messages, seed=3, max_tokens=12, stop=(one.text[-1],))
        (cut,) = teacher.generate([stopped])
    assert one.text == two.text != other.text
    assert kept.text in ("only this 🙂", "or that")
    assert kept.finish == "stop"
    assert one.tokens_out <= 12
    assert one.text.startswith(cut.text)
    assert len(cut.text) < len(one.text)


def test_a_server_without_log_probabilities_chooses(locked: str, native: LlamaCppTeacher) -> None:
    requests = [question(text) for text in TEXTS]
    with HttpTeacher(TeacherSettings(model=locked), key=SECRET) as teacher:
        assert teacher.fingerprint.endswith(" answer")
        scored = teacher.score(requests)
    hits = 0
    for one, other in zip(scored, native.score(requests), strict=True):
        assert sorted(one.logprobs)[-2:] == [-20.0, 0.0]
        hits += one.logprobs.index(0.0) == other.logprobs.index(max(other.logprobs))
    assert hits >= len(TEXTS) - 2


def test_a_missing_key_is_named(locked: str) -> None:
    with pytest.raises(TeacherError, match="401") as caught:
        HttpTeacher(TeacherSettings(model=locked))
    assert "EVOKD_API_KEY" in caught.value.hint


def test_a_run_over_http_resumes_and_keeps_the_key_to_itself(
    locked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVOKD_API_KEY", SECRET)
    small = {"rounds": 1, "hard": 1, "easy": 1, "conversations": 1, "cover": 2, "quota": 0,
             "pool": 1}  # fmt: skip
    task = make_task(tmp_path / "task", pool=2, teacher={"model": locked, "max_tokens": 60},
                     loop=small, selection={"texts": 1})  # fmt: skip
    assert task.teacher.model == locked
    out = tmp_path / "run"
    with pytest.raises(Stopped):
        grow(task, out, open_teacher(task.teacher), FakeLearner(task.names, fail_at=1))
    before = {key: reply for key, reply in replies(out / "run.db").items() if reply}
    assert before
    grow(task, out, open_teacher(task.teacher), FakeLearner(task.names))
    after = replies(out / "run.db")
    assert before.items() <= after.items()
    assert None not in after.values()
    assert len(after) > len(before)
    ledger = Ledger(out / "run.db")
    try:
        assert ledger.meta("teacher")["name"] == "demo"
        assert replay(ledger) == ledger.rows()
    finally:
        ledger.close()
    assert prompts_of(out / "run.db")
    for path in (p for p in tmp_path.rglob("*") if p.is_file()):
        assert SECRET.encode() not in path.read_bytes(), path
    with sqlite3.connect(out / "run.db") as db:
        assert SECRET not in "\n".join(db.iterdump())


@pytest.mark.slow
def test_a_whole_run_over_http(locked: str, tmp_path: Path) -> None:
    """With the real student: export, scores and latency ask the server too."""
    loop = {"rounds": 1, "hard": 1, "easy": 1, "conversations": 1, "cover": 2, "quota": 0}
    student = {"epochs": 1, "final_epochs": 1, "threads": 1}
    make_task(tmp_path / "task", teacher={"model": locked}, loop=loop, student=student,
              selection={"texts": 1})  # fmt: skip
    command = [sys.executable, "-c", "from evokd.cli import main; main()", "run"]
    files = [str(tmp_path / "task" / "task.yaml"), "--out", str(tmp_path / "run")]
    env = os.environ | {"EVOKD_API_KEY": SECRET}
    done = subprocess.run([*command, *files], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["latency_ms"]["teacher_score"]["p50"] > 0
    assert summary["teacher"]["tokens_in"] > 0
    for path in (p for p in (tmp_path / "run").rglob("*") if p.is_file()):
        assert SECRET.encode() not in path.read_bytes(), path
    again = subprocess.run([*command, *files], capture_output=True, text=True)  # asks nobody
    assert again.returncode == 0, again.stderr
