"""Two processes train as one does, and start again if one of them dies."""

import copy
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Thread

import numpy as np
import psutil
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from training import Training, coloured, digest, fresh

from treehead.artifacts import InputError
from treehead.backbones.backbone import network_of
from treehead.training import checkpoint, finetune, launching, parallel
from treehead.training.checkpoint import Checkpoint

# Every epoch is one step, so that the history has the loss of each step. Rounding alone grows with
# the learning rate: at three times this one it makes losses differ by 4e-4.
STEPS = {"epochs": 20, "steps_per_epoch": 1, "batch_size": 48, "learning_rate": 0.001}
MIXED = {
    "optimizer": "sgd",
    "schedule": "triangle",
    "average": 0.9,
    "augment": {
        "flip": "alternating",
        "rotation": 5,
        "crop": 1,
        "cutout": 4,
        "mix": "either",
        "mix_alpha": 0.5,
    },
}


@pytest.mark.parametrize("settings", [{}, MIXED], ids=["adamw", "sgd"])
def test_two_processes_have_the_loss_curve_of_one(settings: dict):
    alone = Training({**STEPS, **settings}, images=240).run()
    both = Training({**STEPS, **settings, "processes": 2}, images=240).run()
    losses = [[row.loss for row in training.history] for training in (alone, both)]
    assert len(losses[0]) == 20
    np.testing.assert_allclose(losses[1], losses[0], rtol=0, atol=1e-4)
    assert losses[0][-1] < losses[0][0]
    assert [row.val_accuracy for row in both.history] == pytest.approx(
        [row.val_accuracy for row in alone.history], abs=0.07
    )
    for name, value in alone.model().state_dict().items():
        torch.testing.assert_close(
            both.model().state_dict()[name], value, rtol=1e-2, atol=1e-3, msg=name
        )


TWO = launching.Group("training", processes=2, machines=1, rendezvous=None, device="cpu")


class Curved(nn.BatchNorm2d):
    """A user's own BatchNorm, which does more."""

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(super().forward(x))


class Standardized(nn.Conv2d):
    """A convolution whose filters are normalised by torch's function, as timm's are."""

    def forward(self, x: Tensor) -> Tensor:
        rows = self.weight.view(1, len(self.weight), -1)
        weight = F.batch_norm(rows, None, None, training=True, momentum=0.0)
        return self._conv_forward(x, weight.view_as(self.weight), self.bias)


