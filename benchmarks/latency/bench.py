"""Student and teacher, measured on the same texts with the same number of CPU threads.

Single stream: one text after another, as MLPerf has it. The teacher's prompt is the labels'
definitions, then the text; its engine keeps the beginning in memory from one text to the next, and
that is what is timed. Its *cold* time is that of a text which comes after something else: the whole
prompt is decoded. Offline: many texts in one call. Server: requests at Poisson times for one worker
in this process, counted from when they were due. The student's times hold tokenising; no time holds
loading.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.latency import child
from benchmarks.latency.material import Material, material_of_run, of_length, spread
from benchmarks.latency.ratios import ratios, repaid
from benchmarks.latency.rows import (
    TEACHER,
    WAYS,
    Row,
    overhead,
    size_on_disk,
    student_rows,
    teacher_rows,
    teachers_task,
)
from benchmarks.latency.scenarios import (
    CLOCK,
    FULL,
    IN_A_RUN,
    LOADS,
    QUICK,
    Clock,
    Plan,
    cold,
    offline,
    server,
    single_stream,
)
from evokd.answers import names_in
from evokd.cpus import cpu_model
from evokd.errors import InputError
from evokd.examples import Example
from evokd.latency_told import LATENCY_ROWS
from evokd.task import Task
from evokd.teacher import Teacher
from evokd.watch import Silent, Watch

if TYPE_CHECKING:
    from serving.layout import Manifest

QUICK_TEXTS, MOST_TEXTS = 20, 200
OVERHEAD_TEXTS = 200
LEAST_SCORED = 20


def measure(
    student: Path,
    task: Task,
    teacher: Teacher,
    material: Material,
    *,
    watch: Watch,
    plan: Plan = IN_A_RUN,
    clock: Clock = CLOCK,
) -> dict[str, Any]:
    """Measure student and teacher on the same texts; rows of parts that are missing are None.

    Args:
        student: a sealed student folder of this task, or of one with more labels.
        teacher: opened; the student gets as many threads as it has.
        material: at least one text.

    Raises:
        InputError: when the folder is no whole student, or one of other labels.
    """
    manifest = _checked(student, task, material)
    # Slow rows time only the first texts: these should be like the others, whatever came first.
    mixed = random.Random(0).sample(list(material.texts), len(material.texts))
    threads = threads_of(teacher, task)
    rows = {name: opened() for name, opened in student_rows(student, threads=threads).items()}
    rows |= teacher_rows(task, teacher)
    made = _timed(rows, mixed, plan=plan, clock=clock, watch=watch)
    names = set(task.names)
    known = [e for e in material.labelled if names.issuperset(names_in(e.label, task.kind))]
    made |= _of_predictor(student, mixed, threads=threads, clock=clock)
    made |= {
        "accuracy": _accuracies(rows, known, made, plan=plan),
        "labels_by": material.labels_by,
        "texts": len(mixed),
        "labels": len(task.names),
        "kind": task.kind,
        "threads": threads,
        "cpu": cpu_model(),
        "teacher": teacher.name,
        "random_weights": is_random(teacher.name),
        "own_teacher": teacher.name == manifest.teacher,
    }
    return made | ratios(made) | repaid(made, material.run_seconds)


def _checked(student: Path, task: Task, material: Material) -> Manifest:
    from serving.layout import read_manifest

    manifest = read_manifest(student)
    if list(manifest.labels)[: len(task.names)] != task.names:
        raise InputError(
            f"{student}: has other labels than the task", "give the student's own task"
        )
    if not material.texts:
        raise InputError("there are no texts to time", "give a file with at least one text")
    return manifest


def _of_predictor(
    student: Path, texts: Sequence[str], *, threads: int, clock: Clock
) -> dict[str, Any]:
    """Return which row is served, the predictor's overhead in it, and the texts' mean length."""
    from serving.layout import INT8, read_manifest
    from serving.predictor import open_predictor

    predictor = open_predictor(student, threads=threads)
    lengths = [len(window) for text in texts for window in predictor.split(text).windows]
    return {
        "served": "int8" if read_manifest(student).serve == INT8 else "onnx",
        "mean_tokens": sum(lengths) / len(texts),
        "predictor_overhead": overhead(predictor, texts[:OVERHEAD_TEXTS], clock=clock.now),
    }


def threads_of(teacher: Teacher, task: Task) -> int:
    """Return the CPU threads that the teacher uses."""
    from evokd.cpus import usable_cores

    return int(getattr(teacher, "threads", 0) or task.teacher.threads or usable_cores())


def is_random(name: str) -> bool:
    """Say whether a teacher's name, as in "random Q4_K_M", is that of `benchmarks.random_gguf`."""
    return "random" in (name, name.rpartition(" ")[0])


