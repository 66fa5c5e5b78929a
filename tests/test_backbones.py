"""The backbones, those of torchvision too, and their preprocessing against torchvision's."""

import copy
import importlib
import inspect
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from micromind.networks import XiNet
from PIL import Image
from torch import nn
from torchvision import models
from torchvision.transforms import v2

from treehead.artifacts import InputError
from treehead.backbones import cost, initial, weights
from treehead.backbones.backbone import Backbone, brought, build, network_of, pretrained
from treehead.backbones.convolution import Convolution, GlobalMaxPool
from treehead.backbones.networks import airbench, torchvision
from treehead.config import architectures

ROOT = Path(__file__).parents[1]
DEFAULTS = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())["backbone"]
PHINET = DEFAULTS["phinet"]
MEAN, STD = [0.50708, 0.48655, 0.44092], [0.26733, 0.25644, 0.27615]
NORMALIZATION = {"mean": MEAN, "std": STD}


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def pictures(n: int, size: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(size)
    return torch.randint(256, (n, 3, size, size), generator=generator, dtype=torch.uint8)


def test_the_studys_phinet_has_552267_parameters_and_344_features():
    backbone = build("phinet", PHINET, 160, NORMALIZATION).eval()
    assert parameters(backbone) == 552_267
    assert backbone.dim == 344
    with torch.inference_mode():
        assert backbone(pictures(2, 32)).shape == (2, 344)


def test_the_studys_resnet9_has_30_million_parameters_and_1028_features():
    """30.4 M are told, which is this with the linear layer 1028 -> 100."""
    backbone = build("resnet9", {"width": 1}, 32, NORMALIZATION).eval()
    assert backbone.dim == 1028
    assert parameters(backbone) + parameters(nn.Linear(1028, 100)) == pytest.approx(
        30.4e6, rel=3e-3
    )
    with torch.inference_mode():
        assert backbone(pictures(1, 32)).shape == (1, 1028)


@pytest.mark.parametrize(("width", "dim"), [(0.25, 257), (0.0625, 64), (0.001, 1)])
def test_width_scales_the_channels_of_resnet9(width: float, dim: int):
    backbone = build("resnet9", {"width": width}, 32, NORMALIZATION).eval()
    assert backbone.dim == dim
    with torch.inference_mode():
        assert backbone(pictures(3, 32)).shape == (3, dim)


@pytest.mark.parametrize("architecture", ["phinet", "resnet9"])
def test_a_backbone_has_no_classifier_and_no_dropout_at_its_end(architecture: str):
    own = {"phinet": PHINET, "resnet9": {"width": 0.25}}[architecture]
    backbone = build(architecture, own, 32, NORMALIZATION)
    assert not [module for module in backbone.modules() if isinstance(module, nn.Linear)]
    assert isinstance(list(backbone.modules())[-1], nn.Flatten | GlobalMaxPool)


@pytest.mark.parametrize("architecture", ["phinet", "resnet9", "airbench"])
def test_a_seed_decides_the_initial_weights(architecture: str):
    own = {"phinet": PHINET, "resnet9": {"width": 0.0625}, "airbench": {"widths": [32]}}[
        architecture
    ]

    def first_weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        backbone = build(architecture, own, 32, NORMALIZATION)
        return torch.cat([value.flatten() for value in backbone.parameters()])

    assert torch.equal(first_weights(0), first_weights(0))
    assert not torch.equal(first_weights(0), first_weights(1))


class Eager(nn.Module):
    """A network that counts its calls in a buffer, draws random numbers and is partly frozen."""

    def __init__(self, convolution: nn.Module) -> None:
        super().__init__()
        self.convolution = convolution
        self.norm = nn.BatchNorm2d(convolution.out_channels).eval()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.calls = self.calls + torch.rand(())
        return self.norm(self.convolution(x))


@pytest.fixture
def own(monkeypatch):
    """Puts a function in the place of an architecture, which is then called `plain`."""

    def put(build) -> str:
        module = types.ModuleType("plain")
        module.build = build
        monkeypatch.setitem(sys.modules, "treehead.backbones.networks.plain", module)
        return "plain"

    return put


def test_the_number_of_features_is_found_and_nothing_in_the_network_changes(own):
    """It is found by a forward pass, which must count neither as a batch nor as random numbers."""
    torch.manual_seed(3)
    expected = Eager(nn.Conv2d(3, 5, 2))
    following = torch.rand(4)
    torch.manual_seed(3)
    network, dim = network_of(own(lambda size: Eager(nn.Conv2d(3, 5, 2))), {}, 8)
    assert dim == 5
    assert torch.equal(torch.rand(4), following)
    for name, value in network[0].state_dict().items():
        assert torch.equal(value, expected.state_dict()[name]), name
    assert network.training
    assert network[0].training
    assert not network[0].norm.training


@pytest.mark.parametrize("architecture", architectures.names())
def test_the_initial_weights_of_a_seed_are_those_of_build_alone(architecture: str):
    module = importlib.import_module(architectures.module(architecture))
    torch.manual_seed(5)
    expected = module.build(32, **DEFAULTS[architecture]).state_dict()
    torch.manual_seed(5)
    network, _ = network_of(architecture, DEFAULTS[architecture], 32)
    found = network.state_dict()
    assert len(found) == len(expected)
    for name, value in zip(found, expected.values(), strict=True):
        assert torch.equal(found[name], value)


def test_maps_are_averaged_over_their_pixels(own):
    images = torch.randn(4, 3, 8, 8)
    network, dim = network_of(own(lambda size: nn.Conv2d(3, 6, 3)), {}, 8)
    assert dim == 6
    torch.testing.assert_close(network(images), network[0](images).mean((2, 3)))
    network, dim = network_of(own(lambda size: nn.Flatten()), {}, 4)
    assert dim == 48
    assert isinstance(network, nn.Flatten)


class Giving(nn.Module):
    """A network that gives what a function makes of its input."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> object:
        return self.function(x)


def failing(size: int) -> nn.Module:
    raise ValueError("no such depth\nand more")


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda size: Giving(lambda x: (x, x)), "gives features of type tuple for 2 images; "),
        (lambda size: Giving(lambda x: None), "gives features of type NoneType for 2 images; "),
        (lambda size: Giving(lambda x: x.mean()), "gives features of shape () for 2 images; "),
        (lambda size: Giving(lambda x: x[0]), "gives features of shape (3, 8, 8) for 2 images; "),
        (lambda size: Giving(lambda x: x[:1]), "gives features of shape (1, 3, 8, 8) for 2 im"),
        (lambda size: Giving(lambda x: x[..., 0]), "gives features of shape (2, 3, 8) for 2 im"),
        (lambda size: Giving(lambda x: x / 0), "gives NaN or infinity for backbone.image_size 8"),
        (lambda size: Giving(lambda x: x.sqrt()), "gives NaN or infinity for backbone.image_size"),
        (lambda size: 7, "gives a int; return a torch.nn.Module from it."),
        (lambda size: nn.Conv2d, "gives a type; return a torch.nn.Module from it."),
        (failing, "can't be built for backbone.image_size 8 (no such depth); correct its settin"),
        (lambda size: nn.Conv2d(3, 4, 9), "can't read images of backbone.image_size 8 (Calculate"),
    ],
)
def test_what_is_no_network_of_features_is_told_in_a_sentence(own, build, sentence: str):
    with pytest.raises(InputError) as error:
        network_of(own(build), {}, 8)
    assert str(error.value).startswith(f"backbone.architecture plain {sentence}")
    assert "\n" not in str(error.value)


SIDES = [(32, 160), (32, 48), (32, 32), (64, 32), (50, 33), (224, 224)]


@pytest.mark.parametrize(("side", "size"), SIDES)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("crop", [1, 0.875, 224 / 232])
def test_preprocessing_is_torchvisions_resize_crop_and_normalize(
    side: int, size: int, interpolation: str, crop: float
):
    backbone = Backbone(nn.Identity(), 3, size, MEAN, STD, interpolation, crop)
    images = pictures(3, side)
    resized = round(size / crop)
    expected = v2.Compose(
        [
            v2.ToDtype(torch.float32, scale=True),
            v2.Resize((resized, resized), v2.InterpolationMode(interpolation), antialias=True),
            v2.CenterCrop(size),
            v2.Normalize(MEAN, STD),
        ]
    )(images)
    torch.testing.assert_close(backbone.preprocess(images), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(backbone(images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("side", "size"), SIDES)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_resizing_is_pillows(side: int, size: int, interpolation: str):
    image = pictures(1, side)[0, 0].float()
    if interpolation == "nearest" and (side, size) == (32, 48):
        pytest.skip("every other pixel lies between two, and Pillow chooses by a rounding error")
    resample = Image.Resampling[interpolation.upper()]
    expected = np.array(Image.fromarray(image.numpy()).resize((size, size), resample))
    backbone = Backbone(nn.Identity(), 3, size, [0.0] * 3, [1 / 255] * 3, interpolation)
    ours = backbone.preprocess(image.expand(1, 3, side, side))[0, 0]
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize(("side", "size"), [(32, 48), (50, 33)])
def test_plain_bilinear_resizing_keeps_its_bytes(side: int, size: int):
    """The figures of the documentation were made with torch's own."""
    backbone = Backbone(nn.Identity(), 3, size, MEAN, STD)
    images = pictures(3, side)
    normalised = (images.float() - backbone.mean) / backbone.std
    expected = F.interpolate(normalised, (size, size), mode="bilinear", antialias=side > size)
    assert torch.equal(backbone.preprocess(images), expected)


def test_images_may_be_wider_than_high():
    images = pictures(2, 40)[:, :, :24]
    backbone = Backbone(nn.Identity(), 3, 32, MEAN, STD, "bicubic", 0.8)
    resize = v2.Resize((40, 40), v2.InterpolationMode.BICUBIC, antialias=True)
    expected = v2.Normalize(MEAN, STD)(v2.CenterCrop(32)(resize(images / 255)))
    torch.testing.assert_close(backbone.preprocess(images), expected, rtol=1e-4, atol=1e-4)


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
    assert cost.macs(backbone, 8) == 3 * 4 * 9 * 64 + 4 * 5
    resizing = Backbone(layers, 5, 8, MEAN, STD, "bicubic", 0.5)
    assert cost.macs(resizing, 9) == 3 * 4 * 9 * 64 + 4 * 5, "resizing is not the network"
    assert cost.parameters(backbone) == 3 * 4 * 9 + 4 + 4 * 5 + 5


@pytest.mark.parametrize("architecture", architectures.names())
def test_settings_are_read_from_the_source_as_python_reads_them(architecture: str):
    """The configuration is checked without torch, and so without an import of the network."""
    function = importlib.import_module(architectures.module(architecture)).build
    size, *keywords = inspect.signature(function).parameters.values()
    assert size.name == "size"
    assert all(keyword.kind == keyword.KEYWORD_ONLY for keyword in keywords)
    assert [keyword.name for keyword in keywords] == list(DEFAULTS[architecture])


def backbone_of(**changes: object) -> dict:
    return copy.deepcopy(DEFAULTS) | changes


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"architecture": "resnet"},
            'backbone.architecture is "resnet"; use "resnet9", "<file>.py:<function>", "airbench"',
        ),
        (
            {"architecture": "torchvision"},
            'backbone.architecture is "torchvision"; use "torchvision/',
        ),
        ({"architecture": "phinet/x"}, 'backbone.architecture is "phinet/x"; use "phinet", '),
        (
            {"resnet9": {"width": 0}},
            "backbone.resnet9.width is 0; use a number of more than 0 and at ",
        ),
        ({"resnet9": {"width": "wide"}}, 'backbone.resnet9.width is "wide"; use a number of more '),
        ({"resnet9": {"depth": 9}}, 'backbone.resnet9.depth is not a setting; use "width".'),
        (
            {"architecture": "resnet9", "resnet9": {}},
            "backbone.resnet9.width is missing; give a num",
        ),
        (
            {"airbench": {"widths": [64, 0]}},
            "backbone.airbench.widths is [64, 0]; use a list, each value a whole number of at "
            "least 1 and at most 4096; at least 1 and at most 4 of them.",
        ),
        ({"airbench": {"widths": []}}, "backbone.airbench.widths is []; use a list, each value a "),
        ({"airbench": {"widths": 64}}, "backbone.airbench.widths is 64; use a list, each value a "),
    ],
)
def test_a_wrong_architecture_or_setting_is_refused_with_what_would_be_right(
    changes: dict, sentence: str
):
    with pytest.raises(InputError) as error:
        architectures.check(backbone_of(**changes))
    assert str(error.value).startswith(f"Config: {sentence}")


