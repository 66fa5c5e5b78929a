"""The exported backbone is the same function for any batch, and nothing in it changes."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import onnx
import pytest
import torch
import yaml
from torch import nn

from treehead.backbones import embed, exporting, weights
from treehead.backbones.backbone import Backbone, build

ROOT = Path(__file__).parents[1]
PHINET = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())["backbone"]["phinet"]
NORMALIZATION = {"mean": [0.51, 0.49, 0.44], "std": [0.27, 0.26, 0.28]}
ARCHITECTURES = {
    "phinet": ({**PHINET, "alpha": 0.3}, 64),  # images of 16 are resized
    "resnet9": ({"width": 0.05}, 16),
}


def pictures(n: int) -> np.ndarray:
    """Random images (n, 3, 16, 16) uint8 of different brightness and contrast."""
    rng = np.random.default_rng(n)
    darkest, brightest = rng.integers(0, 100, (n, 1, 1, 1)), rng.integers(150, 256, (n, 1, 1, 1))
    return rng.integers(darkest, brightest, (n, 3, 16, 16)).astype(np.uint8)


def used(architecture: str, seed: int = 0) -> Backbone:
    """A backbone whose BatchNorm statistics are of images, and whose features are far from zero."""
    torch.manual_seed(seed)
    own, size = ARCHITECTURES[architecture]
    backbone = build(architecture, own, size, NORMALIZATION)
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):  # PhiNet's own initial weights let nothing through
            nn.init.kaiming_normal_(module.weight)
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.5
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    with torch.no_grad():
        for batch in range(4):
            backbone(torch.from_numpy(pictures(20 + batch)))
    return backbone


class Exported(NamedTuple):
    """A backbone, its ONNX file, and the difference and hashes of the export."""

    backbone: Backbone
    path: Path
    difference: float
    before: str


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES))
def exported(request: pytest.FixtureRequest, tmp_path_factory) -> Exported:
    backbone = used(request.param).train()
    path = tmp_path_factory.mktemp("onnx") / "backbone.onnx"
    before = embed.state_hash(backbone)
    return Exported(backbone, path, exporting.write(backbone, path, pictures(5), 1), before)


def eager(backbone: Backbone, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return backbone.eval()(torch.from_numpy(images)).numpy()


def close(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Equal to a ten-thousandth of the largest feature."""
    return np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max()


def test_the_test_is_not_trivial(exported: Exported):
    """Features are of order one and differ between images; the statistics are not initial."""
    features = eager(exported.backbone, pictures(8))
    assert 0.1 < np.abs(features).max() < 1000
    assert (features.std(0) > 1e-3).mean() > 0.5
    norm = next(m for m in exported.backbone.modules() if isinstance(m, nn.BatchNorm2d))
    assert norm.running_mean.abs().max() > 1e-3


@pytest.mark.parametrize(
    ("interpolation", "size", "crop"),
    [("nearest", 40, 0.875), ("bilinear", 9, 0.875), ("bicubic", 16, 0.5), ("bicubic", 24, 1)],
)
def test_resizing_is_exported_for_any_batch(
    tmp_path: Path, interpolation: str, size: int, crop: float
):
    """Features are the pixels of the network's input, so that each of them is compared."""
    mean, std = NORMALIZATION.values()
    backbone = Backbone(nn.Flatten(), 3 * size**2, size, mean, std, interpolation, crop)
    assert exporting.write(backbone, tmp_path / "backbone.onnx", pictures(3), 1) < 1e-4
    run = embed.with_onnx(tmp_path / "backbone.onnx", 1)
    for n in (1, 5):
        assert close(run(pictures(n)), eager(backbone, pictures(n)))


@pytest.mark.parametrize("n", [1, 2, 3, 5, 9])
def test_exported_features_are_the_eager_ones_for_any_batch(exported: Exported, n: int):
    features = embed.with_onnx(exported.path, 1)(pictures(n))
    assert features.shape == (n, exported.backbone.dim)
    assert features.dtype == np.float32
    assert close(features, eager(exported.backbone, pictures(n)))


