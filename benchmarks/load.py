"""The running service under load, against a plain Starlette app, BentoML's defaults, and others.

    python -m benchmarks.load [--student DIR] [--workers N] [--soak SECONDS]
                              [--texts FILE] [--json FILE] [--quick]

All serve the same student with as many workers, on this machine, and are asked in turn, so that
they meet the same neighbours. First 32 clients ask as fast as they are answered: requests a second.
Then requests come at Poisson times, at 10 to 120 % of what the server could do, and time runs from
when a request was due, so that waiting is never left out. The client takes its share of the same
processors. At last the service soaks at 70 % while its memory is seen, one of its workers is killed
under load, and it is asked to end with requests in flight.

LitServe, and FastAPI with a pipeline over optimum, stand beside the first three where they start:
they are no part of this package. To have both, in an environment that has its `dev` or `all` extra:

    pip install -c constraints.txt litserve fastapi uvicorn
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import evokd.demo
from benchmarks.load_client import Sample, closed_loop, open_loop, requests_of
from benchmarks.load_faults import end_in_flight, kill_a_worker
from benchmarks.load_servers import Server, started
from evokd.cpus import cpu_model, usable_cpus
from evokd.errors import EvokdError, InputError
from evokd.formats import read_texts
from serving.layout import read_manifest, verify

CLIENTS = 32
SHARES = (0.1, 0.4, 0.7, 0.9, 1.0, 1.2)
AT = 0.7
TITLES = {
    "service": "evokd serve",
    "starlette": "Starlette, by hand",
    "bento_default": "BentoML defaults",
    "litserve": "LitServe",
    "fastapi_optimum": "FastAPI + optimum pipeline",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure: rounds over all servers, and seconds of each measurement."""

    rounds: int = 5
    seconds: float = 10.0
    soak: float = 120.0


QUICK = Plan(rounds=1, seconds=1.5, soak=3.0)


async def measure(
    servers: dict[str, Server], requests: Sequence[bytes], plan: Plan
) -> dict[str, Any]:
    """Return what each server did at most, at shares of that, and over the soak."""
    for server in servers.values():
        await closed_loop(server.port, requests, clients=CLIENTS, seconds=plan.seconds / 4)
    most: dict[str, list[Sample]] = {name: [] for name in servers}
    at: dict[str, list[Sample]] = {name: [] for name in servers}
    for turn in range(plan.rounds):
        for name, server in servers.items():
            made = await closed_loop(server.port, requests, clients=CLIENTS, seconds=plan.seconds)
            most[name].append(made)
            rate = AT * len(made.answered) / plan.seconds
            at[name].append(
                await open_loop(server.port, requests, rate=rate, seconds=plan.seconds, seed=turn)
            )
    service = servers["service"]
    capacity = statistics.median(len(s.answered) / s.seconds for s in most["service"])
    curve = {}
    for share in SHARES:
        rate = share * capacity
        made = await open_loop(service.port, requests, rate=rate, seconds=plan.seconds, seed=99)
        curve[f"{share:.0%}"] = made.facts()
    soak = await _soak(service, requests, AT * capacity, plan.soak)
    killed = await kill_a_worker(
        service.process.pid, service.port, requests, rate=capacity / 2, seconds=plan.seconds
    )
    long = requests_of(["a long request " * 400])[0]
    ended = await end_in_flight(service.process.pid, service.port, long, clients=8)
    return {
        "closed": {name: [s.facts() for s in samples] for name, samples in most.items()},
        "at_70": {name: [s.facts() for s in samples] for name, samples in at.items()},
        "curve": curve,
        "soak": soak,
        "killed": killed,
        "ended": ended,
    }


async def _soak(
    service: Server, requests: Sequence[bytes], rate: float, seconds: float
) -> dict[str, Any]:
    """Ask for long at one rate; return memory before and after, and what came back."""
    # The first part fills what fills once: connections, timers, the tokenizer's cache.
    await open_loop(service.port, requests, rate=rate, seconds=seconds / 4, seed=7)
    before = service.rss()
    sample = await open_loop(service.port, requests, rate=rate, seconds=seconds, seed=8)
    after = service.rss()
    return {**sample.facts(), "seconds": seconds, "rss_before": before, "rss_after": after}


