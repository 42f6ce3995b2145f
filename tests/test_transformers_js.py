"""The student in transformers.js, where Node and the package are there.

npm install --prefix DIR @huggingface/transformers
EVOKD_NODE_MODULES=DIR pytest tests/test_transformers_js.py
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from test_pretrained import GLUED
from tiny_student import make_texts
from tokenizers import Tokenizer

from serving import layout
from serving.predictor import open_predictor

SCRIPT = Path(__file__).with_name("transformers_js.mjs")
MODULES = os.environ.get("EVOKD_NODE_MODULES", "")


pytestmark = pytest.mark.skipif(
    not MODULES, reason="EVOKD_NODE_MODULES names no folder with transformers.js"
)


def said(root: Path, dtype: str, texts: list[str]) -> tuple[list[list[int]], list[str]]:
    """Return the tokens and the label of every text."""
    command = ["node", str(SCRIPT), MODULES, str(root), dtype, *texts]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    tokens, labels = map(json.loads, done.stdout.splitlines()[-2:])
    return tokens, labels


@pytest.mark.parametrize(("dtype", "file"), [("q8", layout.INT8), ("fp32", layout.ONNX)])
def test_the_same_labels_as_ours(tiny_sealed: Path, dtype: str, file: str) -> None:
    texts, _ = make_texts(40, seed=41)
    _, labels = said(tiny_sealed, dtype, texts)
    assert labels == [one.label for one in open_predictor(tiny_sealed, file=file).predict(texts)]


def test_the_same_tokens_as_ours_where_symbols_touch_words(labeller_sealed: Path) -> None:
    texts = [text for text, _ in GLUED]
    ours = Tokenizer.from_file(str(labeller_sealed / layout.TOKENIZER)).encode_batch(texts)
    tokens, _ = said(labeller_sealed, "fp32", texts)
    assert tokens == [one.ids for one in ours]
    assert len(set(map(tuple, tokens))) > 1
