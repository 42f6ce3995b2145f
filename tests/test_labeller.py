"""The student that gives any number of labels, from its sealed folder to answers."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_kinds import ROOM, TOPICS, export_as, topical_examples

from evokd.answers import read_labels
from evokd.calibration import tempered_each
from evokd.errors import InputError
from evokd.finished import kind_served, scores_served
from evokd.student import load_student
from serving import layout
from serving.predictor import LabelSet, Predictor, open_predictor

THRESHOLDS = dict(zip(TOPICS, (0.4, 0.5, 0.6), strict=True))


@pytest.fixture(scope="module", params=[layout.ONNX, layout.INT8])
def predictor(request: pytest.FixtureRequest, labeller_sealed: Path) -> Predictor[LabelSet]:
    return open_predictor(labeller_sealed, file=request.param)


@pytest.fixture
def copy(labeller_sealed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(labeller_sealed, tmp_path / "student"))


def test_it_gives_the_labels_that_it_was_taught(
    predictor: Predictor[LabelSet], labeller_sealed: Path
) -> None:
    rows = topical_examples(60, seed=11)
    manifest = layout.read_manifest(labeller_sealed)
    assert scores_served(manifest, predictor, rows).accuracy > 0.9
    texts = [row.text for row in rows]
    kind = kind_served(manifest)
    decided = [one.predicted for one in kind.predictions(predictor.outputs(texts))]
    said = predictor.predict(texts)
    assert [read_labels(answer) for answer in decided] == [
        tuple(sorted(one.labels)) for one in said
    ]
    assert {len(one.labels) for one in said} == {0, 1, 2, 3}


def test_it_says_what_torch_says_under_its_temperature(labeller_sealed: Path) -> None:
    texts = [row.text for row in topical_examples(30, seed=12)]
    theirs = load_student(labeller_sealed, device="cpu", threads=1).predict(texts)
    ours = open_predictor(labeller_sealed, file=layout.ONNX).probabilities(texts)
    assert ours == pytest.approx(tempered_each(theirs, 1.5), abs=1e-4)
    assert ours.dtype == np.float32


def test_a_label_applies_from_its_threshold_on(copy: Path) -> None:
    text = topical_examples(1, seed=3)[0].text
    manifest = layout.read_manifest(copy)
    (said,) = open_predictor(copy).predict([text])
    for step, applies in ((-1e-6, True), (1e-6, False)):
        exact = {name: p + step for name, p in said.probabilities.items()}
        layout.write_manifest(copy, replace(manifest, thresholds=exact))
        (now,) = open_predictor(copy).predict([text])
        assert now.labels == (tuple(TOPICS) if applies else ())
        assert now.score == pytest.approx(
            min(p if applies else 1 - p for p in said.probabilities.values())
        )


def test_a_label_applies_to_a_text_when_it_applies_to_a_part(
    predictor: Predictor[LabelSet],
) -> None:
    words = [*["play song"] * ROOM, *["please"] * 2 * ROOM, *["dinner menu"] * (ROOM // 2)]
    text = " ".join(words)
    (said,) = predictor.predict([text])
    assert said.windows > 4
    assert {"music", "food"} <= {*said.labels}
    alone = [predictor.read(window) for window in predictor.split(text).windows]
    assert list(said.probabilities.values()) == np.max(alone, axis=0).tolist()


def test_an_answer_never_depends_on_its_neighbours(predictor: Predictor[LabelSet]) -> None:
    texts = [row.text for row in topical_examples(20, seed=13)] + ["", "🎵 天気", "rain " * 99]
    alone = [predictor.predict([text])[0] for text in texts]
    assert predictor.predict(texts) == alone
    assert predictor.predict(texts[::-1])[::-1] == alone
    assert predictor.outputs([]).shape == (0, len(TOPICS))


def test_its_manifest_and_card_say_what_it_is(labeller_sealed: Path) -> None:
    manifest = layout.read_manifest(labeller_sealed)
    assert (manifest.kind, manifest.serve) == ("multilabel", layout.INT8)
    assert (manifest.thresholds, manifest.temperature) == (THRESHOLDS, 1.5)
    assert manifest.gate["tried"][-1]["gate"]["agreement"] >= 0.99
    card = layout.StudentFiles(labeller_sealed).card.read_text(encoding="utf-8")
    assert "| music | 0.400 | something is to be heard |" in card
    assert "top_k=None" in card


@pytest.mark.parametrize(
    "wrong", [{"music": 0.5}, {**THRESHOLDS, "sky": 1.0}, {**THRESHOLDS, "sky": float("nan")}]
)
def test_thresholds_that_do_not_fit_are_refused(copy: Path, wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="thresholds"):
        layout.write_manifest(copy, replace(layout.read_manifest(copy), thresholds=wrong))


def test_the_gate_decides_by_the_thresholds_that_serve(copy: Path) -> None:
    """Without the temperature, other thresholds decide the same."""
    student = load_student(copy, device="cpu", threads=1)
    rows = topical_examples(60, seed=15)
    low = dict.fromkeys(TOPICS, 0.05)
    report = export_as(copy, student, "multilabel", rows, thresholds=low, temperature=4.0)
    served = scores_served(layout.read_manifest(copy), open_predictor(copy, file=layout.ONNX), rows)
    assert report.tried[-1].gate.macro_f1_fp32 == pytest.approx(served.macro_f1)