def test_settings_of_a_command_line_get_their_types_and_others_stay_as_they_are():
    """A whole number stays one where both kinds are right: 4 and 4.0 name other weights."""
    given = backbone_of(airbench={"widths": ["64", "128"]}, resnet9={"width": "0.5"})
    given["phinet"] |= {"t_zero": "5", "downsampling_layers": ["5", "7"]}
    architectures.check(given)
    assert given["airbench"] == {"widths": [64, 128]}
    assert given["resnet9"] == {"width": 0.5}
    assert repr(given["phinet"]["t_zero"]) == "5"
    assert given["phinet"]["downsampling_layers"] == [5, 7]
    before = backbone_of()
    architectures.check(before)
    assert repr(before) == repr(DEFAULTS)


def test_a_library_of_networks_has_a_name_for_each():
    for name in ("torchvision/resnet18", "torchvision/vit_b_16"):
        architectures.check(backbone_of(architecture=name))
        assert architectures.module(name) == "treehead.backbones.networks.torchvision"


XINET = {"alpha": 0.5, "gamma": 4, "num_layers": 5, "base_filters": 16}


@pytest.mark.parametrize("changes", [{}, {"num_layers": 3}, {"base_filters": 4, "gamma": 2}])
@pytest.mark.parametrize("size", [32, 48, 57])
def test_xinet_is_microminds(changes: dict, size: int):
    settings = XINET | changes
    torch.manual_seed(2)
    theirs = XiNet((3, size, size), **settings).eval()
    torch.manual_seed(2)
    network, dim = network_of("xinet", settings, size)
    assert list(network[0].state_dict()) == list(theirs.state_dict())
    images = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        expected = theirs(images).mean((2, 3))
        torch.testing.assert_close(network.eval()(images), expected)
    assert expected.shape == (2, dim)
    assert expected.std() > 0


