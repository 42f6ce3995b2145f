"""The option that shows what happens inside: -v."""

from __future__ import annotations

import logging
from typing import Annotated

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
