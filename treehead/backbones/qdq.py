"""ONNX of a network that rounds: whole numbers where the exporter leaves floats.

The exporter writes a rounding as QuantizeLinear and DequantizeLinear (QDQ), by which runtimes know
that a layer between two of them may be computed in whole numbers.
"""

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, numpy_helper
from onnx.helper import make_node

# Their results are values of their input, and stay on its grid.
_CHOOSING = {"Flatten", "MaxPool", "Pad", "ReduceMax", "Reshape", "Squeeze", "Transpose"}


def completed(model: ModelProto) -> ModelProto:
    """Weights as int8 and biases as int32 in place of floats, and each grid told to the end.

    Changes the model that it is given.
    """
    graph = _Graph(model)
    for node in list(model.graph.node):
        if node.op_type == "QuantizeLinear" and node.input[0] in graph.constants:
            graph.fold(node)
        elif node.op_type in ("Conv", "Gemm") and len(node.input) > 2:
            graph.quantize_bias(node)
        elif node.op_type == "ReduceMean":
            graph.pool(node)
        elif node.op_type in _CHOOSING:
            graph.round_again(node)
    graph.finish()
    return model


class _Graph:
    """A model whose constants and producers are looked up by name."""

    def __init__(self, model: ModelProto) -> None:
        self.graph = model.graph
        self.constants = {one.name: one for one in self.graph.initializer}
        self.maker = {name: node for node in self.graph.node for name in node.output}
        self.new: dict[str, list[NodeProto]] = {}  # nodes to stand before or behind a tensor's maker

    def value(self, name: str) -> np.ndarray:
        return numpy_helper.to_array(self.constants[name])

    def store(self, name: str, value: np.ndarray) -> None:
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
