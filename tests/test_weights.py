"""Weights of many makes are read, no foreign object is built, what does not fit is named."""

import gc
import io
import os
import pickle
import random
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from micromind.networks import PhiNet
from safetensors.torch import save_file
from torch import Tensor, nn

from treehead.artifacts import InputError
from treehead.backbones import weights
from treehead.backbones.backbone import network_of
from treehead.backbones.networks import resnet9

ROOT = Path(__file__).parents[1]
CHECKPOINTS = sorted((ROOT.parent / "shared" / "data" / "phinet").glob("*.ckpt"))
PHINET = {
    "alpha": 0.9,
    "beta": 0.5,
    "t_zero": 4,
    "num_layers": 7,
    "divisor": 8,
    "downsampling_layers": [4, 5, 7],
}


def trained(network: nn.Module) -> nn.Module:
    """The network with BatchNorm statistics and weights that are nobody's initial ones."""
    generator = torch.Generator().manual_seed(1)
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
        else:
            value.fill_(7)
    return network


@pytest.fixture
def network() -> nn.Module:
    """A small network with 0-dimensional buffers (num_batches_tracked)."""
    return trained(resnet9.build(32, width=0.02))


@pytest.fixture
def classifier() -> nn.Linear:
    return nn.Linear(21, 10)


def equal(some: dict[str, Tensor], others: dict[str, Tensor]) -> bool:
    """Whether names and tensors are the same, to the bit."""
    return some.keys() == others.keys() and all(
        torch.equal(some[name], others[name]) and some[name].dtype == others[name].dtype
        for name in some
    )


def micromind_checkpoint(network: nn.Module, classifier: nn.Linear) -> dict:
    """What micromind's trainer saves: tensors by module, and the optimiser as a live object."""
    modules = nn.ModuleList([network, classifier])
    optimizer = torch.optim.Adam(modules.parameters(), lr=1e-4)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 10)
    sum(parameter.sum() for parameter in modules.parameters()).backward()
    optimizer.step()
    schedule.step()
    return {
        "key": "loss",
        "mode": "min",
        "epoch": 3,
        "optimizer": optimizer,
        "lr_scheduler": schedule,
        "feature_extractor": network.state_dict(),
        "flattener": OrderedDict(),
        "classifier": OrderedDict(
            (f"2.{name}", value) for name, value in classifier.state_dict().items()
        ),
    }


def refused(*_: object, **__: object) -> None:
    raise AssertionError("code of the checkpoint's objects was run")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_micromind_checkpoint_loads_and_builds_none_of_its_objects(
    tmp_path, monkeypatch, network, classifier, zipped: bool
):
    path = tmp_path / "epoch_3.ckpt"
    checkpoint = micromind_checkpoint(network, classifier)
    torch.save(checkpoint, path, _use_new_zipfile_serialization=zipped)
    freed = []
    for kind in (torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler):
        monkeypatch.setattr(kind, "__del__", lambda _: freed.append(1), raising=False)
    for kind in (torch.optim.Adam, torch.optim.lr_scheduler.StepLR):
        for method in ("__init__", "__setstate__", "load_state_dict"):
            monkeypatch.setattr(kind, method, refused, raising=False)
    backbone, head = weights.load(path)
    assert equal(backbone, network.state_dict())
    assert equal(head, classifier.state_dict())
    gc.collect()
    assert not freed, "an optimiser or a schedule was built, and freed again"
    del checkpoint
    gc.collect()
    assert len(freed) == 2, "and this would have shown it"


def test_a_checkpoint_of_other_optimisers_loads_too(tmp_path, network, classifier):
    path = tmp_path / "epoch_3.ckpt"
    for kind, schedule in [
        (torch.optim.AdamW, torch.optim.lr_scheduler.CosineAnnealingLR),
        (torch.optim.SGD, torch.optim.lr_scheduler.StepLR),
    ]:
        checkpoint = micromind_checkpoint(network, classifier)
        checkpoint["optimizer"] = kind(network.parameters(), lr=0.1)
        checkpoint["lr_scheduler"] = schedule(checkpoint["optimizer"], 10)
        torch.save(checkpoint, path)
        assert equal(weights.load(path)[0], network.state_dict())


