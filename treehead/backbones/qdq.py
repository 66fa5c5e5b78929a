"""The ONNX graph of a network that rounds: whole numbers in place of the exporter's floats.

QuantizeLinear and DequantizeLinear (QDQ) stand where it rounds. By such pairs runtimes know that a
layer between two of them may be computed in whole numbers.
"""

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, numpy_helper
from onnx.helper import make_node

# Their results are values of their input, and stay on its grid.
_CHOOSING = {"Flatten", "MaxPool", "Pad", "ReduceMax", "Reshape", "Squeeze", "Transpose"}
# The largest number of a bias; the rest of int32 is for the products that are added to it.
_MOST = 2**30


def completed(model: ModelProto) -> ModelProto:
    """Whole numbers in place of floats that are whole numbers times a scale.

    Weights become int8 and biases int32, a mean over the pixels of rounded maps becomes an average
    pooling, which has kernels of 8 bits, and what only chooses among rounded values is told to be
    on their grid. A model without roundings stays as it is, and so does the one that is given.
    """
    made = ModelProto()
    made.CopyFrom(model)
    graph = _Graph(made.graph)
    nodes = [new for node in made.graph.node for new in graph.completed(node)]
    used = {name for node in nodes for name in node.input}
    kept = [value for name, value in graph.constants.items() if name in used]
    for field, values in (("node", nodes), ("initializer", kept)):
        made.graph.ClearField(field)
        getattr(made.graph, field).extend(values)
    made.graph.ClearField("value_info")
    return made