@pytest.mark.parametrize("side", [24, 31, 39, 64])
def test_xinet_reads_images_of_other_sides_too(side: int):
    """As progressive training gives it, and of sides that micromind's own pooling does not fit."""
    network, dim = network_of("xinet", XINET, 32)
    assert network(torch.randn(2, 3, side, side)).shape == (2, dim)
    assert network_of("xinet", XINET, side)[1] == dim == 128


def test_airbench_has_less_than_two_million_parameters():
    backbone = build("airbench", {"widths": [64, 256, 256]}, 32, NORMALIZATION).eval()
    assert backbone.dim == 256
    assert parameters(backbone) + 256 * 20 + 20 * 100 < 2e6
    with torch.inference_mode():
        assert backbone(pictures(2, 32)).shape == (2, 256)


def test_an_identity_convolution_passes_on_its_inputs():
    layer = airbench.identity_convolution(4, 6)
    x = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(layer(x)[:, :4], x)


def test_whitened_patches_are_uncorrelated_and_of_unit_variance():
    torch.manual_seed(0)
    backbone = build("airbench", {"widths": [8]}, 16, NORMALIZATION)
    images = pictures(200, 16).float()
    images = (images + images.roll(1, 3) + images.roll(1, 2) + 40).clamp(0, 255).to(torch.uint8)
    backbone.whiten(images)
    layer = backbone.network[0]
    filtered = layer(backbone.preprocess(images)).transpose(0, 1).flatten(1)
    second_moment = filtered[:12] @ filtered[:12].T / filtered.shape[1]
    torch.testing.assert_close(second_moment, torch.eye(12), rtol=0, atol=0.02)
    torch.testing.assert_close(filtered[12:], -filtered[:12])
    assert not layer.weight.requires_grad


