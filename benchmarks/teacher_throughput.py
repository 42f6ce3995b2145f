"""How fast the teacher engine is: writing, scoring, structure, and many requests.

    python -m benchmarks.teacher_throughput --models DIR [--only SECTION] [--threads N]
                                            [--json FILE] [--quick]

`--models` is a folder with the models that `python -m benchmarks.random_gguf` makes, by the names
that `MODELS` has. The sections are modules of `benchmarks.throughput`; a key of a section that was
not run, or whose model is missing, is null. `*_vs_*` says how many times better.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import llama_cpp
from rich.console import Console
from rich.table import Table

from evokd.cpus import cpu_model, usable_cores
from evokd.settings import SIDE_BY_SIDE

SECTIONS = ("generating", "scoring", "structure", "growth")
MODELS = {  # file: arguments of benchmarks.random_gguf
    "r04_q4.gguf": ("0.4B", "Q4_K_M", 32000),
    "r04_q8.gguf": ("0.4B", "Q8_0", 32000),
    "r1_q4.gguf": ("1B", "Q4_K_M", 32000),
    "r1_q8.gguf": ("1B", "Q8_0", 32000),
    "r04_q4_152k.gguf": ("0.4B", "Q4_K_M", 152000),
}
KEYS = (
    "generate_vs_llama",
    "generate_vs_raw",
    "generate_vs_llama_embedded",
    "score_vs_constrained_7_embedded",
    "score_vs_constrained_7",
    "score_77_vs_prefill",
    "score_agreement",
    "structure_cost",
    "rss_growth",
)


def measure(
    models: Path,
    sections: Sequence[str] = SECTIONS,
    *,
    threads: int = 0,
    width: int = SIDE_BY_SIDE,
    quick: bool = False,
) -> dict[str, Any]:
    """Run the sections one after another; return the keys of KEYS and all that they add."""
    made: dict[str, Any] = dict.fromkeys(KEYS)
    for name in sections:
        module = f"benchmarks.throughput.{name}"
        if find_spec(module) is None:
            continue
        start = time.perf_counter()
        options = {"width": width} if name == "generating" else {}
        made |= import_module(module).measure(models, threads=threads, quick=quick, **options)
        made[f"{name}_seconds"] = time.perf_counter() - start
    return made


def show(made: dict[str, Any], console: Console) -> None:
    """Print the keys, and the table of writing."""
    table = Table("figure", "value")
    for key in KEYS:
        table.add_row(key, "" if made[key] is None else f"{made[key]:.3f}")
    console.print(table)
    if not made.get("generating"):
        return
    columns = ("model", "evokd", "Llama", "raw", "vs Llama", "vs raw", "width", "time in C, draw")
    rows = Table(*columns, title="tokens a second, written")
    for name, row in made["generating"].items():
        speeds, split = row["tokens_per_second"], row["split"]
        rows.add_row(
            name,
            *(f"{speeds[way]:.0f}" for way in ("evokd", "llama", "raw")),
            f"{row['vs_llama']:.2f}",
            f"{row['vs_raw']:.2f}",
            str(row["width"]),
            f"{split['decode']:.0%}, {split['draw']:.0%}",
        )
    console.print(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the figures as JSON."""
    parser = argparse.ArgumentParser(description="Measure the teacher engine.")
    parser.add_argument("--models", type=Path, required=True, metavar="DIR")
    parser.add_argument("--only", choices=SECTIONS, action="append", metavar="SECTION")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default all)")
    parser.add_argument(
        "--width", type=int, default=SIDE_BY_SIDE,
        help=f"texts side by side (default {SIDE_BY_SIDE}, as the product's); 0 measures first",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--quick", action="store_true", help="little of everything; a smoke test")
    asked = parser.parse_args(arguments)
    made = {
        "quick": asked.quick,
        "cpu": cpu_model(),
        "threads": asked.threads or usable_cores(),
        "python": platform.python_version(),
        "llama_cpp_python": llama_cpp.__version__,
        **measure(
            asked.models,
            asked.only or SECTIONS,
            threads=asked.threads,
            width=asked.width,
            quick=asked.quick,
        ),
    }
    show(made, Console())
    if asked.json:
        asked.json.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
