"""The running service under requests that nobody planned for: does it stay sensible, and alive?

    python -m benchmarks.fuzz [--student DIR [DIR ...]] [--requests N] [--workers N] [--seed N]
                              [--json FILE] [--quick]

One half of the requests schemathesis makes from the service's own description, valid ones and
broken ones in turns, and all its checks look at the answers: status, content type and schema as
described, broken ones refused, valid ones accepted. The other half is made here, see
`benchmarks.fuzz_requests`. Students of any kind can be given, one service after the other.

It ends with 1 when something was wrong: a 5xx other than load that is shed, no answer within 30 s,
an answer that does not fit its question, a worker that died, or memory that grew by more than 5 %.

schemathesis is no part of this package, for it slows down every start of pytest by a second:

    pip install -c constraints.txt schemathesis==4.32.5
"""

from __future__ import annotations

import argparse
import http.client
import importlib.util
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.fuzz_requests import RAW, Request, drawn, fault_in, fault_in_status
from benchmarks.load_faults import workers_of
from benchmarks.load_servers import Server, started
from evokd.errors import EvokdError, InputError
from serving.layout import read_manifest, verify
from serving.limits import LIMITS

PATIENCE_S = 30.0
A_RUN = 500
"""Requests of one run of schemathesis: its generator slows down in longer ones."""
GROWTH = 0.05
SHOWN = 20
QUICK = 500
NO_ANSWER = 0
PLAIN: Request = ("POST", "/predict", b'{"text": "a"}', {"content-type": "application/json"})


@dataclass(frozen=True, slots=True)
class Answered:
    """How one request ended; `fault` is empty where all is well."""

    status: int
    seconds: float
    fault: str = ""


def ask(port: int, request: Request) -> Answered:
    """Send one request on a connection of its own, and judge the answer."""
    method, path, body, headers = request
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    begun = time.perf_counter()
    fault = ""
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        status, told = answer.status, answer.read()
        named = {name.lower(): value for name, value in answer.getheaders()}
        fault = fault_in(request, status, named, told)
    except (OSError, http.client.HTTPException) as error:
        # What is too large is refused before it has come whole, and the line is closed.
        refused = isinstance(error, ConnectionError) and len(body) > LIMITS.body_bytes
        status = 413 if refused else NO_ANSWER
        fault = "" if refused else f"no answer: {error!r}"
    finally:
        connection.close()
    fault = fault and f"{fault}, to {method} {path} {body[:200]!r} {headers}"
    return Answered(status, time.perf_counter() - begun, fault)


def ask_raw(port: int, sent: bytes) -> Answered:
    """Send bytes and hang up; an answer is as good as none, unless the service says it failed."""
    begun = time.perf_counter()
    told = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as line:
            line.sendall(sent)
            line.shutdown(socket.SHUT_WR)
            while part := line.recv(65536):
                told += part
    except ConnectionError:
        pass  # it hung up first
    except OSError as error:
        return Answered(NO_ANSWER, time.perf_counter() - begun, f"{error!r}, to {sent[:200]!r}")
    status = int(told[9:12]) if told.startswith(b"HTTP/1.1 ") else NO_ANSWER
    fault = fault_in_status(status, {}) if status else ""
    return Answered(status, time.perf_counter() - begun, fault and f"{fault}, to {sent[:200]!r}")


def described(port: int, count: int, *, seed: int) -> list[Answered]:
    """Let schemathesis ask about `count` requests; return how they ended.

    Raises:
        EvokdError: when schemathesis is not installed, or cannot work.
    """
    if importlib.util.find_spec("schemathesis") is None:
        hint = "pip install -c constraints.txt schemathesis==4.32.5"
        raise EvokdError("schemathesis is not installed", hint)
    ended = _schemathesis(port, ["--phases", "examples,coverage", "--seed", str(seed)])
    for number, start in enumerate(range(len(ended), count, A_RUN)):
        run = ["--phases", "fuzzing", "--include-path", "/predict", "--seed", str(seed + number)]
        run += ["--mode", ("positive", "negative")[number % 2]]
        ended += _schemathesis(port, [*run, "--max-examples", str(min(A_RUN, count - start))])
    return ended