def test_a_whitening_layer_that_has_weights_keeps_them():
    """Those of a trained network are not made anew."""
    backbone = build("airbench", {"widths": [8]}, 16, NORMALIZATION)
    backbone.network[0].weight.fill_(0.5)
    backbone.whiten(pictures(9, 16))
    assert (backbone.network[0].weight == 0.5).all()


SMALL = ["mobilenet_v3_small", "resnet18", "squeezenet1_1", "shufflenet_v2_x0_5", "mnasnet0_5"]
DIMS = {"mobilenet_v3_small": 576, "resnet18": 512, "squeezenet1_1": 512}


@pytest.mark.parametrize("name", SMALL)
def test_a_model_of_torchvision_gives_features_and_has_no_classifier(name: str):
    torch.manual_seed(0)
    backbone = build(f"torchvision/{name}", {}, 64, NORMALIZATION).eval()
    assert backbone.dim == DIMS.get(name, 1024 if name.startswith("shuffle") else 1280)
    with torch.inference_mode():
        features = backbone(pictures(2, 32))
    assert features.shape == (2, backbone.dim)
    assert features.isfinite().all()
    assert not torch.equal(features[0], features[1])
    whole = models.get_model(name, weights=None)
    names, mine = set(whole.state_dict()), set(backbone.network.state_dict())
    assert mine < names
    assert all(key.split(".")[0] in ("classifier", "fc") for key in names - mine)


