"""What is timed: the student in torch, ONNX, INT8 and nano, and the teacher's two ways to answer.

Every row is opened by a function of its own, so that a fresh process can open one alone. Heavy
imports stand in those functions: what a row does not need must not slow its start.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.latency.scenarios import WARM_UP, Answer

if TYPE_CHECKING:
    from evokd.task import Task
    from evokd.teacher import Teacher
    from serving.layout import Manifest
    from serving.predictor import Predictor

ANSWER_TOKENS = 16  # room for a label's name
TITLES = {
    "torch": "student, torch",
    "onnx": "student, ONNX",
    "int8": "student, INT8",
    "nano": "nano student, INT8",
    "teacher_score": "teacher, scores the labels",
    "teacher_generate": "teacher, writes the label",
}
TEACHER = ("teacher_score", "teacher_generate")


@dataclass(frozen=True, slots=True)
class Row:
    """Something that answers.

    Attributes:
        one: answers one text.
        labels: the labels of many texts, answered together; "" where it said none of them.
        forget: makes it forget what it keeps from one answer to the next; None where that is
            nothing, or out of reach.
    """

    one: Answer
    labels: Callable[[Sequence[str]], list[str]]
    forget: Callable[[], object] | None = None


def student_rows(folder: Path, *, threads: int) -> dict[str, Callable[[], Row]]:
    """Return what opens each row of a student that is there; a nano student lies beside it."""
    from serving.layout import MANIFEST, WEIGHTS, read_manifest

    sealed = read_manifest(folder).sha256
    rows: dict[str, Callable[[], Row]] = {}
    if WEIGHTS in sealed:
        rows["torch"] = lambda: _torch(folder, threads)
    for name, (home, file) in _files(folder).items():
        if (home / MANIFEST).is_file() if file is None else file in sealed:
            rows[name] = lambda home=home, file=file: _onnx(home, file, threads)  # type: ignore[misc]
    return rows


def teacher_rows(task: Task, teacher: Teacher) -> dict[str, Row]:
    """Return the teacher's rows: the label of highest probability, and the name written out."""
    from evokd.labelling import label_requests
    from evokd.teacher import Generate, Message, Score

    def forget() -> object:
        return teacher.score([Score((Message("user", "Say a or b."),), ("a", "b"))])

    def score(texts: Sequence[str]) -> list[str]:
        said = teacher.score(label_requests(task, texts, task.names))
        return [task.names[s.logprobs.index(max(s.logprobs))] for s in said]

    def write(texts: Sequence[str]) -> list[str]:
        asked = label_requests(task, texts, task.names)
        greedy = [Generate(a.messages, temperature=0, max_tokens=ANSWER_TOKENS) for a in asked]
        said = [reply.text.strip() for reply in teacher.generate(greedy)]
        return [text if text in task.names else "" for text in said]

    reach = None if task.teacher.remote else forget
    return {
        "teacher_score": Row(lambda text: score([text]), score, reach),
        "teacher_generate": Row(lambda text: write([text]), write, reach),
    }


def teachers_task(
    manifest: Manifest, teacher: str, *, threads: int, labels: int | None = None
) -> Task:
    """Return the task that the teacher is asked about: the student's own labels.

    Args:
        labels: only the first so many.
    """
    from evokd.settings import TeacherSettings
    from evokd.task import DataFiles, Task

    return Task(
        name=manifest.name,
        domain=manifest.domain,
        labels=dict(list(manifest.labels.items())[:labels]),
        data=DataFiles(seed=Path("none")),
        teacher=TeacherSettings(model=teacher, threads=threads),
    )


def size_on_disk(name: str, folder: Path, teacher: str) -> float | None:
    """Return the megabytes of the files that a row reads; None for a teacher behind an address."""
    from serving.layout import TOKENIZER, WEIGHTS, read_manifest

    if name in TEACHER:
        if teacher.startswith(("http://", "https://")):
            return None
        from evokd.teacher.modelfile import find_model, parts

        return sum(Path(part).stat().st_size for part in parts(str(find_model(teacher)))) / 1e6
    home, file = (folder, WEIGHTS) if name == "torch" else _files(folder)[name]
    model = home / (file or read_manifest(home).serve)
    return (model.stat().st_size + (home / TOKENIZER).stat().st_size) / 1e6


def overhead(
    predictor: Predictor,
    texts: Sequence[str],
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Return the time that a predictor spends outside ONNX Runtime, as a share of that inside.

    Both are measured within the same call: tokenising, feeds, softmax and the answer's shape
    against the run itself. Medians over the texts. The predictor is of no other use afterwards.
    """
    session = predictor._session = _Stopwatch(predictor._session, clock)
    inside, outside = [], []
    for text in [*texts[:WARM_UP], *texts]:
        session.seconds, start = 0.0, clock()
        predictor.predict([text])
        whole = clock() - start
        inside.append(session.seconds)
        outside.append(whole - session.seconds)
    skipped = len(texts[:WARM_UP])
    return statistics.median(outside[skipped:]) / statistics.median(inside[skipped:])


class _Stopwatch:
    """An ONNX Runtime session whose runs are timed."""

    def __init__(self, session: Any, clock: Callable[[], float]) -> None:
        self.session = session
        self.clock = clock
        self.seconds = 0.0

    def run(self, *arguments: Any) -> Any:
        """Run, and add the time to `seconds`."""
        start = self.clock()
        answer = self.session.run(*arguments)
        self.seconds += self.clock() - start
        return answer


def _files(folder: Path) -> dict[str, tuple[Path, str | None]]:
    """Return folder and file of the ONNX rows; None is the one that the folder serves."""
    from serving.layout import INT8, ONNX

    return {
        "onnx": (folder, ONNX),
        "int8": (folder, INT8),
        "nano": (folder.with_name("nano"), None),
    }


def _torch(folder: Path, threads: int) -> Row:
    from evokd.student import load_student

    student = load_student(folder, device="cpu", threads=threads)

    def labels(texts: Sequence[str]) -> list[str]:
        return [student.labels[int(i)] for i in student.predict(texts).argmax(axis=1)]

    return Row(lambda text: student.predict([text]), labels)


def _onnx(folder: Path, file: str | None, threads: int) -> Row:
    from serving.predictor import open_predictor

    predictor = open_predictor(folder, file=file, threads=threads)

    def labels(texts: Sequence[str]) -> list[str]:
        return [predictor.labels[int(i)] for i in predictor.probabilities(texts).argmax(axis=1)]

    return Row(lambda text: predictor.probabilities([text]), labels)
