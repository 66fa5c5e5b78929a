"""Augmentation of a whole batch at once, as tensors, with one explicit generator."""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torchvision.transforms import v2


def warp(images: Tensor, flip: bool, rotation: float, crop: int, generator: Generator) -> Tensor:
    """Flip, rotate and shift each image by its own draw, in one bilinear resampling.

    Shifting by whole pixels with a mirrored border is the reflect-padded random crop.

    Args:
        images: float (n, 3, h, w).
        flip: mirror half of the images left to right.
        rotation: largest angle in degrees, to either side.
        crop: largest shift in pixels, in either direction.
        generator: source of all draws.
    """
    n, _, height, width = images.shape
    angle = math.radians(rotation) * _symmetric(n, generator)
    mirror = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0) if flip else 1.0
    shift = torch.randint(-crop, crop + 1, (n, 2), generator=generator)
    cosine, sine = angle.cos(), angle.sin()
    # Rows of the inverse map, from output to input, both on the scale -1..1.
    theta = torch.stack(
        [
            torch.stack([mirror * cosine, -sine * height / width, shift[:, 0] * 2 / width], 1),
            torch.stack([mirror * sine * width / height, cosine, shift[:, 1] * 2 / height], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _symmetric(n: int, generator: Generator) -> Tensor:
    return 2 * torch.rand(n, generator=generator) - 1


def mix(
    images: Tensor, labels: Tensor, classes: int, kind: str, alpha: float, generator: Generator
) -> tuple[Tensor, Tensor]:
    """CutMix, MixUp or either at random (Yun et al., ICCV 2019; Zhang et al., ICLR 2018).

    Args:
        images: float (n, 3, h, w).
        labels: int64 (n,).
        classes: number of classes.
        kind: "none", "cutmix", "mixup" or "either".
        alpha: parameter of the beta distribution of the share.
        generator: seeds torchvision's transforms, which draw from torch's ambient generator.

    Returns:
        Images, and class probabilities (n, classes).
    """
    if kind == "none":
        return images, F.one_hot(labels, classes).float()
    transforms = {
        "cutmix": v2.CutMix(alpha=alpha, num_classes=classes),
        "mixup": v2.MixUp(alpha=alpha, num_classes=classes),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        chosen = (
            v2.RandomChoice(list(transforms.values())) if kind == "either" else transforms[kind]
        )
        return chosen(images, labels)
