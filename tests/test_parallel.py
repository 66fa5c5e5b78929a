"""Two processes train as one does, and start again if one of them dies."""

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import psutil
import pytest
import torch
from training import Training, digest

from treehead.artifacts import InputError
from treehead.training import launching, parallel
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


# Before any training.
HANDLERS = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}


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


TWO = launching.Group("training", processes=2, machines=1, rendezvous=None, device="cpu")


def killed() -> None:
    """The second process dies, and the first one waits for it."""
    parallel.total(1)
    if parallel.rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    parallel.total(1)


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
