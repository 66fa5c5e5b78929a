"""The cost of a backbone, by torch's own counter."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from treehead.backbones.backbone import Backbone


def macs(backbone: Backbone, image_size: int) -> int:
    """Multiplications of dense and convolution layers for one image of the data set.

    Args:
        backbone: the network, which resizes images to its own size.
        image_size: side of the data set's images in pixels.
    """
    image = torch.zeros(1, 3, image_size, image_size, dtype=torch.uint8)
    with torch.inference_mode():
        resized = backbone.eval().preprocess(image)
        with FlopCounterMode(display=False) as counter:
            backbone.network(resized)
    return counter.get_total_flops() // 2


def parameters(backbone: Backbone) -> int:
    """Numbers that the network learned."""
    return sum(parameter.numel() for parameter in backbone.parameters())
