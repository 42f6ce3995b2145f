"""Accuracy from one seed example a label, against the same student trained on all gold rows.

    python -m benchmarks.quality --data DIR [--json FILE] [--seeds 3] [--teacher demo] [--quick]

`--data` is the folder of the public sets (one folder a set with train, dev and test.jsonl). Each
cell, an arm with a seed, is appended to the JSON file as it ends, and a new call fills only what
is missing. The teacher gets a seed example a label and the definitions, nothing else: dev is made
by the teacher. The reference trains on the full train split, more passes as long as dev rises.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evokd.examples import Example
from evokd.formats import read_examples
from evokd.formats.jsonl import write
from evokd.gathering import scores_of
from evokd.run import open_run
from evokd.task import Task, load_task
from evokd.watch import Silent

MOST_PASSES = 8  # over the full train split; dev stops rising before


@dataclass(frozen=True, slots=True)
class Setting:
    """A set as a few-shot task: names and definitions as a user would write them."""

    folder: str
    domain: str
    labels: dict[str, tuple[str, str]]  # gold label -> (shown name, definition)
    about: str


SETTINGS = {
    "snips-7": Setting(
        "snips_raw",
        "requests to a voice assistant",
        {
            "AddToPlaylist": ("add_to_playlist", "wants music added to a playlist"),
            "BookRestaurant": ("book_restaurant", "wants a table or place at a restaurant booked"),
            "GetWeather": ("get_weather", "asks about the weather somewhere or at some time"),
            "PlayMusic": ("play_music", "wants music played"),
            "RateBook": ("rate_book", "gives a book a rating"),
            "SearchCreativeWork": (
                "search_creative_work",
                "looks for a book, game, show, album or other work by its title",
            ),
            "SearchScreeningEvent": (
                "search_screening_event",
                "asks when or where movies are shown in cinemas",
            ),
        },
        "the embedded teacher has seen this domain and these labels (train split, half A)",
    )
}


def main() -> None:
    """Fill the missing cells, then print the table."""
    parser = argparse.ArgumentParser(description="Few-shot quality against full data.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the public sets")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/quality.json"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--teacher", default="demo", help="'demo' or a GGUF file")
    parser.add_argument("--quick", action="store_true", help="a smoke run; no figure comes from it")
    args = parser.parse_args()
    results = Results(args.json, quick=args.quick)
    for name, setting in SETTINGS.items():
        if results.missing(name, "full", 0):
            results.add(name, "full", 0, full_data(setting, args.data, quick=args.quick))
        for seed in range(1, 2 if args.quick else args.seeds + 1):
            if results.missing(name, "evokd", seed):
                cell = few_shot(setting, args.data, seed, args.teacher, quick=args.quick)
                results.add(name, "evokd", seed, cell)
    print(json.dumps(results.summary(), indent=2))


class Results:
    """The cells measured so far, in a file that is whole at every moment."""

    def __init__(self, path: Path, *, quick: bool) -> None:
        self.path, self.quick = path, quick
        self.cells: dict[str, Any] = {}
        if path.exists() and not quick:
            self.cells = json.loads(path.read_text(encoding="utf-8"))["cells"]

    def missing(self, task: str, arm: str, seed: int) -> bool:
        """Say whether a cell is still to be measured."""
        return f"{task}/{arm}/{seed}" not in self.cells

    def add(self, task: str, arm: str, seed: int, cell: dict[str, Any]) -> None:
        """Add a cell and write the file."""
        self.cells[f"{task}/{arm}/{seed}"] = cell
        print(f"{task}/{arm}/{seed}: {json.dumps(cell)}", flush=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.summary(), indent=2) + "\n", encoding="utf-8")
        os.replace(part, self.path)

    def summary(self) -> dict[str, Any]:
        """Return the table: task -> arm -> mean, deviation, seeds, tokens, share of full data."""
        tasks: dict[str, Any] = {}
        for name, setting in SETTINGS.items():
            full = self.cells.get(f"{name}/full/0")
            arms = {
                arm: self._arm(f"{name}/{arm}/", key, full)
                for arm, key in (("evokd", "accuracy"), ("seed-only", "seed_only"))
            }
            found = {arm: figures for arm, figures in arms.items() if figures}
            tasks[name] = {"about": setting.about, "full": full, "arms": found}
        return {"quick": self.quick, "tasks": tasks, "cells": self.cells}

    def _arm(self, prefix: str, key: str, full: dict[str, Any] | None) -> dict[str, Any] | None:
        own = prefix.replace("seed-only", "evokd")
        cells = [cell for name, cell in sorted(self.cells.items()) if name.startswith(own)]
        if not cells:
            return None
        values = [cell[key] for cell in cells]
        mean = statistics.fmean(values)
        tokens = statistics.fmean(cell["tokens"] for cell in cells) if key == "accuracy" else 0
        return {
            "mean": mean,
            "std": statistics.stdev(values) if len(values) > 1 else 0.0,
            "seeds": len(values),
            "tokens": tokens,
            "full_share": mean / full["accuracy"] if full else None,
        }


def few_shot(
    setting: Setting, data: Path, seed: int, teacher: str, *, quick: bool
) -> dict[str, Any]:
    """Run the loop from one seed example a label and score the final student on gold test."""
    began = time.monotonic()
    train, test = rows_of(setting, data, "train"), rows_of(setting, data, "test")
    with tempfile.TemporaryDirectory() as folder:
        task = _task(Path(folder), setting, _sample(train, seed), test, seed, teacher, quick=quick)
        with open_run(task, Path(folder) / "run", watch=Progress()) as stages:
            stages.train()
            final = stages.learner.load(stages.files.student)
            scored = scores_of(final, test, task.names)
            seed_only = stages.ledger.stage("seed_only")
            totals = stages.ledger.call_totals()
    return {
        "accuracy": scored["accuracy"],
        "macro_f1": scored["macro_f1"],
        "seed_only": max(part["test"]["accuracy"] for part in seed_only.values()),
        "tokens": totals["tokens_in"] + totals["tokens_out"],
        "teacher": Path(teacher).name,
        "seconds": round(time.monotonic() - began),
    }


def full_data(setting: Setting, data: Path, *, quick: bool) -> dict[str, Any]:
    """Train on the full train split, pass after pass, until dev stops rising; keep the best.

    Every pass has a warm-up and a decay of its own and goes on from the last one, so that each
    ends as a finished student and costs one pass.
    """
    from evokd.student import fit

    train, dev, test = (rows_of(setting, data, part) for part in ("train", "dev", "test"))
    with tempfile.TemporaryDirectory() as folder:
        task = _task(Path(folder), setting, _sample(train, 0), test, 0, "demo", quick=quick)
    train = train[:200] if quick else train
    student = None
    best: dict[str, Any] = {"dev_accuracy": -1.0}
    for passes in range(1, 2 if quick else MOST_PASSES + 1):
        student = fit(train, task.names, task.student, epochs=1, seed=passes, start=student)
        dev_accuracy = scores_of(student, dev, task.names)["accuracy"]
        print(f"  pass {passes}: dev {dev_accuracy:.4f}", flush=True)
        if dev_accuracy <= best["dev_accuracy"]:
            break
        scored = scores_of(student, test, task.names)
        best = {
            "accuracy": scored["accuracy"],
            "macro_f1": scored["macro_f1"],
            "dev_accuracy": dev_accuracy,
            "epochs": passes,
            "rows": len(train),
        }
    return best


class Progress(Silent):
    """Prints a line a round."""

    def round(self, result: Any) -> None:
        """See `evokd.watch.Watch`."""
        dev, test = result["dev"]["accuracy"], result["test"]["accuracy"]
        print(f"  round {result['round']}: dev {dev:.3f}, test {test:.3f}", flush=True)


def rows_of(setting: Setting, data: Path, part: str) -> list[Example]:
    """Return the gold rows of a set's train, dev or test split, under the shown label names."""
    rows = read_examples(data / setting.folder / f"{part}.jsonl", list(setting.labels))
    return [Example(row.text, setting.labels[row.label][0]) for row in rows]


