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
from tiny_student import make_texts

from serving import layout
from serving.predictor import open_predictor

SCRIPT = Path(__file__).with_name("transformers_js.mjs")
MODULES = os.environ.get("EVOKD_NODE_MODULES", "")


@pytest.mark.skipif(not MODULES, reason="EVOKD_NODE_MODULES names no folder with transformers.js")
@pytest.mark.parametrize(("dtype", "file"), [("q8", layout.INT8), ("fp32", layout.ONNX)])
def test_the_same_labels_as_ours(tiny_sealed: Path, dtype: str, file: str) -> None:
    texts, _ = make_texts(40, seed=41)
    command = ["node", str(SCRIPT), MODULES, str(tiny_sealed), dtype, *texts]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    ours = [answer.label for answer in open_predictor(tiny_sealed, file=file).predict(texts)]
    assert json.loads(said.stdout.splitlines()[-1]) == ours
