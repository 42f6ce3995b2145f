"""predict and evaluate with finished students of every kind."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from commands import Evokd, evokd_
from tiny_kinds import tagged_examples, topical_examples
from tiny_student import make_texts

from evokd.answers import read_labels, read_spans
from serving import layout
from serving.predictor import open_predictor

__all__ = ["evokd_"]  # a fixture


def test_predict_prints_a_label(tiny_sealed: Path, evokd_: Evokd) -> None:
    code, out, _ = evokd_("predict", str(tiny_sealed), "play a song")
    assert code == 0
    assert out[0].startswith("play_music  0.9")
    assert out[0].endswith("  play a song")


def test_predict_prints_no_label_below_the_reject_threshold(
    tiny_sealed: Path,
    tmp_path: Path,
    evokd_: Evokd,
) -> None:
    copy = Path(shutil.copytree(tiny_sealed, tmp_path / "student"))
    score = open_predictor(copy).predict(["the of"])[0].score
    layout.write_manifest(copy, replace(layout.read_manifest(copy), reject=score + 1e-6))
    assert open_predictor(copy).predict(["the of"])[0].label is None
    _, out, _ = evokd_("predict", str(copy), "the of")
    assert out[0].startswith("no label")
    _, (line,), _ = evokd_("predict", str(copy), "the of", "--json")
    assert json.loads(line)["label"] is None
    layout.write_manifest(copy, replace(layout.read_manifest(copy), reject=score - 1e-6))
    assert open_predictor(copy).predict(["the of"])[0].label is not None


@pytest.mark.parametrize("temperature", [0.25, 0.5, 3.0])
def test_a_label_is_withheld_by_the_score_before_the_temperature(
    tiny_sealed: Path, tmp_path: Path, temperature: float
) -> None:
    copy = Path(shutil.copytree(tiny_sealed, tmp_path / "student"))
    plain = open_predictor(copy).predict(["the of"])[0].score
    for reject, given in ((plain - 1e-5, True), (plain + 1e-5, False)):
        manifest = replace(layout.read_manifest(copy), temperature=temperature, reject=reject)
        layout.write_manifest(copy, manifest)
        said = open_predictor(copy).predict(["the of"])[0]
        assert abs(said.score - plain) > 1e-3, "what is shown is under the temperature"
        assert (said.label is not None) == given


def test_predict_prints_entities_a_line(tagger_sealed: Path, evokd_: Evokd) -> None:
    text = "🎵 please rain"
    code, out, _ = evokd_("predict", str(tagger_sealed), text, "please")
    assert code == 0
    (said, none) = open_predictor(tagger_sealed).predict([text, "please"])
    assert out[0] == text
    for line, one in zip(out[1:], said.entities, strict=False):
        assert line == f"  {one.start}-{one.end}  {one.label}  {one.score:.3f}  {one.text}"
    assert none.entities == ()
    assert out[-2:] == ["please", "  no entities"]
    _, lines, _ = evokd_("predict", str(tagger_sealed), text, "--json")
    record = json.loads(lines[0])
    assert record["text"] == text
    assert [(e["start"], e["end"], e["label"]) for e in record["entities"]] == list(said.given)


def test_predict_prints_the_labels_that_apply(
    labeller_sealed: Path,
    evokd_: Evokd,
) -> None:
    _, out, _ = evokd_("predict", str(labeller_sealed), "play rain now", "please now")
    assert "music 0." in out[0]
    assert "sky 0." in out[0]
    assert out[1] == "no label  please now"


def test_evaluate_reads_what_the_kind_has(
    tagger_sealed: Path,
    labeller_sealed: Path,
    tiny_sealed: Path,
    tmp_path: Path,
    evokd_: Evokd,
) -> None:
    texts, labels = make_texts(20, seed=3)
    lines = {
        tiny_sealed: [{"text": t, "label": label} for t, label in zip(texts, labels, strict=True)],
        labeller_sealed: [
            {"text": e.text, "labels": list(read_labels(e.label))}
            for e in topical_examples(20, seed=3)
        ],
        tagger_sealed: [
            {
                "text": e.text,
                "entities": [
                    {"start": s.start, "end": s.end, "label": s.label} for s in read_spans(e.label)
                ],
            }
            for e in tagged_examples(20, seed=3)
        ],
    }
    for folder, records in lines.items():
        file = tmp_path / "gold.jsonl"
        file.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
        code, out, err = evokd_("evaluate", str(folder), str(file), "--json")
        assert code == 0, err
        scores = json.loads("\n".join(out))
        assert scores["n"] == 20
        assert scores["macro_f1"] > 0.6
        _, out, _ = evokd_("evaluate", str(folder), str(file), "--full-precision")
        assert ("micro F1" in out[-1]) == (folder != tiny_sealed)


def test_evaluate_says_how_many_texts_are_answered(
    tiny_sealed: Path, tmp_path: Path, evokd_: Evokd
) -> None:
    copy = Path(shutil.copytree(tiny_sealed, tmp_path / "student"))
    texts, labels = make_texts(40, seed=3)
    texts[::4] = ["the of", "a", "please now", "you can", "my", "for me", "to", "some", "of", "the"]
    score = sorted(one.score for one in open_predictor(copy).predict(texts))[6]
    layout.write_manifest(copy, replace(layout.read_manifest(copy), reject=score))
    file = tmp_path / "gold.jsonl"
    lines = [{"text": t, "label": label} for t, label in zip(texts, labels, strict=True)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    _, out, _ = evokd_("evaluate", str(copy), str(file), "--json")
    scores = json.loads("\n".join(out))
    said = [one.label for one in open_predictor(copy).predict(texts)]
    pairs = [(s, g) for s, g in zip(said, labels, strict=True) if s is not None]
    assert scores["answered"] == len(pairs) / 40 < 1
    assert scores["accuracy_answered"] == sum(s == g for s, g in pairs) / len(pairs)
    _, out, _ = evokd_("evaluate", str(copy), str(file))
    assert f"answers {len(pairs) / 40:.1%} of them" in out[-1]


def test_evaluate_refuses_a_file_of_another_kind(
    tagger_sealed: Path,
    tmp_path: Path,
    evokd_: Evokd,
) -> None:
    file = tmp_path / "gold.jsonl"
    file.write_text('{"text": "play rain", "label": "music"}\n')
    code, _, err = evokd_("evaluate", str(tagger_sealed), str(file))
    assert code == 1
    assert "gold.jsonl, line 1" in err[0]


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
