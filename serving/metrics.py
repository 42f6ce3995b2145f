"""What the service counts and times, for Prometheus; many workers add up to one page."""

from __future__ import annotations

import os
from functools import lru_cache

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

SECONDS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 0.5, 1, 2, 4, 8)
SHARES = tuple(tenth / 10 for tenth in range(1, 11))
MEDIA = CONTENT_TYPE_LATEST.encode("ascii")

REQUESTS = Counter("evokd_requests", "Requests by path and status.", ["path", "status"])
REQUEST_SECONDS = Histogram(
    "evokd_request_seconds",
    "Time from the request's head to its answer.",
    ["path"],
    buckets=SECONDS,
)
STAGE_SECONDS = Histogram(
    "evokd_stage_seconds", "Time of a request in each stage.", ["stage"], buckets=SECONDS
)
LABELS = Counter(
    "evokd_labels", "Labels that texts were given, and the entities found by their type.", ["label"]
)
NOTHING = "(none)"
"""Stands for the label of a text that was given none."""
CONFIDENCE = Histogram(
    "evokd_confidence",
    "How sure the student was of each text: of its label, its least sure yes or no, or word.",
    buckets=SHARES,
)
HARVESTED = Counter("evokd_harvested", "Texts that were kept because the student was unsure.")


# Finding the series of a label is slower than counting in it: the few there are, are kept at hand.
@lru_cache(maxsize=1024)
def labelled(label: str) -> Counter:
    """Return the counter of a label."""
    return LABELS.labels(label)


@lru_cache(maxsize=256)
def ended(path: str, status: int) -> tuple[Counter, Histogram]:
    """Return what counts and times the requests of a path that end with a status."""
    return REQUESTS.labels(path, str(status)), REQUEST_SECONDS.labels(path)


def render() -> bytes:
    """Return the page of all metrics: of every worker where there are several, else of this one."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    everyone = CollectorRegistry()
    MultiProcessCollector(everyone)  # type: ignore[no-untyped-call]
    return generate_latest(everyone)
