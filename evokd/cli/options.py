"""What several commands share: options, a run that Ctrl-C stops, and files for programs."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer


def _show(wanted: bool) -> None:
    """Send the log to the terminal, past progress bars."""
    if not wanted:
        return
    from rich.console import Console
    from rich.logging import RichHandler

    log = logging.getLogger("evokd")
    log.setLevel(logging.INFO)
    log.handlers = [RichHandler(console=Console(stderr=True), show_time=False, show_path=False)]


Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        callback=_show,
        is_eager=True,
        help="Also show what the teacher's engine says of itself.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Replace a setting of the task, such as loop.rounds=3; repeatable."),
]


@contextmanager
def resumable() -> Iterator[None]:
    """End with a word on how to go on where Ctrl-C stops what is inside."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("stopped; the same command goes on from here", err=True)
        raise typer.Exit(130) from None


def write_json(path: Path, record: Any) -> None:
    """Write a record for programs."""
    from evokd.writable import write_whole

    write_whole(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
