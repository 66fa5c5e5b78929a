"""Images per second of training and embedding: ours, the study's pipeline, micromind's trainer.

They take turns in one run, with the same images of demo100, networks, batches and threads, and ours
is held against the machine's own matrix products. Writes results/bench.
"""

import argparse
import io
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import accelerate
import micromind
import pandas as pd
import torch
import torch.nn.functional as F
import yaml
from micromind.utils.checkpointer import Checkpointer, create_experiment_folder
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision import transforms
from torchvision.transforms import v2

from benchmarks import figure
from treehead import (
    artifacts,
    backbones,
    compute,
    counting,
    dataset,
    demo100,
    embed,
    figures,
    finetune,
    stages,
    trainer,
)
from treehead.objectives import Objective

Config = dict[str, Any]
Row = dict[str, Any]
Contestant = Callable[[float], float]  # from seconds to measure to images/s

NAMES = {"resnet9": "ResNet9", "phinet": "PhiNet"}
RESULTS = Path("results/bench")
SIDE = 32  # of demo100's images, in pixels
PER_CLASS = 10  # images of demo100, which all loop over
REPEATS = 1000  # of the images in an epoch of the loader, so that no measurement reaches its end
WARM_UP = 5  # first steps that don't count: a loader with two workers has four batches ready
LEAST = 2  # steps that a measurement has at least
EAGER_BATCH = 64  # images that eager PyTorch embeds at a time
PEAK_SIDE = 2048  # of the matrices whose product gives the peak

# Columns that the terminal shows, with their titles and formats.
ROW = {"backbone": ("backbone", "{}"), "image_size_px": ("px", "{}"), "batch_size": ("batch", "{}")}
TRAINING = ROW | {
    "ours_images_per_second": ("ours", "{:.0f}"),
    "study_images_per_second": ("study", "{:.0f}"),
    "micromind_images_per_second": ("micromind", "{:.0f}"),
    "ratio_study": ("ours/study", "{:.2f}"),
    "ratio_micromind": ("ours/micromind", "{:.2f}"),
    "compute_ratio": ("compute alone", "{:.2f}"),
    "fraction_of_peak": ("of peak", "{:.1%}"),
}
EMBEDDING = ROW | {
    "ours_images_per_second": ("ours", "{:.0f}"),
    "eager_images_per_second": ("eager", "{:.0f}"),
    "micromind_images_per_second": ("micromind", "{:.0f}"),
    "ratio_eager": ("ours/eager", "{:.2f}"),
    "fraction_of_peak": ("of peak", "{:.1%}"),
}


class Pictures(NamedTuple):
    """Images uint8 (n, 3, 32, 32), and their fine labels int64 (n,)."""

    pixels: Tensor
    fine: Tensor


class Bench(NamedTuple):
    """What all rows share: the images, how often and how long each contestant runs, the peak.

    The peak is in operations a second, by precision.
    """

    pictures: Pictures
    rounds: int
    seconds: float
    peaks: dict[torch.dtype, float]


class Stopwatch:
    """Times the steps of a loop; its first ones fill caches and queues, and don't count."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.begins: list[float] = []
        self.first = 0  # step that counts; 0 as long as none does

    def enough(self) -> bool:
        """Asked where each step begins: do the steps so far make a measurement?"""
        self.begins.append(time.perf_counter())
        last = len(self.begins) - 1
        passed = self.begins[last] - self.begins[self.first]
        if self.first:
            return last - self.first >= LEAST and passed >= self.seconds
        if last == WARM_UP or (last and passed >= self.seconds):
            self.first = last
        return False

    def steps_per_second(self) -> float:
        """Of the steps that count."""
        steps = self.begins[self.first :]
        return (len(steps) - 1) / (steps[-1] - steps[0])


def steps_per_second(step: Callable[..., object], batches: Iterable, seconds: float) -> float:
    """How fast `step` takes the batches, waiting for them included."""
    watch = Stopwatch(seconds)
    for batch in batches:
        if watch.enough():
            break
        step(batch)
    return watch.steps_per_second()


def built(config: Config) -> backbones.Backbone:
    """The backbone with its seeded initialisation."""
    torch.manual_seed(config["seed"])
    return backbones.build(**stages.network(config))


def plain(config: Config) -> nn.Sequential:
    """The same network with a linear classifier, in PyTorch's own layout, NCHW."""
    backbone = built(config)
    classifier = nn.Linear(backbone.dim, config["dataset"]["classes"])
    return nn.Sequential(backbone.network, classifier)