def _sample(rows: Sequence[Example], seed: int) -> list[Example]:
    """Return one row a label, drawn by the seed."""
    shuffled = list(rows)
    random.Random(seed).shuffle(shuffled)
    return list({row.label: row for row in shuffled}.values())


def _task(
    folder: Path,
    setting: Setting,
    seeds: Sequence[Example],
    test: Sequence[Example],
    seed: int,
    teacher: str,
    *,
    quick: bool,
) -> Task:
    """Write a task with `data: {seed, test}` only, and read it as a user's would be."""
    (folder / "seed.jsonl").write_text(write(seeds), encoding="utf-8")
    (folder / "test.jsonl").write_text(write(test), encoding="utf-8")
    model = teacher if teacher == "demo" else str(Path(teacher).resolve())
    content = {
        "name": "quality",
        "domain": setting.domain,
        "labels": dict(setting.labels.values()),
        "data": {"seed": "seed.jsonl", "test": "test.jsonl"},
        "teacher": {"model": model, "context": 16384, "max_tokens": 240},
        "loop": {"seed": seed, **({"rounds": 1, "cover": 8, "conversations": 2} if quick else {})},
    }
    (folder / "task.yaml").write_text(json.dumps(content), encoding="utf-8")
    return load_task(folder / "task.yaml")


if __name__ == "__main__":
    main()
