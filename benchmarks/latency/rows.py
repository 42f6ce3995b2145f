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
TEACHER = ("teacher_score", "teacher_generate")
WAYS = {"classification": TEACHER, "multilabel": TEACHER[:1], "ner": TEACHER[1:]}
"""The rows of `teacher_rows` by the kind of task."""


@dataclass(frozen=True, slots=True)
class Row:
    """Something that answers.

    Attributes:
        one: answers one text.
        answers: the answers of many texts, answered together, as `evokd.answers` writes them; ""
            where it said none that can be.
        forget: makes it forget what it keeps from one answer to the next; None where that is
            nothing, or out of reach.
    """

    one: Answer
    answers: Callable[[Sequence[str]], list[str]]
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
    """Return the ways in which the teacher answers, by the kind of task.

    One label: the one of highest probability, and the name written out. Any number of labels: a
    yes or no for each. Entities: written out as the loop asks for them.
    """
    from evokd.teacher import Message, Score

    def forget() -> object:
        return teacher.score([Score((Message("user", "Say a or b."),), ("a", "b"))])

    ways = {"classification": _names, "multilabel": _yes_or_no, "ner": _entities}
    reach = None if task.teacher.remote else forget
    return {
        name: Row(lambda text, answers=answers: answers([text]), answers, reach)  # type: ignore[misc]
        for name, answers in ways[task.kind](task, teacher).items()
    }


AnswerAll = Callable[[Sequence[str]], list[str]]


def _names(task: Task, teacher: Teacher) -> dict[str, AnswerAll]:
    from evokd.labelling import label_requests
    from evokd.teacher import Generate

    def score(texts: Sequence[str]) -> list[str]:
        said = teacher.score(label_requests(task, texts, task.names))
        return [task.names[s.logprobs.index(max(s.logprobs))] if s.logprobs else "" for s in said]

    def write(texts: Sequence[str]) -> list[str]:
        asked = label_requests(task, texts, task.names)
        greedy = [Generate(a.messages, temperature=0, max_tokens=ANSWER_TOKENS) for a in asked]
        said = [reply.text.strip() for reply in teacher.generate(greedy)]
        return [text if text in task.names else "" for text in said]

    return {"teacher_score": score, "teacher_generate": write}


def _yes_or_no(task: Task, teacher: Teacher) -> dict[str, AnswerAll]:
    from evokd.answers import write_labels
    from evokd.prompts import YES_NO, ask_applies
    from evokd.teacher import Score

    def score(texts: Sequence[str]) -> list[str]:
        asked = [
            Score(ask_applies(task.domain, task.labels, text, label=name), YES_NO)
            for text in texts
            for name in task.names
        ]
        said = iter(teacher.score(asked))
        of_texts = [{name: next(said).logprobs for name in task.names} for _ in texts]
        return [
            write_labels([name for name, (yes, no) in of.items() if yes >= no])
            if all(of.values())
            else ""
            for of in of_texts
        ]

    return {"teacher_score": score}


def _entities(task: Task, teacher: Teacher) -> dict[str, AnswerAll]:
    from evokd.answers import write_spans
    from evokd.kinds.entities import MOST
    from evokd.prompts import ask_entities
    from evokd.replies import parse_entities
    from evokd.teacher import Generate, grammar

    def asked(text: str) -> Generate:
        return Generate(
            ask_entities(task.domain, task.labels, text),
            temperature=0,
            max_tokens=task.teacher.max_tokens,
            grammar=grammar.spans_of(text, task.names, MOST),
        )

    def write(texts: Sequence[str]) -> list[str]:
        said = teacher.generate([asked(text) for text in texts])
        found = [parse_entities(w, t, task.names) for w, t in zip(said, texts, strict=True)]
        return ["" if one.reject else write_spans(one.spans) for one in found]

    return {"teacher_generate": write}


def teachers_task(
    manifest: Manifest, teacher: str, *, threads: int, labels: int | None = None
) -> Task:
    """Return the task that the teacher is asked about: the student's own labels.

    Args:
        labels: only the first so many.
    """
    from evokd.finished import task_of
    from evokd.settings import TeacherSettings

    first = dict(list(manifest.labels.items())[:labels])
    asked = TeacherSettings(model=teacher, threads=threads)
    return task_of(manifest).model_copy(update={"labels": first, "teacher": asked})


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
    predictor: Predictor[Any],
    texts: Sequence[str],
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Return the time that a predictor spends outside ONNX Runtime, as a share of that inside.

    Both are measured within the same call: tokenising, feeds, softmax and the answer's shape
    against the run itself. Medians over the texts. The predictor is of no other use afterwards.
    """
    session = predictor.session = _Stopwatch(predictor.session, clock)
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
        "nano": (folder.resolve().with_name("nano"), None),  # "." has no name
    }


def _torch(folder: Path, threads: int) -> Row:
    from evokd.calibration import tempered_each
    from evokd.finished import kind_served
    from serving.layout import read_manifest

    manifest = read_manifest(folder)
    kind, student = kind_served(manifest), _loaded(folder, manifest, threads)

    def answers(texts: Sequence[str]) -> list[str]:
        outputs = student.predict(texts)
        if manifest.kind == "multilabel":  # its thresholds hold under the temperature
            outputs = tempered_each(outputs, manifest.temperature)
        return [one.predicted for one in kind.predictions(outputs)]

    return Row(lambda text: student.predict([text]), answers)


def _loaded(folder: Path, manifest: Manifest, threads: int) -> Any:
    if manifest.kind == "ner":
        from evokd.tagging import load_tagger

        return load_tagger(folder, device="cpu", threads=threads)
    from evokd.student import load_student

    return load_student(folder, device="cpu", threads=threads)


def _onnx(folder: Path, file: str | None, threads: int) -> Row:
    from evokd.finished import kind_served
    from serving.layout import read_manifest
    from serving.predictor import open_predictor

    predictor = open_predictor(folder, file=file, threads=threads)
    kind = kind_served(read_manifest(folder))

    def answers(texts: Sequence[str]) -> list[str]:
        return [one.predicted for one in kind.predictions(predictor.outputs(texts))]

    return Row(lambda text: predictor.outputs([text]), answers)
