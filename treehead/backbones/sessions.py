"""Sessions of onnxruntime on the CPU, whose whole numbers are right on every processor."""

from functools import cache

import numpy as np
from onnxruntime import InferenceSession, SessionOptions

# Sum products of uint8 and int8 exactly, at less speed.
EXACT = ("session.x64quantprecision", "1")

# An ONNX file: z, int32 (n, m), is the MatMulInteger of x, uint8 (n, k), and y, int8 (k, m). As
# bytes, since importing onnx takes longer than the session.
PRODUCT = (
    b'\b\n:P\n\x18\n\1x\n\1y\x12\1z"\rMatMulInteger\x12\1g'
    b"Z\x0f\n\1x\x12\n\n\b\b\2\x12\4\n\0\n\0Z\x0f\n\1y\x12\n\n\b\b\3\x12\4\n\0\n\0"
    b"b\x0f\n\1z\x12\n\n\b\b\6\x12\4\n\0\n\0B\4\n\0\x10\x14"
)


def opened(model: str | bytes, threads: int) -> InferenceSession:
    """A session of an ONNX file, given as its path or its content.

    On a processor where onnxruntime's fast sums overflow, it takes the exact ones.
    """
    return session(model, threads, exact=_overflows())


def session(model: str | bytes, threads: int, exact: bool) -> InferenceSession:
    """The same with exact sums or with fast ones."""
    options = SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    if exact:
        options.add_session_config_entry(*EXACT)
    return InferenceSession(model, options, providers=["CPUExecutionProvider"])


@cache
def _overflows() -> bool:
    """Whether fast sums of products of uint8 and int8 come out wrong here.

    They do on x86-64 without VNNI, where onnxruntime adds pairs in int16, which saturate
    (https://github.com/microsoft/onnxruntime/issues/14642).
    """
    x, y = np.full((16, 64), 255, np.uint8), np.full((64, 16), 127, np.int8)
    (found,) = session(PRODUCT, 1, exact=False).run(None, {"x": x, "y": y})
    return not np.array_equal(found, x.astype(np.int32) @ y.astype(np.int32))
