"""Whether many requests cost more time or memory each than few: the embedded teacher.

    python -m benchmarks.throughput.growth [--threads N] [--json FILE] [--quick]

100, 1,000 and 10,000 requests, each in one call, with replies of at most 24 tokens. `rss_growth`
is the resident memory at the end of the last call as a share of what it was when the first tenth
of its requests was done, less one. Replies are kept, as a caller would.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil

from evokd.settings import TeacherSettings
from evokd.teacher import Generate, Message, Teacher, Written, open_teacher

COUNTS, QUICK_COUNTS = (100, 1_000, 10_000), (10, 100, 1_000)
TOKENS = 24
Clock = Callable[[], float]


def measure(
    models: Path | None = None,
    *,
    threads: int = 0,
    quick: bool = False,
    clock: Clock = time.perf_counter,
) -> dict[str, Any]:
    """Return `rss_growth`, and for each count the milliseconds a request takes.

    Args:
        models: not needed; every section takes it.
        threads: CPU threads; 0 means the cores that this process may use.
        quick: a tenth of the requests.
        clock: seconds that only rise.
    """
    counts = QUICK_COUNTS if quick else COUNTS
    with closing(open_teacher(TeacherSettings(threads=threads))) as teacher:
        teacher.generate(_requests(counts[0]))  # warms up
        each, memory = {}, {}
        for count in counts:
            start = clock()
            memory[count] = _write(teacher, count)
            each[str(count)] = (clock() - start) / count * 1e3
    early, late = memory[counts[-1]]
    return {
        "rss_growth": late / early - 1,
        "growth": {
            "ms_a_request": each,
            "rss_mb_after_a_tenth": early / 1e6,
            "rss_mb_at_the_end": late / 1e6,
        },
    }


def _write(teacher: Teacher, count: int) -> tuple[int, int]:
    """Return the memory in use when a tenth of the requests is done, and at the end; bytes."""
    seen: list[int] = []
    early = 0

    def note(index: int, reply: Written) -> None:
        nonlocal early
        seen.append(index)
        if len(seen) == count // 10:
            early = psutil.Process().memory_info().rss

    replies = teacher.generate(_requests(count), note)
    late = psutil.Process().memory_info().rss
    assert len(replies) == len(seen) == count
    return early, late


def _requests(count: int) -> list[Generate]:
    words = "Write a request to a voice assistant about music, the weather or a table for dinner. "
    return [
        Generate((Message("user", f"{words * 4}\nNumber {i}"),), seed=i, max_tokens=TOKENS)
        for i in range(count)
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures, and write them as JSON."""
    parser = argparse.ArgumentParser(description="Measure time and memory of many requests.")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    asked = parser.parse_args(arguments)
    made = measure(threads=asked.threads, quick=asked.quick)
    print(json.dumps(made, indent=2))
    if asked.json:
        asked.json.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
