"""The stages of a run in order, each recorded when it is whole; a run goes on after the last one.

seed-only -> loop -> final student -> a smaller one, if asked -> gate texts -> export and gate
-> scores -> nano student -> latency -> report -> summary.json
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from evokd.calibrating import calibrate
from evokd.calls import Calls
from evokd.final import final_student
from evokd.finished import gold_scores, meta_of, probabilities_of
from evokd.gathering import known_texts, scores_of
from evokd.holdout import write_gate_texts
from evokd.kinds import Kind, kind_of
from evokd.labelling import DISAGREE
from evokd.learner import EncoderLearner
from evokd.ledger import Ledger
from evokd.loop import Loop
from evokd.noise import NOISY
from evokd.records import ASKED
from evokd.report import write_report
from evokd.runfiles import RunFiles
from evokd.scores import score
from evokd.seeds import derive
from evokd.selection import Selection
from evokd.students import SEED
from evokd.summary import summarise
from evokd.task import Task, TaskData
from evokd.teacher import open_teacher
from evokd.watch import Watch, steps
from evokd.writable import write_whole

SHRINK_EPOCHS = 8
UNSURE = (DISAGREE, ASKED, "round rolled back", NOISY)
"""Why texts were dropped that a student may still be distilled on: only their label is in doubt."""


@dataclass(frozen=True)
class Stages:
    """A run at work: what its stages share.

    Attributes:
        refuses: see `evokd.loop.Loop`.
    """

    task: Task
    data: TaskData
    files: RunFiles
    ledger: Ledger
    calls: Calls
    learner: EncoderLearner
    watch: Watch
    refuses: bool = True

    def run(self) -> dict[str, Any]:
        """Do what is left, in order."""
        self.train()
        self._do("gate_texts", "texts for the gate", self.gate_texts)
        self._do("export", "ONNX, INT8 and the gate", lambda: self.export(self.files.student))
        self._do("scores", "scores of what is served", lambda: self.scores(self.files.student))
        if self.task.export.nano and self.task.kind != "ner":  # it has no words in their order
            self._do("nano", "the nano student", self.nano)
        self._do("latency", "latency against the teacher", self.latency)
        write_report(self.files.report, self.task, self.data, self.ledger)
        shutil.rmtree(self.files.root / "rounds", ignore_errors=True)
        return self.summary()

    def train(self) -> None:
        """Do what is left up to the final student, and stop there."""
        self._do("seed_only", "the seed examples alone", self.seed_only)
        self.loop.run()
        self._do("final", "final student", self.final_student)
        if self.shrinks:
            self._do("shrink", "a smaller student", self.shrink)

    @property
    def kind(self) -> Kind:
        """The kind of the task."""
        return kind_of(self.task)

    @property
    def shrinks(self) -> bool:
        """Say whether the final student is to become smaller."""
        return bool(self.task.student.layers or self.task.student.words)

    def _do(self, name: str, title: str, work: Callable[[], Any]) -> Any:
        if (done := self.ledger.stage(name)) is None:
            self.watch.stage(title)
            done = work()
            self.ledger.finish_stage(name, done)
        return done

    @cached_property
    def loop(self) -> Loop:
        """The run's loop, as far as its ledger has come."""
        return Loop(
            self.task,
            self.data,
            ledger=self.ledger,
            calls=self.calls,
            learner=self.learner,
            folder=self.files.root,
            watch=self.watch,
            refuses=self.refuses,
        )

    def seed_only(self) -> dict[str, Any]:
        """Train on the seed examples alone; also the nearest centroid of untrained embeddings."""
        began = self.ledger.clock()
        student = self.learner.fit(
            self.data.seed,
            epochs=self.task.student.final_epochs,
            seed=derive(self.task.loop.seed, "seed-only"),
            on_step=steps(self.watch, "training on the seeds"),
        )
        self.calls.keep_free(self.ledger.clock() - began)
        student.save(self.loop.students.folder(SEED))
        tuned, centroid = {}, {}
        for name, examples in (("dev", self.data.dev), ("test", self.data.test)):
            if examples:
                tuned[name] = scores_of(student, examples, self.kind)
                nearest = self.learner.nearest(self.data.seed, [e.text for e in examples])
                if nearest is not None:
                    gold = [e.label for e in examples]
                    centroid[name] = score(gold, nearest, self.task.names).to_dict()
        return {"fine_tuned": tuned, "centroid": centroid}

    def final_student(self) -> dict[str, Any]:
        """Choose and save the final student; see `evokd.final`."""
        return final_student(self.loop, self.files.whole if self.shrinks else self.files.student)

    def shrink(self) -> dict[str, Any]:
        """Make the final student smaller; all that was written and labelled may teach it."""
        from evokd.shrink import shrink
        from evokd.student import load_student

        how = self.task.student
        whole = load_student(self.files.whole, device=how.device, threads=how.threads)
        texts = [example.text for example in self.loop.training_set()]
        texts += [r.example.text for r in self.ledger.rows() if r.reason in UNSURE]
        small = shrink(
            whole,
            list(dict.fromkeys(texts)),
            settings=how,
            epochs=SHRINK_EPOCHS,
            seed=derive(self.task.loop.seed, "shrink"),
            on_step=steps(self.watch, "distilling into fewer layers"),
        )
        small.save(self.files.student)
        dev = self.loop.selection.dev()
        return {
            name: scores_of(student, dev, self.kind)["macro_f1"]
            for name, student in (("whole", whole), ("small", small))
        }

    def gate_texts(self) -> dict[str, Any]:
        """Have texts written that no student was trained on."""
        known = known_texts(self.data, self.ledger)
        count = write_gate_texts(self.task, self.data, self.ledger, self.calls, known, self.watch)
        if count < self.task.export.gate_texts:
            self.watch.note(
                f"only {count} of {self.task.export.gate_texts} texts for the gate: too few of the"
                " teacher's texts could be kept"
            )
        return {"texts": count}

    def export(self, folder: Path, *, force: bool = False) -> dict[str, Any]:
        """Export a student folder, quantise it, and keep INT8 only when the gate passes.

        Args:
            force: keep INT8 whatever the gate says.
        """
        from export.student import ExportOptions, export_student

        held_out = [row.example for row in self.ledger.rows(split="gate")]
        dev = list(self.loop.selection.dev())
        examples = dev + held_out
        texts = [e.text for e in examples]
        student = self.learner.load(folder)
        answers = [e.label for e in examples]
        if self.loop.selection.doubt():  # against such labels any loss would be noise
            answers = [p.predicted for p in self.kind.predictions(student.predict(texts))]
        fitted = calibrate(
            self.task,
            student.predict([e.text for e in dev]),
            [e.label for e in dev],
            by=self.loop.selection.by,
        )
        how = self.task.export
        if how.unanswered and not fitted.reject:
            self.watch.note(
                "too few held-out texts to set export.unanswered: every text is answered"
            )
        report = export_student(
            folder,
            texts=texts,
            answers=answers,
            torch_probabilities=probabilities_of(student, texts),
            meta=meta_of(self.task, self.data, self.ledger, fitted, student=student),
            options=ExportOptions(how.opset, how.exporter, how.target, force=force, half=how.half),
        )
        return {**asdict(report), "calibration": fitted.record}

    def scores(self, folder: Path) -> dict[str, Any]:
        """Score a folder's ONNX files, by the predictor that serves, on dev and test."""
        from export.student import add_scores
        from serving.layout import INT8, ONNX, StudentFiles

        made: dict[str, Any] = {}
        present = {"fp32": ONNX} | ({"int8": INT8} if StudentFiles(folder).int8.exists() else {})
        for precision, file in present.items():
            made[precision] = gold_scores(folder, self.data, file=file)
        told = ("accuracy", "macro_f1", "micro_f1", "n")
        add_scores(
            folder,
            {
                f"{name}, {precision}": {k: part[k] for k in told}
                for precision, parts in made.items()
                for name, part in parts.items()
            },
        )
        return {precision: parts for precision, parts in made.items() if parts}

    def nano(self) -> dict[str, Any]:
        """Distil the student into a nano student: the baseline that it must beat."""
        from export.nano import make_nano

        texts = [example.text for example in self.loop.training_set()]
        student = self.learner.load(self.files.student)
        made = make_nano(
            self.files.student,
            self.files.nano,
            texts=texts,
            probabilities=np.asarray(student.predict(texts)),
            target=self.task.export.target,
            seed=derive(self.task.loop.seed, "nano"),
            on_step=steps(self.watch, "training the nano student"),
        )
        return {
            "size_bytes": (self.files.nano / made.serve).stat().st_size,
            "scores": gold_scores(self.files.nano, self.data),
        }

    def latency(self) -> dict[str, Any]:
        """Time student and teacher on the same texts, each on one thread."""
        from benchmarks.latency.bench import measure
        from benchmarks.latency.material import Material, spread

        texts = [row.example.text for row in self.ledger.rows(split="gate")]
        texts = spread(texts, self.task.export.latency_texts) or [e.text for e in self.data.seed]
        self.calls.close()
        pinned = self.task.teacher.model_copy(update={"threads": 1})
        task = self.task.model_copy(update={"teacher": pinned})
        material = Material(texts, run_seconds=self.ledger.seconds())
        with closing(open_teacher(pinned)) as teacher:
            return measure(self.files.student, task, teacher, material, watch=self.watch)

    def summary(self) -> dict[str, Any]:
        """Write summary.json, last of all, and return it."""
        by = Selection(self.task, self.data, self.ledger).by
        made = summarise(self.ledger, name=self.task.name, by=by)
        write_whole(self.files.summary, json.dumps(made, indent=2, ensure_ascii=False) + "\n")
        return made
