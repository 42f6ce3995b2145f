"""Commands that distil: demo, run, init, replay."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from evokd.answers import KindName
from evokd.cli.options import Set, Verbose, resumable
from evokd.demo import TEACHERS

Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="The run's folder, else runs/NAME. A run that is there goes on; one that was begun"
        " with other settings or data is refused: give a new folder.",
    ),
]
STRANGER = "the built-in teacher knows voice assistant requests only: see teacher.model"

Form = Literal["jsonl", "conll", "hf"]
FileForm = Annotated[
    Form | None,
    typer.Option(
        "--format",
        help="Of the file: JSON lines; or of entities CoNLL, or JSON lines of tokens and ner_tags,"
        " as Hugging Face has them. [default: conll for .conll, .iob and .bio; else jsonl]",
    ),
]


def demo(
    out: Out = None,
    task: Annotated[
        Literal["intents", "slots"],
        typer.Option("--task", help="Sort requests, or mark the entities in them."),
    ] = "intents",
    change: Set = None,
    verbose: Verbose = False,
) -> None:
    """Distil a built-in task with a built-in teacher: the whole job on this machine.

    Nine intents of a voice assistant, **one example each**; or, with `--task slots`, eight types
    of entities in such requests. Needs no network, no GPU and no other model. Stop it with Ctrl-C
    and start it again: it goes on where it was.

        evokd demo --out runs/demo
        evokd demo --task slots --out runs/demo-slots
    """
    from evokd.task import demo_task

    loaded = demo_task(change or (), name=task)
    _run(loaded, out or Path("runs") / loaded.name)


def run(
    task: Annotated[Path, typer.Argument(metavar="TASK.YAML", help="Made by `evokd init`.")],
    out: Out = None,
    change: Set = None,
    verbose: Verbose = False,
) -> None:
    """Distil a student for your task: rounds, export, gate, latency, report.

    The same command after Ctrl-C or a crash goes on where it was; at most the teacher calls in
    flight are made again. The folder holds `student/` to serve, `report.html` to look at,
    `summary.json`, and `run.db`, the record of every teacher call and every text.

        evokd run my/task.yaml --out runs/mine --set loop.rounds=10
    """
    from evokd.errors import InputError
    from evokd.task import load_task

    if str(task) == "demo" and not task.exists():
        raise InputError("demo: no such file", "the built-in task runs with: evokd demo")
    loaded = load_task(task, change or ())
    _run(loaded, out or Path("runs") / loaded.name)


def _run(task: Any, out: Path) -> None:
    from evokd.cli.live import Live, show_summary
    from evokd.run import run_task

    with resumable(), Live() as watch:
        watch.note(f"task {task.name}: {len(task.labels)} labels, {task.domain}")
        if task.undefined:
            watch.note(f"no definition, so known by name alone: {', '.join(task.undefined)}")
        if task.teacher.model in TEACHERS and not _built_in(task.data.seed):
            watch.note(STRANGER)
        summary = run_task(task, out, watch=watch)
    show_summary(summary, out)


def _built_in(file: Path) -> bool:
    return file.resolve().is_relative_to(Path(str(resources.files("evokd.demo"))).resolve())


def init(
    folder: Annotated[Path | None, typer.Argument(help="A folder without these two files.")] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of task.yaml instead.")
    ] = False,
    kind: Annotated[
        KindName, typer.Option("--kind", help="One label a text, several, or entities in it.")
    ] = "classification",
) -> None:
    """Write a commented task.yaml and a seed.jsonl to start from.

    evokd init my/  &&  evokd run my/task.yaml
    """
    import json

    from evokd.cli.sample import write_sample

    if schema:
        from evokd.task import Task

        typer.echo(json.dumps(Task.model_json_schema(), indent=2))
        return
    if folder is None:
        raise typer.BadParameter("give a folder, for example: evokd init my/")
    for path in write_sample(folder, kind):
        typer.echo(f"wrote {path}")
    typer.echo(f"edit them (labels, seeds, teacher), then: evokd plan {folder / 'task.yaml'}")


def replay(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the kept texts to this file.")
    ] = None,
    form: FileForm = None,
) -> None:
    """Make a run's texts again from its recorded calls, without the model, and compare.

    All of them must come out the same, those that were dropped too; kept ones are counted.

    JSON lines say also what a text serves (`split`: train, dev, gate) and where it came from.

        evokd replay runs/demo --out texts.jsonl
        evokd replay runs/demo-slots --out texts.conll
        evokd replay runs/demo-slots --out tokens.jsonl --format hf
    """
    from evokd.errors import InputError, IntegrityError
    from evokd.ledger import reading
    from evokd.replay import data_set, recorded_task
    from evokd.replay import replay as make_again
    from evokd.runfiles import RunFiles
    from evokd.writable import check_file

    check_file(out)
    form = _form_of(out, form)
    path = RunFiles(run).begun()
    with reading(path) as ledger:
        if ledger.stage("gate_texts") is None:
            raise InputError(f"{run}: the run is not finished", "run it to the end first")
        kind = recorded_task(ledger)[0].kind
        if form != "jsonl" and kind != "ner":
            raise InputError(f"--format {form}: this run has no entities", "write it as jsonl")
        again, recorded = make_again(ledger), ledger.rows()
    if again != recorded:
        raise IntegrityError(f"{path}: its texts are not what its calls give", "was it edited?")
    if out is not None:
        out.write_text(data_set(again, kind, form), encoding="utf-8")
    kept = sum(row.split is not None for row in again)
    typer.echo(f"{kept} texts, bit for bit the same")


def _form_of(out: Path | None, form: Form | None) -> Form:
    """Return how a file is written: as is asked for, or as its ending is read."""
    from evokd.errors import InputError
    from evokd.formats import READERS, conll

    if form and out is None:
        raise InputError("--format: nothing is written", "name a file with --out")
    if out is not None and out.suffix.lower() in (".csv", ".tsv"):
        raise InputError(f"{out}: texts are not written as tables", "take the ending .jsonl")
    tagged = out is not None and READERS.get(out.suffix.lower()) is conll.read
    return form or ("conll" if tagged else "jsonl")


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    for command in (demo, run, init, replay):
        app.command()(command)