@pytest.mark.skipif(
    not CHECKPOINTS, reason="the study's checkpoint is not in ../shared/data/phinet"
)
def test_the_studys_own_checkpoint_is_its_phinet_with_a_head_of_ten_clusters(tmp_path):
    tensors, head = weights.load(CHECKPOINTS[0])
    network, dim = network_of("phinet", PHINET, 160)
    fitted = weights.fit(tensors, network, CHECKPOINTS[0])
    weights.save(tmp_path / "canonical.safetensors", fitted, head)
    before = next(network.parameters()).clone()
    weights.into(network, tmp_path / "canonical.safetensors")
    assert not torch.equal(next(network.parameters()), before)
    assert sum(parameter.numel() for parameter in network.parameters()) == 552_267
    named = {name.removeprefix("0.") for name, _ in network.named_parameters()}
    assert sum(tensors[name].numel() for name in named) == 552_267
    assert dim == 344
    assert weights.head(tmp_path / "canonical.safetensors")["weight"].shape == (10, 344)
    assert weights.head(tmp_path / "canonical.safetensors")["bias"].shape == (10,)


class Hostile:
    """Pickled, this is a command that makes a file."""

    def __init__(self, marker: Path) -> None:
        self.command = f"touch '{marker}'"

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)


def pickled(value: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(value, protocol=2))


def zipped(value: object, path: Path) -> None:
    torch.save(value, path)


def legacy(value: object, path: Path) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("write", [pickled, zipped, legacy])
@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".pth.tar"])
def test_a_hostile_pickle_is_refused_and_its_command_does_not_run(tmp_path, write, suffix: str):
    path, marker = tmp_path / f"weights{suffix}", tmp_path / "marker"
    write({"state_dict": {"weight": torch.ones(2)}, "extra": Hostile(marker)}, path)
    with pytest.raises(
        InputError, match=r"weights\.[a-z.]+ is (refused|not a complete weights file)"
    ):
        weights.load(path)
    assert not marker.exists()


def test_a_refusal_names_what_is_foreign_and_the_remedy(tmp_path):
    zipped(Hostile(tmp_path / "marker"), tmp_path / "weights.pt")
    with pytest.raises(
        InputError, match=r"weights\.pt is refused because.*system.*; save its state dict alone"
    ):
        weights.load(tmp_path / "weights.pt")


def test_the_inert_stand_ins_are_not_left_behind(tmp_path, network):
    """Outside of our loading nothing more than before is allowed to be built."""
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    allowed = set(torch.serialization.get_safe_globals())
    weights.load(tmp_path / "weights.pt")
    assert set(torch.serialization.get_safe_globals()) == allowed


@pytest.mark.parametrize("write", [zipped, legacy])
def test_a_damaged_file_is_an_input_error_wherever_it_is_damaged(tmp_path, write):
    whole, path = tmp_path / "whole.pt", tmp_path / "weights.pt"
    write({"a.weight": torch.ones(3, 4), "b": torch.zeros(())}, whole)
    data, dice = whole.read_bytes(), random.Random(0)
    for length in [0, 1, *(dice.randrange(len(data)) for _ in range(80))]:
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"weights\.pt"):
            weights.load(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("write", [zipped, legacy])
def test_flipped_bytes_never_end_in_anything_but_an_input_error(tmp_path, write):
    whole, path = tmp_path / "whole.pt", tmp_path / "weights.pt"
    write({"a.weight": torch.ones(3, 4), "b": torch.zeros(())}, whole)
    dice, errors = random.Random(0), 0
    for _ in range(300):
        data = bytearray(whole.read_bytes())
        for _ in range(3):
            data[dice.randrange(len(data))] = dice.randrange(256)
        path.write_bytes(data)
        try:
            weights.load(path)
        except InputError:
            errors += 1
    assert errors > 100


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"absent\.pt does not exist; check backbone\.weights"):
        weights.load(tmp_path / "absent.pt")


