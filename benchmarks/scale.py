"""What a data set of the size of ImageNet asks for, measured on less and extrapolated.

Draws pictures of random shapes as JPEG files, runs the graph on them with PhiNet, and embeds one
shard with a network of torchvision. Prints what Snakemake's benchmarks say of each stage, and
its time for as many pictures as `--full`. 200,000 pictures of 160 px are 15 GB of pixels; what is
there is not drawn or made again.
"""

import argparse
import multiprocessing
import subprocess
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from treehead.artifacts import read_tensors

SHARDS = 8
HEADS = {
    "linear": {},
    "lowrank": {"rank": [75]},
    "tree": {"k": [2]},
}


def draw(number: int, folder: Path, side: int, classes: int) -> None:
    """One picture of coarse patches, some of them its class's; its class is its number modulo."""
    patches = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    label = number % classes
    patches[:4] = np.random.default_rng(2**32 + label).integers(0, 256, (4, 8, 3))
    place = folder / f"{label:04}" / f"{number}.jpg"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(patches).resize((side, side), Image.Resampling.BICUBIC)
        image.save(place, quality=85)


def run(folder: Path, name: str, settings: dict[str, Any], *targets: str) -> Path:
    """Run the graph for targets in a results folder of that name; the folder."""
    results = folder / name
    layer = settings | {"results": str(results)}
    config = folder / f"{name}.yaml"
    config.write_text(yaml.safe_dump(layer))
    command = ["snakemake", "--cores", "2", "--configfile", str(config), "--"]
    command += [f"{results}/{target}" for target in targets]
    subprocess.run([sys.executable, "-m", *command], check=True)
    return results


def tell(what: str, benchmarks: Iterable[str | Path], grows: float) -> None:
    """Print the memory and the time of a stage's jobs together, and the time if it grows."""
    rows = pd.concat([pd.read_csv(path, sep="\t") for path in benchmarks])
    seconds, memory = rows["s"].sum(), rows["max_rss"].max() / 1000
    print(f"{what:20} {memory:5.2f} GB, {seconds:6.0f} s, {seconds * grows / 60:7.1f} min")


def main() -> None:
    """Print a row for each stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder to draw into, which is kept")
    parser.add_argument("--pictures", type=int, default=200_000)
    parser.add_argument("--side", type=int, default=160, help="in pixels")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--full", type=int, default=1_281_167, help="pictures to extrapolate to")
    options = parser.parse_args()
    pictures = options.folder / "pictures"
    work = partial(draw, folder=pictures, side=options.side, classes=options.classes)
    with multiprocessing.Pool(2) as pool:
        pool.map(work, range(options.pictures), chunksize=500)
    shared = {
        "dataset": {"name": "large", "source": str(pictures), "image_size": options.side},
        "taxonomy": "clusters-30",
        "finetune": {"epochs": 1, "steps_per_epoch": 50, "batch_size": 64, "objective": "flat"},
        "embed": {"views": ["identity"], "shards": SHARDS, "stored": "float16"},
        "heads": HEADS,
        "seeds": [0],
    }
    phinet = {"architecture": "phinet", "image_size": options.side}
    heads = [f"heads/{head}/head.safetensors" for head in ("linear", "lowrank-75", "tree-2")]
    own = run(options.folder, "phinet", shared | {"backbone": phinet}, *heads)
    mobile = {"architecture": "torchvision/mobilenet_v3_small", "image_size": 224}
    untrained = {"backbone": mobile, "finetune": {"epochs": 0}}
    few = {"embed": shared["embed"] | {"shards": 5 * SHARDS}}
    target = "embeddings/train/0.safetensors"
    other = run(options.folder, "torchvision", shared | untrained | few, target)
    train = len(read_tensors(own / "embeddings/train.safetensors")["fine"])
    tell(
        "fetch_dataset",
        ["resources/datasets/large/fetch_dataset.tsv"],
        options.full / options.pictures,
    )
    tell("embed, PhiNet", own.glob("benchmarks/embed/train/*.tsv"), options.full / train)
    for path in sorted(own.glob("benchmarks/fit_head/*.tsv")):
        tell(path.stem, [path], options.full / train)
    # The other network embedded one of so many shards.
    shard = other.glob("benchmarks/embed/train/*.tsv")
    tell("embed, torchvision", shard, 5 * SHARDS * options.full / train)
    size = (own / "embeddings/train.safetensors").stat().st_size
    print(f"features of PhiNet: {size / 1e9:.2f} GB, {size * options.full / train / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
