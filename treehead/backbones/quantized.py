"""A network as whole numbers of 8 bits, or values of 16: its graph with rounding that trains.

Behind each layer of the folded graph stands a grid, which rounds to one of 256 or 65,536 values.
Rounding passes gradients on as they are (the straight-through
estimator of Bengio et al., 2013), but none beyond the ends of its range.
"""

import copy
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from treehead.artifacts import InputError, read_tensors, write_tensors
from treehead.backbones import folding
from treehead.backbones.folding import ATEN

_RELU = ATEN.relu.default
# Smooth activations that a ReLU can stand for.
_SMOOTH = {
    ATEN.hardswish.default: F.hardswish,
    ATEN.silu.default: F.silu,
    ATEN.gelu.default: F.gelu,
}
# Their results are values that their inputs have, so they stay on its grid.
_CHOOSING = {
    ATEN.amax.default,
    ATEN.contiguous.default,
    ATEN.flatten.using_ints,
    ATEN.max_pool2d.default,
    ATEN.pad.default,
    ATEN.permute.default,
    ATEN.reshape.default,
    ATEN.select.int,
    ATEN.slice.Tensor,
    ATEN.transpose.int,
    ATEN.view.default,
}
# How many values of a batch its range is judged by, and which shares of the whole range are tried.
_SEEN, _JUDGED, _SHARES = 2**16, 2**12, torch.linspace(0.3, 1, 29)
_LARGEST = 127  # of a weight: symmetric, so that no zero point is needed


@torch.library.custom_op("treehead::rounded", mutates_args=())
def rounded(x: Tensor, scale: float, zero: int, bits: int) -> Tensor:
    """x (any shape) -> the nearest of scale * (q - zero), q in 0 to 2**bits - 1."""
    return torch.mul(x, 1 / scale).round_().clamp_(-zero, 2**bits - 1 - zero).mul_(scale)


@torch.library.custom_op("treehead::rounded_rows", mutates_args=())
def rounded_rows(weight: Tensor, scale: Tensor) -> Tensor:
    """Weight (rows, ...) -> the nearest of a row's scale times whole numbers of -127 to 127."""
    rows = scale.view(-1, *[1] * (weight.ndim - 1))
    return (weight / rows).round_().clamp_(-_LARGEST, _LARGEST).mul_(rows)


