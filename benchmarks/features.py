"""Heads fitted to features that stay in their file: what time and memory each takes.

Draws the features of as many images as asked for, in shards that are joined as by the graph, and
fits heads to them, each in a process of its own. Prints the time, the memory of the process, and
how much of the file was in memory besides, which the system takes back when it needs it. The drawn
features of ImageNet through PhiNet are 0.9 GB; what is there is not drawn again.
"""

import argparse
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from treehead.data import embeddings
from treehead.data.embeddings import Embeddings
from treehead.heads import fitting

SHARDS = 64
TRAINING = {
    "batch_size": 1024,
    "learning_rate": 0.003,
    "weight_decay": 0.05,
    "temperature": 2.0,
}
HEADS: dict[str, dict[str, Any]] = {
    "linear": {},
    "lowrank": {"rank": 75},
    "tree": {"k": 2, "tree": "clusters", "groups": 30},
    "lasso": {"alpha": 0.02, "iterations": 4},
    "linear, with a teacher": {},
}
TEACHER = {"width": 1024, "dropout": 0.0, "input_dropout": 0.0, "label_smoothing": 0.0}


def draw(options: argparse.Namespace, number: int) -> str:
    """One shard of the features, around a centre for each class."""
    path = options.folder / f"{number}.safetensors"
    if not path.exists():
        rows = embeddings.shard(options.images, number, SHARDS)
        rng = np.random.default_rng(number)
        labels = rng.integers(0, options.classes, rows.stop - rows.start)
        centres = np.random.default_rng(SHARDS).normal(size=(options.classes, options.dim))
        shape = (options.views, len(labels), options.dim)
        features = rng.standard_normal(shape, np.float32) + centres[labels].astype(np.float32)
        embeddings.write(path, Embeddings(features, labels), "float16")
    return str(path)


def join(options: argparse.Namespace, path: Path, _: str) -> None:
    """The file of all shards."""
    shards = [draw(options, number) for number in range(SHARDS)]
    embeddings.join(shards, path)


def fit(options: argparse.Namespace, path: Path, name: str) -> None:
    """A head, for one seed."""
    torch.set_num_threads(1)
    train = embeddings.examples(path, options.classes)
    settings = HEADS[name] | {"training": TRAINING | {"epochs": options.epochs}}
    module, _, taught = name.partition(", ")
    if module == "tree":
        settings["parent_of"] = np.zeros(options.classes, np.int64)
    given = {"seeds": [0], "what": name}
    teacher = None
    if taught:
        # Of a few images: what it says of the others takes as long.
        few = train._replace(features=train.features.every(100), labels=train.labels[::100])
        teacher = ("mlp", fitting.fit("mlp", few, settings=TEACHER | settings, **given))
    fitting.fit(module, train, settings=settings, teacher=teacher, **given)


def measured(work: Any, *given: Any) -> tuple[float, float, float]:
    """Seconds of work in another process, its memory and the most of files in memory, in GB."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=given)
    start, own, mapped = time.perf_counter(), 0, 0
    process.start()
    while process.is_alive():
        try:
            memory = psutil.Process(process.pid).memory_info()
        except psutil.NoSuchProcess:
            break
        own, mapped = max(own, memory.rss - memory.shared), max(mapped, memory.shared)
        process.join(0.05)
    process.join()
    if process.exitcode:
        raise SystemExit(f"{given[-1]} ended with {process.exitcode}")
    return time.perf_counter() - start, own / 1e9, mapped / 1e9


def main() -> None:
    """Print a row for each head."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder to draw into, which is kept")
    parser.add_argument("--images", type=int, default=1_281_167)
    parser.add_argument("--views", type=int, default=1)
    parser.add_argument("--dim", type=int, default=344)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--heads", nargs="*", choices=HEADS, default=list(HEADS))
    options = parser.parse_args()
    path = options.folder / "train.safetensors"
    for number in range(SHARDS):
        draw(options, number)
    rows = {"join": join} | dict.fromkeys(options.heads, fit)
    for name, work in rows.items():
        seconds, own, mapped = measured(work, options, path, name)
        print(f"{name:24} {seconds:6.0f} s {own:6.2f} GB {mapped:6.2f} GB of files", flush=True)
    print(f"{path.stat().st_size / 1e9:.2f} GB of features")


if __name__ == "__main__":
    main()
