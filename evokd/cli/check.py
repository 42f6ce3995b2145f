"""The command that looks before you run: doctor."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evokd.cli.options import write_json

if TYPE_CHECKING:
    from rich.table import Table

    from evokd.doctor import Finding

STYLES = {"good": "green", "warning": "yellow", "wrong": "bold red"}


def doctor(
    teacher: Annotated[
        str, typer.Option("--teacher", "-t", help="What `teacher.model` of your task would say.")
    ] = "demo",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the findings to a file, for programs.")
    ] = None,
) -> None:
    """Look at this machine, the installation and a teacher, and say what is wrong with them.

    Processor, memory, disk and GPU; the packages and what each is for; the header of the model's
    file, and whether it fits into memory. Then the model is loaded, in a process of its own so that
    a crash is a finding too: **parity** compares what it says of a text alone and beside others
    (builds have been wrong there), **speed** is tokens a second through the model.

        evokd doctor --teacher path/to/model.gguf

    Each finding is good, a warning (it costs speed, or a part is unused) or wrong, with what to do
    about it. Ends with exit code 1 when something is wrong.
    """
    from dataclasses import asdict

    from rich.console import Console

    from evokd import __version__
    from evokd.doctor import examine, worst
    from evokd.writable import check_file

    check_file(json_file)
    console, findings = Console(highlight=False), []
    with console.status("looking") as status:
        for finding in examine(teacher):
            findings.append(finding)
            status.update(f"looked at {finding.topic}, going on")
    console.print(findings_table(findings))
    state = worst(findings)
    if json_file is not None:
        rows = [asdict(finding) for finding in findings]
        record = {"evokd": __version__, "teacher": teacher, "state": state, "findings": rows}
        write_json(json_file, record)
    raise typer.Exit(state == "wrong")


def findings_table(findings: Iterable[Finding]) -> Table:
    """Return a table of findings: state, topic, what is said and what to do."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    for wraps in (False, False, True):
        table.add_column(no_wrap=not wraps)
    for finding in findings:
        says = Text(finding.says)
        if finding.hint:
            says.append(f"\n{finding.hint}", style="italic")
        state = Text(finding.state, style=STYLES[finding.state])
        table.add_row(state, Text(finding.topic), says)
    return table


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command()(doctor)
