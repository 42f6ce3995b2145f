"""A full-precision ONNX file -> a half-precision one, for GPUs. On a CPU it only saves room."""

from __future__ import annotations

import os
from pathlib import Path

from evokd.errors import MissingExtra
from export.quiet import quiet


def write_half(fp32: Path, out: Path) -> Path:
    """Write the file with float16 weights and sums; inputs and logits keep their types.

    Raises:
        MissingExtra: when onnx or onnxruntime is not installed.
    """
    try:
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16
    except ImportError as error:
        raise MissingExtra("export", error) from error
    aside = out.with_name(f".{out.name}.aside")
    with quiet():
        onnx.save(convert_float_to_float16(onnx.load(fp32), keep_io_types=True), aside)
    os.replace(aside, out)
    return out
