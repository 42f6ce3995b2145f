"""The last stages of a run for students of other kinds: calibrated, exported, scored, told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import made_run
import pytest
from tiny_kinds import TOPICS, TYPES, tagged_examples, topical_examples
from tiny_student import MAX_LENGTH

from evokd import run
from evokd.answers import KindName, in_words
from evokd.calibrating import Calibration
from evokd.calls import Calls
from evokd.errors import InputError
from evokd.examples import Example
from evokd.finished import meta_of, probabilities_of
from evokd.kinds import kind_of
from evokd.learner import EncoderLearner
from evokd.ledger import Ledger
from evokd.loop import VERSION, WAY
from evokd.records import Row
from evokd.report import write_report
from evokd.rounds_told import weaknesses
from evokd.run import export_run
from evokd.runfiles import RunFiles
from evokd.settings import ExportSettings
from evokd.stages import Stages
from evokd.task import Task, TaskData
from evokd.watch import Silent
from serving import layout
from serving.predictor import open_predictor

MADE = {"ner": tagged_examples, "multilabel": topical_examples}
LABELS: dict[str, dict[str, str]] = {"ner": TYPES, "multilabel": TOPICS}


def gate_rows(examples: Sequence[Example]) -> list[Row]:
    return [Row(-1, e, "gate", None, None, "") for e in examples]


def come_to_export(kind: KindName, student: Path, folder: Path) -> Stages:
    """Make a run that has come to its export, with gold dev and test texts."""
    task = Task(
        name=f"a-{kind}",
        kind=kind,
        domain="requests",
        labels=LABELS[kind],
        data={"seed": "seed.jsonl"},
        student={"max_length": MAX_LENGTH, "device": "cpu", "threads": 1},
    )
    make = MADE[kind]
    data = TaskData(
        seed=tuple(make(4, seed=1)), dev=tuple(make(60, seed=2)), test=tuple(make(40, seed=3))
    )
    ledger = Ledger(folder / "run.db")
    ledger.add_rows(gate_rows(make(60, seed=4)))
    shutil.copytree(student, folder / "student")
    calls, learner = Calls(ledger, None), EncoderLearner(task)
    return Stages(task, data, RunFiles(folder), ledger, calls, learner, Silent())


@pytest.fixture(params=["ner", "multilabel"])
def stages(
    request: pytest.FixtureRequest, tagger_sealed: Path, labeller_sealed: Path, tmp_path: Path
) -> Iterator[Stages]:
    """A run that has come to its export."""
    source = tagger_sealed if request.param == "ner" else labeller_sealed
    made = come_to_export(request.param, source, tmp_path)
    try:
        yield made
    finally:
        made.ledger.close()


@pytest.fixture
def ended(labeller_sealed: Path, tmp_path: Path) -> Path:
    """The folder of a run that has come to its end; its report and summary are not written."""
    stages = come_to_export("multilabel", labeller_sealed, tmp_path)
    ledger = stages.ledger
    ledger.set_meta("data", stages.data.to_json())
    ledger.set_meta("run", {"settings": stages.task.settings(), WAY: VERSION})
    ledger.finish_stage("gate_texts", {"texts": 60})
    ledger.finish_stage("export", stages.export(stages.files.student))
    scores = stages.scores(stages.files.student)
    ledger.finish_stage("scores", scores)
    ledger.finish_stage("seed_only", {"fine_tuned": scores["fp32"], "centroid": {}})
    ledger.finish_stage("latency", made_run._latency(True))
    ledger.close()
    return tmp_path


def test_a_student_is_exported_scored_and_told(stages: Stages) -> None:
    kind, folder, ledger = stages.task.kind, stages.files.student, stages.ledger
    report = stages.export(folder)
    assert report["passed"]
    manifest = layout.read_manifest(folder)
    layout.verify(folder, manifest)
    assert (manifest.kind, list(manifest.labels)) == (kind, stages.task.names)
    fitted = report["calibration"]
    if kind == "ner":
        assert fitted == {}
        assert manifest.temperature == 1
    else:
        assert fitted["by"] == "gold dev"
        assert manifest.thresholds == fitted["thresholds"]
        assert manifest.temperature == fitted["temperature"]
        assert fitted["ece_after"] <= fitted["ece"] + 0.02
    scores = stages.scores(folder)
    for precision in ("fp32", "int8"):
        assert scores[precision]["test"]["micro_f1"] > 0.7
    assert "micro_f1" in layout.read_manifest(folder).scores["test, int8"]
    said = open_predictor(folder).predict([e.text for e in stages.data.test])
    right = [kind_of(stages.task).labels_in(e.label) for e in stages.data.test]
    # What is served is what was scored.
    whole = sum(sorted(set(one.names)) == sorted(r) for one, r in zip(said, right, strict=True))
    assert whole / len(said) >= scores["int8"]["test"]["accuracy"]
    ledger.finish_stage("seed_only", {"fine_tuned": scores["fp32"], "centroid": {}})
    ledger.finish_stage("export", json.loads(json.dumps(report)))
    ledger.finish_stage("scores", scores)
    write_report(stages.files.report, stages.task, stages.data, ledger)
    html = stages.files.report.read_text(encoding="utf-8")
    assert "Whole answers right" in html
    assert "Micro F1" in html
    assert "Rows are gold labels" not in html, "a text may have several: no table of confusions"
    assert ("A label applies from" in html) == (kind == "multilabel")
    for name in stages.task.names:
        assert f'<th class="t" scope="row"><bdi>{name}</bdi></th>' in html


def test_a_nano_student_gives_labels_and_finds_no_entities(stages: Stages) -> None:
    from export.nano import NanoShape, make_nano

    folder, out = stages.files.student, stages.files.nano
    texts = [e.text for e in MADE[stages.task.kind](400, seed=8)]
    said = probabilities_of(stages.learner.load(folder), texts)
    shape = NanoShape(size=32, hidden=32, epochs=60)
    if stages.task.kind == "ner":
        with pytest.raises(InputError, match="finds entities"):
            make_nano(folder, out, texts=texts, probabilities=said, shape=shape)
        return
    manifest = make_nano(folder, out, texts=texts, probabilities=said, shape=shape)
    assert manifest.kind == "multilabel"
    new = [e.text for e in topical_examples(60, seed=9)]
    one, other = open_predictor(folder).predict(new), open_predictor(out).predict(new)
    assert sum(a.labels == b.labels for a, b in zip(one, other, strict=True)) >= 50


@pytest.mark.parametrize(
    ("kind", "answer", "shown"),
    [
        ("classification", "music", "music"),
        ("classification", "", "–"),
        ("multilabel", '["a", "b"]', "a, b"),
        ("multilabel", "[]", "no label"),
        ("ner", '[[2, 6, "sky"]]', "rain (sky)"),
        ("ner", "[]", "no entities"),
    ],
)
def test_answers_are_told_in_words(kind: KindName, answer: str, shown: str) -> None:
    assert in_words(kind, answer, "🎵 rain") == shown


def test_no_rounds_have_no_weaknesses(stages: Stages) -> None:
    assert weaknesses(stages.ledger, [], stages.kind) == []


@pytest.mark.parametrize(
    ("kind", "changes", "says"),
    [
        ("ner", {"student": {"layers": 3}}, "student.layers"),
        ("ner", {"student": {"words": 4000}}, "student.words"),
        ("ner", {"export": {"unanswered": 0.5}}, "export.unanswered"),
        ("multilabel", {"export": {"unanswered": 0.5}}, "export.unanswered"),
    ],
)
def test_settings_that_a_kind_has_no_use_for(
    kind: KindName, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=f"{says}.* not fit kind: {kind}"):
        Task(name="t", kind=kind, domain="d", labels=TOPICS, data={"seed": "s.jsonl"}, **changes)


def test_a_reject_threshold_reaches_the_student(stages: Stages) -> None:
    task = stages.task.model_copy(
        update={"kind": "classification", "export": ExportSettings(unanswered=0.1)}
    )
    student = stages.learner.load(stages.files.student)
    fitted = Calibration(temperature=2.0, reject=0.7)
    made = meta_of(task, stages.data, stages.ledger, fitted, student=student)
    assert (made.reject, made.temperature) == (0.7, 2.0)


def test_what_a_student_reads_is_what_its_encoder_can(stages: Stages) -> None:
    asked = stages.task.student.model_copy(update={"max_length": 4 * MAX_LENGTH})
    long = replace(stages, task=stages.task.model_copy(update={"student": asked}))
    long.export(stages.files.student)
    assert layout.read_manifest(stages.files.student).max_length == MAX_LENGTH
    (said,) = open_predictor(stages.files.student).predict(["play rain now please " * 60])
    assert said.windows > 1


def test_the_users_own_texts_are_not_synthetic(stages: Stages) -> None:
    made = MADE[stages.task.kind](10, seed=6)
    origins = ["cover"] * 2 + ["hard", "easy"] + ["pool"] * 6
    rows = [
        Row(0, replace(e, origin=o), "train", None, None, "")
        for e, o in zip(made, origins, strict=True)
    ]
    stages.ledger.add_rows(rows)
    student = stages.learner.load(stages.files.student)
    made_of = meta_of(stages.task, stages.data, stages.ledger, Calibration(), student=student)
    assert made_of.training["synthetic_share"] == 4 / (10 + len(stages.data.seed))


@pytest.mark.parametrize(
    ("chosen", "share"), [("seeds and definitions", 0), ("round 0", 2), ("final", 3)]
)
def test_only_texts_that_the_student_learned_from_are_synthetic(
    stages: Stages, chosen: str, share: int
) -> None:
    made = MADE[stages.task.kind](3, seed=6)
    rows = [Row(n // 2, replace(e, origin="cover"), "train") for n, e in enumerate(made)]
    stages.ledger.add_rows(rows)
    stages.ledger.finish_stage("final", {"chosen": chosen})
    student = stages.learner.load(stages.files.student)
    told = meta_of(stages.task, stages.data, stages.ledger, Calibration(), student=student)
    seeds = len(stages.data.seed)
    assert told.training["synthetic_share"] == pytest.approx(share / (share + seeds))


def test_an_export_in_place_is_told(ended: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.gate.AGREEMENT", 1.1)  # nothing passes
    assert not export_run(ended, None)["passed"]
    summary = json.loads((ended / "summary.json").read_text())
    assert summary["gate"] == {"passed": False, "served": layout.ONNX}
    assert summary["student"]["int8"]["test_micro_f1"] is None
    assert "Not passed." in (ended / "report.html").read_text(encoding="utf-8")
    export_run(ended, None, force=True)
    summary = json.loads((ended / "summary.json").read_text())
    assert summary["gate"]["served"] == layout.INT8 == layout.read_manifest(ended / "student").serve
    assert "Not passed, and forced." in (ended / "report.html").read_text(encoding="utf-8")


def test_a_copy_changes_nothing_of_the_run(ended: Path, tmp_path: Path) -> None:
    before = layout.read_manifest(ended / "student")
    export_run(ended, tmp_path / "copies" / "mine")
    assert layout.read_manifest(tmp_path / "copies" / "mine").labels == before.labels
    assert layout.read_manifest(ended / "student") == before
    assert not (ended / "report.html").exists()


def test_a_run_of_another_machine_is_exported_and_told_as_it_was(ended: Path) -> None:
    with closing(Ledger(ended / "run.db", attempt=False)) as ledger:
        record = ledger.meta("run")
        record["settings"]["student"] |= {"device": "cuda", "threads": 7}
        ledger.set_meta("run", record)
    assert export_run(ended, None)
    assert "cuda" in (ended / "report.html").read_text(encoding="utf-8")


def test_an_encoders_folder_is_nobodys_business(stages: Stages) -> None:
    own = stages.task.student.model_copy(update={"model": "/home/me/mine"})
    task = stages.task.model_copy(update={"student": own})
    student = stages.learner.load(stages.files.student)
    made = meta_of(task, stages.data, stages.ledger, Calibration(), student=student)
    assert made.base_model == "mine"


def test_an_export_that_fails_leaves_nothing_aside(
    ended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise InputError("no room", "")

    monkeypatch.setattr(Stages, "export", fails)
    with pytest.raises(InputError, match="no room"):
        export_run(ended, None)
    assert not list(ended.glob(".student*"))


@pytest.mark.parametrize("rename", [1, 2])
def test_an_export_that_is_killed_loses_no_student(
    ended: Path, rename: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced: list[Path] = []

    def dies(source: Path, target: Path) -> None:
        replaced.append(target)
        if len(replaced) == rename:
            raise KeyboardInterrupt
        rename_(source, target)

    with monkeypatch.context() as patched:
        rename_ = run.os.replace
        patched.setattr(run, "os", SimpleNamespace(replace=dies))
        with pytest.raises(KeyboardInterrupt):
            export_run(ended, None)
    export_run(ended, None)
    student = ended / "student"
    layout.verify(student, layout.read_manifest(student))
    assert (student / layout.WEIGHTS).is_file()
    assert not list(ended.glob(".student*")), "nothing is left aside"


def test_an_export_without_a_student_is_refused(ended: Path) -> None:
    (ended / ".student.exporting").mkdir()
    (ended / "student").rename(ended / "moved")
    with pytest.raises(InputError, match="student: no such folder"):
        export_run(ended, None)
    assert (ended / ".student.exporting").is_dir(), "what was made may be the last there is"