@rounded.register_fake
@rounded_rows.register_fake
def _(x: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(x)


def _keep_rounded(ctx: Any, inputs: tuple[Tensor, float, int, int], output: Tensor) -> None:
    _, scale, zero, bits = inputs
    ctx.save_for_backward(output)
    ctx.ends = ((0.01 - zero) * scale, (2**bits - 1.01 - zero) * scale)


def _straight_through(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
    (output,) = ctx.saved_tensors
    return ATEN.hardtanh_backward(gradient, output, *ctx.ends), None, None, None


rounded.register_autograd(_straight_through, setup_context=_keep_rounded)
rounded_rows.register_autograd(lambda _, gradient: (gradient, None))


class Grid(nn.Module):
    """Rounds values (any shape) to 2**bits levels, of which 0 is one.

    While training it follows the values that it sees, as long as `following` is set: with 8 bits,
    the range is a moving average of the best one for each batch; with 16, it has all values. It
    rounds only once it has seen some and `rounding` is set.

    Args:
        bits: 8 or 16.
        smooth: an activation before the rounding that becomes a ReLU; None if there is none.
        relu: whether a ReLU is before the rounding. A range from 0 does what it does.
    """

    def __init__(self, bits: int, smooth: Any = None, relu: bool = False) -> None:
        super().__init__()
        self.bits = bits
        self.smooth, self.relu = smooth, relu or smooth is not None
        self.sharpness, self.rounding, self.following = 1.0, False, True
        self.low, self.high = 0.0, 0.0

    def get_extra_state(self) -> Tensor:
        """The range, for `state_dict`; as numbers it is a constant of the exported graph."""
        return torch.tensor([self.low, self.high], dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Take the range of a `state_dict`."""
        self.low, self.high = state.tolist()

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.following:
            self._follow(x.detach())
        if self.rounding:
            return rounded(x, *self.scale_and_zero(), self.bits)
        if self.smooth and self.sharpness < torch.inf:
            return self.smooth(x * self.sharpness) / self.sharpness
        return x.relu() if self.relu else x

    def scale_and_zero(self) -> tuple[float, int]:
        """A value is scale * (q - zero), q in 0 to 2**bits - 1."""
        scale = (self.high - self.low) / (2**self.bits - 1)
        return scale, round(-self.low / scale)

    @torch.no_grad()
    def _follow(self, x: Tensor) -> None:
        """Widen the range to all that is seen; one of 8 bits moves 2 % to the best for a batch."""
        x = x.relu() if self.relu else x
        if self.bits > 8:
            self.low = min(self.low, x.min().item())
            self.high = max(self.high, x.max().item(), 1e-6)
            return
        low, high = best_range(x)
        share = 0.02 if self.high > self.low else 1.0
        self.low += share * (low - self.low)
        self.high += share * (high - self.high)


def best_range(x: Tensor) -> tuple[float, float]:
    """The range, a share of that of x and 0, whose rounding has the least mean squared error."""
    if x.ndim == 4:  # some pixels of each map
        step = max(1, math.isqrt(x.numel() // _SEEN))
        x = x[:, :, ::step, ::step]
    values = x.flatten().float()
    low, high = min(values.min().item(), 0.0), max(values.max().item(), 0.0)
    if high == low:
        return 0.0, 1.0
    values, top = values[:: len(values) // _JUDGED + 1], 2**8 - 1
    scale = (_SHARES * (high - low) / top).to(x.device)[:, None]
    zero = round(-low / (high - low) * top)
    tried = (values / scale).round().clamp(-zero, top - zero) * scale
    share = _SHARES[(tried - values).square().mean(1).argmin().item()].item()
    return low * share, high * share


class Weight(nn.Module):
    """A layer's weight, rounded to whole numbers of -127 to 127 times a scale for each row.

    What is trained is the weight in units of each row's root mean square, so that a step of an
    optimiser means the same to all rows, whatever BatchNorm made of them.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        rows = weight.flatten(1).square().mean(1).sqrt().clamp_min(1e-12)
        kernel = [1] * (weight.ndim - 2)
        self.register_buffer("unit", rows.view(-1, 1, *kernel).repeat(1, weight.shape[1], *kernel))
        self.weight = nn.Parameter(weight / self.unit)
        self.rounding = False

    def forward(self) -> Tensor:
        weight = self.weight * self.unit
        if not self.rounding:
            return weight
        return rounded_rows(weight, self.scale(weight.detach()))

    @staticmethod
    def scale(weight: Tensor) -> Tensor:
        """The scale of each row of a weight, (rows,)."""
        return weight.flatten(1).abs().amax(1).clamp_min(1e-12) / _LARGEST


class _Settled(nn.Module):
    """A weight that is no longer trained."""

    def __init__(self, weight: Weight) -> None:
        super().__init__()
        # A weight with other strides would be exported as floats that are gathered.
        value = (weight.weight * weight.unit).detach()
        value = value.clone(memory_format=torch.contiguous_format)
        self.register_buffer("value", value)
        self.register_buffer("scale", weight.scale(value))

    def forward(self) -> Tensor:
        return rounded_rows(self.value, self.scale)


class Bias(nn.Module):
    """A layer's bias, in units that are 1 until `equalize` changes them."""

    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("unit", torch.ones_like(bias))
        self.bias = nn.Parameter(bias)

    def forward(self) -> Tensor:
        return self.bias * self.unit


def prepared(
    network: nn.Module, size: int, relu_above: float | None, activation_bits: int = 8
) -> fx.GraphModule:
    """A network with rounding behind each layer, none of which rounds yet.

    Args:
        network: maps images (n, 3, size, size) to features (n, dim); stays as it is.
        size: side of its images in pixels.
        relu_above: on maps of more pixels than this, ReLU stands for HardSwish, SiLU and GELU; on
            none if it is None.
        activation_bits: of each value, 8 or 16; weights have 8.

    Raises:
        InputError: the network can't be traced.
    """
    above = math.inf if relu_above is None else relu_above
    traced, layers = folding.folded(network, size)
    for number, (layer, (weight, bias)) in enumerate(layers.items()):
        _add(traced, layer, number, weight, bias)
    _split_silu(traced, above)
    _place_grids(traced, above, activation_bits)
    traced.graph.eliminate_dead_code()
    for parameter in traced.parameters():
        parameter.requires_grad_(False)
    made = fx.GraphModule(traced, traced.graph)
    for module in made.modules():
        if isinstance(module, Weight | Bias):
            module.requires_grad_(True)
    return made


def _add(traced: fx.GraphModule, layer: fx.Node, number: int, weight: Tensor, bias: Tensor) -> None:
    """Let a layer read a `Weight` and a `Bias`."""
    traced.add_submodule(f"weight{number}", Weight(weight))
    traced.add_submodule(f"bias{number}", Bias(bias))
    with traced.graph.inserting_before(layer):
        read = [traced.graph.call_module(f"{part}{number}") for part in ("weight", "bias")]
    layer.args = (layer.args[0], *read, *layer.args[3:])


def _becomes_relu(node: fx.Node, above: float) -> bool:
    """Whether ReLU stands for a smooth activation, by the pixels of its maps."""
    shape = node.meta["val"].shape if node.target in _SMOOTH else ()
    return len(shape) == 4 and math.prod(shape[2:]) > above


def _split_silu(traced: fx.GraphModule, above: float) -> None:
    """Write SiLU as x * sigmoid(x), both of which have kernels of 8 bits."""
    for node in list(traced.graph.nodes):
        if node.target == ATEN.silu.default and not _becomes_relu(node, above):
            with traced.graph.inserting_before(node):
                sigmoid = traced.graph.call_function(ATEN.sigmoid.default, node.args)
                product = traced.graph.call_function(ATEN.mul.Tensor, (node.args[0], sigmoid))
            sigmoid.meta, product.meta = node.meta, node.meta
            node.replace_all_uses_with(product)
            traced.graph.erase_node(node)


def _place_grids(traced: fx.GraphModule, above: float, bits: int) -> None:
    """Put a grid behind the images and each operation that makes new values.

    A grid takes the place of a ReLU.
    """

    def is_relu(node: fx.Node) -> bool:
        return node.target == _RELU or _becomes_relu(node, above)

    number = 0
    for node in list(traced.graph.nodes):
        if not _makes_values(node):
            continue
        users = list(node.users)
        if len(users) == 1 and is_relu(users[0]) and node.op != "placeholder":
            continue
        grid = Grid(bits)
        if is_relu(node):
            grid = Grid(bits, _SMOOTH.get(node.target), relu=True)
        traced.add_submodule(f"grid{number}", grid)
        with traced.graph.inserting_after(node):
            placed = traced.graph.call_module(f"grid{number}", (node,))
        placed.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(placed, delete_user_cb=lambda user, own=placed: user != own)
        if is_relu(node):
            placed.args = (node.args[0],)
            traced.graph.erase_node(node)
        number += 1


def _makes_values(node: fx.Node) -> bool:
    """Whether a node's values are new floats, not some of its input's."""
    value = node.meta.get("val")
    is_float = isinstance(value, Tensor) and value.is_floating_point()
    if node.op == "placeholder":
        return is_float and bool(node.users)
    return node.op == "call_function" and is_float and node.target not in _CHOOSING


def set_phase(network: nn.Module, bent: float, rounds: bool, settled: bool = False) -> None:
    """How far a prepared network is on its way.

    Args:
        bent: from 0, activations as they were, to 1, ReLUs in place of those that are replaced.
        rounds: whether weights and values are rounded; then all replaced ones are ReLUs.
        settled: whether ranges stay as they are.
    """
    for module in network.modules():
        if isinstance(module, Grid):
            module.sharpness = 1 / (1 - bent) if bent < 0.99 else torch.inf
            module.following = not settled
        if isinstance(module, Grid | Weight):
            module.rounding = rounds


def settled(network: fx.GraphModule) -> fx.GraphModule:
    """A copy of a prepared network that rounds and is not trained any more, for the export."""
    made = copy.deepcopy(network)
    set_phase(made, 1, rounds=True)
    for name, module in list(made.named_children()):
        if isinstance(module, Weight):
            setattr(made, name, _Settled(module))
    return made.eval().requires_grad_(False)


def restored(
    path: str, network: nn.Module, size: int, relu_above: float | None, activation_bits: int = 8
) -> fx.GraphModule:
    """A network with the weights and ranges that were trained, ready for the export.

    Args:
        path: what `save` wrote.
        network: with the float weights; size, relu_above and activation_bits as for `prepared`.
    """
    made = prepared(network, size, relu_above, activation_bits)
    try:
        made.load_state_dict({k: torch.from_numpy(v) for k, v in read_tensors(path).items()})
    except RuntimeError as error:
        raise InputError(
            f"{path} is of another network; delete it, and it is made again."
        ) from error
    return settled(made)


def save(path: str, network: fx.GraphModule) -> None:
    """Write the weights and ranges of a prepared network as safetensors."""
    write_tensors(path, {name: value.numpy() for name, value in network.state_dict().items()})


def bits_of(module: nn.Module) -> int:
    """The bits of the values between its layers; 0 if it does not round."""
    return max((part.bits for part in module.modules() if isinstance(part, Grid)), default=0)
