"""A GPU gives what a CPU gives, and the same bytes each time; without one these are skipped."""

import itertools
import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from test_embed import close, eager, pictures, used
from test_quantized import SETTINGS as ROUNDED
from test_quantized import backbone, pixels, teacher  # noqa: F401
from torch.distributed.launcher.api import elastic_launch
from training import Training, coloured, digest, fresh

from treehead.backbones import embed, exporting, quantized
from treehead.backbones.backbone import Backbone
from treehead.training import compute, distillation, finetune, launching, parallel
from treehead.training.checkpoint import Checkpoint

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")

GPU = {"device": "cuda", "epochs": 3, "batch_size": 16}
KINDS = {
    "adamw": {},
    "sgd": {
        "optimizer": "sgd",
        "schedule": "triangle",
        "average": 0.9,
        "progressive": [{"until": 0.4, "image_size": 12}],
    },
    "muon": {"optimizer": "muon", "schedule": "triangle"},
    "bfloat16": {"precision": "bfloat16"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_that_stops_and_resumes_has_the_bytes_of_one_that_does_not(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = GPU | KINDS[kind]
    whole = Training(settings, images=96).run()
    state, steps = Checkpoint(tmp_path / "state.pt", 1e9), itertools.count()
    total = parallel.total
    # The question whether a signal came, after the ninth step.
    monkeypatch.setattr(
        parallel,
        "total",
        lambda *own: [1, 0] if len(own) == 2 and next(steps) == 8 else total(*own),
    )
    with pytest.raises(SystemExit):
        Training(settings, images=96).run(state)
    assert state.load()["epoch"] == 2
    resumed = Training(settings, images=96).run(state)
    assert digest(resumed.model()) == digest(whole.model())
    assert [row.loss for row in resumed.history] == [row.loss for row in whole.history]


def test_a_gpu_has_the_loss_curve_of_a_cpu():
    """In float32, with one step an epoch."""
    own = {"epochs": 20, "steps_per_epoch": 1, "batch_size": 48, "learning_rate": 0.001}
    losses = [
        [row.loss for row in Training(own | {"device": device}, images=240).run().history]
        for device in ("cpu", "cuda")
    ]
    np.testing.assert_allclose(losses[1], losses[0], rtol=0, atol=2e-3)
    assert losses[1][-1] < losses[1][0]


def _member() -> list[float]:
    """The losses of a training in a group of one, whose gradients and sums go through nccl."""
    settings = Training(GPU).settings
    assert (dist.get_backend(), parallel.size()) == ("nccl", 1)
    _, history = finetune.finetune(fresh(), coloured(96, 1), coloured(15, 2), settings)
    return [row.loss for row in history]


def test_a_group_of_one_trains_over_nccl_as_a_process_alone(tmp_path: Path):
    group = launching.Group("training", processes=1, machines=1, rendezvous=None, device="cuda")
    start = elastic_launch(launching._config(group, str(tmp_path)), launching._member)
    (returned,) = start(_member, group, 1, str(tmp_path), []).values()
    alone = Training(GPU, images=96).run()
    losses = [row.loss for row in alone.history]
    assert pickle.loads(returned) == pytest.approx(losses, abs=2e-3)


@pytest.mark.parametrize("architecture", ["phinet", "resnet9"])
def test_features_are_those_of_the_onnx_file(architecture: str, tmp_path: Path):
    network, images = used(architecture), pictures(9)
    exporting.write(network, tmp_path / "backbone.onnx", images, 1)
    on_cpu = embed.with_onnx(tmp_path / "backbone.onnx", 1)(images)
    with embed.frozen(network):
        run = embed.with_torch(network, "cuda")
        assert close(run(images), on_cpu)
        assert np.array_equal(run(images), run(images))
    assert close(eager(network.cpu(), images), on_cpu)


@pytest.mark.parametrize("relu_above", [None, 20])
def test_a_network_in_8_bits_is_trained_to_the_same_bytes(
    backbone: Backbone,  # noqa: F811
    teacher: embed.Run,  # noqa: F811
    pixels: embed.Pixels,  # noqa: F811
    relu_above: int | None,
    tmp_path: Path,
):
    own = ROUNDED | {"relu_above": relu_above}
    train = partial(distillation.quantize, backbone, teacher, pixels, pixels)
    made = {name: train(own | {"device": name.rstrip("2")}) for name in ("cpu", "cuda", "cuda2")}
    for name, (network, _) in made.items():
        quantized.save(str(tmp_path / name), network)
    assert (tmp_path / "cuda").read_bytes() == (tmp_path / "cuda2").read_bytes()
    losses = {name: history[-1].val_loss for name, (_, history) in made.items()}
    assert losses["cuda"] < 2 * losses["cpu"]
    whole = Backbone(quantized.settled(made["cuda"][0]), 10, 16, mean=[0.5] * 3, std=[0.25] * 3)
    exporting.write(whole, tmp_path / "backbone.onnx", pixels[:32], 1, rounds=True)


def test_the_precision_of_a_gpu_is_bfloat16():
    assert compute.precision("auto", "cuda") == torch.bfloat16
