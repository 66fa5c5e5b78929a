"""micromind's PhiNet (Paissan et al., ACM TECS 2022)."""

import itertools
from collections.abc import Iterator
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le
from micromind.networks import PhiNet
from micromind.networks.phinet import _make_divisible, get_xpansion_factor
from torch import nn


def build(
    size: int,
    *,
    alpha: Annotated[int | float, Gt(0), Le(10)],
    beta: Annotated[int | float, Gt(0), Le(10)],
    t_zero: Annotated[int | float, Ge(1), Le(20)],
    num_layers: Annotated[int, Ge(3), Le(30)],
    divisor: Annotated[int, Ge(1), Le(1024)],
    downsampling_layers: list[Annotated[int, Ge(1), Le(100000)]],
) -> nn.Module:
    """The network without its classifier, by micromind's own arguments."""
    return PhiNet(
        input_shape=(3, size, size),
        alpha=alpha,
        beta=beta,
        t_zero=t_zero,
        num_layers=num_layers,
        divisor=divisor,
        downsampling_layers=downsampling_layers,
        include_top=False,
    )


def suggest(kernels: list[tuple[int, ...]]) -> Iterator[dict[str, Any]]:
    """Settings of networks whose convolutions may have these shapes, in the network's order.

    They are sought among those that people use: alpha and beta in steps of 0.05, t_zero of 0.5.
    """
    depthwise = [place for place, (_, inputs, side, _) in enumerate(kernels) if inputs == 1 < side]
    # The stem and the first block have no expansion; each later block is one layer.
    blocks = depthwise[2:]
    if len(blocks) < 3 or any(kernels[place - 1][2:] != (1, 1) for place in depthwise[1:]):
        return
    stem = kernels[depthwise[0] + 1][0]
    inputs, expanded = ([kernels[place - 1][axis] for place in blocks] for axis in (1, 0))
    outputs = [*inputs[1:], kernels[-1][0]]
    depth = len(blocks)
    down = [place + 1 for place in range(3, depth) if outputs[place] > inputs[place]]
    filters = [48, 24, 24, 24, 48]
    for number in range(4, depth + 1):
        filters.append(filters[-1] * (2 if number in down else 1))
    for divisor, twentieths in itertools.product((1, 2, 4, 8, 16, 32), range(1, 201)):
        alpha = _plain(twentieths / 20)
        widths = [_make_divisible(int(count * alpha), divisor) for count in filters]
        if widths != [stem, *inputs, outputs[-1]]:
            continue
        for halves, parts in itertools.product(range(2, 41), range(1, 101)):
            t_zero, beta = _plain(halves / 2), _plain(parts / 20)
            factors = (
                get_xpansion_factor(t_zero, beta, number, depth) for number in range(1, depth + 1)
            )
            if expanded == [
                _make_divisible(int(factor * width), divisor)
                for factor, width in zip(factors, inputs, strict=True)
            ]:
                yield {
                    "alpha": alpha,
                    "beta": beta,
                    "t_zero": t_zero,
                    "num_layers": depth,
                    "divisor": divisor,
                    "downsampling_layers": down,
                }


def _plain(value: float) -> int | float:
    """A whole number as one, as people write it."""
    return int(value) if value == int(value) else value
