"""How the features of a backbone arrive at the C of a head."""

import numpy as np
import onnx
from onnx import numpy_helper

from treehead.artifacts import InputError
from treehead.deploy.c.integer import Features, calibrated


def features(quantized: list[str] | str, sample: np.ndarray, bits: int = 16) -> Features:
    """As the quantised backbone gives them, or as many bits of a float one's.

    Args:
        quantized: the ONNX of the quantised backbone; empty if there is none.
        sample: features of train, (n, dim), whose range the bits of a float one hold.
        bits: 8 or 16.
    """
    return of_network(quantized) if quantized else calibrated(sample, bits)


def of_network(path: str) -> Features:
    """The numbers that a quantised network's last rounding gives, as int8 or int16.

    Raises:
        InputError: the features of the network are not rounded.
    """
    graph = onnx.load(path).graph
    last = next(node for node in graph.node if node.output[0] == graph.output[0].name)
    if last.op_type != "DequantizeLinear":
        raise InputError(f"{path} has features that are not rounded; make it again.")
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    scale, zero = (constants[name] for name in last.input[1:])
    bits = zero.dtype.itemsize * 8
    return Features(float(scale), int(zero) - 2 ** (bits - 1), bits)
