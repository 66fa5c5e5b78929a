"""Channels of a prepared network, scaled so that one grid suits all of them."""

from collections.abc import Iterator

import torch
from torch import Tensor, fx

from treehead.backbones import quantized
from treehead.backbones.folding import ATEN, LAYERS

# Operations that scale with each channel of their input, and mix no channels.
_BY_CHANNEL = {
    ATEN.adaptive_avg_pool2d.default,
    ATEN.avg_pool2d.default,
    ATEN.flatten.using_ints,
    ATEN.max_pool2d.default,
    ATEN.mean.dim,
    ATEN.mul.Tensor,
    ATEN.pad.default,
}
_PIXELS = {2, 3, -1, -2}  # axes of maps (n, channels, h, w)
# No channel is scaled by more than this.
_MOST = 64.0


class _Mixed(Exception):
    """A channel does not stay by itself until layers read it."""


@torch.no_grad()
def equalize(network: fx.GraphModule, batches: list[Tensor]) -> Tensor:
    """Scale channels so that one grid suits all of them, and scale them back where they are read.

    Exact where what is between two layers scales with each channel: ReLU, pooling, a product
    (cross-layer equalisation: Nagel et al., ICCV 2019, section 4.1). Channels that only depthwise
    layers read get the same range, since a weight has a scale for each row. Those that a full layer
    reads, whose columns share them, go half of the way (Xiao et al., ICML 2023, equation 4).
    Features get the same deviation.

    Args:
        network: prepared, with ReLUs in place of what they stand for; its ranges are found anew.
        batches: what it reads of some images.

    Returns:
        By what its features are divided from now on, (dim,).
    """
    pairs = dict(_pairs(network))
    largest, deviation = _observed(network, list(pairs), batches)
    divided = torch.ones_like(deviation)
    for grid, readers in pairs.items():
        weights = [network.get_submodule(reader.args[1].target) for reader in readers]
        full = [weight for weight in weights if weight.unit.shape[1] > 1]
        gain = largest[grid] if readers else deviation
        if full:
            columns = torch.stack([_columns(weight) for weight in full]).amax(0)
            gain = (gain / columns.clamp_min(1e-12)).sqrt()
        gain = torch.where(gain > 0, gain, 1.0)
        gain = (gain / gain.log().mean().exp()).clamp(1 / _MOST, _MOST)
        for part in grid.args[0].args[1:3]:
            module = network.get_submodule(part.target)
            module.unit.div_(gain.view(-1, *[1] * (module.unit.ndim - 1)))
        for weight in weights:
            axis = (1, -1) if weight.unit.shape[1] > 1 else (-1, 1)
            weight.unit.mul_(gain.view(*axis, *[1] * (weight.unit.ndim - 2)))
        divided = divided if readers else gain
    for module in network.modules():
        if isinstance(module, quantized.Grid):
            module.low = module.high = 0.0
    return divided


def _pairs(network: fx.GraphModule) -> Iterator[tuple[fx.Node, list[fx.Node]]]:
    """Each grid behind a layer whose channels can be scaled, and the layers that read them.

    There are none if the channels are the features.
    """
    for grid in network.graph.find_nodes(op="call_module"):
        if not grid.args or grid.args[0].target not in LAYERS:
            continue
        try:
            readers = list(_readers(network, grid, grid.meta["val"].shape[1]))
        except _Mixed:
            continue
        if None not in readers:
            yield grid, readers
        elif len(readers) == 1:
            yield grid, []


def _readers(network: fx.GraphModule, node: fx.Node, channels: int) -> Iterator[fx.Node | None]:
    """The layers that read channels along the second axis of a value; None for the output.

    Raises:
        _Mixed: something else than a scaled channel depends on one.
    """
    for user in node.users:
        if user.op == "output":
            yield None
        elif user.target in LAYERS:
            maps = user.target == ATEN.conv2d.default
            weight = network.get_submodule(user.args[1].target).unit
            groups = user.args[6] if len(user.args) > 6 else 1
            if node.meta["val"].ndim != (4 if maps else 2) or groups not in (1, len(weight)):
                raise _Mixed
            yield user
        elif user.op == "call_module" or user.target in _BY_CHANNEL:
            over = {*user.args[1]} if user.target == ATEN.mean.dim else set()
            same = user.meta["val"].ndim in (2, 4) and user.meta["val"].shape[1] == channels
            if user.args.count(node) != 1 or not same or not over <= _PIXELS:
                raise _Mixed
            yield from _readers(network, user, channels)
        else:
            raise _Mixed


def _observed(
    network: fx.GraphModule, grids: list[fx.Node], batches: list[Tensor]
) -> tuple[dict[fx.Node, Tensor], Tensor]:
    """The largest value of each channel at each grid, and the deviation of each feature."""
    largest: dict[str, Tensor] = {}

    def observe(name: str, x: Tensor) -> None:
        most = x.abs().amax((0, *range(2, x.ndim)))
        largest[name] = most if name not in largest else most.maximum(largest[name])

    hooks = [
        network.get_submodule(grid.target).register_forward_hook(
            lambda _, __, x, name=grid.target: observe(name, x)
        )
        for grid in grids
    ]
    network.eval()
    features = torch.cat([network(batch) for batch in batches])
    for hook in hooks:
        hook.remove()
    return {grid: largest[grid.target] for grid in grids}, features.std(0)


def _columns(weight: quantized.Weight) -> Tensor:
    """The largest weight of each column, (columns,)."""
    return (weight.weight * weight.unit).abs().amax((0, *range(2, weight.weight.ndim)))
