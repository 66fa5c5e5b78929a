"""timm's models are extractors like any other; their weights come from the hub with their input."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from conftest import METRICS, Project
from hub_server import COMMIT, Hub, serving
from safetensors.torch import load_file, save
from torch import Tensor
from training import SETTINGS, coloured

from treehead.artifacts import InputError
from treehead.backbones import embed, exporting, initial, inputs, weights
from treehead.backbones.backbone import Backbone, brought, build, hosted, network_of
from treehead.config import architectures
from treehead.training import finetune

ROOT = Path(__file__).parents[1]
NETWORK = {
    "settings": {},
    "size": None,
    "interpolation": None,
    "crop": None,
    "normalization": {"mean": [0.5] * 3, "std": [0.25] * 3},
}
# Its weights are those of timm's own tests: 0.4 million parameters.
SMALL = "test_vit"
REPOSITORY = "timm/test_vit.r160_in1k"


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "size", "dim"),
    [
        ("efficientnet_lite0", 32, 1280),
        ("mobilevit_xxs", 32, 320),
        ("vit_tiny_patch16_224", 32, 192),
    ],
)
def test_a_model_of_timm_trains_and_is_exported(tmp_path: Path, name: str, size: int, dim: int):
    """From its first weights to its features, as the jobs of the graph call each other."""
    drawn = tmp_path / "weights.safetensors"
    settings = {"architecture": f"timm/{name}", "settings": {}, "size": size}
    initial.write(drawn, settings | {"source": "scratch", "seed": 0}, None)
    network = NETWORK | {"architecture": f"timm/{name}", "size": size}
    backbone = build(**inputs.complete(network, [], []))
    weights.into(backbone.network, drawn)
    assert backbone.dim == dim
    train, val = coloured(8, 1), coloured(5, 2)
    _, history = finetune.finetune(backbone, train, val, SETTINGS)
    assert np.isfinite(history[0].loss)
    onnx = tmp_path / "backbone.onnx"
    exporting.write(backbone, onnx, val.pixels, 1)
    features = embed.embed(train.pixels, ["identity", "flip"], embed.with_onnx(onnx, 1), 3, "")
    assert features.shape == (2, 8, dim)
    assert np.isfinite(features).all()


@pytest.mark.long
def test_a_model_of_timm_goes_through_the_graph(own_run: Project, tmp_path: Path):
    project = own_run.copy(tmp_path / "project")
    changed = {"backbone.architecture": "timm/mobilenetv4_conv_small"}
    project.having(changed).run(METRICS)
    metrics = json.loads((project.folder / METRICS).read_text())
    assert metrics["backbone"]["architecture"] == "timm/mobilenetv4_conv_small"
    assert metrics["backbone"]["size"] == 32
    found = load_file(project.folder / "results/embeddings/test.safetensors")
    assert found["features"].shape[2] == 1280


PROGRAM = """
import json, sys
from treehead import console
from treehead.backbones import initial

log, path, settings = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
with console.job(log):
    print(json.dumps(initial.write(path, settings, None)))
"""


def fetched(folder: Path, endpoint: str, **changes: object) -> subprocess.CompletedProcess[str]:
    """Fetch weights into `weights.safetensors` in a new process with its own HF_HOME."""
    settings = {
        "architecture": f"timm/{SMALL}",
        "settings": {},
        "size": None,
        "image_size": 32,
        "source": "timm",
        "revision": "main",
        "sha256": None,
    }
    given = [folder / "log", folder / "weights.safetensors", json.dumps(settings | changes)]
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *given],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "HF_HOME": str(folder / "hf"),
            "HF_ENDPOINT": endpoint,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def whole() -> dict[str, Tensor]:
    """A model's own file of weights, with its classifier."""
    torch.manual_seed(7)
    return timm.create_model(SMALL).state_dict()