def _timed(
    rows: Mapping[str, Row], texts: Sequence[str], *, plan: Plan, clock: Clock, watch: Watch
) -> dict[str, Any]:
    """Put every row through the scenarios; what was not measured is None."""
    made: dict[str, dict[str, Any]] = {
        part: dict.fromkeys(LATENCY_ROWS) for part in ("latency_ms", "throughput", "server")
    }
    tick = watch.progress("one text after another", plan.turns * len(rows))
    answers = {name: row.one for name, row in rows.items()}
    streams = single_stream(answers, texts, plan=plan, clock=clock, tick=tick)
    tick = watch.progress("many at once, and at random times", len(rows))
    for name, row in rows.items():
        one = streams[name]["mean"] / 1000
        if row.forget:
            streams[name]["cold"] = cold(row.one, row.forget, texts, plan=plan, clock=clock)
        made["latency_ms"][name] = streams[name]
        made["throughput"][name] = offline(row.answers, texts, plan=plan, clock=clock, one=one)
        made["server"][name] = {
            load: server(row.one, texts, share=share, one=one, seconds=plan.server, clock=clock)
            for load, share in LOADS.items()
        }
        tick()
    return made


def _accuracies(
    rows: Mapping[str, Row], known: Sequence[Example], made: Mapping[str, Any], *, plan: Plan
) -> dict[str, Any]:
    """Return the share of right answers and the texts of each row, slow ones on fewer texts."""
    found: dict[str, Any] = dict.fromkeys(LATENCY_ROWS)
    for name, row in rows.items():
        rate = made["throughput"][name]["texts_per_second"] or math.inf
        most = int(min(plan.scored, rate * plan.seconds))
        some = spread(known, most)
        if len(some) < min(LEAST_SCORED, plan.scored) or not some:
            continue
        said = row.answers([e.text for e in some])
        right = sum(answer == e.label for answer, e in zip(said, some, strict=True))
        found[name] = {"accuracy": right / len(some), "texts": len(some)}
    return found


def bench_student(
    student: Path,
    *,
    teacher: str = "demo",
    texts: Path | None = None,
    tokens: int | None = None,
    labels: int | None = None,
    threads: int = 1,
    quick: bool = False,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Measure a student folder against a teacher and return the record that `--json` writes.

    The labels and the domain are the student's own. Without `texts` the texts of the run beside
    the folder are taken.

    Args:
        tokens: join and cut the texts to about so many tokens of the student's.
        labels: ask the teacher about the first so many labels only.

    Raises:
        EvokdError: when the student, the teacher or the texts cannot be read.
    """
    from evokd.teacher import check_teacher, open_teacher
    from serving.layout import TOKENIZER, read_manifest

    manifest = read_manifest(student)
    task = teachers_task(manifest, teacher, threads=threads, labels=labels)
    material = _material(student, texts)
    timed = spread(material.texts, QUICK_TEXTS if quick else MOST_TEXTS)
    if tokens is not None:
        timed = of_length(timed, tokens, tokenizer=student / TOKENIZER)
    material = replace(material, texts=timed)
    plan = QUICK if quick else FULL
    check_teacher(task.teacher)
    # Before the models are loaded here: two copies of a large teacher may not fit into memory.
    cost = _cost(student, task, timed[0], plan=plan, labels=labels, watch=watch or Silent())
    opened = open_teacher(task.teacher)
    try:
        made = measure(student, task, opened, material, watch=watch or Silent(), plan=plan)
    finally:
        opened.close()
    return {"quick": quick, **made, "cost": cost}


def _material(student: Path, texts: Path | None) -> Material:
    """Return the run's own, with other texts to time where a file is given."""
    from evokd.formats import read_texts

    if texts is None:
        return material_of_run(student.resolve().parent)
    given = read_texts(texts)
    try:
        return replace(material_of_run(student.resolve().parent), texts=given)
    except InputError:
        return Material(given)


def _cost(
    student: Path, task: Task, text: str, *, plan: Plan, labels: int | None, watch: Watch
) -> dict[str, Any]:
    """Return each row's size on disk, memory and start, from fresh processes."""
    names = [*student_rows(student, threads=1), *WAYS[task.kind]]
    tick = watch.progress("starting fresh processes", len(names))
    rows: dict[str, Any] = dict.fromkeys(LATENCY_ROWS)
    model, threads = task.teacher.model, task.teacher.threads
    for name in names:
        rows[name] = {"size_mb": size_on_disk(name, student, model)}
        if name not in TEACHER or not task.teacher.remote:
            what = child.Start(name, str(student), model, threads, labels, text)
            rows[name] |= child.starts(what, count=plan.processes)
        tick()
    return rows
