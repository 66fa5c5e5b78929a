"""micromind's PhiNet (Paissan et al., ACM TECS 2022)."""

from typing import Annotated

from annotated_types import Ge, Gt, Le
from micromind.networks import PhiNet
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
