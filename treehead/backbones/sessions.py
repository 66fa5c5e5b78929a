"""Sessions of onnxruntime on the CPU, whose whole numbers are right on every processor."""

from functools import cache

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession, SessionOptions

# Sum products of uint8 and int8 exactly, at less speed.
EXACT = ("session.x64quantprecision", "1")


def opened(model: str | bytes, threads: int) -> InferenceSession:
    """A session of an ONNX file, given as its path or its content.

    On a processor where onnxruntime's sums overflow, it takes the exact ones.
    """
    exact = [EXACT] if _overflows() else []
    return _session(model, threads, exact)


def _session(model: str | bytes, threads: int, entries: list[tuple[str, str]]) -> InferenceSession:
    options = SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    for entry in entries:
        options.add_session_config_entry(*entry)
    return InferenceSession(model, options, providers=["CPUExecutionProvider"])


@cache
def _overflows() -> bool:
    """Whether a product of uint8 and int8 comes out wrong here.

    It does on x86-64 without VNNI, where onnxruntime adds pairs in int16, which saturate
    (https://github.com/microsoft/onnxruntime/issues/14642).
    """
    x, weight = np.full((16, 64), 255, np.uint8), np.full((64, 16), 127, np.int8)
    product = _session(_multiplying(weight), 1, []).run(None, {"x": x})[0]
    return not np.array_equal(product, x.astype(np.int32) @ weight.astype(np.int32))


def _multiplying(weight: np.ndarray) -> bytes:
    """An ONNX file: x, uint8 (n, k), times a weight, int8 (k, m)."""
    rows, columns = weight.shape
    node = helper.make_node("MatMulInteger", ["x", "weight"], ["product"])
    given = helper.make_tensor_value_info("x", TensorProto.UINT8, ["n", rows])
    made = helper.make_tensor_value_info("product", TensorProto.INT32, ["n", columns])
    stored = [numpy_helper.from_array(weight, "weight")]
    graph = helper.make_graph([node], "product", [given], [made], stored)
    opsets = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
