"""The demo of entities with its real embedded teacher, small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ledger_checks import entities_told, gold_learned
from typer.testing import CliRunner

from evokd.answers import read_spans
from evokd.cli import app
from evokd.ledger import Ledger
from evokd.replay import replay
from evokd.task import demo_task, load_data
from serving.predictor import open_predictor

SMALL = (
    "loop.rounds=1", "loop.cover=24", "loop.conversations=3", "loop.quota=2",
    "selection.texts=3", "export.gate_texts=20", "export.latency_texts=10",
)  # fmt: skip


@pytest.mark.slow
def test_a_tagger_is_grown_from_six_sentences(tmp_path: Path) -> None:
    out = tmp_path / "run"
    changes = [f"--set={change}" for change in SMALL]
    done = CliRunner().invoke(app, ["demo", "--task", "slots", "--out", str(out), *changes])
    assert done.exit_code == 0, done.output
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert summary["student"]["fp32"]["test_macro_f1"] > summary["seed_only"]["test_macro_f1"]
    texts = ["play something by Nina Simone in Lisbon"]
    [tagged] = open_predictor(out / "student").predict(texts)
    for entity in tagged.entities:
        assert texts[0][entity.start : entity.end] == entity.text
    ledger = Ledger(out / "run.db")
    try:
        rows = ledger.rows()
        assert replay(ledger) == rows
    finally:
        ledger.close()
    assert gold_learned(load_data(demo_task(SMALL, name="slots")), rows) == []
    told = entities_told(out / "run.db")
    for row in rows:
        for span in read_spans(row.example.label) if row.split else ():
            assert (row.example.text[span.start : span.end], span.label) in told[row.example.text]
