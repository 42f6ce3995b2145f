"""A saved student -> one full-precision ONNX file, by optimum or by torch alone."""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
from pathlib import Path
from typing import Literal

from evokd.errors import EvokdError, InputError, MissingExtra
from export.quiet import quiet
from serving.layout import StudentFiles

Exporter = Literal["auto", "optimum", "torch"]
TASKS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
}
"""How a model's class ends -> what optimum calls its task."""
ASIDE = ".export-"
"""What the name of a folder for half-made files begins with."""


def export_onnx(student_dir: Path, *, opset: int, exporter: Exporter = "auto") -> Path:
    """Export the saved Hugging Face folder to its `onnx/model.onnx`; return that path.

    Batch and length stay dynamic. Nothing is fetched. An earlier file is replaced only by a
    whole one.

    Args:
        exporter: "auto" is optimum where it is installed, else torch's own exporter, which also
            works with a transformers that optimum does not know yet.

    Raises:
        EvokdError: when the model cannot be exported.
        MissingExtra: when what the exporter needs is not installed.
    """
    target = StudentFiles(student_dir).onnx
    task = task_of(student_dir)
    if exporter == "auto":
        exporter = "optimum" if importlib.util.find_spec("optimum") else "torch"
    try:
        # Imported before `quiet`, for the import puts optimum's own handler in place.
        if exporter == "optimum":
            from export.by_optimum import export as run
        else:
            from export.by_torch import export as run
        from safetensors import SafetensorError
    except ImportError as error:
        raise MissingExtra("export", error) from error
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=ASIDE, dir=student_dir) as aside, quiet():
        try:
            run(student_dir, Path(aside) / target.name, task=task, opset=opset)
        except (ValueError, KeyError, RuntimeError, OSError, SafetensorError) as error:
            raise EvokdError(
                f"{student_dir}: cannot be exported to ONNX: {' '.join(str(error).split())[:200]}",
                f"take a student model that {exporter} can export, such as minilm",
            ) from error
        os.replace(Path(aside) / target.name, target)
    return target


def task_of(student_dir: Path) -> str:
    """Return optimum's name for what the saved model does.

    Raises:
        InputError: when the folder has no config, or one of a model without a fitting head.
    """
    config = StudentFiles(student_dir).config
    try:
        names = json.loads(config.read_text(encoding="utf-8"))["architectures"]
        return next(task for end, task in TASKS.items() for name in names if name.endswith(end))
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise InputError(
            f"{config}: names no model for sequence or token classification",
            "give the folder of a saved student",
        ) from error