def test_the_returned_difference_is_the_largest_one_on_the_probe(exported: Exported):
    ours, theirs = (
        embed.with_onnx(exported.path, 1)(pictures(5)),
        eager(exported.backbone, pictures(5)),
    )
    assert exported.difference == pytest.approx(float(np.abs(ours - theirs).max()), abs=1e-5)


def test_frozen_means_frozen(exported: Exported):
    """Though it came in train mode, where the study's BatchNorm statistics kept moving."""
    assert not exported.backbone.training
    assert embed.state_hash(exported.backbone) == exported.before
    images = pictures(12)
    run = embed.with_torch(exported.backbone.train(), "cpu")
    embed.embed(images, ["identity", "flip"], run, 4, "embed")
    assert embed.state_hash(exported.backbone) == exported.before


def test_torch_on_a_cpu_gives_what_onnx_gives(exported: Exported):
    images = pictures(6)
    run = embed.with_torch(exported.backbone, "cpu")
    assert close(embed.with_onnx(exported.path, 1)(images), run(images))


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_features_do_not_depend_on_the_batches(exported: Exported, batch_size: int):
    images, run = pictures(7), embed.with_onnx(exported.path, 1)
    features = embed.embed(images, ["identity", "flip"], run, batch_size, "embed")
    assert features.shape == (2, 7, exported.backbone.dim)
    assert close(features[0], eager(exported.backbone, images))
    assert close(features[1], eager(exported.backbone, images[..., ::-1].copy()))
    assert not close(features[0], features[1])


def test_the_file_can_not_change_under_a_running_session(exported: Exported, tmp_path: Path):
    copy = tmp_path / "backbone.onnx"
    shutil.copyfile(exported.path, copy)
    run = embed.with_onnx(copy, 1)
    copy.write_bytes(b"gone")
    assert close(run(pictures(3)), eager(exported.backbone, pictures(3)))


def test_an_export_names_no_file_of_the_machine_it_was_made_on(exported: Exported):
    """So two clones of the project in two folders write the same bytes."""
    content = exported.path.read_bytes()
    assert b"backbones.py" not in content
    assert str(Path(embed.__file__).parent.parent).encode() not in content


def instead(monkeypatch: pytest.MonkeyPatch, path: Path, then=lambda: None) -> None:
    """Let torch's export give the model in `path` instead, and do something more."""

    def export(_: nn.Module, __: tuple, **___: object) -> SimpleNamespace:
        then()
        return SimpleNamespace(model_proto=onnx.load(path))

    monkeypatch.setattr(torch.onnx, "export", export)


def test_an_export_that_computes_another_function_is_an_error(
    exported, monkeypatch, tmp_path: Path
):
    instead(monkeypatch, exported.path)
    architecture = "resnet9" if exported.backbone.size == 16 else "phinet"
    same, other = used(architecture), used(architecture, seed=1)
    exporting.write(same, tmp_path / "same.onnx", pictures(5), 1)
    with pytest.raises(RuntimeError, match="differs from the eager one"):
        exporting.write(other, tmp_path / "other.onnx", pictures(5), 1)
    assert not (tmp_path / "other.onnx").exists()