# The smallest of each family, and the side of the images that it needs.
FAMILIES = {
    "alexnet": 64,
    "convnext_tiny": 32,
    "densenet121": 32,
    "efficientnet_b0": 32,
    "efficientnet_v2_s": 32,
    "googlenet": 32,
    "inception_v3": 96,
    "maxvit_t": 224,
    "mnasnet0_5": 32,
    "mobilenet_v2": 32,
    "regnet_y_400mf": 32,
    "resnet18": 32,
    "shufflenet_v2_x0_5": 32,
    "squeezenet1_1": 64,
    "swin_t": 32,
    "swin_v2_t": 64,
    "vgg11_bn": 32,
    "vit_b_32": 32,
}


def as_with_weights(name: str, size: int) -> nn.Module:
    """A model as torchvision builds it for its own weights, but random."""
    more = {"transform_input": True, "init_weights": True} if name in TRANSFORMING else {}
    more |= {"image_size": size} if name.startswith("vit_") else {}
    whole = models.get_model(name, weights=None, **more).eval()
    for module in whole.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return whole


def read_by_the_classifier(whole: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """What the last part of one of torchvision's models reads, maps averaged over their pixels."""
    *_, classifier = whole.children()
    read = []
    classifier.register_forward_pre_hook(lambda _, arguments: read.append(*arguments))
    with torch.inference_mode():
        whole(images)
    return read[0].mean((2, 3)) if read[0].ndim == 4 else read[0]


TRANSFORMING = ("googlenet", "inception_v3")


@pytest.mark.parametrize(("name", "size"), FAMILIES.items())
def test_features_are_what_torchvisions_own_classifier_reads(tmp_path: Path, name: str, size: int):
    torch.manual_seed(0)
    whole = as_with_weights(name, size)
    images = torch.randn(2, 3, size, size)
    expected = read_by_the_classifier(whole, images)
    own = {"transform_input": True} if name in TRANSFORMING else {}
    network, dim = network_of(f"torchvision/{name}", own, size)
    names, tensors = network.state_dict(), whole.state_dict()
    weights.save(tmp_path / "weights.safetensors", {key: tensors[key] for key in names}, {})
    weights.into(network, tmp_path / "weights.safetensors")
    with torch.inference_mode():
        features = network.eval()(images)
    assert features.shape == (2, dim)
    assert torch.equal(features, expected)
    assert features.std() > 1e-6


@pytest.fixture
def uninitialised(monkeypatch):
    """The largest models take gigabytes and a minute, unless nobody writes into their memory."""
    for name, function in vars(nn.init).items():
        if name.endswith("_") and callable(function):
            monkeypatch.setattr(nn.init, name, lambda tensor, *_, **__: tensor)


@pytest.mark.parametrize("name", models.list_models(module=models))
def test_every_model_of_torchvision_has_the_names_and_features_of_torchvisions_own(
    uninitialised, name: str
):
    size = models.get_model_weights(name).DEFAULT.transforms().crop_size[0]
    with warnings.catch_warnings(action="ignore"):
        more = {"image_size": size} if name.startswith("vit_") else {}
        whole = models.get_model(name, weights=None, **more).to("meta").eval()
    network = torchvision.build(size, name).to("meta").eval()
    *_, last = (child for child, _ in whole.named_children())
    removed = (f"{last}.", "aux1.", "aux2.", "AuxLogits.")
    kept = {
        key: value.shape for key, value in whole.state_dict().items() if not key.startswith(removed)
    }
    assert {key: value.shape for key, value in network.state_dict().items()} == kept
    images = torch.empty(2, 3, size, size, device="meta")
    assert network(images).shape == read_by_the_classifier(whole, images).shape


def test_the_families_are_all_that_torchvision_has():
    families = {"resnext", "wide"} | {name.split("_")[0].rstrip("0123456789") for name in FAMILIES}
    known = {name.split("_")[0].rstrip("0123456789") for name in models.list_models(module=models)}
    assert known - families == set()


def test_a_model_that_torchvision_lacks_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="did you mean torchvision/mobilenet_v3_small"):
        torchvision.build(32, "mobilenet_v3_smal")


