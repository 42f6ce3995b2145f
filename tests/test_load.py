"""benchmarks.load: a client that leaves no waiting out, and ratios within a round."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from benchmarks import load, load_servers
from benchmarks.load_client import DROPPED, Sample, closed_loop, connect, open_loop, requests_of
from evokd.errors import EvokdError

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
REQUESTS = requests_of(["one", "two", "three"])


def answering(*, seconds: float = 0.0, status: bytes = b"200 OK", body: bytes = b"{}") -> Serve:
    """Return a server that answers one request after the other, all connections together."""
    turn = asyncio.Lock()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.read(65536):
            assert head.startswith(b"POST /predict HTTP/1.1\r\n")
            async with turn:
                await asyncio.sleep(seconds)
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status, len(body)))
            await asyncio.sleep(0)  # head and body come in two parts
            writer.write(body)
        writer.close()

    return serve


def against(serve: Serve, ask: Callable[[int], Awaitable[Sample]]) -> Sample:
    """Run a client against a server."""

    async def both() -> Sample:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            return await ask(server.sockets[0].getsockname()[1])

    return asyncio.run(both())


def test_clients_ask_again_as_soon_as_they_are_answered() -> None:
    sample = against(answering(), lambda port: closed_loop(port, REQUESTS, clients=4, seconds=0.3))
    assert set(sample.statuses) == {200}
    assert sample.facts()["rps"] == len(sample.answered) / 0.3
    assert len(sample.answered) > 40


def test_waiting_counts_from_when_a_request_was_due() -> None:
    # 100 a second are due where 50 can be answered: the last ones wait about half of the time.
    sample = against(
        answering(seconds=0.02),
        lambda port: open_loop(port, REQUESTS, rate=100, seconds=0.6, seed=1),
    )
    assert len(sample.answered) > 30
    assert max(sample.answered) > 0.15
    assert min(sample.answered) < 0.06


def test_refusals_are_counted_and_not_timed() -> None:
    sample = against(
        answering(status=b"429 Too Many Requests"),
        lambda port: open_loop(port, REQUESTS, rate=100, seconds=0.2, seed=2),
    )
    assert not sample.answered
    assert sample.facts()["not_200"] == {"429": sample.statuses[429]}


def test_a_server_that_hangs_up_costs_the_requests_it_held() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.close()

    sample = against(hang_up, lambda port: closed_loop(port, REQUESTS, clients=2, seconds=0.2))
    assert sample.statuses == {DROPPED: 2}


def test_a_client_comes_again_where_an_answer_ends_the_connection() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    sample = against(once, lambda port: closed_loop(port, REQUESTS, clients=2, seconds=0.3))
    assert set(sample.statuses) == {200}
    assert sample.statuses[200] > 4


def test_nobody_listens() -> None:
    assert asyncio.run(connect(1)) is None


def test_ratios_are_taken_within_a_round() -> None:
    def rounds(*rps: float) -> list[dict[str, float]]:
        return [{"rps": value, "p99_over_p50": value / 100} for value in rps]

    made = {
        "closed": {
            "service": rounds(100, 50, 90),
            "starlette": rounds(100, 40, 100),
            "bento_default": rounds(50, 25, 45),
        },
        "at_70": {"service": rounds(200, 300, 400), "starlette": rounds(100, 500, 300)},
        "soak": {"rss_before": 100, "rss_after": 103},
    }
    assert load.ratios(made) == {
        "rps_vs_starlette": 1.0,
        "rps_vs_bento_default": 2.0,
        "p99_over_p50_at_70": 3.0,
        "starlette_p99_over_p50_at_70": 3.0,
        "rss_growth": pytest.approx(0.03),
    }


def test_a_peer_that_was_measured_has_its_ratio() -> None:
    one = [{"rps": 100.0, "p99_over_p50": 2.0}]
    others = {name: [{"rps": 50.0}] for name in ("starlette", "bento_default", "litserve")}
    made = {
        "closed": {"service": one, **others},
        "at_70": {"service": one, "starlette": one},
        "soak": {"rss_before": 100, "rss_after": 100},
    }
    found = load.ratios(made)
    assert found["rps_vs_litserve"] == 2.0
    assert "rps_vs_fastapi_optimum" not in found


TALKS = """
import http.server, subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Ready).serve_forever()
"""


def test_only_a_peer_may_be_missing_and_no_process_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {"service": ["-c", TALKS, "PORT"], "litserve": ["-c", "import not_there"]}
    monkeypatch.setattr(load_servers, "commands", lambda *_: made)
    with load_servers.started(tmp_path, 1) as (servers, left_out):
        (child,) = psutil.Process(servers["service"].process.pid).children()
        assert left_out == {"litserve": "ModuleNotFoundError: No module named 'not_there'"}
    assert _ended(child)
    made["service"] = ["-c", "import not_there"]
    with pytest.raises(EvokdError, match="not_there"), load_servers.started(tmp_path, 1):
        pass


def _ended(process: psutil.Process) -> bool:
    for _ in range(50):
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_a_student_that_is_none_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        load.main(["--student", str(tmp_path)])
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.slow
def test_the_quick_run_writes_the_figures(tiny_sealed: Path, tmp_path: Path) -> None:
    file = tmp_path / "load.json"
    load.main(["--student", str(tiny_sealed), "--quick", "--json", str(file)])
    made = json.loads(file.read_text())
    assert made["quick"] is True
    assert made["rps_vs_starlette"] > 0.4
    assert made["rps_vs_bento_default"] > 1
    assert made["rss_growth"] < 0.2
    assert list(made["curve"]) == ["10%", "40%", "70%", "90%", "100%", "120%"]
    assert made["soak"]["not_200"] == {}
    assert made["killed"]["lost"] < made["killed"]["requests"] / 4
    assert made["killed"]["back_s"] < 10
    assert made["ended"] == {"in_flight": 8, "lost": 0}
