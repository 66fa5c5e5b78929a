"""Time `treehead predict` on picture files against its bare session on the same decoded images.

Turn by turn, with all processors: the command as a process of its own, which writes a CSV file; the
same on one picture, which is the time to start; and onnxruntime's session on batches in memory.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from treehead.deploy.model import Model
from treehead.deploy.prediction import BATCH

BATCHES = (BATCH, 2 * BATCH)  # of the bare session, whose faster one counts


def seconds(run: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def command(model: Path, pictures: Path, table: Path, threads: int) -> None:
    """Run `treehead predict`."""
    arguments = ["predict", model, pictures, "--csv", table, "--threads", threads]
    subprocess.run([sys.executable, "-m", "treehead", *map(str, arguments)], check=True)


def bare(model: Model, images: np.ndarray, batch: int) -> None:
    """Run the session on images uint8 (n, 3, h, w)."""
    for start in range(0, len(images), batch):
        model(images[start : start + batch])


def main() -> None:
    """Print pictures per second of each, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="a classifier's file")
    parser.add_argument("images", type=Path, help="images, .npy of uint8 (n, 3, h, w)")
    parser.add_argument("--pictures", type=int, default=10_000, help="of a turn (default 10000)")
    parser.add_argument("--rounds", type=int, default=1, help="turns of each (default 1)")
    options = parser.parse_args()
    images = np.load(options.images, mmap_mode="r")[: options.pictures].copy()
    n, threads = len(images), os.cpu_count() or 1
    model = Model(options.model, threads)
    bare(model, images[:64], BATCH)
    with tempfile.TemporaryDirectory() as name:
        folder, table = Path(name, "pictures"), Path(name, "rows.csv")
        folder.mkdir()
        for place, image in enumerate(images):
            Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{place:06d}.png")
        runs = {
            "predict": partial(command, options.model, folder, table, threads),
            "start": partial(command, options.model, folder / "000000.png", table, threads),
        } | {batch: partial(bare, model, images, batch) for batch in BATCHES}
        turns = [{name: seconds(run) for name, run in runs.items()} for _ in range(options.rounds)]
    best = {name: min(turn[name] for turn in turns) for name in runs}
    batch = min(BATCHES, key=best.get)
    print(f"{n:,} pictures of {images.shape[3]} x {images.shape[2]} px, {threads} threads")
    print(f"the bare session, batch {batch:<4}  {n / best[batch]:7.0f} pictures/s")
    for what, spent in (
        ("treehead predict --csv", best["predict"]),
        ("without its start", best["predict"] - best["start"]),
    ):
        print(
            f"{what:27}  {n / spent:7.0f} pictures/s, {best[batch] / spent:.2f} times the session"
        )
    print(f"the start takes {best['start']:.2f} s")


if __name__ == "__main__":
    main()
