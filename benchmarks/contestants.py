"""What is timed: our trainer, the study's pipeline, micromind's trainer, and the machine's peak."""

import io
import itertools
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import partial
from multiprocessing import get_context
from typing import Any

import accelerate
import micromind
import numpy as np
import torch
import torch.nn.functional as F
from micromind.utils.checkpointer import Checkpointer, create_experiment_folder
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision import transforms
from torchvision.transforms import v2

from treehead.backbones import inputs
from treehead.backbones.backbone import Backbone, build
from treehead.backbones.convolution import Convolution
from treehead.config import stages
from treehead.training import compute, finetune, trainer
from treehead.training.objectives import Objective
from treehead.training.trainer import Images

Config = dict[str, Any]

SIDE = 32  # of demo100's images, in pixels
REPEATS = 1000  # of the images in an epoch of the loader, so that no measurement reaches its end
WARM_UP = 5  # first steps that don't count: a loader with two workers has four batches ready
LEAST = 2  # steps that a measurement has at least
PEAK_SIDE = 2048  # of the matrices whose product gives the peak


class Stopwatch:
    """Times the steps of a loop, except the first ones, which fill caches and queues."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.begins: list[float] = []
        self.first = 0  # step that counts; 0 as long as none does

    def enough(self) -> bool:
        """Whether the steps so far are a measurement; call it at the start of each step."""
        self.begins.append(time.perf_counter())
        last = len(self.begins) - 1
        passed = self.begins[last] - self.begins[self.first]
        if self.first:
            return last - self.first >= LEAST and passed >= self.seconds
        if last == WARM_UP or (last and passed >= self.seconds):
            self.first = last
        return False

    def steps_per_second(self) -> float:
        """Steps per second, without the warm-up."""
        steps = self.begins[self.first :]
        return (len(steps) - 1) / (steps[-1] - steps[0])


def steps_per_second(step: Callable[..., object], batches: Iterable, seconds: float) -> float:
    """How fast `step` consumes the batches, including the wait for them."""
    watch = Stopwatch(seconds)
    for batch in batches:
        if watch.enough():
            break
        step(batch)
    return watch.steps_per_second()


def built(config: Config) -> Backbone:
    """The backbone with its seeded initialisation."""
    torch.manual_seed(config["seed"])
    return build(**inputs.complete(stages.network(config), [], []))


def plain(config: Config) -> nn.Sequential:
    """The same network in PyTorch's own layers and layout, NCHW, with a linear classifier."""
    backbone = built(config)
    for layer in backbone.network.modules():
        if isinstance(layer, Convolution):
            layer.forward = layer.convolved
    classifier = nn.Linear(backbone.dim, config["dataset"]["classes"])
    return nn.Sequential(backbone.network, classifier)


def ours(config: Config, images: Images, seconds: float) -> float:
    """Images/s of the steps of `finetune.finetune`."""
    torch.set_num_threads(config["threads"]["backbone"])
    compute.keep_freed_memory()
    chosen = stages.finetune(config, None) | {"epochs": REPEATS, "device": "cpu"}
    settings = compute.decided(chosen)
    backbone, size = built(config), settings["batch_size"]
    head = Objective(backbone.dim, torch.tensor(settings["parent_of"]), settings)
    run = trainer.Trainer(finetune.Classifier(backbone, head), images, images, settings)
    run.model.train()
    order = torch.randperm(len(images.fine), generator=torch.Generator().manual_seed(0))
    whole = [rows for rows in order.split(size) if len(rows) == size]
    return size * steps_per_second(run.train_step, itertools.cycle(whole), seconds)


def in_own_process(run: Callable[..., float], *arguments: Any) -> float:
    """Images/s of a contestant whose memory allocator must not help the others."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(run, *arguments).result()


class OneByOne(Dataset):
    """Images as the study reads them, repeated: arrays that PIL augments one by one."""

    def __init__(self, images: Images, transform: Callable[[Image.Image], Tensor]) -> None:
        self.arrays = np.ascontiguousarray(images.pixels.transpose(0, 2, 3, 1))
        self.fine, self.transform = images.fine.tolist(), transform

    def __len__(self) -> int:
        return REPEATS * len(self.fine)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        row = index % len(self.fine)
        return self.transform(Image.fromarray(self.arrays[row])), self.fine[row]


def one_by_one(config: Config) -> transforms.Compose:
    """The augmentation of the config as torchvision's transforms of a PIL image."""
    size, chosen = config["backbone"]["image_size"], config["finetune"]["augment"]
    steps = [transforms.Resize(size)] if size != SIDE else []
    steps += [transforms.RandomHorizontalFlip()]
    if chosen["rotation"]:
        steps += [transforms.RandomRotation(chosen["rotation"])]
    if chosen["crop"]:
        steps += [transforms.RandomCrop(size, padding=chosen["crop"], padding_mode="reflect")]
    normalize = transforms.Normalize(config["dataset"]["mean"], config["dataset"]["std"])
    return transforms.Compose([*steps, transforms.ToTensor(), normalize])


