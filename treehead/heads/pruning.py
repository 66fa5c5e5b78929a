"""Which weights a sparse layer keeps: the largest of each class, fewer and fewer as it trains."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

# Steps in which the number of kept weights falls.
_STAGES = 24


def group_size(dim: int, kept: int) -> int:
    """Features in a row of which one is kept, so that about `kept` of `dim` are."""
    return math.ceil(dim / kept)


def final_count(dim: int, kept: int, structured: bool) -> int:
    """Weights that a class has in the end: `kept`, or one for each group of features."""
    kept = min(kept, dim)
    return math.ceil(dim / group_size(dim, kept)) if structured else kept


def strongest(weight: Tensor, kept: int, group: int = 1) -> Tensor:
    """Mask (classes, dim) of the `kept` largest weights of each class.

    Args:
        weight: (classes, dim), for features of one deviation.
        kept: how many weights each class keeps.
        group: the largest of each `group` features in a row goes before all others.
    """
    size = weight.detach().abs()
    if group > 1:
        size = size + size.max() * _largest_of_each(size, group)
    order = size.argsort(dim=1, descending=True, stable=True)
    return torch.zeros_like(size).scatter_(1, order[:, :kept], 1)


def _largest_of_each(size: Tensor, group: int) -> Tensor:
    """Mask (classes, dim) of the first largest of each group."""
    classes, dim = size.shape
    groups = pad(size, (0, -dim % group), value=-1).view(classes, -1, group)
    largest = torch.zeros_like(groups).scatter_(2, groups.argmax(2, keepdim=True), 1)
    return largest.view(classes, -1)[:, :dim]


class Pruning:
    """Masks of a weight that trains, for one or several sizes of which each holds the smaller ones.

    Their sizes fall from all weights to the final ones, fast at first and slowly at last as in Zhu
    and Gupta (2017), on a logarithmic scale. Call it before each step with the share of the steps
    that is done.
    """

    def __init__(self, weight: Tensor, sizes: list[int], structured: bool, until: float) -> None:
        """Sizes grow; `structured` keeps one weight of each group; all are final at `until`."""
        self.weight, self.sizes, self.until = weight, sizes, until
        dim = weight.shape[1]
        self.groups = [group_size(dim, size) if structured else 1 for size in sizes]
        self.masks = [torch.ones_like(weight) for _ in sizes]
        self.stage = 0

    @torch.no_grad()
    def __call__(self, done: float) -> None:
        """Renew the masks if the next stage is reached, and forget the weights that left."""
        stage = min(int(done / self.until * _STAGES), _STAGES)
        if stage == self.stage:
            return
        self.stage = stage
        left = (1 - stage / _STAGES) ** 1.5
        largest = self.weight
        for place in reversed(range(len(self.sizes))):
            size, dim = self.sizes[place], self.weight.shape[1]
            kept = round(size * (dim / size) ** left)
            self.masks[place] = strongest(largest, kept, self.groups[place])
            largest = self.weight * self.masks[place]
        self.weight.mul_(self.masks[-1])


def gathered(weight: Tensor, mask: Tensor) -> Tensor:
    """The kept weights of each class in the order of the features, (classes, kept)."""
    return weight.detach()[mask.bool()].view(len(weight), -1)
