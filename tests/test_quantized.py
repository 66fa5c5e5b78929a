"""A network in 8 bits is the one that was trained, and its file holds whole numbers."""

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from treehead.artifacts import InputError
from treehead.backbones import embed, equalized, exporting, qdq, quantized
from treehead.backbones.backbone import Backbone
from treehead.data.dataset import Pixels
from treehead.deploy.c import arriving
from treehead.heads import packing
from treehead.training import distillation
from treehead.training.checkpoint import Checkpoint

NORMALIZATION = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
SETTINGS: dict[str, Any] = {
    "epochs": 6,
    "batch_size": 16,
    "learning_rate": 0.003,
    "activation_bits": 8,
    "relu_above": None,
    "calibration": 64,
    "seed": 0,
    "device": "cpu",
    "threads": 1,
}


class Small(nn.Module):
    """What backbones are made of: padding, BatchNorm around pooling, attention, a residual pair."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8)
        )
        self.pooled = nn.Sequential(
            nn.Conv2d(8, 12, 1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(12), nn.SiLU(True)
        )
        self.depthwise = nn.Sequential(nn.Conv2d(12, 12, 3, padding=1, groups=12), nn.Hardswish())
        self.asks = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(12, 12, 1), nn.Sigmoid())
        self.last = nn.Sequential(nn.Dropout(0.3), nn.Conv2d(12, 10, 1), nn.ReLU(True))

    def forward(self, x: Tensor) -> Tensor:
        x = self.pooled(nn.functional.hardswish(self.first(x)))
        x = x + self.depthwise(x)
        x = self.last(x * self.asks(x))
        return x.flatten(2).amax(2) + x.mean((2, 3))


@pytest.fixture(scope="module")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> Pixels:
    """96 smooth images of 16 pixels."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (96, 3, 4, 4)).repeat(4, 2).repeat(4, 3)
    path = tmp_path_factory.mktemp("pixels") / "train.npy"
    np.save(path, coarse.astype(np.uint8))
    return Pixels(path)


@pytest.fixture(scope="module")
def backbone(pixels: Pixels) -> Backbone:
    """A small one whose BatchNorm has seen images."""
    torch.manual_seed(0)
    made = Backbone(Small(), 10, 16, **NORMALIZATION)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    with torch.no_grad():
        for _ in range(20):
            made(torch.from_numpy(pixels[:]))
    return made.eval()


@pytest.fixture(scope="module")
def teacher(backbone: Backbone, tmp_path_factory: pytest.TempPathFactory, pixels: Pixels):
    path = tmp_path_factory.mktemp("teacher") / "backbone.onnx"
    exporting.write(backbone, path, pixels[:8], 1)
    return embed.with_onnx(path, 1)


def distilled(backbone: Backbone, teacher: embed.Run, pixels: Pixels, **own: Any):
    return distillation.quantize(backbone, teacher, pixels, pixels, SETTINGS | own)


@pytest.fixture(scope="module", params=[None, 20])
def trained(request: pytest.FixtureRequest, backbone: Backbone, teacher: embed.Run, pixels: Pixels):
    """A network in 8 bits, without and with ReLUs in place of smooth activations."""
    network, history = distilled(backbone, teacher, pixels, relu_above=request.param)
    return network, history, request.param


@pytest.fixture(scope="module")
def written(trained: Any, backbone: Backbone, pixels: Pixels, tmp_path_factory: Any) -> Path:
    path = tmp_path_factory.mktemp("int8") / "backbone.onnx"
    whole = Backbone(quantized.settled(trained[0]), 10, 16, **NORMALIZATION)
    exporting.write(whole, path, pixels[:32], 1, rounds=True)
    return path


@torch.no_grad()
def test_until_it_rounds_it_is_the_same_network(backbone: Backbone):
    images = torch.randn(5, 3, 16, 16)
    made = quantized.prepared(backbone.network, 16, None).eval()
    torch.testing.assert_close(made(images), backbone.network(images), rtol=1e-4, atol=1e-5)
    bends = quantized.prepared(backbone.network, 16, 0).eval()
    torch.testing.assert_close(bends(images), backbone.network(images), rtol=1e-4, atol=1e-5)
    quantized.set_phase(bends, 1, rounds=False)
    assert not torch.allclose(bends(images), backbone.network(images), atol=0.01)


def test_training_makes_up_for_relus_and_rounding(
    backbone: Backbone, teacher: embed.Run, pixels: Pixels
):
    own = SETTINGS | {"relu_above": 20, "epochs": 0}
    untrained = distillation.Distillation(backbone, teacher, pixels, pixels, own).val_loss()
    _, history = distilled(backbone, teacher, pixels, relu_above=20, epochs=20)
    assert [row.epoch for row in history] == list(range(1, 21))
    assert history[-1].val_loss < 0.5 * untrained


