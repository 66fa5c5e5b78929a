"""A first layer that is fitted to the images and not trained."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Whitening(nn.Module):
    """A fixed 2 x 2 convolution to uncorrelated values of both signs; its bias is learned.

    After the first layer of airbench (Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU",
    2024, section 3.2).
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(24, 3, 2, 2))
        self.bias = nn.Parameter(torch.zeros(24))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias)

    @torch.no_grad()
    def fit(self, images: Tensor, floor: float = 5e-4) -> None:
        """Take the weights from the patches of normalised images (n, 3, h, w).

        Args:
            images: some of train.
            floor: added to the variance along each axis.
        """
        patches = F.unfold(images, 2).transpose(1, 2).reshape(-1, 12).double()
        variance, axes = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (axes / (variance + floor).sqrt()).T.flip(0).view(12, 3, 2, 2)
        self.weight.copy_(torch.cat([filters, -filters]))
