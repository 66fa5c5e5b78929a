"""A network as a graph of operations, with the same features.

Dropout is gone, and BatchNorm is in the layers before it.
"""

from typing import Any

import torch
from torch import Tensor, fx, nn

from treehead.artifacts import InputError

ATEN = torch.ops.aten
LAYERS = {ATEN.conv2d.default, ATEN.linear.default}
_DROPOUT = {ATEN.dropout.default, ATEN.feature_dropout.default}

# The weight and the bias of each layer of a graph.
Layers = dict[fx.Node, tuple[Tensor, Tensor]]


def folded(network: nn.Module, size: int) -> tuple[fx.GraphModule, Layers]:
    """The graph of a network in eval mode and the weight and bias of each of its layers.

    Args:
        network: maps images (n, 3, size, size) to features (n, dim); stays as it is.
        size: side of its images in pixels.

    Raises:
        InputError: the network can't be traced.
    """
    traced = _traced(network, size)
    layers = _without_norms(traced)
    traced.graph.eliminate_dead_code()
    return traced, layers


def _traced(network: nn.Module, size: int) -> fx.GraphModule:
    """The operations of a network in eval mode, without dropout."""
    images, batch = torch.zeros(2, 3, size, size), torch.export.Dim("n", min=1)
    try:
        program = torch.export.export(network.eval(), (images,), dynamic_shapes=({0: batch},))
    except Exception as error:  # of torch's tracing, many kinds
        reason = str(error).splitlines()[0]
        raise InputError(
            f"The backbone can't be quantised, since torch.export can't trace it ({reason}); "
            "remove branches on values of the images."
        ) from error
    module = program.module()
    for node in list(module.graph.nodes):
        node.target = _pure(node.target)
        if node.op == "call_module":  # a check of the images' shape
            module.graph.erase_node(node)
        elif node.target in _DROPOUT:
            node.replace_all_uses_with(node.args[0])
            module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    return module


def _pure(target: Any) -> Any:
    """An operation that leaves its input as it is, as a rounding before it needs, for any."""
    if not isinstance(target, torch._ops.OpOverload) or not target._schema.is_mutable:
        return target
    return getattr(getattr(ATEN, target._opname.removesuffix("_")), target._overloadname)


def _without_norms(traced: fx.GraphModule) -> Layers:
    """Take BatchNorm out of the graph; return the weight and bias of each layer that includes it.

    Behind max pooling that needs positive gains, which change no order. Other BatchNorm stays.
    """
    layers = {node: _own(traced, node) for node in traced.graph.nodes if node.target in LAYERS}
    for node in list(traced.graph.nodes):
        if node.target != ATEN.batch_norm.default:
            continue
        if node.args[3] is None:  # it has no statistics but those of each batch
            continue
        mean, variance = (_value(traced, part) for part in node.args[3:5])
        gain, shift = (
            constant(mean) if part is None else _value(traced, part)
            for part, constant in zip(
                node.args[1:3], (torch.ones_like, torch.zeros_like), strict=True
            )
        )
        gain = gain / (variance + node.args[7]).sqrt()
        layer = node.args[0]
        if layer.target == ATEN.max_pool2d.default and (gain > 0).all() and len(layer.users) == 1:
            layer = layer.args[0]
        if layer in layers and len(layer.users) == 1:
            weight, bias = layers[layer]
            rows = gain.view(-1, *[1] * (weight.ndim - 1))
            layers[layer] = weight * rows, (bias - mean) * gain + shift
            node.replace_all_uses_with(node.args[0])
            traced.graph.erase_node(node)
    return layers


def _own(traced: fx.GraphModule, layer: fx.Node) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution or a linear layer; without one, 0."""
    weight = _value(traced, layer.args[1])
    bias = layer.args[2] if len(layer.args) > 2 else None
    return weight, torch.zeros(len(weight)) if bias is None else _value(traced, bias)


def _value(traced: fx.GraphModule, node: fx.Node) -> Tensor:
    """A parameter or a buffer; one that the network computes can't be quantised."""
    if node.op != "get_attr":
        raise InputError(
            f"The backbone can't be quantised, since it computes a weight ({node}); store it as a "
            "parameter."
        )
    return fx.graph_module._get_attr(traced, node.target).detach().clone()
