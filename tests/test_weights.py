"""A run's first weights: any file becomes one canonical file, or is answered by one sentence."""

import argparse
import os
import random
import re
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from micromind.networks import PhiNet
from safetensors.torch import save_file
from torch import Tensor, nn

from treehead.artifacts import InputError, read_tensors
from treehead.backbones import initial, weights
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
SMALL = {**PHINET, "alpha": 0.2, "num_layers": 4, "downsampling_layers": [4]}
CLASSES = 7


def trained(network: nn.Module) -> nn.Module:
    """The network with BatchNorm statistics and weights that are nobody's initial ones."""
    generator = torch.Generator().manual_seed(1)
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
        else:
            value.fill_(7)
    return network


# micromind's own network with its classifier, and the state dicts that are made of it.
WHOLE = trained(PhiNet((3, 32, 32), include_top=True, num_classes=CLASSES, **SMALL))
STATE = OrderedDict(WHOLE.state_dict())
BODY = OrderedDict((name, value) for name, value in STATE.items() if "classifier" not in name)
TOP = {name.removeprefix("classifier."): STATE[name] for name in STATE if "classifier" in name}
AVERAGE = OrderedDict((name, 2 * value) for name, value in STATE.items())


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in tensors.items()}


def renamed(classifier: str) -> dict[str, Tensor]:
    return BODY | {f"{classifier}.{kind}": TOP[f"2.{kind}"] for kind in ("weight", "bias")}


def wide(head: nn.Module) -> dict[str, Tensor]:
    return BODY | under("classifier.", head.state_dict())


DIM = TOP["2.weight"].shape[1]
ARGUMENTS = argparse.Namespace(
    lr=np.float64(0.1), out=Path("/tmp/x"), names=OrderedDict(a=1), seed=np.int64(3)
)
LAYOUTS = {
    "the network itself": STATE,
    "micromind's recipe": {"classifier": BODY},
    "micromind's trainer": {"feature_extractor": BODY, "classifier": TOP, "epoch": 3},
    "model_state_dict": {"model_state_dict": STATE, "loss": 0.3},
    "with arguments": {"state_dict": STATE, "args": ARGUMENTS},
    "with arguments, model": {"model": STATE, "args": ARGUMENTS, "scaler": None},
    "Lightning": {
        "state_dict": under("net.", STATE) | {"loss.weight": torch.ones(CLASSES)},
        "hyper_parameters": {"lr": 0.1},
        "callbacks": {},
    },
    "Lightning and DataParallel": {"state_dict": under("model.module.", STATE)},
    "before torch 0.4.1": {k: v for k, v in STATE.items() if "num_batches" not in k},
    "linear": renamed("linear"),
    "last_linear": renamed("last_linear"),
    "head.fc": renamed("head.fc"),
    "output": renamed("output"),
    "two layers": wide(nn.Sequential(nn.Linear(DIM, 9), nn.ReLU(), nn.Linear(9, CLASSES))),
    "an average beside it": {"state_dict": STATE, "state_dict_ema": AVERAGE},
    "half precision": {k: v.half() if v.is_floating_point() else v for k, v in STATE.items()},
    "double precision": {k: v.double() if v.is_floating_point() else v for k, v in STATE.items()},
}


def zipped(value: object, path: Path) -> None:
    torch.save(value, path)


def legacy(value: object, path: Path) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


def begin(folder: Path, file: Path, **settings: object) -> dict[str, np.ndarray]:
    """What a run starts from with a file of weights: the tensors of its canonical file."""
    chosen = {
        "architecture": "phinet",
        "settings": SMALL,
        "size": 32,
        "source": str(file),
        "weights_key": None,
    }
    initial.write(folder / "canonical.safetensors", chosen | settings, str(file))
    return read_tensors(folder / "canonical.safetensors")


