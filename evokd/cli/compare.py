"""The command that asks whether feedback paid: compare."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evokd.cli.options import Set, Verbose, resumable

if TYPE_CHECKING:
    from rich.table import Table


def compare(
    task: Annotated[
        Path, typer.Argument(metavar="TASK.YAML", help="Needs data.test, else data.dev.")
    ],
    arms: Annotated[
        str, typer.Option("--arms", help="Names with commas; the first against each other one.")
    ] = "evokd,static",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Runs per arm.")] = 5,
    tokens: Annotated[
        int | None, typer.Option("--budget-tokens", min=1, help="Tokens that each run may spend.")
    ] = None,
    shots: Annotated[
        int | None,
        typer.Option("--shots", min=1, help="Seed examples per label, drawn by each run's seed."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the runs, else runs/compare-NAME.")
    ] = None,
    change: Set = None,
    verbose: Verbose = False,
) -> None:
    """Run a task by several arms and seeds at the same budget, and say whether feedback paid.

    Each arm with each seed is a run of its own, up to the final student, scored on your **test**
    texts; where there are none on dev, which then decides nothing. The first arm gets a bootstrap
    interval of its difference to each other arm, paired over the seeds; one run an arm can tell
    nothing. The sentence is on feedback where an arm with it and `static` are both there, else on
    the first arm against the best of the others. `compare.html` is the picture, `compare.json` the
    record.

        evokd compare my/task.yaml --arms evokd,static --seeds 5 --budget-tokens 200000

    The same command after Ctrl-C goes on; with more seeds or arms it runs what is missing. Other
    settings or data need another folder.
    """
    from evokd.cli.live import Live
    from evokd.compare import Contest
    from evokd.compare import compare as run_all
    from evokd.task import load_task
    from evokd.writable import check_folder

    loaded = load_task(task, change or ())
    folder = out or Path("runs") / f"compare-{loaded.name}"
    check_folder(folder)
    names = tuple(name.strip() for name in arms.split(",") if name.strip())
    with resumable(), Live() as watch:
        contest = Contest(names, seeds=seeds, tokens=tokens, shots=shots)
        record = run_all(loaded, contest, folder, watch=watch)
    _show(record, folder)


def _show(record: Mapping[str, Any], folder: Path) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    console.print(_table(record))
    for warning in record["warnings"]:
        console.print(warning, style="yellow")
    lines = [record["says"], f"interval: {record['method']}", f"picture: {folder / 'compare.html'}"]
    console.print("\n".join(lines), soft_wrap=True, markup=False, emoji=False)


def _table(record: Mapping[str, Any]) -> Table:
    from rich import box
    from rich.table import Table

    from evokd.figures import short

    first, runs = next(iter(record["arms"])), next(iter(record["arms"].values()))["seeds"]
    what = f"{record['measure']} on {record['texts']} {record['on']} texts, in %"
    table = Table(title=f"{what}; runs an arm: {runs}", box=box.SIMPLE)
    table.add_column("arm", no_wrap=True)
    interval = "interval" if runs > 1 else "interval\nover texts"
    for column in ("mean", "std", "tokens", "kept", f"{first}\nless it", interval):
        table.add_column(column, justify="right", no_wrap=True)
    for arm, of in record["arms"].items():
        pair = record["differences"].get(f"{first}-{arm}")
        gap = ["", ""]
        if pair:
            low, high = 100 * pair["low"], 100 * pair["high"]
            gap = [f"{100 * pair['diff']:+.1f}", f"{low:+.1f} to {high:+.1f}"]
        scores = [f"{100 * of['mean']:.1f}", f"{100 * of['std']:.1f}"]
        table.add_row(arm, *scores, short(of["tokens"]), f"{of['kept']:,.0f}", *gap)
    return table


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(compare)
