"""How long one answer takes: the student in torch, ONNX and INT8, and the teacher, on one machine.

    python -m benchmarks.latency --student DIR [--teacher MODEL] [--threads N]
                                 [--texts FILE] [--json FILE] [--quick]

One text at a time, the same texts and the same number of CPU threads for all, after a warm-up.
The teacher answers in the two ways that it could serve: the label of highest probability
(`teacher_score`), and the label's name written out greedily (`teacher_generate`). Both decode the
whole prompt for every text: definitions of the labels, then the text. The student's times hold
tokenising; no time holds loading. A row that is slow stops early, and says on how many texts.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from evokd.cpus import cpu_model
from evokd.errors import EvokdError, InputError
from evokd.labelling import label_requests
from evokd.settings import TeacherSettings
from evokd.task import DataFiles, Task
from evokd.teacher import Generate, Teacher
from evokd.watch import Silent, Watch

ROW_SECONDS = 20.0
LEAST_TEXTS = 5
QUICK_SECONDS, QUICK_TEXTS, MOST_TEXTS = 3.0, 20, 200
ANSWER_TOKENS = 16  # room for a label's name
TITLES = {
    "torch": "student, torch",
    "onnx": "student, ONNX",
    "int8": "student, INT8",
    "nano": "nano student, INT8",
    "teacher_score": "teacher, scores the labels",
    "teacher_generate": "teacher, writes the label",
}
Answer = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Timer:
    """How a row is timed.

    Attributes:
        seconds: a row stops after so many, but not before LEAST_TEXTS texts.
        clock: seconds that only rise.
    """

    seconds: float = ROW_SECONDS
    clock: Callable[[], float] = time.perf_counter

    def row(self, answer: Answer, texts: Sequence[str], tick: Callable[[], None]) -> dict[str, Any]:
        """Return p50 and p95 in milliseconds, and the number of texts that were timed."""
        self._warm_up(answer, texts)
        taken: list[float] = []
        for text in texts:
            if len(taken) >= LEAST_TEXTS and sum(taken) >= self.seconds:
                break
            start = self.clock()
            answer(text)
            taken.append(self.clock() - start)
            tick()
        p50, p95 = np.percentile(taken, (50, 95)) * 1000
        return {"p50": float(p50), "p95": float(p95), "texts": len(taken)}

    def _warm_up(self, answer: Answer, texts: Sequence[str]) -> None:
        """Answer a few texts unseen: one when it is slow, LEAST_TEXTS when it is fast."""
        start = self.clock()
        for text in texts[:LEAST_TEXTS]:
            answer(text)
            if self.clock() - start > self.seconds / 20:
                break


def measure(
    student: Path,
    task: Task,
    teacher: Teacher,
    texts: Sequence[str],
    *,
    watch: Watch,
    timer: Timer | None = None,
) -> dict[str, Any]:
    """Time student and teacher on the same texts; rows of parts that are missing are None.

    Args:
        student: a sealed student folder of this task.
        teacher: opened; the student gets as many threads as it has.
        texts: at least one.

    Raises:
        InputError: when the folder is no whole student, or one of other labels.
    """
    if not texts:
        raise InputError("there are no texts to time", "give a file with at least one text")
    # Slow rows time only the first texts: these should be like the others, whatever came first.
    mixed = random.Random(0).sample(list(texts), len(texts))
    threads = threads_of(teacher, task)
    facts, answers = student_answers(student, task, threads=threads, texts=mixed)
    answers |= teacher_answers(task, teacher)
    rows: dict[str, Any] = dict.fromkeys(TITLES)
    for name, answer in answers.items():
        tick = watch.progress(f"timing: {TITLES[name]}", len(mixed))
        rows[name] = (timer or Timer()).row(answer, mixed, tick)
    return {
        "latency_ms": rows,
        "ratio": ratios(rows, facts["served"]),
        "texts": len(mixed),
        "threads": threads,
        **facts,
        "cpu": cpu_model(),
        "teacher": teacher.name,
    }


def threads_of(teacher: Teacher, task: Task) -> int:
    """Return the CPU threads that the teacher uses."""
    from evokd.cpus import usable_cpus

    return int(getattr(teacher, "threads", 0) or task.teacher.threads or usable_cpus())


def student_answers(
    folder: Path, task: Task, *, threads: int, texts: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Answer]]:
    """Return what is served ("served") and the texts' mean length ("mean_tokens"), and the rows."""
    from evokd.student import load_student
    from serving.layout import INT8, MANIFEST, ONNX, read_manifest
    from serving.predictor import open_predictor

    manifest = read_manifest(folder)
    if list(manifest.labels) != task.names:
        raise InputError(f"{folder}: has other labels than the task", "give the student's own task")
    torch_student = load_student(folder, device="cpu", threads=threads)
    answers: dict[str, Answer] = {"torch": lambda text: torch_student.predict([text])}
    for name, file in (("onnx", ONNX), ("int8", INT8)):
        if file in manifest.sha256:
            predictor = open_predictor(folder, file=file, threads=threads)
            answers[name] = lambda text, p=predictor: p.probabilities([text])  # type: ignore[misc]
    nano = folder.with_name("nano")
    if (nano / MANIFEST).is_file():
        small = open_predictor(nano, threads=threads)
        answers["nano"] = lambda text: small.probabilities([text])
    lengths = [len(tokens) for tokens in torch_student.tokens(texts)]
    served = "int8" if manifest.serve == INT8 else "onnx"
    return {"served": served, "mean_tokens": sum(lengths) / len(lengths)}, answers


