"""The ONNX export by torch alone, for a transformers that optimum does not know yet."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

MODELS = {
    "text-classification": AutoModelForSequenceClassification,
    "token-classification": AutoModelForTokenClassification,
}
LOCALLY = {"local_files_only": True, "trust_remote_code": False}  # a folder's Python is not run
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
# Two texts of unlike length: whatever is not dynamic shows in the trace at once.
TRACED = ["a short text", "a somewhat longer text, so that the other one is padded"]


def export(source: Path, out: Path, *, task: str, opset: int) -> None:
    """Write the model of a Hugging Face folder to the file `out`."""
    # Masks of the fused attention are traced with the shapes of the example; these are not.
    model = MODELS[task].from_pretrained(
        source, attn_implementation="eager", dtype=torch.float32, **LOCALLY
    )
    model.eval()
    tokenizer = AutoTokenizer.from_pretrained(source, **LOCALLY)
    batch = tokenizer(TRACED, padding=True, return_tensors="pt")
    known = inspect.signature(model.forward).parameters
    names = [name for name in INPUTS if name in batch and name in known]
    logits = {0: "batch"} | ({1: "length"} if task == "token-classification" else {})
    with torch.no_grad():
        torch.onnx.export(
            _Logits(model, names),
            tuple(batch[name] for name in names),
            str(out),
            input_names=names,
            output_names=["logits"],
            dynamic_axes={name: {0: "batch", 1: "length"} for name in names} | {"logits": logits},
            opset_version=opset,
            # The newer exporter writes shapes that onnxruntime's quantiser refuses.
            dynamo=False,
        )


class _Logits(torch.nn.Module):
    """The model with its inputs by position, and its logits alone."""

    def __init__(self, model: Any, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(**dict(zip(self.names, inputs, strict=True))).logits
        return logits
