"""A full-precision ONNX file -> an INT8 one: dynamic, per channel, embeddings included.

The ladder is walked from its first rung until the gate passes. Weights of 7 bits (reduce_range)
keep the 16-bit sums of CPUs without VNNI from saturating; unsigned weights (U8U8) avoid the same
instruction; the last rungs leave the layers that rounding hurts most in full precision.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evokd.cpus import cpu_flags
from evokd.errors import MissingExtra
from export.quiet import quiet

Isa = Literal["vnni", "avx512", "avx2", "arm64", "unknown"]
Target = Literal["auto", "vnni", "avx512", "avx2", "arm64"]
OPERATORS = ("MatMul", "Gemm", "Gather")


@dataclass(frozen=True, slots=True)
class Rung:
    """One way to quantise.

    Attributes:
        name: what reports call it.
        weights: signed or unsigned 8-bit weights.
        reduce_range: use 7 of the 8 bits.
        keep_worst: share of the weights, those with the largest rounding error, left alone.
    """

    name: str
    weights: Literal["QInt8", "QUInt8"] = "QInt8"
    reduce_range: bool = False
    keep_worst: float = 0.0


PLAIN = Rung("plain")
LADDER = (
    PLAIN,
    Rung("reduce_range", reduce_range=True),
    Rung("u8u8", weights="QUInt8"),
    Rung("keep_quarter", reduce_range=True, keep_worst=0.25),
    Rung("keep_half", reduce_range=True, keep_worst=0.5),
)
"""From the fastest file to the most careful one."""


def isa() -> Isa:
    """Return the best instruction set that this machine has for INT8."""
    if platform.machine().lower() in {"arm64", "aarch64"}:
        return "arm64"
    flags = cpu_flags()
    if flags & {"avx512_vnni", "avx_vnni"}:
        return "vnni"
    if "avx512f" in flags:
        return "avx512"
    return "avx2" if "avx2" in flags else "unknown"


def ladder(target: Isa) -> tuple[Rung, ...]:
    """Return the rungs to try for a machine, first one first.

    Where 8-bit products may saturate, the plain rung is left out: it could pass the gate here by
    luck of the texts and still be wrong on others.
    """
    return LADDER if target in {"vnni", "arm64"} else LADDER[1:]


def quantize(fp32: Path, out: Path, *, rung: Rung) -> Path:
    """Write the INT8 version of an ONNX file; return its path.

    Raises:
        MissingExtra: when onnx or onnxruntime is not installed.
    """
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise MissingExtra("export", error) from error
    with quiet():
        quantize_dynamic(
            fp32,
            out,
            op_types_to_quantize=list(OPERATORS),
            per_channel=True,
            reduce_range=rung.reduce_range,
            weight_type=QuantType[rung.weights],
            nodes_to_exclude=_worst_nodes(fp32, rung.keep_worst),
        )
    return out


def _worst_nodes(fp32: Path, share: float) -> list[str]:
    """Return the names of the nodes whose weights lose most in rounding, worst first."""
    if not share:
        return []
    errors = sorted(_rounding_errors(fp32), reverse=True)
    return [name for _, name in errors[: max(1, round(share * len(errors)))]]


def _rounding_errors(fp32: Path) -> Iterator[tuple[float, str]]:
    """Yield (relative error, node) for every node that has a weight matrix."""
    import onnx

    graph = onnx.load(fp32).graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        found = next((tensors[name] for name in node.input if name in tensors), None)
        if node.op_type not in OPERATORS or found is None or len(found.dims) != 2:
            continue
        weight = onnx.numpy_helper.to_array(found)
        if any(attribute.name == "transB" and attribute.i for attribute in node.attribute):
            weight = weight.T
        yield rounding_error(weight, per_column=node.op_type != "Gather"), node.name


def rounding_error(weight: NDArray[Any], *, per_column: bool) -> float:
    """Return how much of a weight matrix [inputs, outputs] INT8 loses, 0 for nothing.

    It is the mean of the rows' relative errors, not the error of the whole: a small row beside a
    giant one is what rounding wipes out. A scale is per column, or one for the whole matrix.
    """
    exact = weight.astype(np.float64)
    scale = np.abs(exact).max(axis=0 if per_column else None, keepdims=True) / 127
    rounded = np.round(exact / np.where(scale == 0, 1, scale)) * scale
    lost = np.linalg.norm(exact - rounded, axis=1)
    size = np.linalg.norm(exact, axis=1)
    return float((lost / np.where(size == 0, 1, size)).mean())