@pytest.mark.parametrize("scale", [1e-7, float("nan")])
def test_another_function_is_found_by_small_features_too(
    exported, monkeypatch, tmp_path: Path, scale: float
):
    """Features of an untrained PhiNet are tiny; a difference of NaN exceeds no tolerance."""
    instead(monkeypatch, exported.path)

    class Scaled(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return scale * exported.backbone(images)

    run = embed.with_onnx(exported.path, 1)
    monkeypatch.setattr(embed, "with_onnx", lambda *_: lambda images: 2 * scale * run(images))
    with pytest.raises(RuntimeError, match="differs from the eager one"):
        exporting.write(Scaled(), tmp_path / "other.onnx", pictures(5), 1)
    assert not (tmp_path / "other.onnx").exists()


def test_a_backbone_that_changes_during_the_export_is_an_error(
    exported, monkeypatch, tmp_path: Path
):
    network = exported.backbone.network
    norm = next(module for module in network.modules() if isinstance(module, nn.BatchNorm2d))
    kept = norm.num_batches_tracked.clone()
    instead(monkeypatch, exported.path, lambda: norm.num_batches_tracked.add_(1))
    with pytest.raises(RuntimeError, match="the backbone changed"):
        exporting.write(exported.backbone, tmp_path / "b.onnx", pictures(5), 1)
    norm.num_batches_tracked.copy_(kept)
    assert not (tmp_path / "b.onnx").exists()


def test_the_hash_is_of_all_parameters_and_buffers():
    """The normalisation is a buffer that is in no weights file, but part of the function."""
    backbone = used("resnet9")
    first = embed.state_hash(backbone)
    assert embed.state_hash(used("resnet9")) == first
    with torch.inference_mode():
        backbone.eval()(torch.from_numpy(pictures(3)))
    assert embed.state_hash(backbone.train()) == first
    for name, value in [*backbone.named_parameters(), *backbone.named_buffers()]:
        kept = value.detach().clone()
        with torch.no_grad():
            value.view(-1)[-1] += 1
        assert embed.state_hash(backbone) != first, f"{name} is not hashed"
        with torch.no_grad():
            value.copy_(kept)
        assert embed.state_hash(backbone) == first


def test_the_hash_depends_on_which_tensor_holds_the_values():
    one, other = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    pair, swapped = nn.ModuleDict({"a": one, "b": other}), nn.ModuleDict({"a": other, "b": one})
    assert embed.state_hash(pair) != embed.state_hash(swapped)


def test_one_forward_in_train_mode_changes_the_hash():
    backbone = used("resnet9").train()
    before = embed.state_hash(backbone)
    with torch.no_grad():
        backbone(torch.from_numpy(pictures(3)))
    assert embed.state_hash(backbone) != before


def test_the_views_are_the_image_and_its_mirror():
    images = pictures(2)
    np.testing.assert_array_equal(embed.VIEWS["identity"](images), images)
    flipped = embed.VIEWS["flip"](images)
    for column in range(16):
        np.testing.assert_array_equal(flipped[..., column], images[..., 15 - column])


def test_features_stand_in_the_order_of_views_and_images():
    images = np.zeros((5, 3, 4, 4), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 3] = np.arange(5), 10 + np.arange(5)
    features = embed.embed(images, ["identity", "flip"], lambda x: x[:, :1, 0, 0], 2, "embed")
    assert features.tolist() == [[[i] for i in range(5)], [[10 + i] for i in range(5)]]


def test_on_a_cpu_the_backbone_is_opened_as_its_onnx(exported: Exported):
    images = pictures(3)
    settings = {"threads": 1, "network": {}, "portable": False}
    with embed.opened(exported.path, "no weights", settings, "cpu") as run:
        np.testing.assert_array_equal(run(images), embed.with_onnx(exported.path, 1)(images))


def test_for_portable_features_the_backbone_is_opened_in_torch(tmp_path: Path):
    network = {"architecture": "resnet9", "settings": {"width": 0.125}, "size": 16}
    network["normalization"] = NORMALIZATION
    backbone, images = build(**network), pictures(3)
    weights.save(tmp_path / "weights.safetensors", backbone.network.state_dict(), {})
    settings = {"threads": 1, "network": network, "portable": True}
    with torch.inference_mode():
        expected = backbone.eval()(torch.from_numpy(images))
    with embed.opened("no.onnx", tmp_path / "weights.safetensors", settings, "cpu") as run:
        np.testing.assert_array_equal(run(images), expected)
