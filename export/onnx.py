"""A saved student -> one full-precision ONNX file, by optimum."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from evokd.errors import EvokdError, MissingExtra
from export.quiet import quiet
from serving.layout import StudentFiles


def export_onnx(student_dir: Path, *, opset: int) -> Path:
    """Export the saved Hugging Face folder to its `onnx/model.onnx`; return that path.

    Batch and length stay dynamic. Nothing is fetched. An earlier file is replaced only by a
    whole one.

    Raises:
        EvokdError: when optimum cannot export this model.
        MissingExtra: when optimum is not installed.
    """
    try:
        # Imported before `quiet`, for the import puts optimum's own handler in place.
        from optimum.exporters.onnx import main_export
        from safetensors import SafetensorError
    except ImportError as error:
        raise MissingExtra("export", error) from error
    target = StudentFiles(student_dir).onnx
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=student_dir) as aside, quiet():
        try:
            _run(main_export, student_dir, Path(aside), opset=opset)
        except (ValueError, KeyError, RuntimeError, OSError, SafetensorError) as error:
            raise EvokdError(
                f"{student_dir}: cannot be exported to ONNX: {' '.join(str(error).split())[:200]}",
                "take a student model that optimum can export, such as minilm",
            ) from error
        os.replace(Path(aside) / target.name, target)
    return target


def _run(main_export: Any, source: Path, out: Path, *, opset: int) -> None:
    main_export(
        str(source),
        out,
        task="text-classification",
        opset=opset,
        framework="pt",
        library_name="transformers",
        local_files_only=True,
        # optimum would compare a few random inputs; the gate compares real texts.
        do_validation=False,
    )
