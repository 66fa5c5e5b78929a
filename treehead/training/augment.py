"""Augmentation of a whole batch at once, as tensors, with one explicit generator."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torchvision.transforms import v2


def mirrored(kind: str, first: Tensor, epoch: int, generator: Generator) -> Tensor:
    """Which images of a batch to mirror, bool (n,).

    Args:
        kind: "none", "random", or "alternating" (Jordan, 2024, section 3.6): each image is
            mirrored in every other epoch, so that two epochs show both sides of all.
        first: whether alternating mirrors each of them in the first epoch, bool (n,).
        epoch: from 1.
        generator: of the draws of random.
    """
    match kind:
        case "none":
            return torch.zeros_like(first)
        case "random":
            return torch.rand(len(first), generator=generator) < 0.5
        case "alternating":
            return first ^ (epoch % 2 == 0)
    raise ValueError(kind)


def warp(
    images: Tensor, mirrored: Tensor, settings: dict[str, Any], generator: Generator
) -> Tensor:
    """Mirror, rotate and shift each image by its own draw, in one bilinear resampling.

    What comes from beyond the border is the mirrored image, its outermost pixel first (the mode
    "symmetric" of torchvision and numpy): a shift is the random crop of an image padded so.

    Args:
        images: float (n, 3, h, w).
        mirrored: which ones to mirror left to right, bool (n,).
        settings: `rotation`, the largest angle in degrees to either side, and `crop`, the largest
            shift in pixels in either direction.
        generator: source of all draws.
    """
    n, _, height, width = images.shape
    angle = math.radians(settings["rotation"]) * _symmetric(n, generator)
    mirror = torch.where(mirrored, -1.0, 1.0)
    crop = settings["crop"]
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
    grid = F.affine_grid(theta.to(images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def cutout(images: Tensor, side: int, generator: Generator) -> Tensor:
    """Set a square of `side` pixels, centred anywhere, to the mean (DeVries and Taylor, 2017).

    Args:
        images: normalised, float (n, 3, h, w).
        side: 0 to leave them as they are.
        generator: source of the centres.
    """
    if side == 0:
        return images
    n, _, height, width = images.shape
    twice = [
        2 * (torch.arange(length) - torch.randint(length, (n, 1), generator=generator))
        for length in (height, width)
    ]
    rows, columns = ((-side <= from_centre) & (from_centre < side) for from_centre in twice)
    hidden = rows[:, None, :, None] & columns[:, None, None, :]
    return images.masked_fill(hidden.to(images.device), 0)


def _symmetric(n: int, generator: Generator) -> Tensor:
    return 2 * torch.rand(n, generator=generator) - 1


def mix(
    images: Tensor, target: Tensor, settings: dict[str, Any], generator: Generator
) -> tuple[Tensor, Tensor]:
    """CutMix, MixUp or either at random (Yun et al., ICCV 2019; Zhang et al., ICLR 2018).

    Args:
        images: float (n, 3, h, w).
        target: class probabilities, float (n, classes).
        settings: `mix`, "none", "cutmix", "mixup" or "either", and `mix_alpha`, the parameter of
            the beta distribution of the share.
        generator: seeds torchvision's transforms, which draw from torch's ambient generator.
    """
    kind, alpha = settings["mix"], float(settings["mix_alpha"])
    if kind == "none":
        return images, target
    transforms = {"cutmix": v2.CutMix(alpha=alpha), "mixup": v2.MixUp(alpha=alpha)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        chosen = (
            v2.RandomChoice(list(transforms.values())) if kind == "either" else transforms[kind]
        )
        return chosen(images, target)
