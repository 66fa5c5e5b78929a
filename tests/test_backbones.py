"""The study's two backbones, and their preprocessing against torchvision's."""

from pathlib import Path

import pytest
import torch
import yaml
from torch import nn
from torchvision.transforms import v2

from treehead import backbones, counting
from treehead.backbones import Backbone

ROOT = Path(__file__).parents[1]
PHINET = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())["backbone"]["phinet"]
MEAN, STD = [0.50708, 0.48655, 0.44092], [0.26733, 0.25644, 0.27615]
NORMALIZATION = {"mean": MEAN, "std": STD}

pytestmark = pytest.mark.usefixtures("one_thread")


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def pictures(n: int, size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(size)
    return torch.randint(256, (n, 3, size, size), generator=generator, dtype=torch.uint8)


def test_the_studys_phinet_has_552267_parameters_and_344_features():
    backbone = backbones.build("phinet", PHINET, 160, NORMALIZATION).eval()
    assert parameters(backbone) == 552_267
    assert backbone.dim == 344
    with torch.inference_mode():
        assert backbone(pictures(2, 32)).shape == (2, 344)


def test_the_studys_resnet9_has_30_million_parameters_and_1028_features():
    """30.4 M are told, which is this with the linear layer 1028 -> 100."""
    backbone = backbones.build("resnet9", {"width": 1}, 32, NORMALIZATION).eval()
    assert backbone.dim == 1028
    assert parameters(backbone) + parameters(nn.Linear(1028, 100)) == pytest.approx(
        30.4e6, rel=3e-3
    )
    with torch.inference_mode():
        assert backbone(pictures(1, 32)).shape == (1, 1028)


@pytest.mark.parametrize(("width", "dim"), [(0.25, 257), (0.0625, 64), (0.001, 1)])
def test_width_scales_the_channels_of_resnet9(width: float, dim: int):
    backbone = backbones.build("resnet9", {"width": width}, 32, NORMALIZATION).eval()
    assert backbone.dim == dim
    with torch.inference_mode():
        assert backbone(pictures(3, 32)).shape == (3, dim)


@pytest.mark.parametrize("architecture", ["phinet", "resnet9"])
def test_a_backbone_has_no_classifier_and_no_dropout_at_its_end(architecture: str):
    own = {"phinet": PHINET, "resnet9": {"width": 0.25}}[architecture]
    backbone = backbones.build(architecture, own, 32, NORMALIZATION)
    assert not [module for module in backbone.modules() if isinstance(module, nn.Linear)]
    assert isinstance(list(backbone.modules())[-1], nn.Flatten)


@pytest.mark.parametrize("architecture", ["phinet", "resnet9"])
def test_a_seed_decides_the_initial_weights(architecture: str):
    own = {"phinet": PHINET, "resnet9": {"width": 0.0625}}[architecture]

    def first_weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        backbone = backbones.build(architecture, own, 32, NORMALIZATION)
        return torch.cat([value.flatten() for value in backbone.parameters()])

    assert torch.equal(first_weights(0), first_weights(0))
    assert not torch.equal(first_weights(0), first_weights(1))


def test_building_phinet_leaves_its_batchnorm_statistics_new():
    """Its width is found by a forward of zeros, which must not be counted as a batch."""
    network, _ = backbones.phinet(32, **PHINET)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    for norm in norms:
        assert norm.num_batches_tracked == 0
        assert not norm.running_mean.any()
    assert network.training


@pytest.mark.parametrize(("side", "size"), [(32, 160), (32, 48), (32, 32), (64, 32), (50, 33)])
def test_preprocessing_is_torchvisions_resize_and_normalize(side: int, size: int):
    backbone = Backbone(nn.Identity(), 3, size, MEAN, STD)
    images = pictures(3, side)
    expected = v2.Compose(
        [
            v2.ToDtype(torch.float32, scale=True),
            v2.Resize((size, size), v2.InterpolationMode.BILINEAR, antialias=True),
            v2.Normalize(MEAN, STD),
        ]
    )(images)
    torch.testing.assert_close(backbone.preprocess(images), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(backbone(images), expected, rtol=1e-4, atol=1e-5)


def test_the_normalisation_is_not_part_of_the_weights():
    """So weights of another data set's normalisation still fit."""
    backbone = Backbone(nn.Linear(2, 2), 2, 32, MEAN, STD)
    assert set(backbone.state_dict()) == {"network.weight", "network.bias"}


def test_the_cost_of_a_backbone_is_counted_layer_by_layer():
    """A convolution of 3 to 4 channels, 3 x 3, on 8 x 8 places, and a dense layer behind it."""
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )
    backbone = Backbone(layers, 5, 8, MEAN, STD)
    assert counting.macs(backbone, 8) == 3 * 4 * 9 * 64 + 4 * 5
    assert counting.parameters(backbone) == 3 * 4 * 9 + 4 + 4 * 5 + 5
