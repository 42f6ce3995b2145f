from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tiny_student import LABELS, MAX_LENGTH, make_texts, torch_probabilities

from evokd.errors import EvokdError
from export.onnx import export_onnx
from serving import layout
from serving.sorter import Classifier


@pytest.fixture
def saved(tiny_saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_saved, tmp_path / "student"))


def test_onnx_answers_as_torch_does(saved: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = {path.name for path in saved.iterdir()}
    path = export_onnx(saved, opset=17)
    assert path == saved / layout.ONNX
    assert {path.name for path in saved.iterdir()} == before | {"onnx"}
    assert capfd.readouterr() == ("", ""), "the terminal belongs to the caller"
    texts, _ = make_texts(50, seed=3)
    texts += ["", "play " * 100]
    predictor = Classifier(
        path, saved / layout.TOKENIZER, labels=list(LABELS), max_length=MAX_LENGTH
    )
    difference = np.abs(predictor.probabilities(texts) - torch_probabilities(saved, texts))
    assert difference.max() < 1e-5


def test_batch_and_length_are_dynamic(tiny_sealed: Path) -> None:
    session = onnxruntime.InferenceSession(str(tiny_sealed / layout.ONNX))
    for shape in ((1, 2), (3, 7), (2, 64)):
        ones = np.ones(shape, np.int64)
        feeds = {node.name: ones for node in session.get_inputs()}
        assert session.run(None, feeds)[0].shape == (shape[0], len(LABELS))


def test_a_failed_export_leaves_the_folder_as_it_was(saved: Path) -> None:
    path = export_onnx(saved, opset=17)
    whole = path.read_bytes()
    (saved / layout.WEIGHTS).write_bytes(b"cut")
    with pytest.raises(EvokdError, match="cannot be exported"):
        export_onnx(saved, opset=17)
    assert path.read_bytes() == whole
    assert not list(saved.glob(".*"))


def test_what_the_libraries_say_reaches_logging(
    saved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    level = logging.getLogger("optimum").getEffectiveLevel()
    handlers = logging.getLogger("optimum").handlers[:]
    export_onnx(saved, opset=17)
    assert any(record.name.startswith("optimum") for record in caplog.records)
    assert logging.getLogger("optimum").getEffectiveLevel() == level
    assert logging.getLogger("optimum").handlers == handlers
