"""The command line: parse, one call, print. Commands import their work when they are called."""

from __future__ import annotations

import errno
import sqlite3
import sys
from typing import Annotated, NoReturn

import typer

from evokd import __version__
from evokd.cli import check, compare, distil, plan, use, why
from evokd.errors import EvokdError

app = typer.Typer(
    name="evokd",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Grow a small text classifier or entity tagger from a few examples and a language model.

A **teacher** (llama.cpp, or a server) analyses what the small **student** gets wrong, writes new
texts and labels them; the student trains on them, round after round. The final student is exported
to ONNX, made INT8 unless that hurts, timed against the teacher, and served over HTTP.

Start with `evokd demo --out runs/demo`, then `evokd init my/`, edit what it wrote, and
`evokd run my/task.yaml`. With a local model nothing leaves this machine.""",
)
distil.register(app)
use.register(app)
check.register(app)
compare.register(app)
plan.register(app)
why.register(app)


FULL = {errno.ENOSPC, errno.EDQUOT}  # what fails then is a write, which names no file


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print and exit.")
    ] = False,
) -> None: ...


def main() -> None:
    """Run the command line; user errors end with exit code 1, a message and a hint.

    So do paths that the system refuses for a reason that only the attempt tells: a full disk, a
    name too long, a folder that takes no files.
    """
    try:
        app()
    except EvokdError as error:
        _refuse(error.message, error.hint)
    except OSError as error:
        if error.filename is None and error.errno not in FULL:
            raise
        where = error.filename or "a file was not written whole"
        _refuse(f"{where}: {error.strerror}", "give another path, or make room for it")
    except sqlite3.OperationalError as error:
        _refuse(
            f"the run's database: {error}",
            "make room on the disk, or the file writable; the same command goes on",
        )


def _refuse(message: str, hint: str | None) -> NoReturn:
    sys.stderr.write(f"error: {message}\nhint: {hint or 'see evokd --help'}\n")
    sys.exit(1)