def test_weights_of_the_hub_come_with_their_input(tmp_path: Path):
    tensors = whole()
    with serving(Hub({f"{REPOSITORY}/model.safetensors": save(tensors)})) as hub:
        done = fetched(tmp_path, hub.url)
        resized = fetched(tmp_path / "other", hub.url, size=32)
    assert done.returncode == 0, done.stderr
    origin = json.loads(done.stdout)
    known = timm.get_pretrained_cfg(SMALL)
    assert origin["commit"] == COMMIT
    assert origin["input"] == {
        "size": 160,
        "interpolation": "bicubic",
        "crop": 160 / 168,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    }
    assert known.crop_pct == 0.95
    assert "With the weights come, where the configuration has null: size 160," in done.stderr
    found = load_file(tmp_path / "weights.safetensors")
    assert {f"backbone.{name}" for name in tensors} - found.keys() == {
        "backbone.head.weight",
        "backbone.head.bias",
    }
    assert all(torch.equal(found[name], tensors[name[9:]]) for name in found)
    assert resized.returncode == 0, resized.stderr
    smaller = load_file(tmp_path / "other/weights.safetensors")
    assert json.loads(resized.stdout)["input"]["size"] == 32
    changed = [name for name in found if smaller[name].shape != found[name].shape]
    assert changed == ["backbone.pos_embed"], "timm resizes it"


def test_weights_that_do_not_fit_are_told_and_not_drawn(tmp_path: Path):
    """timm itself keeps the random weights of a tensor that a file lacks."""
    tensors = whole()
    del tensors["blocks.1.mlp.fc1.weight"]
    with serving(Hub({f"{REPOSITORY}/model.safetensors": save(tensors)})) as hub:
        done = fetched(tmp_path, hub.url)
    assert done.returncode == 1
    assert "Error: timm's weights of test_vit do not fit the model (" in done.stderr
    assert "blocks.1.mlp.fc1.weight" in done.stderr
    assert not (tmp_path / "weights.safetensors").exists()


def test_a_hub_that_is_out_of_reach_is_told(tmp_path: Path):
    done = fetched(tmp_path, "http://127.0.0.1:9")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert line.startswith(
        f"Error: Cannot download model.safetensors of http://127.0.0.1:9/{REPOSITORY}"
    )
    assert "is unreachable" in line


def test_the_image_that_a_network_reads_is_timms_own():
    """With the interpolation, the crop and the normalisation that timm evaluates with."""
    image = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    image = 255 * image.repeat_interleave(4, 2).repeat_interleave(4, 3)
    for name in ("mobilenetv4_conv_small", "mobilevit_xxs", "vit_tiny_patch16_224", SMALL):
        given = brought(f"timm/{name}", {}, "timm", None)
        config = timm.data.resolve_data_config(
            {}, pretrained_cfg=vars(timm.get_pretrained_cfg(name))
        )
        transform = timm.data.create_transform(**config)
        resize, crop, _, normalize = transform.transforms
        expected = normalize(crop(resize(image / 255)))
        ours = Backbone(torch.nn.Identity(), 3, **given).preprocess(image)
        assert ours.shape == expected.shape
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=2e-3)
    assert brought(f"timm/{SMALL}", {}, "some/file.pt", 64 * "0") == {}


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("mobilenetv4_conv_smal", "mobilenetv4_conv_small"),
        ("mobilenetv4_conv_small.e2400", "mobilenetv4_conv_small.e2400_r224_in1k"),
        ("resnet18.nothing", "resnet18."),
    ],
)
def test_a_model_that_timm_lacks_is_answered_with_the_nearest(name: str, near: str):
    with pytest.raises(InputError, match=rf"timm/{name}: .* did you mean timm/{near}"):
        network_of(f"timm/{name}", {}, 32)


def test_a_tag_names_weights_and_not_another_network():
    torch.manual_seed(0)
    plain, _ = network_of("timm/mobilenetv4_conv_small", {}, 32)
    torch.manual_seed(0)
    tagged, _ = network_of("timm/mobilenetv4_conv_small.e2400_r224_in1k", {}, 32)
    assert repr(plain) == repr(tagged)
    names = ("mobilenetv4_conv_small", "mobilenetv4_conv_small.e1200_r224_in1k")
    found = [hosted(f"timm/{name}") for name in names]
    assert found == [
        ("timm/mobilenetv4_conv_small.e2400_r224_in1k", "model.safetensors"),
        ("timm/mobilenetv4_conv_small.e1200_r224_in1k", "model.safetensors"),
    ]


def test_a_model_without_weights_on_the_hub_is_told():
    with pytest.raises(InputError, match=r"no weights of gcvit_tiny on the hub; set backbone\.wei"):
        hosted("timm/gcvit_tiny")


def test_without_timm_its_models_name_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.delitem(sys.modules, "treehead.backbones.networks.timm", raising=False)
    with pytest.raises(
        InputError, match=r"needs timm.*; install it with: pip install -e \.\[timm\]"
    ):
        network_of("timm/resnet18", {}, 32)
    monkeypatch.undo()
    importlib.import_module(architectures.module("timm/resnet18"))
