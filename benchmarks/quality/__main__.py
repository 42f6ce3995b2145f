"""Arms from one seed example a label, against each other and against full data.

    python -m benchmarks.quality --data DIR [--json FILE] [--tasks snips-7,...] [--arms evokd,...]
        [--seeds 5] [--budget-tokens N] [--teacher demo] [--quick]

    python -m benchmarks.quality --data DIR --tasks snips-7,massive-18 --seeds 3 \
        --arms evokd,no-easy,no-correct,no-review,no-repeat,no-separation,no-analysis
    python -m benchmarks.quality --data DIR --tasks snips-pool --arms pool,pool-random
    python -m benchmarks.quality --data DIR --tasks massive-judged --arms evokd,static --seeds 3

`--data` is the folder of the public sets (one folder a set with train, dev and test.jsonl). Each
cell, an arm with a seed on a task, is appended to the JSON file as it ends, and a new call fills
only what is missing; one that was stopped goes on. Seed examples are drawn from the train split by
the seed; the teacher gets them and the definitions, nothing else: dev is made by the teacher. All
arms of a seed have the same examples, budget (`tasks.json`), student and recipe.
"""

from __future__ import annotations

import argparse
import shutil
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.quality.cells import FULL, Cells
from benchmarks.quality.judge import judged
from benchmarks.quality.picture import write_pictures
from benchmarks.quality.reference import full_data
from benchmarks.quality.tasks import Setting, make_task, rows_of, settings
from benchmarks.quality.variants import VARIANTS, arm_under, varied
from benchmarks.quality.words import in_words
from evokd.answers import names_in
from evokd.cell import begun_alike, in_order, run_cell
from evokd.compare import Contest, cell_task, draw_seeds
from evokd.examples import Example
from evokd.ledger import reading
from evokd.loop import VERSION
from evokd.runfiles import RunFiles
from evokd.task import load_data
from evokd.watch import Silent

CORE = "evokd,static,pgkd,auggpt,seed-only"  # the first one's round 0 is heard by the others
TASKS = "snips-7,clinc-20,banking-12,massive-18"
JSON, WORK = Path("benchmarks/results/quality.json"), Path("runs/quality")
QUICK = Path("runs/quality-quick")


def main() -> None:
    """Fill the missing cells, seed after seed, then write the pictures and the tables."""
    args = _arguments()
    cells, known = Cells(args.json, quick=args.quick), settings()
    names, arms = args.tasks.split(","), tuple(args.arms.split(","))
    for name in names:
        of = known[name].like or name  # the same rows, so the same reference
        if cells.missing(of, FULL, 0):
            folder = args.work / of / "full"
            cells.add(of, FULL, 0, full_data(known[of], args.data, folder, quick=args.quick))
        if cells.missing(name, FULL, 0):
            cells.add(name, FULL, 0, cells.cells[f"{of}/{FULL}/0"])
    contest = Contest(in_order(arms), args.seeds, args.budget_tokens, shots=1)
    for seed in range(1, args.seeds + 1):
        for name in names:
            for arm in contest.arms:
                if cells.missing(name, arm, seed):
                    cells.add(name, arm, seed, _cell(known[name], args, contest, arm, seed))
    print(cells.written().split('"cells"')[0])
    if not args.quick:
        write_pictures(cells, args.json.parent)
        args.json.with_suffix(".md").write_text(in_words(cells.table()), encoding="utf-8")


def _cell(
    setting: Setting, args: argparse.Namespace, contest: Contest, arm: str, seed: int
) -> dict[str, Any]:
    """Run one cell and return what the table needs of it."""
    began = time.monotonic()
    folder = args.work / setting.name
    train, test = (rows_of(setting, args.data, part) for part in ("train", "test"))
    contest = replace(contest, tokens=args.budget_tokens or setting.tokens)
    if args.quick:
        train, test = train[:2000], test[:100]
        contest = replace(contest, tokens=30_000)
    task = make_task(
        folder, setting, seeds=train, test=test, teacher=args.teacher, quick=args.quick
    )
    data = load_data(task)
    draw_seeds(task, contest, seed=seed, data=data, out=folder)
    mine = cell_task(task, contest, arm=arm_under(arm), seed=seed, data=data, out=folder)
    print(f"{setting.name}/{arm}/{seed}", flush=True)
    first, run = begun_alike(folder, contest.arms, seed), folder / f"{arm}-{seed}"
    opener = partial(judged, setting, mine, args.data, folder) if setting.judged else None
    done = run_cell(varied(mine, arm), run, first=first, watch=Lines(), open_model=opener)
    # The ledger has all that is asked for later; a hundred students would fill the disk.
    shutil.rmtree(run / "student", ignore_errors=True)
    return {
        **done,
        **({"labelled": [[0, done["curve"][0][1]], *labelled(run)]} if setting.pool else {}),
        "groups": groups(setting, test, done["counts"]),
        "budget": contest.tokens,
        "teacher": Path(args.teacher).name,
        "way": VERSION,
        "seconds": round(time.monotonic() - began),
    }


def groups(setting: Setting, test: list[Example], counts: list[list[int]]) -> dict[str, float]:
    """Return the score of the texts of labels that the teacher knows, and of those it does not."""
    sums: dict[str, list[int]] = {}
    for example, (hits, of) in zip(test, counts, strict=True):
        named = {setting.group(label) for label in names_in(example.label, setting.kind)}
        for name in named:
            total = sums.setdefault(name, [0, 0])
            total[0] += hits
            total[1] += of
    return {name: hits / of for name, (hits, of) in sorted(sums.items()) if of}


def labelled(run: Path) -> list[list[float]]:
    """Return [texts of the pool labelled so far, test score] of every round that was kept."""
    with reading(RunFiles(run).ledger) as ledger:
        results = ledger.results()
        sizes = [len((ledger.plan(n) or {}).get("pool", ())) for n in range(len(results))]
    return [
        [sum(sizes[: n + 1]), result["test"]["accuracy"]]
        for n, result in enumerate(results)
        if not result["rolled_back"]
    ]


class Lines(Silent):
    """Prints what a cell notes, a line each."""

    def note(self, text: str) -> None:
        """See `evokd.watch.Watch`."""
        print(f"  {text}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality", description="Few-shot quality of arms."
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the public sets")
    parser.add_argument("--json", type=Path, help=f"else {JSON}, or {QUICK}.json with --quick")
    parser.add_argument("--work", type=Path, help=f"the cells' runs; else {WORK}, or {QUICK}")
    parser.add_argument("--tasks", default=TASKS, help=f"of {', '.join(settings())}")
    parser.add_argument("--arms", default=CORE, help=f"of evokd's, and {', '.join(VARIANTS)}")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget-tokens", type=int, help="of each run; by the task when left out")
    parser.add_argument("--teacher", default="demo", help="'demo' or a GGUF file")
    parser.add_argument("--quick", action="store_true", help="a smoke run; no figure comes from it")
    args = parser.parse_args()
    if args.quick:
        args.tasks, args.arms, args.seeds = "snips-7", "static,evokd", 1
    # A smoke run comes near no figure: its cells and runs are others.
    args.json = args.json or (QUICK.with_suffix(".json") if args.quick else JSON)
    args.work = args.work or (QUICK if args.quick else WORK)
    return args


if __name__ == "__main__":
    main()
