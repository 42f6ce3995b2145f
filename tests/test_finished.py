"""The last stages of a run for students of other kinds: calibrated, exported, scored, told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny_kinds import TOPICS, TYPES, tagged_examples, topical_examples
from tiny_student import MAX_LENGTH

from evokd.answers import KindName, in_words
from evokd.calibrating import Calibration
from evokd.calls import Calls
from evokd.examples import Example
from evokd.finished import meta_of, probabilities_of
from evokd.kinds import kind_of
from evokd.learner import EncoderLearner
from evokd.ledger import Ledger
from evokd.records import Row
from evokd.report import write_report
from evokd.rounds_told import weaknesses
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


@pytest.fixture(params=["ner", "multilabel"])
def stages(
    request: pytest.FixtureRequest, tagger_sealed: Path, labeller_sealed: Path, tmp_path: Path
) -> Iterator[Stages]:
    """A run that has come to its export, with gold dev and test texts."""
    kind: KindName = request.param
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
    ledger = Ledger(tmp_path / "run.db")
    ledger.add_rows(gate_rows(make(60, seed=4)))
    source = tagger_sealed if kind == "ner" else labeller_sealed
    shutil.copytree(source, tmp_path / "student")
    try:
        yield Stages(
            task,
            data,
            RunFiles(tmp_path),
            ledger,
            Calls(ledger, None),
            EncoderLearner(task),
            Silent(),
        )
    finally:
        ledger.close()


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
    from evokd.errors import InputError
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
        ("ner", {"export": {"reject": 0.5}}, "export.reject"),
        ("multilabel", {"export": {"reject": 0.5}}, "export.reject"),
    ],
)
def test_settings_that_a_kind_has_no_use_for(
    kind: KindName, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=f"{says}.* not fit kind: {kind}"):
        Task(name="t", kind=kind, domain="d", labels=TOPICS, data={"seed": "s.jsonl"}, **changes)


def test_a_reject_threshold_reaches_the_student(stages: Stages) -> None:
    task = stages.task.model_copy(
        update={"kind": "classification", "export": ExportSettings(reject=0.7)}
    )
    made = meta_of(task, stages.data, stages.ledger, Calibration(temperature=2.0))
    assert (made.reject, made.temperature) == (0.7, 2.0)