class Own(nn.Module):
    """A user's own network: each kind of BatchNorm, and a layer that is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            nn.Conv2d(3, 8, 3, bias=False),
            Curved(8, momentum=None),
            Standardized(8, 8, 3, bias=False),
            nn.BatchNorm2d(8, affine=False),
            nn.ReLU(),
        )
        self.long = nn.BatchNorm1d(8)
        self.features = nn.Sequential(nn.Linear(8, 6, bias=False), nn.BatchNorm1d(6))
        self.unused = nn.Linear(6, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.features(self.long(self.maps(images).flatten(2)).mean(2))


def airbench() -> nn.Module:
    backbone = fresh()
    backbone.whiten(torch.from_numpy(coloured(40, 1).pixels))
    return backbone.network


def mobilenet() -> nn.Module:
    return network_of("timm/mobilenetv3_small_050", {}, 32)[0]


def step(network: nn.Module, images: Tensor, wanted: Tensor) -> dict[str, Tensor | None]:
    """What one step makes: the features of all images, in eval mode too, gradients, buffers."""
    network, mine = copy.deepcopy(network).train(), parallel.part(len(images))
    stepping = parallel.averaging(network)
    with parallel.over_whole_batches():
        features = stepping(images[mine])
        (parallel.size() * (features * wanted[mine]).sum() / len(images)).backward()
        judged = stepping.eval()(images).detach()
    parts = [features.detach()] * parallel.size()
    if parallel.grouped():
        dist.all_gather_object(parts, features.detach())
    made = {f"gradient of {name}": value.grad for name, value in network.named_parameters()}
    return made | dict(network.named_buffers()) | {"features": torch.cat(parts), "judged": judged}


def steps(tried: list[tuple]) -> list[dict[str, Tensor | None]]:
    return [step(*each) for each in tried]


def test_batchnorm_of_each_kind_sees_the_whole_batch_and_its_module_stays():
    """Nine images, each lighter than the one before, so that the two parts are unlike."""
    torch.manual_seed(0)
    images = torch.randn(9, 3, 32, 32) + torch.linspace(-1, 1, 9).view(9, 1, 1, 1)
    networks = [airbench(), mobilenet(), Own()]
    tried = [(each, images, torch.randn_like(each(images))) for each in networks]
    alone, both = steps(tried), launching.launch(partial(steps, tried), TWO)
    for expected, found in zip(alone, both, strict=True):
        assert expected["features"].abs().max() > 0.1
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            if value is None:
                assert found[name] is None, name
            else:
                torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-4, msg=name)


LOSSES = {
    "muon": {
        "optimizer": "muon",
        "schedule": "triangle",
        "muon_learning_rate": 0.01,
        "class_weights": "balanced",
        "label_smoothing": 0.2,
        "gradient_clip": 0.01,
    },
    "multitask": {
        "objective": "multitask",
        "self_distillation": 0.5,
        "average": 0.8,
        "progressive": [{"until": 0.5, "image_size": 12}],
    },
}


@pytest.mark.parametrize("kind", LOSSES)
def test_each_loss_and_optimizer_makes_the_steps_of_one_process(kind: str):
    """On uneven classes, and batches of seven, which two processes do not share evenly."""
    pixels, fine = coloured(25, 1)
    rows = torch.arange(25)[(fine != 3) | (torch.arange(25) < 10)]
    trained = []
    for processes in (1, 2):
        own = {"epochs": 3, "learning_rate": 0.001, "processes": processes}
        settings, backbone = Training(UNEVEN | LOSSES[kind] | own).settings, fresh()
        train = finetune.Images(pixels[rows], fine[rows])
        head, history = finetune.finetune(backbone, train, coloured(15, 2), settings)
        trained.append((history, nn.ModuleList([backbone, head]).state_dict()))
    (alone, expected), (both, found) = trained
    assert [row.loss for row in both] == pytest.approx([row.loss for row in alone], abs=1e-4)
    assert [row.val_accuracy for row in both] == [row.val_accuracy for row in alone]
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_batchnorm_for_gpus_alone_is_told_on_a_cpu():
    training = Training({"processes": 2})
    training.backbone.network = nn.SyncBatchNorm.convert_sync_batchnorm(training.backbone.network)
    with pytest.raises(InputError, match=r"^backbone\.network\..* is SyncBatchNorm, .*processes"):
        training.run()


def test_more_processes_than_images_are_told():
    with pytest.raises(InputError, match=r"^Train has 2 images, and 3 processes share each batch;"):
        Training({"processes": 3}, images=2).run()


@pytest.mark.fault("more processes than GPUs", "one sentence before any of them starts")
def test_more_processes_than_gpus_are_told_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(launching, "elastic_launch", None)
    with pytest.raises(InputError, match=r"processes is 2, .* torch sees 1; set it to 1, or fin"):
        launching.launch(print, TWO._replace(device="cuda"))


# Nineteen images in batches of seven: parts of three and four, and a last one of five.
UNEVEN = {"epochs": 8, "batch_size": 7}


@pytest.fixture(scope="module")
def whole() -> Training:
    """A training of two processes that nothing disturbed."""
    return Training({**UNEVEN, "processes": 2}, images=19).run()


def test_a_batch_that_does_not_divide_is_trained_whole(whole: Training):
    alone = Training(UNEVEN, images=19).run()
    assert [row.loss for row in whole.history] == pytest.approx(
        [row.loss for row in alone.history], abs=1e-4
    )


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """The file that the lines of this process go to."""
    handler = logging.FileHandler(tmp_path / "log")
    logging.getLogger("treehead").addHandler(handler)
    yield tmp_path / "log"
    logging.getLogger("treehead").removeHandler(handler)


def once(state: Path, act: Callable[[], None]) -> None:
    """Do something when a state is saved."""

    def watch() -> None:
        while not state.exists():
            time.sleep(0.01)
        act()

    Thread(target=watch, daemon=True).start()


def members() -> list[psutil.Process]:
    """The processes that train, in the order of their start."""
    children = sorted(psutil.Process().children(), key=lambda child: child.pid)
    return [child for child in children if any("spawn_main" in part for part in child.cmdline())]


@pytest.mark.fault(
    "an unfinished training goes on on another kind of processor",
    "the log names the state that is not resumed",
)
def test_a_state_of_another_processor_is_told_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: Path
):
    """A node of another kind would train from the first epoch without a word."""
    output = str(tmp_path / "weights.safetensors")
    logging.getLogger("treehead").setLevel(logging.INFO)

    def begun() -> tuple[Checkpoint, list[str]]:
        log.write_text("")
        return checkpoint.beside(output, {"seed": 0}, [], 60), log.read_text().splitlines()

    first, told = begun()
    assert told == []
    first.save({"epoch": 1})
    first.save({"epoch": 2})
    again, told = begun()
    assert (again.path, told) == (first.path, [])
    assert again.older.is_file(), "nor is the state before the newest told as another's"
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "another")
    other, (line,) = begun()
    assert line.startswith(f"{first.path}, {first.older}: of a training with other settings, data,")
    assert line.endswith(
        "another kind of processor, and not resumed here; delete what you don't want."
    )
    other.save({"epoch": 1})
    other.remove()
    assert first.load() == {"epoch": 2}


# Before any training.
HANDLERS = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}


@pytest.mark.long
@pytest.mark.parametrize("number", HANDLERS)
@pytest.mark.fault(
    "SIGTERM or SIGINT in a training of two processes", "both end, and resume to the same bytes"
)
def test_a_signal_reaches_all_processes_and_the_rest_has_the_same_bytes(
    whole: Training, tmp_path: Path, log: Path, number: signal.Signals
):
    """So two runs of two processes have the same bytes, whether one of them is stopped or not."""
    settings, state = {**UNEVEN, "processes": 2}, tmp_path / "state.pt"
    once(state, lambda: os.kill(os.getpid(), number))
    with pytest.raises(SystemExit) as stopped:
        Training(settings, images=19).run(Checkpoint(state, 0))
    assert stopped.value.code == 128 + number
    assert signal.getsignal(number) is HANDLERS[number]
    assert log.read_text().count("Stopped ") == 1
    assert "restart" not in log.read_text()
    assert Checkpoint(state, 0).load()["epoch"] < 8
    assert members() == []
    resumed = Training(settings, images=19).run(Checkpoint(state, 1e9))
    assert digest(resumed.model()) == digest(whole.model())


@pytest.mark.fault(
    "SIGKILL of one of two processes that train", "both start again, and end in the same bytes"
)
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_starts_again_with_the_others_to_the_same_bytes(
    whole: Training, tmp_path: Path, log: Path, victim: int
):
    """Of the two, the first one saves."""
    state = tmp_path / "state.pt"

    def kill() -> None:
        members()[victim].kill()

    once(state, kill)
    training = Training({**UNEVEN, "processes": 2}, images=19).run(Checkpoint(state, 0))
    assert digest(training.model()) == digest(whole.model())
    assert training.history[-1][:4] == whole.history[-1][:4]
    lines = log.read_text().splitlines()
    assert lines.count("A process died; all 2 start again, restart 1 of 3.") == 1
    assert sum(line.startswith("Resumed in epoch") for line in lines) == 1
    assert sum(line.startswith("epoch   8/8") for line in lines) == 1


def killed() -> None:
    """The second process dies, and the first one waits for it."""
    parallel.total(1)
    if parallel.rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    parallel.total(1)


@pytest.mark.long
@pytest.mark.fault("a process that dies at each restart", "one sentence after the restarts")
def test_a_process_that_dies_each_time_is_one_sentence(monkeypatch: pytest.MonkeyPatch, log: Path):
    """It names the signal of the dead one, not what happened to the one that was left alone."""
    monkeypatch.setattr(launching, "RESTARTS", 1)
    with pytest.raises(InputError, match=r"^A process of the training was killed by SIGKILL"):
        launching.launch(killed, TWO)
    assert log.read_text().count("A process died") == 1


def defect() -> None:
    raise ValueError("a defect")


def test_a_defect_in_a_process_has_its_traceback(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(launching, "RESTARTS", 0)
    with pytest.raises(RuntimeError, match=r'(?s)in defect\n.*raise ValueError\("a defect"\)'):
        launching.launch(defect, TWO)


def test_a_last_batch_that_is_smaller_than_the_processes_joins_the_one_before():
    training = Training({"batch_size": 9, "processes": 3}, images=20).run()
    assert np.isfinite(training.history[0].loss)


@pytest.mark.fault("a weight becomes infinite in one of two processes", "both end, in one sentence")
def test_weights_that_are_no_numbers_end_all_processes(tmp_path: Path):
    """The first process alone saves, and all of them look at what is saved."""
    settings = {"processes": 2, "learning_rate": 3e38, "optimizer": "sgd", "schedule": "cosine"}
    with pytest.raises(InputError, match=r"a weight is not a finite number in epoch 1, step 1;"):
        Training(settings, images=40).run(Checkpoint(tmp_path / "state.pt", 0))
    assert not (tmp_path / "state.pt").exists()


def test_a_mistake_in_a_process_is_told_as_a_mistake():
    settings = {"processes": 2, "learning_rate": 1e38, "optimizer": "sgd", "epochs": 3}
    with pytest.raises(InputError, match="Training diverged: the loss became"):
        Training(settings, images=40).run()
