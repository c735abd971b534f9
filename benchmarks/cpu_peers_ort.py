"""onnxruntime's MatMulNBits: many layers on one input, side by side in one graph."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper


def session(case: Any, x: torch.Tensor, bits: int, block: int, copies: int) -> tuple[Callable[[], object], int]:
    """A function that runs all layers once, and their number. Integers inside (accuracy level 4), as is fastest."""
    rng = np.random.default_rng(0)
    blocks = case.cols // block
    nodes, constants, outputs = [], [], []
    for i in range(copies):
        codes = rng.integers(0, 256, (case.rows, blocks, block * bits // 8), dtype=np.uint8)
        scale = rng.random((case.rows, blocks), dtype=np.float32).reshape(-1) / 100
        constants += [raw(f"w{i}", codes, TensorProto.UINT8), raw(f"s{i}", scale, TensorProto.FLOAT)]
        attributes = {"K": case.cols, "N": case.rows, "bits": bits, "block_size": block, "accuracy_level": 4}
        nodes.append(helper.make_node("MatMulNBits", ["x", f"w{i}", f"s{i}"], [f"y{i}"], domain="com.microsoft", **attributes))
        outputs.append(helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, [case.batch, case.rows]))
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [case.batch, case.cols])]
    graph = helper.make_graph(nodes, "layers", given, outputs, initializer=constants)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    options = ort.SessionOptions()
    options.intra_op_num_threads = case.threads
    run = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = {"x": x.numpy()}
    return lambda: run.run(None, feeds), copies


def raw(name: str, values: np.ndarray, kind: int) -> onnx.TensorProto:
    return helper.make_tensor(name, kind, values.shape, values.tobytes(), raw=True)
