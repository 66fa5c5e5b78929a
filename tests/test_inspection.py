"""`treehead inspect` says what a weights file is, and the configuration that uses it."""

import random

import pytest
import torch
import yaml
from torchvision import models

from treehead.__main__ import main
from treehead.artifacts import InputError
from treehead.backbones.backbone import network_of
from treehead.backbones.checkpoints import inspection
from treehead.config import architectures

PHINET = {
    "alpha": 0.9,
    "beta": 0.5,
    "t_zero": 4,
    "num_layers": 7,
    "divisor": 8,
    "downsampling_layers": [4, 5, 7],
}


def drawn(dice: random.Random) -> tuple[str, dict]:
    """One of our networks with settings that people use."""
    match dice.choice(["phinet", "xinet", "resnet9", "airbench"]):
        case "phinet":
            layers = dice.choice([5, 7, 9])
            down = [layer for layer in dice.choice([[5, 7], [4, 5, 7]]) if layer <= layers]
            return "phinet", {
                "alpha": dice.choice([0.25, 0.35, 0.5, 0.9, 1, 1.3]),
                "beta": dice.choice([0.5, 0.75, 1]),
                "t_zero": dice.choice([3, 4, 5, 6]),
                "num_layers": layers,
                "divisor": dice.choice([1, 8]),
                "downsampling_layers": down,
            }
        case "xinet":
            return "xinet", {
                "alpha": dice.choice([0.25, 0.5, 1]),
                "gamma": dice.choice([2, 4]),
                "num_layers": dice.choice([4, 5, 6]),
                "base_filters": 16,
            }
        case "resnet9":
            return "resnet9", {"width": dice.choice([0.05, 0.25, 0.3, 1])}
    return "airbench", {"widths": dice.sample([16, 24, 40, 64], dice.choice([1, 2, 3]))}


@pytest.mark.parametrize("seed", range(12))
def test_our_networks_are_found_with_settings_that_give_the_same_shapes(seed: int):
    architecture, settings = drawn(random.Random(seed))
    network, dim = network_of(architecture, settings, 32)
    loaded = {f"state_dict.net.{name}": value for name, value in network.state_dict().items()}
    loaded |= {"state_dict.fc.weight": torch.ones(5, dim), "optimizer.0.exp_avg": torch.ones(3)}
    found = inspection.find(loaded, "w.pt")
    assert found.architecture == architecture
    assert found.dim == dim
    again, _ = network_of(architecture, found.settings, 32)
    assert [value.shape for value in again.state_dict().values()] == [
        value.shape for value in network.state_dict().values()
    ]
    assert len(found.fitted.head["weight"]) == 5


def test_a_file_is_described_with_the_lines_that_use_it(tmp_path, capsys):
    network, dim = network_of("phinet", PHINET, 32)
    state = {"net": network.state_dict(), "fc": {"weight": torch.ones(9, dim)}, "epoch": 3}
    torch.save(state | {"optimizer": {"state": {0: torch.ones(3)}}}, tmp_path / "w.pt")
    assert main(["inspect", str(tmp_path / "w.pt")]) == 0
    text = capsys.readouterr().out
    assert "net         159 tensors      559,555 numbers  float32, int64" in text
    assert "It fits phinet with alpha 0.9, beta 0.5, t_zero 4" in text
    assert "552,267 parameters, 344 features." in text
    assert "Its head is one linear layer for 9 classes." in text
    assert "Not of the network: optimizer.state.0 (3,)." in text
    backbone = yaml.safe_load(text.split("To use it:")[1])["backbone"]
    assert backbone == {
        "architecture": "phinet",
        "weights": str(tmp_path / "w.pt"),
        "phinet": PHINET,
    }
    architectures.check(backbone)


def test_the_average_is_described_if_it_is_asked_for(tmp_path, capsys):
    state = network_of("resnet9", {"width": 0.05}, 32)[0].state_dict()
    average = {name: value.clone() + 1 for name, value in state.items()}
    torch.save({"state_dict": state, "state_dict_ema": average}, tmp_path / "w.pt")
    assert main(["inspect", str(tmp_path / "w.pt"), "--key", "state_dict_ema"]) == 0
    assert "weights_key: state_dict_ema" in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "w.pt")]) == 0
    assert "backbone.weights_key: state_dict_ema takes the average" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "dim"), [("squeezenet1_1", 512), ("regnet_y_400mf", 440)])
def test_a_model_of_torchvision_is_found(name: str, dim: int):
    whole = models.get_model(name, num_classes=7).state_dict()
    found = inspection.find({f"module.{name}": value for name, value in whole.items()}, "w.pt")
    assert (found.architecture, found.dim, found.settings) == (f"torchvision/{name}", dim, {})
    assert bool(found.fitted.head) == (name != "squeezenet1_1")


@pytest.mark.long
def test_a_model_of_timm_is_found_and_its_twins_are_named():
    timm = pytest.importorskip("timm", reason="timm is not installed")
    whole = timm.create_model("mobilenetv4_conv_small_035", num_classes=7).state_dict()
    found = inspection.find({f"state_dict.{name}": value for name, value in whole.items()}, "w.pt")
    assert (found.architecture, found.dim) == ("timm/mobilenetv4_conv_small_035", 1280)
    assert found.fitted.head["weight"].shape == (7, 1280)


def test_a_file_of_no_network_of_ours_leads_to_one_of_ones_own(tmp_path, capsys):
    torch.save({"l1.weight": torch.ones(3, 4)}, tmp_path / "w.pt")
    assert main(["inspect", str(tmp_path / "w.pt")]) == 0
    assert "set backbone.architecture to <file>.py:<function>" in capsys.readouterr().out


def test_a_file_of_the_names_of_a_network_is_told_how_it_differs(tmp_path, capsys):
    grey = models.squeezenet1_1(num_classes=7).state_dict()
    grey["features.0.weight"] = grey["features.0.weight"][:, :1].clone()
    torch.save(grey, tmp_path / "w.pt")
    assert main(["inspect", str(tmp_path / "w.pt")]) == 0
    text = capsys.readouterr().out
    assert "Nearest is torchvision/squeezenet1_1, but 1 of 50 tensors have " in text
    assert "first features.0.weight (64, 1, 3, 3), where the network has (64, 3, 3, 3)." in text


@pytest.mark.long
def test_the_nearest_network_is_the_one_with_the_fewest_other_tensors():
    """ResNets of several widths have the names of one another."""
    whole = models.wide_resnet50_2(num_classes=7).state_dict()
    whole["conv1.weight"] = whole["conv1.weight"][:, :1].clone()
    with pytest.raises(InputError, match=r"Nearest is torchvision/wide_resnet50_2, but 1 of "):
        inspection.find(whole, "w.pt")


def test_what_is_no_weights_file_is_one_sentence(tmp_path, capsys):
    (tmp_path / "w.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert main(["inspect", str(tmp_path / "w.pt")]) == 1
    error = capsys.readouterr().err
    assert "Git LFS pointer" in error
    assert "git lfs pull" in error
