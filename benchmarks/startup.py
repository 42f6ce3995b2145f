"""How much longer `evokd --help` takes than importing the library that draws it.

    python -m benchmarks.startup [--json FILE] [--quick]

Wall time in seconds, median of 5 fresh processes of each, taken in turn so that both meet the
same load. One uncounted run of each comes first: it reads the files into the cache.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RUNS = 5
# What the installed script `evokd` runs, so that a checkout can be measured as well.
HELP = "import sys; sys.argv = ['evokd', '--help']; from evokd.cli import main; main()"
TYPER = "import typer"


def seconds(code: str) -> float:
    """Return the wall time of running code in a fresh interpreter, in seconds."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def measure(runs: int) -> dict[str, Any]:
    """Return both medians and their difference, in seconds."""
    for code in (HELP, TYPER):
        seconds(code)
    pairs = [(seconds(HELP), seconds(TYPER)) for _ in range(runs)]
    shown, bare = (statistics.median(times) for times in zip(*pairs, strict=True))
    return {"runs": runs, "help_s": shown, "typer_s": bare, "extra_s": shown - bare}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the figures as JSON."""
    parser = argparse.ArgumentParser(description="Start-up time of the command line.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--quick", action="store_true", help="one run of each; a smoke test")
    asked = parser.parse_args(arguments)
    made = measure(1 if asked.quick else RUNS)
    print(
        f"evokd --help {made['help_s']:.3f} s, import typer {made['typer_s']:.3f} s,"
        f" extra {made['extra_s']:.3f} s (median of {made['runs']})"
    )
    if asked.json:
        record = {"quick": asked.quick, "python": platform.python_version(), **made}
        asked.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