def ratios(made: dict[str, Any]) -> dict[str, float]:
    """Return the figures that matter: each a ratio within one round, then the median of rounds."""

    def median_ratio(other: str) -> float:
        pairs = zip(made["closed"]["service"], made["closed"][other], strict=True)
        return float(statistics.median(a["rps"] / b["rps"] for a, b in pairs))

    def tail(name: str) -> float:
        return _median(made["at_70"][name], "p99_over_p50")

    soak = made["soak"]
    return {
        **{f"rps_vs_{name}": median_ratio(name) for name in made["closed"] if name != "service"},
        "p99_over_p50_at_70": tail("service"),
        "starlette_p99_over_p50_at_70": tail("starlette"),
        "rss_growth": soak["rss_after"] / soak["rss_before"] - 1,
    }


def bench(student: Path, *, workers: int, texts: Path | None, plan: Plan) -> dict[str, Any]:
    """Measure, and return the record that `--json` writes.

    Raises:
        EvokdError: when the student or the texts cannot be read, or a server does not start.
    """
    verify(student, read_manifest(student))
    requests = requests_of(read_texts(texts or Path(evokd.demo.__file__).parent / "test.jsonl"))
    with started(student, workers) as (servers, left_out):
        for name, why in left_out.items():
            print(f"{TITLES[name]} is left out: {why}", file=sys.stderr)
        made = asyncio.run(measure(servers, requests, plan))
    machine = {"cpu": cpu_model(), "cpus": usable_cpus(), "workers": workers, "clients": CLIENTS}
    return {**ratios(made), **machine, **made}


def show(record: dict[str, Any], console: Console) -> None:
    """Print the record as two tables."""
    title = f"{record['cpu']}, {record['cpus']} processors, {record['workers']} workers"
    table = Table("", "requests/s", "p50 ms", "p99 ms", "70 %: p50", "p99", "p99/p50", title=title)
    for name in record["closed"]:
        cells = [_median(record["closed"][name], key) for key in ("rps", "p50_ms", "p99_ms")]
        tail = ("p50_ms", "p99_ms", "p99_over_p50")
        cells += [_median(record["at_70"][name], key) for key in tail]
        table.add_row(TITLES[name], *(f"{cell:.1f}" for cell in cells))
    console.print(table)
    curve = Table(
        "load", "requests/s", "p50 ms", "p99 ms", "not 200", title="evokd serve, open loop"
    )
    for share, facts in record["curve"].items():
        shown = [f"{facts[key]:.1f}" for key in ("rps", "p50_ms", "p99_ms")]
        curve.add_row(share, *shown, json.dumps(facts["not_200"]) if facts["not_200"] else "0")
    console.print(curve)
    for key in (*(key for key in record if key.startswith("rps_vs_")), "rss_growth"):
        console.print(f"{key}: {record[key]:.3f}")
    console.print(f"a worker killed under load: {record['killed']}")
    console.print(f"asked to end with requests in flight: {record['ended']}")


def _median(rows: Sequence[dict[str, Any]], key: str) -> float:
    return float(statistics.median(row[key] for row in rows))


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description="The service under load.")
    parser.add_argument("--student", type=Path, default=Path("runs/demo/student"), metavar="DIR")
    parser.add_argument("--workers", type=int, default=2, help="of each server (default 2)")
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="soak at 70 %% for that long")
    parser.add_argument("--texts", type=Path, metavar="FILE", help="instead of the demo's own")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--quick", action="store_true", help="seconds, not minutes; a smoke test")
    asked = parser.parse_args(arguments)
    plan = QUICK if asked.quick else Plan()
    plan = plan if asked.soak is None else Plan(plan.rounds, plan.seconds, asked.soak)
    try:
        if asked.workers < 1:
            raise InputError("workers: less than 1", "for example 2")
        made = bench(asked.student, workers=asked.workers, texts=asked.texts, plan=plan)
    except EvokdError as problem:
        print(f"error: {problem.message}\nhint: {problem.hint}", file=sys.stderr)
        raise SystemExit(1) from None
    record = {"quick": asked.quick, **made}
    show(record, Console())
    if asked.json:
        asked.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
