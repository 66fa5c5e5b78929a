"""A training that is stopped at any moment and run again ends in the same bytes."""

import errno
import hashlib
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import Project
from torch import nn
from training import Training, digest

from treehead import artifacts
from treehead.artifacts import InputError
from treehead.training import checkpoint
from treehead.training.checkpoint import Checkpoint
from treehead.training.objectives import Objective
from treehead.training.trainer import Trainer

# All that keeps something from step to step.
SGD = {
    "epochs": 3,
    "optimizer": "sgd",
    "schedule": "triangle",
    "average": 0.9,
    "progressive": [{"until": 0.4, "image_size": 12}],
}
ADAM = {"epochs": 3, "optimizer": "adamw", "schedule": "onecycle", "gradient_clip": 0.1}
MUON = SGD | {"optimizer": "muon", "muon_learning_rate": 0.1, "muon_momentum": 0.6}
KINDS = pytest.mark.parametrize("settings", [SGD, ADAM, MUON], ids=["sgd", "adamw", "muon"])
KILLS = 10


def train(folder: Path, settings: dict, before: Callable[[], None] = lambda: None) -> None:
    """Train as the pipeline does: with a state after each step, and the weights at the end."""
    torch.set_num_threads(1)
    before()
    training = Training(settings, images=96)
    state = Checkpoint(folder / "state.pt", 0)
    training.run(state)
    artifacts.write_text(folder / "weights.txt", digest(training.model()))
    state.remove()


def started(folder: Path, settings: dict, *more: Callable[[], None]) -> multiprocessing.Process:
    """The training in a process of its own."""
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=train, args=(folder, settings, *more))
    process.start()
    return process


def completed(folder: Path, settings: dict) -> str:
    """Train to the end; the hash of the weights."""
    process = started(folder, settings)
    process.join()
    assert process.exitcode == 0
    left = [path.name for path in folder.iterdir() if path.suffix != ".part"]
    assert left == ["weights.txt"], "nothing is left but what a kill within the last write began"
    return (folder / "weights.txt").read_text()


@pytest.mark.long
@KINDS
@pytest.mark.fault("SIGKILL of a training at a random moment", "the same bytes after a restart")
def test_killed_at_any_moment_a_training_ends_in_the_same_bytes(settings: dict, tmp_path: Path):
    begin = time.monotonic()
    (tmp_path / "whole").mkdir()
    whole = completed(tmp_path / "whole", settings)
    seconds, draw, resumed = time.monotonic() - begin, random.Random(0), 0
    for kill in range(KILLS):
        folder = tmp_path / str(kill)
        folder.mkdir()
        process = started(folder, settings)
        time.sleep(seconds * draw.uniform(0.1, 0.95))
        process.kill()
        process.join()
        resumed += any(folder.glob("state.pt*"))
        assert completed(folder, settings) == whole
    assert resumed > KILLS / 2


@pytest.mark.parametrize("write", [1, 2, 5])
@pytest.mark.fault(
    "SIGKILL while a checkpoint is written",
    "the checkpoint before it; the same bytes after a restart",
)
def test_killed_in_a_write_a_training_has_the_state_before_it(write: int, tmp_path: Path):
    """The process ends itself when the new state is written, and not yet in its place."""

    def deadly() -> None:
        count, sync = iter(range(1, 1000)), os.fsync

        def fsync(file: int) -> None:
            sync(file)
            if next(count) == 2 * write - 1:
                os.kill(os.getpid(), signal.SIGKILL)

        os.fsync = fsync

    process = started(tmp_path, SGD, deadly)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".state.pt.*.part"))) == 1
    assert (tmp_path / "state.pt.older").exists() == (write > 1)
    if write > 1:
        assert Checkpoint(tmp_path / "state.pt", 0).load()["step"] == write - 1
    again, whole = tmp_path / "again", tmp_path / "whole"
    whole.mkdir()
    assert completed(whole, SGD) == hash_after(tmp_path, again)