def loader(config: Config, images: Images) -> DataLoader:
    """The study's loader: a worker for each thread, CutMix or MixUp if configured."""
    chosen, classes = config["finetune"]["augment"], config["dataset"]["classes"]
    mixes = [mix(alpha=chosen["mix_alpha"], num_classes=classes) for mix in (v2.CutMix, v2.MixUp)]
    mix = v2.RandomChoice(mixes)
    return DataLoader(
        OneByOne(images, one_by_one(config)),
        batch_size=config["finetune"]["batch_size"],
        shuffle=True,
        num_workers=config["threads"]["backbone"],
        collate_fn=None if chosen["mix"] == "none" else partial(mixed, mix),
    )


def mixed(mix: v2.Transform, samples: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    """A batch of mixed images (n, 3, size, size) with class probabilities (n, classes)."""
    return mix(*default_collate(samples))


def stepping(network: nn.Module, precision: torch.dtype) -> Callable[[tuple[Tensor, Tensor]], None]:
    """A step of Adam on images (n, 3, size, size) and their labels or class probabilities."""
    optimizer = torch.optim.Adam(network.parameters())

    def step(batch: tuple[Tensor, Tensor]) -> None:
        images, target = batch
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            logits = network(images)
        optimizer.zero_grad()
        F.cross_entropy(logits.float(), target).backward()
        optimizer.step()

    return step


def study(config: Config, images: Images, seconds: float) -> float:
    """Images/s of a plain loop over the study's loader."""
    step = stepping(plain(config), torch.float32)
    batches = loader(config, images)
    return batches.batch_size * steps_per_second(step, batches, seconds)


class Enough(Exception):
    """Stops a trainer before the end of its epoch."""


class Mind(micromind.MicroMind):
    """The network as a user of micromind writes it; a stopwatch ends its training."""

    def __init__(self, network: nn.Sequential, watch: Stopwatch) -> None:
        super().__init__()
        self.modules["features"], self.modules["classifier"] = network
        self.watch = watch

    def forward(self, batch: Any) -> Tensor:
        return self.modules["classifier"](self.modules["features"](batch[0]))

    def compute_loss(self, pred: Tensor, batch: Any) -> Tensor:
        if self.watch.enough():
            raise Enough
        return F.cross_entropy(pred, batch[1])


def by_micromind(config: Config, images: Images, seconds: float) -> float:
    """Images/s of micromind's own trainer, its Adam and the study's loader, on the CPU."""
    accelerate.PartialState(cpu=True)
    micromind.core.logger.disable("micromind")
    watch, batches = Stopwatch(seconds), loader(config, images)
    silence = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, suppress(Enough):  # noqa: SIM117
        with redirect_stdout(silence), redirect_stderr(silence):
            mind = Mind(plain(config), watch)
            keeper = Checkpointer(create_experiment_folder(folder, "mind"), hparams=mind.hparams)
            mind.train(datasets={"train": batches}, checkpointer=keeper)
    return batches.batch_size * watch.steps_per_second()


def computing(
    config: Config, layout: torch.memory_format, precision: torch.dtype, seconds: float
) -> float:
    """Images/s of forward, backward and Adam's step on a batch in memory."""
    size, n = config["backbone"]["image_size"], config["finetune"]["batch_size"]
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(n, 3, size, size, generator=generator).to(memory_format=layout)
    fine = torch.randint(config["dataset"]["classes"], (n,), generator=generator)
    step = stepping(plain(config).to(memory_format=layout), precision)
    return n * steps_per_second(step, itertools.repeat((images, fine)), seconds)


def embedding_with(run: Callable, images: Any, size: int, seconds: float) -> float:
    """Images/s of `run` in batches of `size` images."""
    return size * steps_per_second(run, itertools.repeat(images[:size]), seconds)


def peak(precision: torch.dtype, seconds: float) -> float:
    """Operations a second of the machine's fastest product of large matrices."""
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(2, PEAK_SIDE, PEAK_SIDE, generator=generator).to(precision)
    fastest, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        torch.mm(left, right)
        fastest = min(fastest, time.perf_counter() - start)
    return 2 * PEAK_SIDE**3 / fastest
