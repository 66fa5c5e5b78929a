"""Two processes train as one does."""

import os
import signal
import time
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from training import Training, digest

from treehead.artifacts import InputError
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


@pytest.mark.fault(
    "SIGTERM in a training of two processes", "both end, and resume to the same bytes"
)
def test_a_signal_reaches_all_processes_and_the_rest_has_the_same_bytes(
    whole: Training, tmp_path: Path
):
    """So two runs of two processes have the same bytes, whether one of them is stopped or not."""
    settings, state = {**UNEVEN, "processes": 2}, tmp_path / "state.pt"

    def stop_when_it_trains() -> None:
        while not state.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=stop_when_it_trains, daemon=True).start()
    with pytest.raises(SystemExit) as stopped:
        Training(settings, images=19).run(Checkpoint(state, 0))
    assert stopped.value.code == 128 + signal.SIGTERM
    assert Checkpoint(state, 0).load()["epoch"] < 8
    resumed = Training(settings, images=19).run(Checkpoint(state, 1e9))
    assert digest(resumed.model()) == digest(whole.model())


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