def hash_after(folder: Path, moved: Path) -> str:
    """The hash of the weights that the rest of the training in `folder` leads to."""
    moved.mkdir()
    for path in [*folder.glob("state.pt*"), *folder.glob(".state.pt.*")]:
        path.rename(moved / path.name)
    return completed(moved, SGD)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.fault(
    "SIGTERM or SIGINT in a training", "a checkpoint; the same bytes after a restart"
)
def test_a_signal_saves_the_state_and_ends_the_training(number: int, tmp_path: Path):
    training = Training({**SGD, "epochs": 2}, images=64)
    rare = Checkpoint(tmp_path / "state.pt", 1e9)
    steps = iter(range(100))

    def interrupted(*_: object) -> bool:
        if next(steps) == 5:
            os.kill(os.getpid(), number)
        return False

    rare.due = interrupted
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as stopped:
        training.run(rare)
    assert stopped.value.code == 128 + number
    assert signal.getsignal(number) is before
    again = Training({**SGD, "epochs": 2}, images=64)
    again.run(Checkpoint(tmp_path / "state.pt", 1e9))
    whole = Training({**SGD, "epochs": 2}, images=64)
    whole.run(None)
    assert digest(again.model()) == digest(whole.model())
    assert [row[:4] for row in again.history] == [row[:4] for row in whole.history]


def damage(path: Path) -> None:
    """Flip one bit."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.fault(
    "a bit flips in a checkpoint", "the checkpoint before it is resumed, and a line says so"
)
def test_a_damaged_state_is_not_resumed_but_the_one_before_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path, older = tmp_path / "state.pt", tmp_path / "state.pt.older"
    for epoch in (2, 3, 4):
        Checkpoint(path, 0).save({"epoch": epoch})
    assert Checkpoint(path, 0).load() == {"epoch": 4}
    with caplog.at_level("INFO"):
        damage(path)
        assert Checkpoint(path, 0).load() == {"epoch": 3}
        assert f"{path} is damaged; training starts from {older}." in caplog.text
        damage(older)
        assert Checkpoint(path, 0).load() is None
        assert f"{older} is damaged; training starts from its beginning." in caplog.text


@pytest.mark.fault(
    "the disk can't read a checkpoint", "the checkpoint before it is resumed, and a line says so"
)
def test_a_state_that_the_disk_refuses_is_not_resumed_but_the_one_before_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    path, older = tmp_path / "state.pt", tmp_path / "state.pt.older"
    for epoch in (2, 3):
        Checkpoint(path, 0).save({"epoch": epoch})
    whole = Path.read_bytes

    def failing(file: Path) -> bytes:
        if file == path:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(file))
        return whole(file)

    monkeypatch.setattr(Path, "read_bytes", failing)
    with caplog.at_level("INFO"):
        assert Checkpoint(path, 0).load() == {"epoch": 2}
    assert (
        f"{path} can't be read (Input/output error); training starts from {older}." in caplog.text
    )


@KINDS
@pytest.mark.fault("training resumes from the checkpoint before the newest", "the same bytes")
def test_from_the_state_before_the_newest_a_training_ends_in_the_same_bytes(
    settings: dict, tmp_path: Path
):
    stopped, steps = Training(settings, images=96), iter(range(100))
    state = Checkpoint(tmp_path / "state.pt", 0)
    state.due = lambda: next(steps) < 4
    stopped.run(state)
    damage(tmp_path / "state.pt")
    again, whole = Training(settings, images=96), Training(settings, images=96)
    again.run(Checkpoint(tmp_path / "state.pt", 1e9))
    whole.run(None)
    assert digest(again.model()) == digest(whole.model())
    state.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_key_tells_settings_data_and_code_apart(tmp_path: Path):
    data, code = tmp_path / "data", tmp_path / "code"
    data.write_text("data")
    code.write_text("code")
    files = [str(data), str(code)]
    keys = [checkpoint.key({"seed": 0}, files), checkpoint.key({"seed": 1}, files)]
    assert keys[0] == checkpoint.key({"seed": 0}, files)
    for file in (data, code):
        file.write_text("edited")
        keys.append(checkpoint.key({"seed": 0}, files))
    assert len(set(keys)) == 4


@pytest.mark.fault("a loss becomes NaN", "one sentence; the last good checkpoint stays")
def test_a_diverged_training_keeps_its_last_good_state(monkeypatch, tmp_path: Path):
    """The fifth step of eight ends it; weights that are no numbers are never saved."""
    losses, loss = [], Objective.loss

    def fifth(self: nn.Module, *arguments: torch.Tensor) -> torch.Tensor:
        losses.append(loss(self, *arguments))
        return losses[-1] * float("nan") if len(losses) == 5 else losses[-1]

    monkeypatch.setattr(Objective, "loss", fifth)
    path = tmp_path / "state.pt"
    kept = f"the loss became nan in epoch 2, step 1; .* The last good state is kept in {path}"
    with pytest.raises(InputError, match=kept):
        Training({"epochs": 2, "batch_size": 8}, images=32).run(Checkpoint(path, 0))
    state = Checkpoint(path, 0).load()
    assert (state["epoch"], state["step"]) == (2, 0)
    assert all(value.isfinite().all() for value in state["model"].values())


@pytest.mark.fault("a weight becomes infinite", "one sentence; no checkpoint holds it")
def test_weights_that_are_no_numbers_are_not_saved(monkeypatch, tmp_path: Path):
    """The third step spoils one of them; the state that stays is that of the second."""
    step = Trainer.train_step

    def spoiling(self: Trainer, rows: torch.Tensor) -> None:
        step(self, rows)
        if self.step == 3:
            self.model.head.first.bias.data[1] = float("inf")

    monkeypatch.setattr(Trainer, "train_step", spoiling)
    path = tmp_path / "state.pt"
    with pytest.raises(InputError, match=r"a weight is not a finite number in epoch 1, step 3;"):
        Training({"epochs": 2}, images=64).run(Checkpoint(path, 0))
    assert Checkpoint(path, 0).load()["step"] == 2


def test_a_loss_far_above_its_first_has_diverged():
    training = Training({"learning_rate": 30, "optimizer": "sgd", "epochs": 9}, images=64)
    with pytest.raises(InputError, match=r"the loss became [0-9.e+]+ in epoch \d, step \d"):
        training.run(None)


def test_a_state_begins_with_the_hash_of_the_rest(tmp_path: Path):
    path = tmp_path / "state.pt"
    Checkpoint(path, 0).save({"x": torch.ones(3)})
    data = path.read_bytes()
    assert data[:32] == hashlib.sha256(data[32:]).digest()


WEIGHTS = "results/backbone/weights.safetensors"


@pytest.fixture(scope="module")
def whole(own_run: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A training of many short epochs that nothing disturbed."""
    project = own_run.copy(tmp_path_factory.mktemp("whole") / "project")
    project = project.having({"finetune.epochs": 30})
    project.run(WEIGHTS)
    return project