class _Graph:
    """A graph whose constants and producers are looked up by name."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.constants = {one.name: one for one in graph.initializer}
        self.maker = {name: node for node in graph.node for name in node.output}

    def completed(self, node: NodeProto) -> list[NodeProto]:
        """The nodes that stand for a node."""
        if node.op_type == "QuantizeLinear" and node.input[0] in self.constants:
            self._fold(node)
            return []
        if node.op_type == "DequantizeLinear" and node.input[0] in self.constants:
            self._own_zero(node)
            return [node]
        grid = self._grid(node.input[0]) if node.input else None
        if grid is None:
            return [node]
        if node.op_type in ("Conv", "Gemm") and len(node.input) > 2:
            return [*self._whole_bias(node), node]
        if node.op_type == "ReduceMean" and self._is_pooling(node):
            return [make_node("GlobalAveragePool", node.input[:1], node.output)]
        if node.op_type in _CHOOSING:
            return self._round_again(node, grid)
        return [node]

    def _value(self, name: str) -> np.ndarray:
        return numpy_helper.to_array(self.constants[name])

    def _store(self, name: str, value: np.ndarray) -> str:
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def _grid(self, name: str) -> NodeProto | None:
        """The node that gives a tensor its grid, if it is rounded."""
        node = self.maker.get(name)
        return node if node is not None and node.op_type == "DequantizeLinear" else None

    def _fold(self, node: NodeProto) -> None:
        """The rounded constant in place of its rounding."""
        value, scale, zero = map(self._value, node.input)
        rows = scale.reshape(-1, *[1] * (value.ndim - 1)) if scale.ndim else scale
        range_ = np.iinfo(zero.dtype)
        numbers = np.rint(value / rows).clip(range_.min, range_.max).astype(zero.dtype)
        self._store(node.output[0], numbers)

    def _own_zero(self, node: NodeProto) -> None:
        """Let no other weight read its zero point, which `sessions.EXACT` needs."""
        node.input[2] = self._store(f"{node.input[0]}_zero", self._value(node.input[2]))

    def _whole_bias(self, node: NodeProto) -> list[NodeProto]:
        """Let a layer read its bias in units of its input's scale times its weight's."""
        x, weight = map(self._grid, node.input[:2])
        name = node.input[2]
        if weight is None or name not in self.constants:
            return []
        bias = self._value(name).astype(np.float64)
        self._widen(weight, np.abs(bias) / (_MOST * self._value(x.input[1])))
        scale = self._value(x.input[1]) * self._value(weight.input[1])
        numbers = np.rint(bias / scale).astype(np.int32)
        named = {"whole": numbers, "scale": scale, "zero": np.zeros(len(bias), np.int32)}
        parts = [self._store(f"{node.output[0]}_bias_{key}", one) for key, one in named.items()]
        node.input[2] = f"{node.output[0]}_bias"
        return [make_node("DequantizeLinear", parts, node.input[2:3], axis=0)]

    def _widen(self, weight: NodeProto, least: np.ndarray) -> None:
        """Raise the scale of each row of a weight to at least this, (rows,), and round again.

        In smaller units a bias does not fit int32. Beside it, such a row loses next to nothing.
        """
        name, scale = weight.input[0], self._value(weight.input[1])
        if (scale >= least).all():
            return
        wide = np.maximum(scale, least.astype(np.float32))
        numbers = self._value(name)
        rows = (scale / wide).reshape(-1, *[1] * (numbers.ndim - 1))
        self._store(name, np.rint(numbers * rows).astype(numbers.dtype))
        weight.input[1] = self._store(f"{name}_scale", wide)

    def _is_pooling(self, node: NodeProto) -> bool:
        """Whether a mean is that of all pixels of maps (n, channels, h, w)."""
        keeps = all(part.i for part in node.attribute if part.name == "keepdims")
        axes = node.input[1] if len(node.input) > 1 else None
        known = axes in self.constants
        return keeps and known and sorted(self._value(axes).tolist()) in ([2, 3], [-2, -1])

    def _round_again(self, node: NodeProto, grid: NodeProto) -> list[NodeProto]:
        """A node whose results are rounded as its input is, which changes none of them."""
        result, name = node.output[0], f"{node.output[0]}_chosen"
        node.output[0] = name
        made = make_node("QuantizeLinear", [name, *grid.input[1:]], [f"{name}_whole"])
        again = make_node("DequantizeLinear", [f"{name}_whole", *grid.input[1:]], [result])
        self.maker[result] = again
        return [node, made, again]

    def whole_rows(self, name: str) -> list[NodeProto]:
        """Let a matrix be read as int8, if its rows are whole numbers times a scale each."""
        value = self._value(name)
        axis, numbers, scale = _as_whole(value) or (0, None, None)
        if numbers is None:
            return []
        parts = {"numbers": numbers, "scale": scale, "zero": np.zeros(len(scale), np.int8)}
        stored = [self._store(f"{name}_{key}", one) for key, one in parts.items()]
        return [make_node("DequantizeLinear", stored, [name], axis=axis)]


def whole_matrices(model: ModelProto) -> ModelProto:
    """The model with its matrices of whole numbers, as packed heads have them, as int8."""
    made = ModelProto()
    made.CopyFrom(model)
    graph = _Graph(made.graph)
    matrices = [one.name for one in made.graph.initializer if len(one.dims) == 2]
    nodes = {name: graph.whole_rows(name) for name in matrices}
    made.graph.ClearField("initializer")
    kept = (one for name, one in graph.constants.items() if not nodes.get(name))
    made.graph.initializer.extend(kept)
    first = [node for some in nodes.values() for node in some]
    rest = list(made.graph.node)
    made.graph.ClearField("node")
    made.graph.node.extend([*first, *rest])
    return made


def _as_whole(value: np.ndarray) -> tuple[int, np.ndarray, np.ndarray] | None:
    """The axis of the scales, the whole numbers (int8) and the scales of a matrix; None without.

    A packed row's largest number is the largest that its bits hold.
    """
    if value.dtype != np.float32:
        return None
    for axis in (0, 1):
        largest = np.abs(value).max(1 - axis, keepdims=True)
        for bits in range(8, 1, -1):
            scale = np.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1).astype(np.float32)
            numbers = np.rint(value / scale)
            if np.allclose(numbers * scale, value, rtol=1e-6, atol=0):
                return axis, numbers.astype(np.int8), scale.ravel()
    return None