def _schemathesis(port: int, options: Sequence[str]) -> list[Answered]:
    with tempfile.TemporaryDirectory(prefix="evokd-fuzz-") as folder:
        har = Path(folder, "requests.har")
        command = [sys.executable, "-m", "schemathesis.cli", "run"]
        command += [f"http://127.0.0.1:{port}/docs.json", *options, "--no-color"]
        command += ["--request-timeout", str(PATIENCE_S), "--generation-database", "none"]
        command += ["--report", "har", "--report-har-path", str(har), "--continue-on-failure"]
        # Statuses are judged here, where a 503 that is meant is none.
        command += ["--exclude-checks", "not_a_server_error"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode not in (0, 1) or not har.is_file():
            tail = " ".join((done.stdout + done.stderr).splitlines()[-3:])
            raise EvokdError(f"schemathesis ended with {done.returncode}: {tail}", "")
        ended = read_har(json.loads(har.read_text(encoding="utf-8")))
    if done.returncode:
        ended.append(Answered(NO_ANSWER, 0.0, f"schemathesis: {done.stdout}"))
    return ended


def read_har(record: dict[str, Any]) -> list[Answered]:
    """Return how the requests of an HTTP archive ended."""
    ended = []
    for entry in record["log"]["entries"]:
        request, answer = entry["request"], entry["response"]
        named = {header["name"].lower(): header["value"] for header in answer["headers"]}
        status = answer["status"]
        fault = fault_in_status(status, named) if status else "no answer"
        asked = request.get("postData", {}).get("text", "")[:200]
        fault = fault and f"{fault}, to {request['method']} {request['url']} {asked!r}"
        ended.append(Answered(status, entry["time"] / 1000, fault))
    return ended


def fuzz(student: Path, *, of_schema: int, own: int, workers: int, seed: int) -> dict[str, Any]:
    """Start the service, ask, and return the record of one student.

    Args:
        of_schema: requests that schemathesis makes, about; none without it.
        own: requests made here.

    Raises:
        EvokdError: when the student cannot be read, the service does not start, or schemathesis
            does not run.
    """
    manifest = read_manifest(student)
    verify(student, manifest)
    with started(student, workers, only=["service"]) as (servers, _):
        service = servers["service"]
        alive = workers_of(service.process.pid)
        todo = drawn(own, seeded=seed)
        # The first part fills what fills once.
        ended = _own(service, todo[: len(todo) // 4])
        before = service.rss()
        ended += described(service.port, of_schema, seed=seed) if of_schema else []
        ended += _own(service, todo[len(todo) // 4 :])
        after = service.rss()
        ended.append(ask(service.port, PLAIN))
        died = len(alive - workers_of(service.process.pid))
    faults = [one.fault for one in ended if one.fault]
    faults += [f"{died} of {len(alive)} workers died"] if died else []
    return {
        "student": str(student),
        "kind": manifest.kind,
        "requests": len(ended),
        "statuses": dict(sorted(Counter(str(one.status or "none") for one in ended).items())),
        "slowest_s": max(one.seconds for one in ended),
        "workers": sorted(alive),
        "workers_died": died,
        "rss_before": before,
        "rss_after": after,
        "rss_growth": after / before - 1,
        "faults": faults,
    }


def _own(service: Server, requests: Iterable[Request]) -> list[Answered]:
    ended = [ask_raw(service.port, sent) for sent in RAW]
    return ended + [ask(service.port, request) for request in requests]


def show(records: Sequence[dict[str, Any]], console: Console) -> None:
    """Print a table, and the first faults."""
    keys = ("student", "kind", "requests", "slowest_s", "workers_died", "rss_growth", "faults")
    table = Table(*(key.replace("_", " ") for key in keys))
    for record in records:
        table.add_row(
            *(record["student"], record["kind"], str(record["requests"])),
            *(f"{record['slowest_s']:.2f}", str(record["workers_died"])),
            *(f"{record['rss_growth']:.1%}", str(len(record["faults"]))),
        )
    console.print(table)
    for record in records:
        console.print(f"{record['student']}: statuses {record['statuses']}")
        for fault in record["faults"][:SHOWN]:
            console.print(fault, markup=False, style="red")


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, ask, print, write; end with 1 when something was wrong."""
    parser = argparse.ArgumentParser(description="The service under requests nobody planned for.")
    default = [Path("runs/demo/student")]
    parser.add_argument("--student", type=Path, nargs="+", default=default, metavar="DIR")
    parser.add_argument("--requests", type=int, default=10_000, metavar="N", help="to each student")
    parser.add_argument("--workers", type=int, default=2, help="of the service (default 2)")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} requests; a smoke test")
    asked = parser.parse_args(arguments)
    count = QUICK if asked.quick else asked.requests
    try:
        if min(count, asked.workers) < 1:
            raise InputError("requests, workers: less than 1", "for example 10000 and 2")
        records = [
            fuzz(
                student,
                of_schema=count // 2,
                own=count - count // 2,
                workers=asked.workers,
                seed=asked.seed,
            )
            for student in asked.student
        ]
    except EvokdError as problem:
        print(f"error: {problem.message}\nhint: {problem.hint}", file=sys.stderr)
        raise SystemExit(1) from None
    for record in records:
        if record["rss_growth"] > GROWTH and not asked.quick:
            record["faults"].append(f"memory grew by {record['rss_growth']:.1%}")
    show(records, Console())
    if asked.json:
        made = {"quick": asked.quick, "seed": asked.seed, "students": records}
        asked.json.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
    if any(record["faults"] for record in records):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