@pytest.mark.parametrize("value", [[torch.ones(2)], torch.ones(2), {"epoch": 3}, {}, {1: 2}])
def test_a_file_without_named_tensors_is_refused(tmp_path, value):
    torch.save(value, tmp_path / "weights.pt")
    with pytest.raises(InputError, match=r"weights\.pt holds"):
        weights.load(tmp_path / "weights.pt")


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "_orig_mod.", "module.backbone."])
@pytest.mark.parametrize("nested", [None, "state_dict", "model"])
def test_names_may_stand_under_a_trainers_prefix(tmp_path, network, prefix: str, nested):
    named = {f"{prefix}{name}": value for name, value in network.state_dict().items()}
    torch.save({nested: named, "epoch": 1} if nested else named, tmp_path / "weights.pt")
    tensors, head = weights.load(tmp_path / "weights.pt")
    assert equal(weights.fit(tensors, network, "weights.pt"), network.state_dict())
    assert head == {}


@pytest.mark.parametrize("format", ["pt", "safetensors"])
def test_phinets_own_state_dict_with_its_classifier_fits(tmp_path, format: str):
    """As PhiNet(include_top=True) has it: names without our Sequential, and a classifier."""
    small = {**PHINET, "alpha": 0.3}
    whole = trained(PhiNet(input_shape=(3, 32, 32), include_top=True, num_classes=7, **small))
    path = tmp_path / f"weights.{format}"
    (torch.save if format == "pt" else save_file)(whole.state_dict(), path)
    network, dim = network_of("phinet", small, 32)
    tensors, head = weights.load(path)
    fitted = weights.fit(tensors, network, path)
    assert list(fitted) == list(network.state_dict())
    for name, value in fitted.items():
        assert torch.equal(value, whole.state_dict()[name.removeprefix("0.")])
    assert head["weight"].shape == (7, dim)
    assert torch.equal(
        head["weight"].flatten(), whole.state_dict()["classifier.2.weight"].flatten()
    )
    assert torch.equal(head["bias"], whole.state_dict()["classifier.2.bias"])


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("format", ["pt", "safetensors"])
def test_weights_of_half_precision_become_float32(
    tmp_path, network, classifier, kind: torch.dtype, format: str
):
    whole = {**network.state_dict()}
    whole |= {f"classifier.{name}": value for name, value in classifier.state_dict().items()}
    halves = {
        name: value.detach().to(kind) if value.is_floating_point() else value
        for name, value in whole.items()
    }
    path, canonical = tmp_path / f"weights.{format}", tmp_path / "canonical.safetensors"
    (torch.save if format == "pt" else save_file)(halves, path)
    tensors, head = weights.load(path)
    weights.save(canonical, weights.fit(tensors, network, path), head)
    read, read_head = weights.load(canonical)
    for name, value in network.state_dict().items():
        assert read[name].dtype == value.dtype
        assert torch.equal(read[name], halves[name].to(value.dtype))
    for name, value in read_head.items():
        assert value.dtype == torch.float32
        assert torch.equal(value, halves[f"classifier.{name}"].float())


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_truncated_file_is_named(tmp_path, network, suffix: str):
    path = tmp_path / f"weights{suffix}"
    (torch.save if suffix == ".pt" else save_file)(network.state_dict(), path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match=rf"weights\{suffix} is not a complete"):
        weights.load(path)


def test_another_width_is_told_with_the_tensor_and_both_shapes(network):
    wider = resnet9.build(32, width=0.03).state_dict()
    with pytest.raises(InputError, match=r"0\.0\.weight.*\(2, 3, 3, 3\).*\(1, 3, 3, 3\)"):
        weights.fit(wider, network, "weights.pt")


def test_a_missing_tensor_is_told(network):
    tensors = network.state_dict()
    del tensors["3.1.running_mean"]
    with pytest.raises(InputError, match=r"the file lacks the tensor 3\.1\.running_mean.*\(5,\)"):
        weights.fit(tensors, network, "weights.pt")


def test_a_surplus_tensor_is_told(network):
    tensors = {**network.state_dict(), "9.extra": torch.ones(4)}
    with pytest.raises(InputError, match=r"the network has no tensor 9\.extra of shape \(4,\)"):
        weights.fit(tensors, network, "weights.pt")


