"""The graph of a nano student: look up, mean over the mask, two layers. Written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR = 9  # the newest file format that the oldest supported onnxruntime reads


def write_nano_onnx(path: Path, arrays: Mapping[str, NDArray[np.float32]]) -> None:
    """Write the ONNX file; inputs and output are named as those of a full student.

    Args:
        arrays: "table" [tokens, size], "hidden" [size, units], "hidden_bias", "head"
            [units, labels], "head_bias".
    """
    labels = arrays["head"].shape[1]
    shape = ["batch", "length"]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, shape)
        for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", labels])
    constants = {
        "last": np.array([2], np.int64),
        "words": np.array([1], np.int64),
        "one": np.array(1, np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["vectors"], name="lookup"),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide"]),
        helper.make_node("Mul", ["vectors", "wide"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "words"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["mask", "words"], ["tokens"], keepdims=1),
        helper.make_node("Max", ["tokens", "one"], ["count"]),
        helper.make_node("Div", ["sum", "count"], ["mean"]),
        helper.make_node("MatMul", ["mean", "hidden"], ["hidden_sum"], name="hidden_layer"),
        helper.make_node("Add", ["hidden_sum", "hidden_bias"], ["hidden_in"]),
        helper.make_node("Relu", ["hidden_in"], ["hidden_out"]),
        helper.make_node("MatMul", ["hidden_out", "head"], ["head_sum"], name="head_layer"),
        helper.make_node("Add", ["head_sum", "head_bias"], ["logits"]),
    ]
    stored = [numpy_helper.from_array(a, name) for name, a in {**arrays, **constants}.items()]
    graph = helper.make_graph(nodes, "nano", inputs, [output], stored)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, producer_name="evokd"
    )
    onnx.checker.check_model(model)
    onnx.save(model, path)