@pytest.mark.parametrize("write", [zipped, legacy])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_of_a_checkpoint_becomes_the_same_canonical_file(tmp_path, layout: str, write):
    write(LAYOUTS[layout], tmp_path / "weights.pth")
    found = begin(tmp_path, tmp_path / "weights.pth")
    precise = "half" not in layout
    for name, value in BODY.items():
        counted = "num_batches" in name and layout == "before torch 0.4.1"
        expected = torch.zeros_like(value) if counted else value
        same = expected if precise or not value.is_floating_point() else value.half().float()
        np.testing.assert_array_equal(found[f"backbone.0.{name}"], same)
    headless = layout in ("micromind's recipe", "two layers")
    assert {name for name in found if name.startswith("head.")} == (
        set() if headless else {"head.weight", "head.bias"}
    )
    if not headless and precise:
        np.testing.assert_array_equal(found["head.weight"], TOP["2.weight"])
        np.testing.assert_array_equal(found["head.bias"], TOP["2.bias"])


def test_the_average_is_taken_if_it_is_asked_for(tmp_path):
    zipped(LAYOUTS["an average beside it"], tmp_path / "w.pth")
    found = begin(tmp_path, tmp_path / "w.pth", weights_key="state_dict_ema")
    for name, value in BODY.items():
        np.testing.assert_array_equal(found[f"backbone.0.{name}"], 2 * value)


def test_a_safetensors_file_and_its_shards_load(tmp_path):
    save_file(STATE, tmp_path / "model.safetensors")
    whole = begin(tmp_path, tmp_path / "model.safetensors")
    names = list(STATE)
    halves = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, held in halves.items():
        save_file({name: STATE[name] for name in held}, tmp_path / file)
    index = {name: file for file, held in halves.items() for name in held}
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(f'{{"weight_map": {index}}}'.replace("'", '"'))
    joined = begin(tmp_path, path)
    assert joined.keys() == whole.keys()
    assert all(np.array_equal(joined[name], whole[name]) for name in whole)


class Hostile:
    """Pickled, this is a command that makes a file."""

    def __init__(self, marker: Path) -> None:
        self.command = f"touch '{marker}'"

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)


@pytest.mark.parametrize("write", [zipped, legacy])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.fault(
    "a hostile pickle in each layout of a checkpoint", "one sentence; it does not run"
)
def test_a_hostile_pickle_in_each_layout_is_refused_and_does_not_run(tmp_path, layout: str, write):
    marker = tmp_path / "marker"
    for place in ("beside", "inside"):
        held = dict(LAYOUTS[layout])
        inner = next((value for value in held.values() if isinstance(value, dict)), held)
        (held if place == "beside" else inner)["extra"] = Hostile(marker)
        write(held, tmp_path / "weights.pth")
        with pytest.raises(InputError, match=r"weights\.pth is refused"):
            begin(tmp_path, tmp_path / "weights.pth")
        inner.pop("extra", None)
    assert not marker.exists()
    assert not (tmp_path / "canonical.safetensors").exists()
    os.system(Hostile(marker).command)
    assert marker.exists(), "and this is what it would have done"


@pytest.mark.parametrize(
    "change",
    [
        {"alpha": 0.5},
        {"num_layers": 5, "downsampling_layers": [5]},
        {"t_zero": 6, "beta": 1},
        {"divisor": 1, "alpha": 0.35},
    ],
)
def test_weights_of_other_settings_are_told_with_settings_that_fit(tmp_path, change: dict):
    """Some settings round to the same widths as others."""
    other = PhiNet((3, 32, 32), include_top=True, num_classes=CLASSES, **SMALL | change)
    zipped({"state_dict": under("net.", other.state_dict())}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"w\.pth does not fit backbone\.architecture") as error:
        begin(tmp_path, tmp_path / "w.pth")
    told = re.search(r"With (.*) it would fit\.", str(error.value))[1]
    found = yaml.safe_load("{" + re.sub(r"phinet\.([a-z_]+)", r"\1:", told) + "}")
    assert found.keys() == change.keys()
    begin(tmp_path, tmp_path / "w.pth", settings=SMALL | found)


@pytest.mark.parametrize("width", [0.05, 0.25, 1, 0.3])
def test_another_width_of_resnet9_is_told(tmp_path, width: float):
    zipped(network_of("resnet9", {"width": width}, 32)[0].state_dict(), tmp_path / "w.pth")
    with pytest.raises(InputError, match=rf"With resnet9\.width {width} it would fit\."):
        begin(tmp_path, tmp_path / "w.pth", architecture="resnet9", settings={"width": 0.1})


