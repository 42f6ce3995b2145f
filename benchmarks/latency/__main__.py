"""Parse, measure, print, write: `evokd bench` for those who have no command line of evokd."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.latency.bench import bench_student
from benchmarks.latency.table import show
from evokd.errors import EvokdError
from evokd.writable import check_file


def main(arguments: Sequence[str] | None = None) -> None:
    """Do it; an error of the user's ends with exit code 1."""
    parser = argparse.ArgumentParser(description="Latency: the student against its teacher.")
    parser.add_argument("--student", type=Path, required=True, metavar="DIR", help="its folder")
    parser.add_argument("--teacher", default="demo", metavar="MODEL", help="a GGUF file, or demo")
    parser.add_argument("--texts", type=Path, metavar="FILE", help="instead of the run's own")
    parser.add_argument("--tokens", type=int, metavar="N", help="make texts of about N tokens")
    parser.add_argument("--labels", type=int, metavar="N", help="ask the teacher about the first N")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--quick", action="store_true", help="few texts; a smoke test")
    options = vars(parser.parse_args(arguments))
    student, out = options.pop("student"), options.pop("json")
    try:
        check_file(out)
        record = bench_student(student, **options)
    except EvokdError as problem:
        print(f"error: {problem.message}\nhint: {problem.hint}", file=sys.stderr)
        raise SystemExit(1) from None
    show(record, Console())
    if out:
        out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