def ours(config: Config, pictures: Pictures, seconds: float) -> float:
    """Images/s of the steps of `finetune.finetune`."""
    torch.set_num_threads(config["threads"]["backbone"])
    compute.keep_freed_memory()
    settings = stages.finetune(config, None) | {"epochs": REPEATS}
    backbone, size = built(config), settings["batch_size"]
    head = Objective(backbone.dim, torch.tensor(settings["parent_of"]), settings)
    images = finetune.Images(pictures.pixels, pictures.fine)
    run = trainer.Trainer(finetune.Classifier(backbone, head), images, images, settings, "cpu")
    run.model.train()
    order = torch.randperm(len(images.fine), generator=torch.Generator().manual_seed(0))
    whole = [rows for rows in order.split(size) if len(rows) == size]
    return size * steps_per_second(run.train_step, itertools.cycle(whole), seconds)


def in_own_process(run: Callable[..., float], *arguments: Any) -> float:
    """Images/s of a contestant whose memory allocator must not help the others."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(run, *arguments).result()


class OneByOne(Dataset):
    """Images as the study read them, over and over: arrays that PIL augments one by one."""

    def __init__(self, pictures: Pictures, transform: Callable[[Image.Image], Tensor]) -> None:
        self.arrays = pictures.pixels.permute(0, 2, 3, 1).contiguous().numpy()
        self.fine, self.transform = pictures.fine.tolist(), transform

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


def loader(config: Config, pictures: Pictures) -> DataLoader:
    """The study's: a worker for each thread, CutMix or MixUp of each batch where it is mixed."""
    chosen, classes = config["finetune"]["augment"], config["dataset"]["classes"]
    mixes = [mix(alpha=chosen["mix_alpha"], num_classes=classes) for mix in (v2.CutMix, v2.MixUp)]
    mix = v2.RandomChoice(mixes)
    return DataLoader(
        OneByOne(pictures, one_by_one(config)),
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


def study(config: Config, pictures: Pictures, seconds: float) -> float:
    """Images/s of a plain loop over the study's loader."""
    step = stepping(plain(config), torch.float32)
    batches = loader(config, pictures)
    return batches.batch_size * steps_per_second(step, batches, seconds)


class Enough(Exception):
    """Ends a trainer that would go on to the end of its epoch."""


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


def by_micromind(config: Config, pictures: Pictures, seconds: float) -> float:
    """Images/s of micromind's own trainer, its Adam and the study's loader, on the CPU."""
    accelerate.PartialState(cpu=True)
    micromind.core.logger.disable("micromind")
    watch, batches = Stopwatch(seconds), loader(config, pictures)
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
    """Images/s of forward, backward and Adam's step on a batch that is there already."""
    size, n = config["backbone"]["image_size"], config["finetune"]["batch_size"]
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(n, 3, size, size, generator=generator).to(memory_format=layout)
    fine = torch.randint(config["dataset"]["classes"], (n,), generator=generator)
    step = stepping(plain(config).to(memory_format=layout), precision)
    return n * steps_per_second(step, itertools.repeat((images, fine)), seconds)


def embedding_with(run: Callable, images: Any, size: int, seconds: float) -> float:
    """Images/s of `run`, given `size` of the images at a time."""
    return size * steps_per_second(run, itertools.repeat(images[:size]), seconds)


def peak(precision: torch.dtype, seconds: float) -> float:
    """The machine's operations a second in the fastest of its products of large matrices."""
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(2, PEAK_SIDE, PEAK_SIDE, generator=generator).to(precision)
    fastest, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        torch.mm(left, right)
        fastest = min(fastest, time.perf_counter() - start)
    return 2 * PEAK_SIDE**3 / fastest


def turns(contestants: dict[str, Contestant], bench: Bench) -> pd.DataFrame:
    """Images/s, a column a contestant and a row a round."""
    rounds = range(bench.rounds)
    return pd.DataFrame(
        [{name: run(bench.seconds) for name, run in contestants.items()} for _ in rounds]
    )


def speeds(table: pd.DataFrame) -> dict[str, float]:
    """The median images/s of each contestant."""
    return {f"{name}_images_per_second": value for name, value in table.median().items()}


def ratio(table: pd.DataFrame, fast: str, slow: str) -> float:
    """The median over the rounds of how many times as fast one is as another."""
    return (table[fast] / table[slow]).median()


def described(config: Config, batch: int, precision: torch.dtype) -> Row:
    """The first columns of a row: what is computed, how, and how much an image is."""
    return {
        "backbone": NAMES[config["backbone"]["architecture"]],
        "image_size_px": config["backbone"]["image_size"],
        "batch_size": batch,
        "threads": config["threads"]["backbone"],
        "precision": str(precision).removeprefix("torch."),
        "macs_per_image": counting.macs(built(config), SIDE),
    }


def against_peak(row: Row, products: int, bench: Bench) -> Row:
    """The last columns of a row: the peak, and the share of it that our speed is.

    Args:
        row: the columns so far.
        products: how often an image meets each weight: once forward, twice backward.
        bench: the peaks.
    """
    peak = bench.peaks[getattr(torch, row["precision"])]
    needed = row["ours_images_per_second"] * products * 2 * row["macs_per_image"]
    return {"peak_gflop_per_second": peak / 1e9, "fraction_of_peak": needed / peak}


def training(config: Config, bench: Bench) -> Row:
    """A row of the training table."""
    precision = compute.precision(config["finetune"]["precision"], "cpu")
    table = turns(
        {
            "ours": partial(in_own_process, ours, config, bench.pictures),
            "study": partial(study, config, bench.pictures),
            "micromind": partial(by_micromind, config, bench.pictures),
            "compute": partial(computing, config, torch.channels_last, precision),
            "eager_compute": partial(computing, config, torch.contiguous_format, torch.float32),
        },
        bench,
    )
    row = described(config, config["finetune"]["batch_size"], precision) | speeds(table)
    row |= {
        "ratio_study": ratio(table, "ours", "study"),
        "ratio_micromind": ratio(table, "ours", "micromind"),
        "compute_ratio": ratio(table, "compute", "eager_compute"),
    }
    return row | against_peak(row, 3, bench)


def embedding(config: Config, bench: Bench) -> Row:
    """A row of the embedding table; micromind has nothing that embeds."""
    threads, size = config["threads"]["backbone"], config["embed"]["batch_size"]
    backbone, pixels = built(config), bench.pictures.pixels
    with tempfile.TemporaryDirectory() as folder:
        onnx = Path(folder) / "backbone.onnx"
        embed.export(backbone, onnx, pixels[:size].numpy(), threads)
        run = embed.with_onnx(onnx, threads)
    eager = torch.no_grad()(backbone.forward)
    table = turns(
        {
            "ours": partial(embedding_with, run, pixels.numpy(), size),
            "eager": partial(embedding_with, eager, pixels, EAGER_BATCH),
        },
        bench,
    )
    row = described(config, size, torch.float32) | speeds(table)
    row |= {
        "micromind_images_per_second": float("nan"),
        "ratio_eager": ratio(table, "ours", "eager"),
    }
    return row | against_peak(row, 1, bench)


def configured(config: Config, larger: Config, architecture: str, size: int) -> Config:
    """The config of one row: the ResNet track's augmentation at 32 px, the PhiNet's above.

    Args:
        config: the default one.
        larger: the layer over it for the study's PhiNet at 160 px.
        architecture: of the backbone.
        size: side of its input in pixels.
    """
    shared, theirs = config["finetune"], larger["finetune"]
    augment = {"rotation": 0, "crop": 4, "mix": "none"} if size == SIDE else theirs["augment"]
    small = architecture == "phinet" and size >= larger["backbone"]["image_size"]
    own = {
        "objective": "flat",
        "precision": "auto",
        "augment": shared["augment"] | {"flip": "random"} | augment,
        "batch_size": (theirs if small else shared)["batch_size"],
    }
    backbone = config["backbone"] | {"architecture": architecture, "image_size": size}
    return config | {"backbone": backbone, "finetune": shared | own}


def drawn() -> Pictures:
    """Some images of demo100, by way of a parquet file as the pipeline reads it."""
    with tempfile.TemporaryDirectory() as folder:
        parquet = Path(folder) / "images.parquet"
        dataset.write(parquet, demo100.rows(0, "train", PER_CLASS))
        pixels, (fine, _) = dataset.images(parquet, SIDE), dataset.labels(parquet)
    return Pictures(torch.from_numpy(pixels), torch.from_numpy(fine))


def printed(table: pd.DataFrame, shown: dict[str, tuple[str, str]]) -> str:
    """Some columns of a table for the terminal, each with its title and its format."""
    return table.to_string(
        index=False,
        columns=list(shown),
        header=[title for title, _ in shown.values()],
        formatters={column: form.format for column, (_, form) in shown.items()},
        na_rep="",
    )


def measured(cases: list[Config], bench: Bench) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of training and of embedding, telling after each pair how much time is left."""
    begin, rows = time.monotonic(), []
    for done, config in enumerate(cases, 1):
        rows.append((training(config, bench), embedding(config, bench)))
        left = (time.monotonic() - begin) / done * (len(cases) - done)
        name, size = rows[-1][0]["backbone"], config["backbone"]["image_size"]
        told = f"{name} at {size} px is done, about {left // 60:.0f}:{left % 60:02.0f} left"
        print(told, file=sys.stderr, flush=True)
    trained, embedded = map(pd.DataFrame, zip(*rows, strict=True))
    return trained, embedded


def report(trained: pd.DataFrame, embedded: pd.DataFrame, bench: Bench, threads: int) -> None:
    """Print both tables; write them and the figure."""
    highest = ", ".join(
        f"{str(precision).removeprefix('torch.')} {peak / 1e9:.0f} GFLOP/s"
        for precision, peak in bench.peaks.items()
    )
    title = f"{threads} threads, medians of {bench.rounds} turns; matrix products: {highest}"
    print(title)
    print(f"\nTraining, images/s\n{printed(trained, TRAINING)}")
    print(f"\nEmbedding, images/s\n{printed(embedded, EMBEDDING)}")
    for name, table in (("training", trained), ("embedding", embedded)):
        text = table.to_csv(index=False, float_format="%.6g")
        artifacts.write_text(RESULTS / f"{name}.csv", text)
    figures.save(figure.throughput(trained, embedded, title), RESULTS / "throughput.svg")


def main() -> None:
    """Measure every backbone at every size, and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (default 3)")
    parser.add_argument(
        "--seconds", type=float, default=2, help="of each turn, warm-up aside (default 2)"
    )
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[32, 64, 160], help="in pixels (default 32 64 160)"
    )
    options = parser.parse_args()
    config, larger = (
        yaml.safe_load(Path(f"config/{name}.yaml").read_text()) for name in ("config", "cifar100")
    )
    threads = config["threads"]["backbone"]
    torch.set_num_threads(threads)
    precisions = dict.fromkeys([torch.float32, compute.precision("auto", "cpu")])
    peaks = {precision: peak(precision, options.seconds) for precision in precisions}
    bench = Bench(drawn(), options.rounds, options.seconds, peaks)
    cases = [configured(config, larger, name, size) for name in NAMES for size in options.sizes]
    report(*measured(cases, bench), bench, threads)


if __name__ == "__main__":
    main()