@pytest.mark.skipif(
    not CHECKPOINTS, reason="the study's checkpoint is not in ../shared/data/phinet"
)
def test_the_studys_own_checkpoint_is_its_phinet_with_a_head_of_ten_clusters(tmp_path):
    found = begin(tmp_path, CHECKPOINTS[0], settings=PHINET, size=160)
    network, dim = network_of("phinet", PHINET, 160)
    before = next(network.parameters()).clone()
    weights.into(network, tmp_path / "canonical.safetensors")
    assert not torch.equal(next(network.parameters()), before)
    assert sum(parameter.numel() for parameter in network.parameters()) == 552_267
    assert dim == 344
    assert found["head.weight"].shape == (10, 344)
    assert found["head.bias"].shape == (10,)


@pytest.fixture
def network() -> nn.Module:
    """A small network with 0-dimensional buffers (num_batches_tracked)."""
    return trained(resnet9.build(32, width=0.02))


@pytest.fixture
def classifier() -> nn.Linear:
    return nn.Linear(21, 10)


def test_the_canonical_file_gives_all_tensors_back(tmp_path, network, classifier):
    path = tmp_path / "canonical.safetensors"
    weights.save(path, network.state_dict(), classifier.state_dict())
    fresh = resnet9.build(32, width=0.02)
    weights.into(fresh, path)
    assert all(map(torch.equal, fresh.state_dict().values(), network.state_dict().values()))
    assert fresh.state_dict()["0.1.num_batches_tracked"].shape == ()
    assert fresh.state_dict()["0.1.num_batches_tracked"] == 7
    head = weights.head(path)
    np.testing.assert_array_equal(head["weight"], classifier.weight.detach())
    np.testing.assert_array_equal(head["bias"], classifier.bias.detach())


def test_a_canonical_file_is_weights_for_another_run(tmp_path, network, classifier):
    first = tmp_path / "first.safetensors"
    weights.save(first, network.state_dict(), classifier.state_dict())
    found = begin(tmp_path, first, architecture="resnet9", settings={"width": 0.02})
    assert found.keys() == read_tensors(first).keys()
    assert all(np.array_equal(found[name], value) for name, value in read_tensors(first).items())


def test_the_canonical_file_has_the_same_bytes_twice(tmp_path, network, classifier):
    for name in ("one", "two"):
        weights.save(tmp_path / name, network.state_dict(), classifier.state_dict())
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_weights_without_a_head_have_none_to_give(tmp_path, network):
    path = tmp_path / "canonical.safetensors"
    weights.save(path, network.state_dict(), {})
    with pytest.raises(InputError, match="has no linear head"):
        weights.head(path)


def test_weights_of_another_network_are_no_part_of_this_one(tmp_path, network):
    path = tmp_path / "canonical.safetensors"
    weights.save(path, network.state_dict(), {})
    with pytest.raises(InputError, match=r"canonical\.safetensors is of another network"):
        weights.into(resnet9.build(32, width=0.05), path)


def test_training_does_not_write_into_the_file_that_it_loaded(tmp_path, network):
    path = tmp_path / "canonical.safetensors"
    weights.save(path, network.state_dict(), {})
    before = path.read_bytes()
    fresh = resnet9.build(32, width=0.02)
    weights.into(fresh, path)
    with torch.no_grad():
        next(fresh.parameters()).add_(1)
    assert path.read_bytes() == before


@pytest.mark.fault("damaged weights", "one sentence; no output")
def test_a_damaged_file_leaves_nothing_behind(tmp_path):
    zipped(STATE, tmp_path / "whole.pth")
    data, dice = (tmp_path / "whole.pth").read_bytes(), random.Random(0)
    for length in [0, 1, *(dice.randrange(len(data)) for _ in range(10))]:
        (tmp_path / "w.pth").write_bytes(data[:length])
        with pytest.raises(InputError, match=r"w\.pth"):
            begin(tmp_path, tmp_path / "w.pth")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.pth", "whole.pth"]
