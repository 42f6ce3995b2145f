"""Both exporters, on the encoder families that a student may come from."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from encoders import FAMILIES, save_encoder
from tiny_student import LABELS, MAX_LENGTH, make_texts
from transformers import AutoTokenizer

from evokd.errors import InputError
from export.by_torch import MODELS
from export.onnx import Exporter, export_onnx, task_of
from export.quantize import PLAIN, quantize

# With a transformers that optimum does not know, only torch's own exporter is there to be tested.
ABSENT = pytest.mark.skipif(importlib.util.find_spec("optimum") is None, reason="no optimum here")
EXPORTERS = [pytest.param("optimum", marks=ABSENT), "torch"]
HEADS = {
    "SequenceClassification": "text-classification",
    "TokenClassification": "token-classification",
}


def answers(root: Path, path: Path, texts: list[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the logits of torch and of an ONNX file, for the texts together and one alone."""
    tokenizer = AutoTokenizer.from_pretrained(root)
    model = MODELS[task_of(root)].from_pretrained(root, attn_implementation="eager").eval()
    session = onnxruntime.InferenceSession(str(path))
    made = []
    for part in (texts, texts[:1]):
        batch = tokenizer(
            part, padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt"
        )
        with torch.no_grad():
            exact = model(**batch).logits.numpy()
        feeds = {node.name: batch[node.name].numpy() for node in session.get_inputs()}
        made.append((exact, session.run(None, feeds)[0]))
    return made


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_answers_in_onnx_as_in_torch(
    family: str, exporter: Exporter, tmp_path: Path
) -> None:
    root = save_encoder(tmp_path / family, family)
    path = export_onnx(root, opset=17, exporter=exporter)
    texts, _ = make_texts(6, seed=5)
    for exact, said in answers(root, path, texts):
        assert said.shape == exact.shape == (len(exact), len(LABELS))
        assert np.abs(exact - said).max() < 1e-4


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_token_heads_give_logits_for_every_token(
    family: str, exporter: Exporter, tmp_path: Path
) -> None:
    root = save_encoder(tmp_path / family, family, head="TokenClassification")
    path = export_onnx(root, opset=17, exporter=exporter)
    for exact, said in answers(root, path, make_texts(6, seed=5)[0]):
        assert said.ndim == 3
        assert np.abs(exact - said).max() < 1e-4


def test_what_torch_exports_can_be_quantised(tiny_saved: Path, tmp_path: Path) -> None:
    root = save_encoder(tmp_path / "bert", "bert")
    path = export_onnx(root, opset=17, exporter="torch")
    small = quantize(path, tmp_path / "small.onnx", rung=PLAIN)
    assert small.stat().st_size < 0.6 * path.stat().st_size
    for exact, said in answers(root, small, make_texts(6, seed=5)[0]):
        assert np.abs(exact - said).max() < 0.1


@pytest.mark.parametrize("head", HEADS)
def test_the_task_is_read_from_the_models_class(head: str, tmp_path: Path) -> None:
    assert task_of(save_encoder(tmp_path / "m", "bert", head=head)) == HEADS[head]


def test_a_model_without_a_fitting_head_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["BertForMaskedLM"]}')
    with pytest.raises(InputError, match="names no model"):
        export_onnx(tmp_path, opset=17)