def test_the_file_gives_the_features_of_the_trained_network(
    trained: Any, written: Path, backbone: Backbone, pixels: Pixels
):
    with torch.no_grad():
        expected = quantized.settled(trained[0])(
            backbone.preprocess(torch.from_numpy(pixels[:]))
        ).numpy()
    found = embed.with_onnx(written, 1)(pixels[:])
    level = arriving.of_network(str(written)).scale
    assert np.abs(found - expected).max() <= 2.01 * level
    assert (np.abs(found - expected) < 0.01 * level).mean() > 0.95


def test_the_file_holds_whole_numbers_alone(written: Path):
    model = onnx.load(written)
    onnx.checker.check_model(model, full_check=True)
    types = {one.name: one.data_type for one in model.graph.initializer}
    maker = {name: node for node in model.graph.node for name in node.output}
    layers = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(layers) == 5
    for layer in layers:
        reads = [maker[name] for name in layer.input]
        assert [node.op_type for node in reads] == ["DequantizeLinear"] * 3
        whole = [types.get(node.input[0]) for node in reads]
        assert whole[1:] == [onnx.TensorProto.INT8, onnx.TensorProto.INT32]
    matrices = [one for one in model.graph.initializer if len(one.dims) > 1]
    floats = [one.name for one in matrices if one.data_type == onnx.TensorProto.FLOAT]
    assert all(numpy_helper.to_array(one).size <= 3 for one in matrices if one.name in floats)


def test_settled_weights_have_plain_strides_whatever_they_were_trained_in():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten())
    made = quantized.prepared(network, 16, None).to(memory_format=torch.channels_last)
    made.train()(torch.randn(4, 3, 16, 16))
    values = [part.value for part in quantized.settled(made).modules() if hasattr(part, "value")]
    assert len(values) == 2
    assert [value.stride() for value in values] == [(27, 9, 3, 1), (9, 9, 3, 1)]


def test_a_relu_is_the_lower_end_of_a_grid(trained: Any, written: Path):
    _, _, relu_above = trained
    operations = Counter(node.op_type for node in onnx.load(written).graph.node)
    smooth = operations["HardSwish"] + operations["HardSigmoid"]
    assert smooth == (2 if relu_above is None else 1)  # maps of 64 and of 16 pixels
    assert operations["Relu"] == 0
    assert operations["Sigmoid"] == 2  # of attention, and of SiLU on 16 pixels
    assert operations["GlobalAveragePool"] == 1


def test_features_arrive_as_int8_without_loss(written: Path, pixels: Pixels):
    features = embed.with_onnx(written, 1)(pixels[:])
    arrive = arriving.features(str(written), features)
    numbers, out = arrive.quantized(features)
    assert (arrive.bits, out) == (8, 0)
    np.testing.assert_allclose(
        arrive.scale * (numbers.astype(float) - arrive.zero), features, atol=1e-6
    )


def test_a_run_that_stops_and_resumes_gives_the_same_bytes(
    backbone: Backbone, teacher: embed.Run, pixels: Pixels, tmp_path: Path
):
    own = SETTINGS | {"epochs": 2, "relu_above": 20}
    network, _ = distillation.quantize(backbone, teacher, pixels, pixels, own)
    quantized.save(str(tmp_path / "whole"), network)
    first = distillation.Distillation(backbone, teacher, pixels, pixels, own)
    steps = first.run()
    for _ in range(8):  # into the second epoch
        next(steps)
    checkpoint = Checkpoint(tmp_path / "state.pt", 1e9)
    checkpoint.save(first.state_dict())
    resumed, history = distillation.quantize(backbone, teacher, pixels, pixels, own, checkpoint)
    quantized.save(str(tmp_path / "resumed"), resumed)
    assert (tmp_path / "resumed").read_bytes() == (tmp_path / "whole").read_bytes()
    assert [row.epoch for row in history] == [1, 2]


def test_ranges_stay_while_weights_learn_to_suit_them(
    backbone: Backbone, teacher: embed.Run, pixels: Pixels
):
    own = SETTINGS | {"epochs": 4, "relu_above": 20}
    training = distillation.Distillation(backbone, teacher, pixels, pixels, own)
    ranges = [
        [(part.low, part.high) for part in training.student.modules() if hasattr(part, "low")]
        for _ in training.run()
        if training.rounds and training.step < training.steps
    ]
    moved = [now != before for before, now in itertools.pairwise(ranges)]
    assert any(moved)
    assert moved == sorted(moved, reverse=True)  # first they move, then they stay
    assert sum(moved) < len(moved) / 2


