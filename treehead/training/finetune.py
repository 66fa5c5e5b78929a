"""Train a backbone with a head on top; the best epoch by val is kept, and a stop loses nothing."""

import copy
import signal
from typing import Any

import torch
from torch import Tensor

from treehead.artifacts import InputError
from treehead.backbones.architectures import Backbone
from treehead.console import say
from treehead.training import compute, parallel
from treehead.training.checkpoint import Checkpoint, noticing_signals
from treehead.training.objectives import Objective
from treehead.training.trainer import Classifier, Epoch, Images, Trainer, shrunk, size_in_epoch

# Images that the whitening layer is fitted to.
WHITENED = 5000


def finetune(
    backbone: Backbone,
    train: Images,
    val: Images,
    settings: dict[str, Any],
    checkpoint: Checkpoint | None = None,
) -> tuple[Objective, list[Epoch]]:
    """Train backbone and head; put the weights of the best epoch by val into `backbone`.

    Args:
        backbone: the network to train, in place.
        train, val: two disjoint parts of the training images.
        settings: the `finetune` part of the config; `parent_of`, the parent of each fine class;
            `seed`, of head, order, augmentation and dropout, which seeds each step by
            (seed, epoch, step), so that no generator has a state to keep.
        checkpoint: where the state of an unfinished training is kept, and found again.

    Returns:
        The head of the best epoch, and the history, one row an epoch.

    Raises:
        InputError: the backbone can't read the images, or the loss became NaN, infinite or
            `DIVERGED` times its first one; the message names epoch and step.
        SystemExit: SIGTERM or SIGINT came; the state is kept in the checkpoint.
    """
    torch.manual_seed(settings["seed"])
    head = Objective(backbone.dim, torch.tensor(settings["parent_of"]), settings)
    model = Classifier(backbone, head)
    backbone.whiten(train.pixels[:WHITENED])
    _check_sizes(backbone, train, settings)
    history = torch.zeros(settings["epochs"], len(Epoch._fields), dtype=torch.float64)
    device = compute.device(settings["device"], "finetune.device")
    arguments = (model, train, val, settings, checkpoint, device, history)
    parallel.launch(_train, settings["processes"], device, *arguments)
    rows = [Epoch(int(row[0]), *row[1:]) for row in history.tolist()]
    say(f"Kept epoch {max(rows, key=lambda row: row.val_accuracy).epoch}, the best by val.")
    return head, rows


def _check_sizes(backbone: Backbone, train: Images, settings: dict[str, Any]) -> None:
    """Fail before the first epoch if the network can't read what it will be given."""
    images = backbone.preprocess(train.pixels[:2])
    sizes = {backbone.size, size_in_epoch(1, backbone, settings)}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for size in sorted(sizes):
            try:
                shape = tuple(copy.deepcopy(backbone.network).train()(shrunk(images, size)).shape)
            except (RuntimeError, ValueError) as error:
                reason = str(error).splitlines()[0]
                raise InputError(
                    f"The backbone can't read images of {size} pixels ({reason}); give a larger "
                    "backbone.image_size or finetune.progressive.image_size."
                ) from error
            if shape != (len(images), backbone.dim):
                raise InputError(
                    f"The backbone gives features of shape {shape} from {len(images)} images, not "
                    f"(n, {backbone.dim})."
                )


def _train(
    model: Classifier,
    train: Images,
    val: Images,
    settings: dict[str, Any],
    checkpoint: Checkpoint | None,
    device: str,
    history: Tensor,
) -> None:
    """Train in this process, alone or as one of a group; model and history are the results."""
    compute.keep_freed_memory()
    trainer = Trainer(model, train, val, settings, device)
    with noticing_signals() as noticed:
        if checkpoint and (state := checkpoint.load()):
            trainer.load_state_dict(state)
            say(f"Resumed in epoch {trainer.epoch}, after its step {trainer.step}.")
        try:
            trainer.to_the_end(lambda: _keep(trainer, checkpoint, noticed()))
        except InputError as error:
            kept = checkpoint and checkpoint.path.is_file()
            where = f" The last good state is kept in {checkpoint.path}." if kept else ""
            raise InputError(f"{error}{where}") from None
    if parallel.rank() == 0:
        model.load_state_dict(trainer.best)
        history.copy_(torch.tensor(trainer.history, dtype=torch.float64))
    parallel.wait()


def _keep(trainer: Trainer, checkpoint: Checkpoint | None, noticed: int) -> None:
    """After each step: save the state if it is time to, or if a signal asks to stop."""
    due = checkpoint is not None and checkpoint.due()
    asked, save = parallel.total(noticed > 0, due and parallel.rank() == 0)
    if checkpoint and (asked or save) and parallel.rank() == 0:
        trainer.check_finite()
        checkpoint.save(trainer.state_dict())
    if asked:
        parallel.wait()
        number = noticed or signal.SIGTERM
        kept = "its state is saved, and the same command goes on from there" if checkpoint else ""
        say(f"Stopped by {signal.Signals(number).name} in epoch {trainer.epoch}; {kept}.")
        raise SystemExit(128 + number)