def saved(project: Project) -> list[Path]:
    return list(project.folder.glob("results/backbone/unfinished-*.pt"))


@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "seconds"), [(signal.SIGKILL, 0), (signal.SIGINT, 1e6), (signal.SIGTERM, 1e6)]
)
@pytest.mark.fault(
    "SIGKILL, SIGINT or SIGTERM of a run within its training",
    "it resumes, and ends in the same bytes",
)
def test_a_stopped_pipeline_goes_on_to_the_same_bytes(
    whole: Project, own_run: Project, tmp_path: Path, number: int, seconds: float
):
    """A kill needs the user's way back: unlock, and the same command; else the command will do."""
    project = own_run.copy(tmp_path / "project")
    project = project.having({**whole.settings, "finetune.save_seconds": seconds})
    log = project.folder / "results/logs/finetune_backbone.log"
    log.unlink()

    def training() -> bool:
        return log.exists() and "epoch   2/30" in log.read_text()

    project.stopped(number, training, WEIGHTS)
    assert len(saved(project)) == 1
    assert not (project.folder / WEIGHTS).exists()
    if number == signal.SIGKILL:
        project.snakemake("--unlock")
    project.run(WEIGHTS)
    assert "Resumed in epoch" in log.read_text()
    assert (project.folder / WEIGHTS).read_bytes() == (whole.folder / WEIGHTS).read_bytes()
    assert saved(project) == []


def test_how_often_a_state_is_saved_makes_nothing_invalid(own_run: Project):
    assert "finetune_backbone" not in own_run.having({"finetune.save_seconds": 5}).plan(WEIGHTS)
