"""Networks as ONNX files, compared with what they were exported from."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import ModelProto, numpy_helper
from onnxscript import opset20 as op
from torch import Tensor, nn

from treehead.artifacts import replacing
from treehead.backbones import embed, qdq, quantized

# Allowed differences from the eager network: of a feature, relative to the largest one. A network
# that rounds carries each tie between two levels on, so there it is a root mean square; what is
# exact about its file is tested on a network of few layers.
TOLERANCE, ROUNDING = 1e-4, 0.2


def write(
    backbone: nn.Module, path: str | Path, probe: np.ndarray, threads: int, rounds: bool = False
) -> float:
    """Write the backbone as ONNX, uint8 images in, features out, and compare it with the eager one.

    Args:
        backbone: maps images (n, 3, h, w) to features (n, dim); put into eval mode here.
        path: the .onnx file to write.
        probe: images uint8 (n, 3, h, w), n >= 2, on which both must agree.
        threads: threads of the comparison.
        rounds: whether the network rounds, as `quantized` does.

    Returns:
        The largest difference of a feature, or the root mean square of all if it rounds.

    Raises:
        RuntimeError: the export differs by more than is allowed, or the backbone changed.
    """
    images = torch.from_numpy(probe)
    with replacing(path) as temporary, embed.frozen(backbone):
        model = exported(backbone, images, ("images", "features"), {0: torch.export.Dim("n")})
        temporary.write_bytes(model.SerializeToString(deterministic=True))
        with torch.inference_mode():
            eager = backbone(images).numpy()
        size, share = (_root_mean_square, ROUNDING) if rounds else (_largest, TOLERANCE)
        difference = size(embed.with_onnx(temporary, threads)(probe) - eager)
        if not difference <= share * size(eager):
            raise RuntimeError(f"the exported backbone differs from the eager one by {difference}")
    return difference


def _largest(x: np.ndarray) -> float:
    return float(np.abs(x).max())


def _root_mean_square(x: np.ndarray) -> float:
    return float(np.sqrt(np.square(x, dtype=np.float64).mean()))


def _rounded(x: Any, scale: float, zero: int, bits: int) -> Any:
    step = op.Constant(value=numpy_helper.from_array(np.float32(scale)))
    start = op.Constant(value=numpy_helper.from_array(np.dtype(f"uint{bits}").type(zero)))
    return op.DequantizeLinear(op.QuantizeLinear(x, step, start), step, start)


def _rounded_rows(weight: Any, scale: Any) -> Any:
    start = op.Cast(op.Mul(scale, 0.0), to=onnx.TensorProto.INT8)
    numbers = op.QuantizeLinear(weight, scale, start, axis=0)
    return op.DequantizeLinear(numbers, scale, start, axis=0)


_TRANSLATIONS = {
    quantized.rounded._opoverload: _rounded,
    quantized.rounded_rows._opoverload: _rounded_rows,
}


def exported(
    module: nn.Module, example: Tensor, names: tuple[str, str], free: dict[int, Any]
) -> ModelProto:
    """A module as ONNX, with the roundings of `quantized` as QDQ and no trace of this machine.

    Args:
        module: maps one tensor to another; put into eval mode here.
        example: an input.
        names: of input and output.
        free: the axes of the input that are not fixed, each a `torch.export.Dim`.
    """
    program = torch.onnx.export(
        module.eval(),
        (example,),
        dynamo=True,
        verbose=False,
        input_names=[names[0]],
        output_names=[names[1]],
        dynamic_shapes=(free,),
        opset_version=21 if quantized.bits_of(module) > 8 else 20,
        custom_translation_table=_TRANSLATIONS,
    )
    return qdq.completed(_without_traces(program.model_proto))


def _without_traces(model: ModelProto) -> ModelProto:
    """The model without the exporter's metadata, which holds paths of the machine."""
    graph = model.graph
    parts = [graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output]
    for part in parts:
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model