def test_a_head_alone_is_no_backbone(tmp_path, network, classifier):
    head = {f"classifier.{name}": value for name, value in classifier.state_dict().items()}
    torch.save(head, tmp_path / "weights.pt")
    tensors, _ = weights.load(tmp_path / "weights.pt")
    with pytest.raises(
        InputError, match=r"weights\.pt does not fit .* lacks the tensor 0\.0\.weight"
    ):
        weights.fit(tensors, network, tmp_path / "weights.pt")


def test_another_architecture_is_told(network):
    tensors = network_of("phinet", PHINET, 32)[0].state_dict()
    with pytest.raises(InputError, match=r"weights\.pt does not fit backbone\.architecture"):
        weights.fit(tensors, network, "weights.pt")


@pytest.mark.parametrize("hole", [float("nan"), float("inf")])
def test_nan_and_infinity_are_told(network, hole: float):
    tensors = network.state_dict()
    tensors["0.1.running_var"] = tensors["0.1.running_var"] * hole
    with pytest.raises(InputError, match=r"the tensor 0\.1\.running_var holds NaN or infinity"):
        weights.fit(tensors, network, "weights.pt")


def test_the_canonical_file_gives_all_tensors_back(tmp_path, network, classifier):
    path = tmp_path / "canonical.safetensors"
    weights.save(path, network.state_dict(), classifier.state_dict())
    fresh = resnet9.build(32, width=0.02)
    weights.into(fresh, path)
    assert equal(fresh.state_dict(), network.state_dict())
    assert fresh.state_dict()["0.1.num_batches_tracked"].shape == ()
    assert fresh.state_dict()["0.1.num_batches_tracked"] == 7
    head = weights.head(path)
    np.testing.assert_array_equal(head["weight"], classifier.weight.detach())
    np.testing.assert_array_equal(head["bias"], classifier.bias.detach())


def test_the_canonical_file_has_the_same_bytes_twice(tmp_path, network, classifier):
    for name in ("one", "two"):
        weights.save(tmp_path / name, network.state_dict(), classifier.state_dict())
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_weights_without_a_head_have_none_to_give(tmp_path, network):
    path = tmp_path / "canonical.safetensors"
    weights.save(path, network.state_dict(), {})
    with pytest.raises(InputError, match="has no linear head"):
        weights.head(path)


def test_a_head_of_two_layers_is_no_linear_head(tmp_path, network):
    head = nn.Sequential(nn.Linear(21, 8), nn.Linear(8, 10))
    torch.save(
        {"state_dict": network.state_dict(), "classifier": head.state_dict()}, tmp_path / "w.pt"
    )
    backbone, found = weights.load(tmp_path / "w.pt")
    assert equal(backbone, network.state_dict())
    assert found == {}


def test_values_beside_the_tensors_are_passed_over(tmp_path, network, classifier):
    head = {**classifier.state_dict(), "names": ["trout", "pike"], 7: torch.ones(2)}
    inner = {**network.state_dict(), "epoch": 3, 7: torch.ones(2)}
    torch.save({"state_dict": inner, "classifier": head}, tmp_path / "w.pt")
    backbone, found = weights.load(tmp_path / "w.pt")
    assert equal(backbone, network.state_dict())
    assert equal(found, classifier.state_dict())


def test_loading_takes_no_memory_of_the_file(tmp_path, network):
    """Training on top of loaded weights must not write into them."""
    path = tmp_path / "canonical.safetensors"
    weights.save(path, network.state_dict(), {})
    before = path.read_bytes()
    fresh = resnet9.build(32, width=0.02)
    weights.into(fresh, path)
    with torch.no_grad():
        next(fresh.parameters()).add_(1)
    assert path.read_bytes() == before
    assert not torch.equal(next(fresh.parameters()), weights.load(path)[0]["0.0.weight"])


def test_a_pickle_under_the_name_of_safetensors_is_not_unpickled(tmp_path):
    path, marker = tmp_path / "weights.safetensors", tmp_path / "marker"
    buffer = io.BytesIO()
    torch.save(Hostile(marker), buffer)
    path.write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match="not a complete safetensors file"):
        weights.load(path)
    assert not marker.exists()
