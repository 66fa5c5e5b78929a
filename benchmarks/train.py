"""Images per second of training and embedding: ours, the study's pipeline, micromind's trainer.

They take turns in one run, with the same demo100 images, networks, batches and threads. Ours is
also compared with the machine's peak, its fastest matrix product. Writes results/bench.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import yaml

from benchmarks import contestants, figure
from benchmarks.contestants import SIDE, Config
from treehead import artifacts
from treehead.backbones import cost, embed, exporting
from treehead.config import settings
from treehead.data.demo100 import classes
from treehead.report import figures
from treehead.training import compute
from treehead.training.trainer import Images

Row = dict[str, Any]
Contestant = Callable[[float], float]  # from seconds to measure to images/s

NAMES = {"resnet9": "ResNet9", "phinet": "PhiNet", "airbench_residual": "airbench_residual"}
LARGEST = {"airbench_residual": SIDE}  # of its images, in pixels
RESULTS = Path("results/bench")
BATCH = 128  # of the study's ResNet track
PER_CLASS = 10  # images of demo100, which all loop over
EAGER_BATCH = 64  # images that eager PyTorch embeds at a time

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


class Bench(NamedTuple):
    """What all rows share: the images, how often and how long each contestant runs, the peak.

    The peak is in operations a second, by precision.
    """

    images: Images
    rounds: int
    seconds: float
    peaks: dict[torch.dtype, float]


def turns(runs: dict[str, Contestant], bench: Bench) -> pd.DataFrame:
    """Images/s, one column for each contestant and one row for each round."""
    rounds = range(bench.rounds)
    return pd.DataFrame([{name: run(bench.seconds) for name, run in runs.items()} for _ in rounds])


def speeds(table: pd.DataFrame) -> dict[str, float]:
    """The median images/s of each contestant."""
    return {f"{name}_images_per_second": value for name, value in table.median().items()}


def ratio(table: pd.DataFrame, fast: str, slow: str) -> float:
    """The median over the rounds of how many times as fast one is as another."""
    return (table[fast] / table[slow]).median()


def described(config: Config, batch: int, precision: torch.dtype) -> Row:
    """The first columns of a row: what is computed, how, and the MACs of an image."""
    return {
        "backbone": NAMES[config["backbone"]["architecture"]],
        "image_size_px": config["backbone"]["image_size"],
        "batch_size": batch,
        "threads": config["threads"]["backbone"],
        "precision": str(precision).removeprefix("torch."),
        "macs_per_image": cost.macs(contestants.built(config), SIDE),
    }


def against_peak(row: Row, products: int, bench: Bench) -> Row:
    """The last columns of a row: the peak, and our share of it.

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
            "ours": partial(contestants.in_own_process, contestants.ours, config, bench.images),
            "study": partial(contestants.study, config, bench.images),
            "micromind": partial(contestants.by_micromind, config, bench.images),
            "compute": partial(contestants.computing, config, torch.channels_last, precision),
            "eager_compute": partial(
                contestants.computing, config, torch.contiguous_format, torch.float32
            ),
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
    """A row of the embedding table; micromind has no embedding."""
    threads, size = config["threads"]["backbone"], config["embed"]["batch_size"]
    backbone, pixels = contestants.built(config), bench.images.pixels
    with tempfile.TemporaryDirectory() as folder:
        onnx = Path(folder) / "backbone.onnx"
        exporting.write(backbone, onnx, pixels[:size], threads)
        run = embed.with_onnx(onnx, threads)
    eager = torch.no_grad()(backbone.forward)
    table = turns(
        {
            "ours": partial(contestants.embedding_with, run, pixels, size),
            "eager": partial(
                contestants.embedding_with, eager, torch.from_numpy(pixels), EAGER_BATCH
            ),
        },
        bench,
    )
    row = described(config, size, torch.float32) | speeds(table)
    row |= {
        "micromind_images_per_second": float("nan"),
        "ratio_eager": ratio(table, "ours", "eager"),
    }
    return row | against_peak(row, 1, bench)


def configured(
    config: Config, larger: Config, architecture: str, size: int, precision: str
) -> Config:
    """The config of one row: the ResNet track's augmentation at 32 px, the PhiNet's above.

    Args:
        config: the default one.
        larger: the layer over it for the study's PhiNet at 160 px.
        architecture: of the backbone.
        size: side of its input in pixels.
        precision: of our trainer.
    """
    shared, theirs = config["finetune"], larger["finetune"]
    augment = {"rotation": 0, "crop": 4, "mix": "none"} if size == SIDE else theirs["augment"]
    small = architecture == "phinet" and size >= larger["backbone"]["image_size"]
    own = {
        "objective": "flat",
        "precision": precision,
        "augment": shared["augment"] | {"flip": "random"} | augment,
        "batch_size": theirs["batch_size"] if small else BATCH,
        "optimizer": theirs["optimizer"],
        "learning_rate": theirs["learning_rate"],
    }
    backbone = config["backbone"] | {"architecture": architecture, "image_size": size}
    return config | {"backbone": backbone, "finetune": shared | own}


def drawn() -> Images:
    """Some images of demo100."""
    pixels, fine = zip(*classes.examples(0, "train", PER_CLASS), strict=True)
    return Images(np.stack(pixels), torch.tensor(fine))


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
    """The rows of training and of embedding; prints the time left after each pair."""
    begin, rows = time.monotonic(), []
    for done, config in enumerate(cases, 1):
        rows.append((training(config, bench), embedding(config, bench)))
        left = (time.monotonic() - begin) / done * (len(cases) - done)
        name, size = rows[-1][0]["backbone"], config["backbone"]["image_size"]
        line = f"{name} at {size} px is done, about {left // 60:.0f}:{left % 60:02.0f} left"
        print(line, file=sys.stderr, flush=True)
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
    parser.add_argument("--networks", nargs="+", default=list(NAMES), choices=NAMES)
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    options = parser.parse_args()
    config, larger = (
        yaml.safe_load(Path(f"config/{name}.yaml").read_text()) for name in ("config", "cifar100")
    )
    settings.check(config, "workflow/schemas/config.schema.yaml")
    threads = config["threads"]["backbone"]
    torch.set_num_threads(threads)
    precisions = dict.fromkeys([torch.float32, compute.precision(options.precision, "cpu")])
    peaks = {precision: contestants.peak(precision, options.seconds) for precision in precisions}
    bench = Bench(drawn(), options.rounds, options.seconds, peaks)
    cases = [
        configured(config, larger, name, size, options.precision)
        for name in options.networks
        for size in options.sizes
        if size <= LARGEST.get(name, size)
    ]
    report(*measured(cases, bench), bench, threads)


if __name__ == "__main__":
    main()
