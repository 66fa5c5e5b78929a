"""Train a backbone with a head on top, keep the best epoch by val, and resume after a stop."""

import copy
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from treehead.artifacts import InputError, Tensors, lacks_memory
from treehead.backbones.backbone import Backbone
from treehead.backbones.weights import restore
from treehead.console import say
from treehead.data import balance, dataset
from treehead.training import compute, launching, resuming
from treehead.training.checkpoint import Checkpoint
from treehead.training.objectives import Objective
from treehead.training.trainer import Classifier, Epoch, Images, Trainer, shrunk

# Images that the whitening layer is fitted to.
WHITENED = 5000


class Trained(NamedTuple):
    """What a training leaves: the best epoch's state of the classifier, and a row an epoch."""

    state: dict[str, Tensor]
    history: list[Epoch]


def from_files(
    backbone: Backbone,
    images: str,
    table: str,
    settings: dict[str, Any],
    *,
    checkpoint: Checkpoint,
    rendezvous: str | None,
) -> tuple[Tensors, list[Epoch]]:
    """As `finetune`, on the two parts of the file of train; with no epochs the backbone stays.

    Returns:
        The head's arrays, and the history; both are empty with no epochs.
    """
    if settings["epochs"] == 0:
        return {}, []
    torch.set_num_threads(settings["threads"])
    parts = (dataset.part(images, table, name, settings["split"]) for name in ("train", "val"))
    train, val = (Images(pixels, torch.from_numpy(fine)) for pixels, fine in parts)
    head, history = finetune(
        backbone, train, val, settings, checkpoint=checkpoint, rendezvous=rendezvous
    )
    return {name: value.numpy() for name, value in head.state_dict().items()}, history


def finetune(
    backbone: Backbone,
    train: Images,
    val: Images,
    settings: dict[str, Any],
    *,
    checkpoint: Checkpoint | None = None,
    rendezvous: str | None = None,
) -> tuple[Objective, list[Epoch]]:
    """Train backbone and head; put the weights of the best epoch by val into `backbone`.

    Args:
        backbone: the network to train, in place.
        train, val: two disjoint parts of the training images.
        settings: the `finetune` part of the config; `parent_of`, the parent of each fine class;
            `seed`, of head, order, augmentation and dropout, which seeds each step by
            (seed, epoch, step), so that no generator has a state to keep.
        checkpoint: holds the state of an unfinished training, and its name names the training.
        rendezvous: host:port where `settings["machines"]` machines meet, if more than one.

    Returns:
        The head of the best epoch, and the history, one row an epoch.

    Raises:
        InputError: the backbone can't read the images, the machines did not meet, or the loss
            became NaN, infinite or `DIVERGED` times its first one; the message names epoch and
            step.
        SystemExit: SIGTERM or SIGINT came; the state is kept in the checkpoint.
    """
    settings = compute.decided(settings)
    torch.manual_seed(settings["seed"])
    parent_of = torch.tensor(settings["parent_of"])
    weights = balance.class_weights(train.fine.numpy(), len(parent_of), settings["class_weights"])
    head = Objective(
        backbone.dim, parent_of, settings, None if weights is None else torch.from_numpy(weights)
    )
    model = Classifier(backbone, head)
    backbone.whiten(torch.from_numpy(train.pixels[:WHITENED]))
    _check_sizes(backbone, train, settings)
    training = partial(_train, model, train, val, settings, checkpoint=checkpoint)
    own = {key: settings[key] for key in ("processes", "machines", "device")}
    name = checkpoint.path.stem if checkpoint else "training"
    group = launching.Group(name=name, rendezvous=rendezvous, **own)
    state, history = launching.launch(training, group)
    restore(model, state)
    head.fold()
    say(f"Kept epoch {max(history, key=lambda row: row.val_accuracy).epoch}, the best by val.")
    return head, history


def _check_sizes(backbone: Backbone, train: Images, settings: dict[str, Any]) -> None:
    """Fail before the first epoch if the network can't read images of the sizes to come."""
    images = backbone.preprocess(torch.from_numpy(train.pixels[:2]))
    sizes = {backbone.size, *(part["image_size"] for part in settings["progressive"])}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for size in sorted(sizes):
            try:
                shape = tuple(copy.deepcopy(backbone.network).train()(shrunk(images, size)).shape)
            except (RuntimeError, ValueError) as error:
                if lacks_memory(error):
                    raise
                reason = str(error).splitlines()[0]
                raise InputError(
                    f"The backbone can't read images of {size} pixels ({reason}); give a larger "
                    "backbone.image_size or finetune.progressive."
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
    *,
    checkpoint: Checkpoint | None,
) -> Trained:
    """Train in this process, alone or as one of a group."""
    compute.keep_freed_memory()
    compute.repeat_bytes(settings["device"])
    trainer = Trainer(model, train, val, settings)
    resuming.run(trainer, checkpoint)
    return Trained(trainer.best, trainer.history)