def test_saved_weights_are_restored_into_the_same_network(
    trained: Any, backbone: Backbone, pixels: Pixels, tmp_path: Path
):
    network, _, relu_above = trained
    path = str(tmp_path / "weights.safetensors")
    quantized.save(path, network)
    images = backbone.preprocess(torch.from_numpy(pixels[:8]))
    restored = quantized.restored(path, backbone.network, 16, relu_above)
    with torch.no_grad():
        assert torch.equal(restored(images), quantized.settled(network)(images))
    with pytest.raises(InputError, match=r"weights\.safetensors is of another network; delete it"):
        quantized.restored(path, nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()), 16, relu_above)


class Asks(nn.Module):
    """Branches on its images."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))


def test_a_network_that_cannot_be_traced_is_one_sentence():
    with pytest.raises(InputError, match=r"can't be quantised.*remove branches on values"):
        quantized.prepared(Asks(), 16, None)


def test_a_training_that_diverges_says_so(backbone: Backbone, teacher: embed.Run, pixels: Pixels):
    with pytest.raises(InputError, match=r"Quantising diverged.*lower quantize\.learning_rate"):
        distilled(backbone, lambda images: teacher(images) * np.float32(np.nan), pixels)


def test_a_feature_that_calibration_hardly_sees_does_not_outweigh_the_others(
    backbone: Backbone, teacher: embed.Run, pixels: Pixels
):
    """With this seed one feature is 0 for all images that calibrate, and not for some others."""
    seen = distillation.Distillation(backbone, teacher, pixels, pixels, SETTINGS | {"seed": 3})
    features = np.concatenate([teacher(part) for part in seen._samples()])
    assert features.std(0).min() == 0
    assert teacher(pixels[:]).std(0).min() > 0
    _, history = distilled(backbone, teacher, pixels, seed=3)
    assert history[-1].val_loss < 0.1


class Constant(nn.Module):
    """BatchNorm leaves next to nothing of a channel's weights, and a shift."""

    def __init__(self, gain: float, shift: float) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)
        self.last = nn.Conv2d(8, 10, 1)
        with torch.no_grad():
            self.norm.weight[0], self.norm.bias[0] = gain, shift

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.first(x)).relu()).mean((2, 3))


@torch.no_grad()
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("gain", "shift"), [(0, 0.15), (0, 3), (1e-8, 3), (1e-5, 300)])
def test_a_channel_without_weights_keeps_its_constant(
    gain: float, shift: float, bits: int, pixels: Pixels, tmp_path: Path
):
    torch.manual_seed(0)
    whole = Backbone(Constant(gain, shift), 10, 16, **NORMALIZATION).eval()
    images = whole.preprocess(torch.from_numpy(pixels[:]))
    made = quantized.prepared(whole.network, 16, None, bits)
    made.train()(images)
    quantized.set_phase(made, 1, rounds=True)
    whole.network = quantized.settled(made)
    expected, path = whole.network(images).numpy(), tmp_path / "backbone.onnx"
    exporting.write(whole, path, pixels[:32], 1, rounds=True)
    found, level = embed.with_onnx(path, 1)(pixels[:]), arriving.of_network(str(path)).scale
    assert np.abs(found - expected).max() <= 1.01 * level
    stored = {one.name: numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}
    whole_bias, scale = stored["conv2d_bias_whole"], stored["conv2d_bias_scale"]
    assert whole_bias[0] * np.float64(scale[0]) == pytest.approx(shift, rel=1e-6)


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_matrices_of_packed_heads_are_stored_without_loss(bits: int, tmp_path: Path):
    rng = np.random.default_rng(bits)
    weight = rng.normal(size=(7, 30)).astype(np.float32)
    whole = packing.Whole(*packing.quantize(weight, bits)).weight()
    layer = nn.Linear(30, 7)
    layer.weight.data = torch.from_numpy(whole)
    free = {0: torch.export.Dim("n")}
    model = exporting.exported(layer, torch.zeros(2, 30), ("x", "y"), free)
    made = qdq.whole_matrices(model)
    onnx.checker.check_model(made, full_check=True)
    stored = [one for one in made.graph.initializer if len(one.dims) == 2]
    assert [one.data_type for one in stored] == [onnx.TensorProto.INT8]
    run = onnx.reference.ReferenceEvaluator(made)
    x = rng.normal(size=(3, 30)).astype(np.float32)
    np.testing.assert_allclose(
        run.run(None, {"x": x})[0], layer(torch.from_numpy(x)).detach(), rtol=1e-5, atol=1e-5
    )
    free_floats = qdq.whole_matrices(
        exporting.exported(nn.Linear(30, 7), torch.zeros(2, 30), ("x", "y"), free)
    )
    assert all(
        one.data_type == onnx.TensorProto.FLOAT
        for one in free_floats.graph.initializer
        if len(one.dims) == 2
    )


