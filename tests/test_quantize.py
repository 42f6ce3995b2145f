from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export import quantize as module
from export.quantize import LADDER, PLAIN, Rung, isa, ladder, quantize, rounding_error
from serving import layout


def integer_matmuls(path: Path) -> int:
    return sum(node.op_type == "MatMulInteger" for node in onnx.load(path).graph.node)


def weight_types(path: Path) -> set[int]:
    """Return the types of the matrices that are multiplied (embeddings are always unsigned)."""
    graph = onnx.load(path).graph
    used = {name for n in graph.node if n.op_type == "MatMulInteger" for name in n.input}
    return {t.data_type for t in graph.initializer if t.name in used and len(t.dims) == 2}


@pytest.mark.parametrize("rung", LADDER, ids=lambda rung: rung.name)
def test_every_rung_makes_a_smaller_file_that_loads(
    rung: Rung, tiny_sealed: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fp32 = tiny_sealed / layout.ONNX
    out = quantize(fp32, tmp_path / "int8.onnx", rung=rung)
    onnx.checker.check_model(out)
    assert out.stat().st_size < fp32.stat().st_size
    signed = onnx.TensorProto.INT8 if rung.weights == "QInt8" else onnx.TensorProto.UINT8
    assert weight_types(out) == {signed}
    assert capfd.readouterr() == ("", "")


def test_the_plain_rung_quantises_every_weight_and_the_embeddings(
    tiny_sealed: Path, tmp_path: Path
) -> None:
    out = quantize(tiny_sealed / layout.ONNX, tmp_path / "plain.onnx", rung=PLAIN)
    assert integer_matmuls(out) == 2 * 6 + 2
    left = [t for t in onnx.load(out).graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    assert max(np.prod(tensor.dims) for tensor in left) < 64 * 64


def test_the_worst_layers_are_left_alone(tiny_sealed: Path, tmp_path: Path) -> None:
    model = onnx.load(tiny_sealed / layout.ONNX)
    # Ruin one layer: a giant weight in every column leaves the other rows no steps.
    node = next(n for n in model.graph.node if n.name.endswith("layer.1/intermediate/dense/MatMul"))
    weight = next(t for t in model.graph.initializer if t.name == node.input[1])
    values = onnx.numpy_helper.to_array(weight).copy()
    values[0] = 1e4
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, tmp_path / "ruined.onnx")
    rung = Rung("one", keep_worst=0.01)
    out = quantize(tmp_path / "ruined.onnx", tmp_path / "out.onnx", rung=rung)
    assert integer_matmuls(out) == 2 * 6 + 2 - 1
    assert node.name in {n.name for n in onnx.load(out).graph.node if n.op_type == "MatMul"}


@given(st.integers(0, 1000), st.floats(1e-3, 1e3))
def test_rounding_error_is_a_share_and_knows_no_unit(seed: int, factor: float) -> None:
    weight = np.random.default_rng(seed).normal(size=(8, 5))
    error = rounding_error(weight, per_column=True)
    assert 0 < error < 0.05
    assert rounding_error(weight * factor, per_column=True) == pytest.approx(error)
    outlier = weight.copy()
    outlier[0] *= 1e5
    assert rounding_error(outlier, per_column=True) > 0.5
    assert rounding_error(np.zeros((3, 3)), per_column=False) == 0


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx2 avx512f avx512_vnni", "vnni"),
        ("fpu avx2 avx_vnni", "vnni"),
        ("fpu avx2 avx512f", "avx512"),
        ("fpu avx2", "avx2"),
        ("fpu sse2", "unknown"),
        (None, "unknown"),
    ],
)
def test_the_cpu_is_read_from_its_flags(
    flags: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    cpuinfo = tmp_path / "cpuinfo"
    if flags is not None:
        cpuinfo.write_text(f"processor\t: 0\nflags\t\t: {flags}\n\nprocessor\t: 1\n")
    monkeypatch.setattr("evokd.cpus.CPUINFO", cpuinfo)
    assert isa() == expected


def test_arm_needs_no_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert isa() == "arm64"


def test_the_plain_rung_is_for_cpus_that_do_not_saturate() -> None:
    assert ladder("vnni") == ladder("arm64") == LADDER
    for target in ("avx512", "avx2", "unknown"):
        assert ladder(target)[0].reduce_range  # type: ignore[arg-type]
        assert PLAIN not in ladder(target)  # type: ignore[arg-type]
    assert len({rung.name for rung in module.LADDER}) == len(LADDER)
