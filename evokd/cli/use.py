"""Commands that use a finished student: predict, evaluate, export, bench, serve, build."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from evokd.cli.options import Verbose, write_json

Student = Annotated[
    Path, typer.Argument(metavar="STUDENT", help="A student folder, such as runs/demo/student.")
]


def predict(
    student: Student,
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="Texts to answer for.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line, with all that is known.")
    ] = False,
) -> None:
    """Answer for texts with a finished student, as the service would.

        evokd predict runs/demo/student "wake me at six" "two pizzas, please"

    Of entities one a line: where it begins and ends, its type, how sure, and its words.
    """
    import json

    from evokd.errors import InputError
    from evokd.examples import is_unicode
    from serving.messages import Question, shape
    from serving.predictor import open_predictor

    if not all(map(is_unicode, texts)):
        raise InputError("TEXT: is not Unicode", "give it in UTF-8")
    for text, said in zip(texts, open_predictor(student).predict(texts), strict=True):
        if as_json:
            record = {"text": text, **shape(said, Question(text="")).model_dump()}
            typer.echo(json.dumps(record, ensure_ascii=False))
        else:
            typer.echo("\n".join(_lines(text, said)))


def _lines(text: str, said: Any) -> list[str]:
    """Return an answer as a person reads it."""
    from serving.predictor import Entities, LabelSet

    if isinstance(said, Entities):
        found = [f"  {e.start}-{e.end}  {e.label}  {e.score:.3f}  {e.text}" for e in said.entities]
        return [text, *(found or ["  no entities"])]
    if isinstance(said, LabelSet):
        given = [f"{name} {said.probabilities[name]:.3f}" for name in said.labels]
        return [f"{', '.join(given) or 'no label'}  {text}"]
    return [f"{said.label or 'no label'}  {said.score:.3f}  {text}"]


def evaluate(
    student: Student,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Labelled texts, such as .jsonl or .csv.")
    ],
    full_precision: Annotated[
        bool, typer.Option("--full-precision", help="Score the fp32 file, not the served one.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All scores as JSON.")] = False,
) -> None:
    """Score a student on labelled texts: accuracy, macro F1, and each label or type of entity.

        evokd evaluate runs/demo/student my/test.jsonl

    Accuracy is the share of texts whose whole answer is right. Of a student with a reject
    threshold the likeliest label counts; the share that the service answers stands below.
    """
    import json

    from evokd.cli.live import show_scores
    from evokd.finished import scores_served
    from evokd.formats import read_examples
    from serving.layout import ONNX, read_manifest
    from serving.predictor import open_predictor

    manifest = read_manifest(student)
    examples = read_examples(file, list(manifest.labels), manifest.kind)
    predictor = open_predictor(student, file=ONNX if full_precision else None)
    scores = scores_served(manifest, predictor, examples)
    if as_json:
        typer.echo(json.dumps(scores.to_dict(), indent=2))
    else:
        show_scores(scores, "entities" if manifest.kind == "ner" else "texts")


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Export a copy there; else in place.")
    ] = None,
    target: Annotated[
        Literal["auto", "vnni", "avx512", "avx2", "arm64"] | None,
        typer.Option(
            "--target",
            help="The processor that INT8 is made for; auto: this machine's. By default the run's.",
        ),
    ] = None,
    half: Annotated[
        bool | None,
        typer.Option(
            "--fp16/--no-fp16",
            help="Also write a half-precision file, for GPUs. By default as the run did.",
        ),
    ] = None,
    exporter: Annotated[
        Literal["auto", "optimum", "torch"] | None,
        typer.Option(
            "--exporter",
            help="What writes ONNX; auto: optimum if installed. By default as in the run.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Ship INT8 even if the gate refuses it; the card says.")
    ] = False,
) -> None:
    """Export a run's student again: ONNX, INT8, the gate, manifest and card.

    For another machine's instruction set, or after an upgrade. INT8 ships only if it passes.

        evokd export runs/demo --out student-for-old-cpus --target avx2
    """
    from evokd.cli.live import show_export
    from evokd.run import export_run

    given = {"target": target, "half": half, "exporter": exporter}
    changes = {name: value for name, value in given.items() if value is not None}
    show_export(export_run(run, out, changes=changes, force=force))


def bench(
    student: Student,
    teacher: Annotated[
        str,
        typer.Option(
            "--teacher",
            help="A GGUF file, or what else teacher.model may say. Name your run's own: a run does"
            " not record where it lay.",
        ),
    ] = "demo",
    texts: Annotated[
        Path | None, typer.Option("--texts", help="Texts to time on; else the run's own.")
    ] = None,
    tokens: Annotated[
        int | None, typer.Option("--tokens", min=3, help="Make texts of about so many tokens.")
    ] = None,
    labels: Annotated[
        int | None, typer.Option("--labels", min=2, help="Ask the teacher about so many only.")
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="CPU threads of each.")] = 1,
    quick: Annotated[bool, typer.Option("--quick", help="A smoke test: few texts.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures.")] = None,
    verbose: Verbose = False,
) -> None:
    """Time a student against a teacher: the same texts, the same threads.

        evokd bench runs/demo/student --teacher path/to/model.gguf

    One text after another, all at once, and as requests at random times; beside each row its
    accuracy, size, memory and start, and after how many requests the student has repaid its run.
    """

    from rich.console import Console

    from benchmarks.latency.bench import bench_student
    from benchmarks.latency.table import show
    from evokd.cli.live import Live
    from evokd.writable import check_file

    check_file(json_file)
    how: dict[str, Any] = {"texts": texts, "tokens": tokens, "labels": labels, "threads": threads}
    console = Console(highlight=False)
    with Live(console) as watch:
        record = bench_student(student, teacher=teacher, quick=quick, watch=watch, **how)
    show(record, console)
    if json_file is not None:
        write_json(json_file, record)


def serve(
    student: Student,
    host: Annotated[str, typer.Option("--host", help="Address to bind to.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", help="Port to listen on.")] = 3000,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="Processes; by default one per usable processor."),
    ] = None,
    without_key: Annotated[
        bool, typer.Option("--without-key", help="Let strangers ask without EVOKD_API_KEY.")
    ] = False,
    harvest: Annotated[
        Path | None,
        typer.Option("--harvest", metavar="FILE.jsonl", help="Keep texts it is unsure of there."),
    ] = None,
    harvest_below: Annotated[
        float, typer.Option("--harvest-below", help="Texts with a lower score are kept.")
    ] = 0.6,
    harvest_mb: Annotated[
        float, typer.Option("--harvest-mb", help="Megabytes kept at most; the oldest go first.")
    ] = 64,
) -> None:
    """Serve a student over HTTP with BentoML: POST /predict, a page at /, /info, /docs.json.

        evokd serve runs/demo/student

        curl localhost:3000/predict --json '{"text": "wake me at six"}'

    Set EVOKD_API_KEY to ask every caller for a key. What --harvest keeps can be `data: {unlabeled:
    FILE.jsonl}` of the next run.
    """
    from serving.harvest import HarvestSettings
    from serving.run import Serving
    from serving.run import serve as serve_student

    kept = None if harvest is None else HarvestSettings(harvest, harvest_below, harvest_mb)
    how = Serving(host, port, workers, without_key=without_key, harvest=kept)
    raise typer.Exit(serve_student(student, how))


def build(
    student: Student,
    version: Annotated[
        str | None, typer.Option("--version", help="The Bento's version; else by the student.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE.bento", help="Write it there too.")
    ] = None,
) -> None:
    """Pack a student into a Bento: the service with all it needs, for another machine.

        evokd build runs/demo/student

        bentoml serve demo:0123456789ab   or   bentoml containerize demo:0123456789ab

    The Bento needs bentoml, onnxruntime, tokenizers and numpy; no torch. Built without a network.
    """
    from serving.bento import build as build_bento

    built = build_bento(student, version=version, out=out)
    typer.echo(f"built {built.tag}\n{built.path}")
    if built.file is not None:
        typer.echo(str(built.file))
    typer.echo(f"serve it: bentoml serve {built.tag} --host 127.0.0.1")


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    for command in (predict, evaluate, export, bench, serve, build):
        app.command()(command)