def test_images_that_are_too_small_for_a_model_are_told_so():
    with pytest.raises(InputError, match=r"alexnet can't read images of backbone\.image_size 16"):
        network_of("torchvision/alexnet", {}, 16)
    with pytest.raises(InputError, match=r"vit_b_16 can't be built for backbone\.image_size 40"):
        network_of("torchvision/vit_b_16", {}, 40)


@pytest.mark.parametrize(
    ("name", "size"),
    [("squeezenet1_1", 64), ("mnasnet0_5", 32), *zip(TRANSFORMING, (32, 96), strict=True)],
)
def test_torchvisions_own_weights_give_the_features_that_torchvision_gives(
    monkeypatch, tmp_path, name: str, size: int
):
    """From torch's cache, where the file lies under the name that torchvision gives it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    torch.manual_seed(7)
    whole = as_with_weights(name, size)
    url = models.get_model_weights(name).DEFAULT.url
    file = tmp_path / "hub" / "checkpoints" / Path(url).name
    file.parent.mkdir(parents=True)
    torch.save(whole.state_dict(), file)
    path = tmp_path / "weights.safetensors"
    settings = {"architecture": f"torchvision/{name}", "settings": {}, "size": size}
    origin = initial.write(path, settings | {"source": "torchvision"}, None)
    assert origin["input"] == brought(f"torchvision/{name}", {}, "torchvision", None) | {
        "size": size
    }
    network, dim = network_of(settings["architecture"], origin["input"]["settings"], size)
    weights.into(network, path)
    images = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        features = network.eval()(images)
    assert torch.equal(features, read_by_the_classifier(whole, images))
    assert features.shape == (2, dim)


IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


@pytest.mark.parametrize("name", models.list_models(module=models))
def test_torchvisions_own_weights_bring_the_input_that_they_were_made_with(name: str):
    """The image that our preprocessing gives is that of torchvision's own transforms."""
    own = brought(f"torchvision/{name}", {}, "torchvision", None)
    transforms = models.get_model_weights(name).DEFAULT.transforms()
    given = {key: own[key] for key in ("size", "mean", "std", "interpolation", "crop")}
    image = pictures(1, 20).repeat_interleave(4, 2).repeat_interleave(4, 3).float()
    ours = Backbone(nn.Identity(), 3, **given).preprocess(image)
    torch.testing.assert_close(ours, transforms(image / 255), rtol=1e-3, atol=2e-4)
    assert own["settings"] == ({"transform_input": True} if name in TRANSFORMING else {})