def teacher_answers(task: Task, teacher: Teacher) -> dict[str, Answer]:
    """Return the teacher's two ways to answer."""

    def score(text: str) -> object:
        return teacher.score(label_requests(task, [text], task.names))

    def write(text: str) -> object:
        (asked,) = label_requests(task, [text], task.names)
        greedy = Generate(asked.messages, temperature=0, max_tokens=ANSWER_TOKENS)
        return teacher.generate([greedy])

    return {"teacher_score": score, "teacher_generate": write}


def ratios(rows: dict[str, Any], served: str) -> dict[str, float | None]:
    """Return how many times as long the slower one takes, by p50; None where a row is missing."""

    def over(slow: str, fast: str) -> float | None:
        return rows[slow]["p50"] / rows[fast]["p50"] if rows[slow] and rows[fast] else None

    return {
        "teacher_score_over_served": over("teacher_score", served),
        "teacher_generate_over_served": over("teacher_generate", served),
        "torch_over_int8": over("torch", "int8"),
        "served_over_nano": over(served, "nano"),
    }


def show(record: dict[str, Any], console: Console) -> None:
    """Print the record as a table."""
    table = Table(
        "", title=f"{record['cpu']}, threads: {record['threads']}", caption=_caption(record)
    )
    for head in ("p50 ms", "p95 ms", "x served", "texts"):
        table.add_column(head, justify="right")
    base = record["latency_ms"][record["served"]]["p50"]
    for name, row in record["latency_ms"].items():
        served = " (served)" if name == record["served"] else ""
        if row is None:
            table.add_row(TITLES[name], "-", "-", "-", "-")
            continue
        figures = (f"{row['p50']:.2f}", f"{row['p95']:.2f}", f"{row['p50'] / base:.1f}")
        table.add_row(TITLES[name] + served, *figures, str(row["texts"]))
    console.print(table)


def _caption(record: dict[str, Any]) -> str:
    tokens = f"{record['mean_tokens']:.1f} tokens a text on average, one text at a time"
    return f"teacher {record['teacher']}; {tokens}"


def bench_student(
    student: Path,
    *,
    teacher: str = "demo",
    texts: Path | None = None,
    threads: int = 1,
    quick: bool = False,
) -> dict[str, Any]:
    """Measure a student folder against a teacher and return the record that `--json` writes.

    The labels and the domain are the student's own. Without `texts` the texts of the run beside
    the folder are taken.

    Raises:
        EvokdError: when the student, the teacher or the texts cannot be read.
    """
    from evokd.formats import read_texts
    from evokd.teacher import open_teacher
    from serving.layout import read_manifest

    manifest = read_manifest(student)
    settings = TeacherSettings(model=teacher, threads=threads)
    task = Task(
        name=manifest.name,
        domain=manifest.domain,
        labels=manifest.labels,
        data=DataFiles(seed=Path("none")),
        teacher=settings,
    )
    timed = read_texts(texts) if texts else texts_of_run(student.parent)
    timer = Timer(QUICK_SECONDS if quick else ROW_SECONDS)
    opened = open_teacher(settings)
    try:
        most = QUICK_TEXTS if quick else MOST_TEXTS
        made = measure(student, task, opened, spread(timed, most), watch=Silent(), timer=timer)
    finally:
        opened.close()
    return {"quick": quick, **made}


def spread(texts: Sequence[str], most: int) -> list[str]:
    """Return at most `most` texts, evenly from the whole list: a run's texts go label by label."""
    return [texts[i * len(texts) // most] for i in range(most)] if len(texts) > most else [*texts]


def texts_of_run(root: Path) -> list[str]:
    """Return the gate's texts of the run in a folder.

    Raises:
        InputError: when there is no run.
    """
    from evokd.ledger import Ledger

    if not (root / "run.db").is_file():
        raise InputError(f"{root}: holds no run to take texts from", "give --texts FILE")
    ledger = Ledger(root / "run.db", attempt=False)
    try:
        return [row.example.text for row in ledger.rows(split="gate")]
    finally:
        ledger.close()


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description="Latency: the student against its teacher.")
    parser.add_argument("--student", type=Path, required=True, metavar="DIR", help="its folder")
    parser.add_argument("--teacher", default="demo", metavar="MODEL", help="a GGUF file, or demo")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each (default 1)")
    parser.add_argument("--texts", type=Path, metavar="FILE", help="instead of the run's own")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--quick", action="store_true", help="few texts; a smoke test")
    arguments = parser.parse_args()
    try:
        record = bench_student(
            arguments.student,
            teacher=arguments.teacher,
            texts=arguments.texts,
            threads=arguments.threads,
            quick=arguments.quick,
        )
    except EvokdError as problem:
        print(f"error: {problem.message}\nhint: {problem.hint}", file=sys.stderr)
        raise SystemExit(1) from None
    show(record, Console())
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
