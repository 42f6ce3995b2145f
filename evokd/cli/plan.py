"""The command that tries a teacher before tokens are spent on a run: plan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evokd.cli.options import Set, Verbose, write_json

if TYPE_CHECKING:
    from rich.table import Table

    from evokd.doctor import Finding
    from evokd.forecast import Forecast
    from evokd.measured import Cost, Measured


def plan(
    task: Annotated[
        Path, typer.Argument(metavar="TASK.YAML", help="A task file, or demo for the demo.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Keep the pilot there; a second look asks nothing again."),
    ] = None,
    change: Set = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all figures to a file, for programs.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Try the teacher on your task, and say what a run will take, before it begins.

        evokd plan my/task.yaml --out runs/pilot

    It labels your seed and dev texts (never test), writes some texts as a run would, and trains a
    student for a moment. You see whether it is good enough, what to do if not, and the calls,
    tokens and minutes of a run. Ends with exit code 1 if it is of no use.
    """
    import tempfile

    from evokd.task import demo_task, load_task
    from evokd.writable import check_file, check_folder

    check_folder(out)
    check_file(json_file)
    is_demo = str(task) == "demo" and not task.exists()
    loaded = demo_task(change or ()) if is_demo else load_task(task, change or ())
    with tempfile.TemporaryDirectory() as aside:
        measured, forecast, findings = _pilot(loaded, out or Path(aside))
    _show(findings, forecast)
    if json_file is not None:
        _write(json_file, measured, forecast, findings)
    raise typer.Exit(any(finding.state == "wrong" for finding in findings))


def _pilot(task: Any, folder: Path) -> tuple[Measured, Forecast, list[Finding]]:
    import time
    from contextlib import closing

    from evokd.cli.live import Live
    from evokd.curate import check_apart
    from evokd.fitness import judge
    from evokd.forecast import forecast
    from evokd.learner import EncoderLearner
    from evokd.ledger import Ledger
    from evokd.pilot import Counted, Pilot
    from evokd.run import check_models
    from evokd.task import load_data
    from evokd.teacher import open_teacher

    data = load_data(task)
    check_apart(data)
    check_models(task)
    folder.mkdir(parents=True, exist_ok=True)
    with (
        closing(Ledger(folder / "plan.db")) as ledger,
        closing(Counted(ledger, lambda: open_teacher(task.teacher))) as calls,
        Live() as watch,
    ):
        pilot = Pilot(task, data, calls, watch, time.perf_counter)
        measured = pilot.measure(EncoderLearner(task))
    return measured, forecast(task, data, measured), list(judge(task, measured))


def _show(findings: Sequence[Finding], forecast: Forecast) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    from evokd.cli.check import findings_table

    console = Console(highlight=False)
    console.print(findings_table(findings))
    console.print(_costs(forecast))
    for assumption in forecast.assumptions:
        console.print(Padding(Text(assumption), (0, 0, 0, 2)))


def _costs(forecast: Forecast) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title="what the run will take", box=box.SIMPLE, show_footer=True)
    total = _figures(forecast.total, sum(part.kept for part in forecast.parts))
    table.add_column("", footer="all")
    for name, footer in zip(("calls", "tokens", "texts kept", "minutes"), total, strict=True):
        table.add_column(name, footer=footer, justify="right", no_wrap=True)
    for part in forecast.parts:
        table.add_row(part.name, *_figures(part.cost, part.kept))
    return table


def _figures(cost: Cost, kept: int) -> tuple[str, ...]:
    counts = (f"{count:,}" if count else "" for count in (cost.calls, cost.tokens, kept))
    return (*counts, f"{cost.seconds / 60:.1f}")


def _write(path: Path, measured: Measured, forecast: Forecast, findings: Sequence[Finding]) -> None:
    from dataclasses import asdict

    from evokd import __version__

    low, high = measured.gold.interval
    record = {
        "evokd": __version__,
        "measured": asdict(measured) | {"gold_interval": [low, high]},
        "findings": [asdict(finding) for finding in findings],
        "forecast": asdict(forecast) | {"total": asdict(forecast.total)},
    }
    write_json(path, record)


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(plan)