def test_a_file_of_torchvision_is_known_by_the_hash_in_its_name():
    v1, v2 = models.ResNet50_Weights
    for known, crop in ((v1, 224 / 256), (v2, 224 / 232)):
        sha256 = known.url[-12:-4] + 56 * "0"
        own = brought("torchvision/resnet50", {}, "some/file.pth", sha256)
        assert own == {
            "size": 224,
            "interpolation": "bilinear",
            "crop": crop,
            "settings": {},
            **IMAGENET,
        }
    assert brought("torchvision/resnet50", {}, "some/file.pth", 64 * "0") == {}
    assert brought("torchvision/resnet50", {}, "scratch", None) == {}
    assert brought("resnet9", {"width": 1}, "some/file.pth", sha256) == {}


def test_an_unknown_file_of_a_model_that_may_transform_its_input_is_asked_about():
    with pytest.raises(InputError, match=r"torchvision\.transform_input to true if .* to false if"):
        brought("torchvision/googlenet", {}, "some/file.pth", 64 * "0")
    for value in (True, False):
        given = {"transform_input": value}
        assert brought("torchvision/googlenet", given, "some/file.pth", 64 * "0") == {}
    known = models.GoogLeNet_Weights.DEFAULT.url[-12:-4] + 56 * "0"
    own = brought("torchvision/googlenet", {}, "some/file.pth", known)
    assert own["settings"] == {"transform_input": True}


def test_a_network_from_scratch_does_not_transform_its_input():
    network, _ = network_of("torchvision/googlenet", {}, 32)
    assert network.transform_input is False
    with pytest.raises(InputError, match=r"torchvision/resnet18 has no transform_input; set "):
        network_of("torchvision/resnet18", {"transform_input": True}, 32)


def test_weights_that_can_not_be_fetched_are_told_so(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="torchvision's weights of squeezenet1_1 can't be fetched"):
        pretrained("torchvision/squeezenet1_1", 64, None)


@pytest.mark.parametrize(
    ("side", "height", "width"), [(2, 1, 2), (2, 2, 2), (3, 2, 3), (3, 3, 3), (3, 1, 9)]
)
def test_the_matrix_of_a_small_map_gives_what_the_convolution_gives(
    side: int, height: int, width: int
):
    torch.manual_seed(side)
    layer = Convolution(3, 5, side).double()
    given = torch.randn(4, 3, height, width, dtype=torch.float64)
    results = []
    for training in (True, False):
        x = given.clone().requires_grad_()
        layer.train(training).zero_grad()
        y = layer(x)
        assert y.grad_fn.name().startswith("Permute") == training
        y.square().sum().backward()
        results.append((y.detach(), x.grad, layer.weight.grad.clone()))
    for product, convolution in zip(*results, strict=True):
        torch.testing.assert_close(product, convolution)


def test_a_map_of_more_pixels_than_the_kernel_is_convolved():
    assert "Conv" in Convolution(3, 5, 3)(torch.zeros(1, 3, 5, 2)).grad_fn.name()