class Chained(nn.Module):
    """Layers whose channels differ by orders of magnitude, with attention and ReLUs in between."""

    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Conv2d(3, 8, 1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.asks = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Sigmoid())
        self.project = nn.Conv2d(8, 10, 1)
        with torch.no_grad():
            for layer in (self.expand, self.depthwise):
                layer.weight *= torch.logspace(-1, 1, 8).view(-1, 1, 1, 1)
            self.project.weight *= torch.logspace(1, -1, 10).view(-1, 1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(self.expand(x).relu()).relu()
        return self.project(x * self.asks(x)).mean((2, 3))


@torch.no_grad()
def test_values_of_16_bits_lose_next_to_nothing(backbone: Backbone, pixels: Pixels, tmp_path: Path):
    images = backbone.preprocess(torch.from_numpy(pixels[:]))
    wanted, apart, path = backbone.network(images), {}, tmp_path / "backbone.onnx"
    for bits in (8, 16):
        made = quantized.prepared(backbone.network, 16, None, bits)
        made.train()(images)
        for part in made.modules():  # weights stay as they are
            if isinstance(part, quantized.Grid):
                part.rounding = True
        apart[bits] = (made.eval()(images) - wanted).square().mean().sqrt()
    assert apart[16] < 0.02 * apart[8]
    whole = Backbone(quantized.settled(made), 10, 16, **NORMALIZATION)
    exporting.write(whole, path, pixels[:32], 1, rounds=True)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    found = embed.with_onnx(path, 1)(pixels[:])
    arrive = arriving.features(str(path), found)
    numbers, out = arrive.quantized(found)
    assert (arrive.bits, numbers.dtype, out) == (16, np.int16, 0)
    np.testing.assert_allclose(
        arrive.scale * (numbers.astype(float) - arrive.zero), found, atol=1e-6
    )


@torch.no_grad()
def test_equalising_changes_no_feature_but_by_its_divisor():
    torch.manual_seed(0)
    made = quantized.prepared(Chained(), 16, None).eval()
    images = torch.randn(64, 3, 16, 16)
    before = made(images)
    divided = equalized.equalize(made, [images])
    after = made(images)
    torch.testing.assert_close(after * divided, before, rtol=1e-4, atol=1e-4)
    assert before.std(0).max() > 30 * before.std(0).min()
    deviations = after.std(0)
    torch.testing.assert_close(deviations, deviations.mean().expand(10), rtol=1e-3, atol=0)


@torch.no_grad()
def test_equalised_channels_lose_less_by_rounding():
    torch.manual_seed(0)
    images = torch.randn(64, 3, 16, 16)
    wanted = Chained().eval()
    errors = []
    for equal in (False, True):
        made = quantized.prepared(wanted, 16, None).eval()
        divided = equalized.equalize(made, [images]) if equal else 1
        made.train()(images)
        quantized.set_phase(made, 1, rounds=True)
        apart = made.eval()(images) * divided - wanted(images)
        errors.append((apart.square().mean(0) / wanted(images).var(0)).mean())
    assert errors[1] < 0.5 * errors[0]


class Flattened(nn.Module):
    """Its linear layer reads pixels, not channels."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(nn.Conv2d(3, 6, 4, stride=4), nn.LeakyReLU(0.1, inplace=True))
        self.normed = nn.Sequential(nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6, affine=False))
        self.last = nn.Linear(6 * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.normed(self.maps(x)).relu().flatten(1))


class Tokens(nn.Module):
    """Its layers read the last axis, and its activation is not on maps."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 4, stride=4)
        self.layers = nn.Sequential(nn.Linear(6, 1200), nn.GELU(), nn.Linear(1200, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(self.patches(x).flatten(2).transpose(1, 2)).mean(1)


class Twice(nn.Module):
    """Its features are read once more within it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again = nn.Conv2d(3, 10, 4, stride=4), nn.Conv2d(10, 10, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).mean((2, 3), keepdim=True)
        return (x + self.again(x)).flatten(1)


@torch.no_grad()
@pytest.mark.parametrize("kind", [Flattened, Tokens, Twice])
def test_what_depends_on_more_than_a_channel_is_not_scaled(kind: type[nn.Module]):
    torch.manual_seed(0)
    network, images = kind().eval(), torch.randn(16, 3, 16, 16)
    made = quantized.prepared(network, 16, 1000).eval()
    quantized.set_phase(made, 1, rounds=False)
    torch.testing.assert_close(made(images), network(images), rtol=1e-4, atol=1e-5)
    divided = equalized.equalize(made, [images])
    torch.testing.assert_close(made(images) * divided, network(images), rtol=1e-4, atol=1e-5)


def test_a_calibration_without_images_is_one_sentence(
    backbone: Backbone, teacher: embed.Run, pixels: Pixels
):
    with pytest.raises(InputError, match=r"needs two images of train.*lower dataset\.val_fraction"):
        distillation.quantize(backbone, teacher, pixels[:1], pixels, SETTINGS)
