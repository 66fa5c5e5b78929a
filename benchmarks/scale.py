"""What a data set of the size of ImageNet asks for, measured on less and extrapolated.

Draws pictures of random shapes as JPEG files, runs the graph on them with PhiNet, and embeds one
shard with a network of torchvision. Prints what Snakemake's benchmarks say of each job, and the
time for as many pictures as `--full`. 200,000 pictures of 160 px are 15 GB of pixels; what is there
is not drawn or made again.
"""

import argparse
import multiprocessing
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from PIL import Image

STEPS = 50
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


def main() -> None:
    """Print a row for each job."""
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
        "finetune": {"epochs": 1, "steps_per_epoch": STEPS, "batch_size": 64, "objective": "flat"},
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
    grows = options.full / options.pictures
    files = [Path("resources/datasets/large/fetch_dataset.tsv")]
    files += sorted(own.glob("benchmarks/**/*.tsv")) + sorted(other.glob("benchmarks/**/*.tsv"))
    for path in files:
        row = pd.read_csv(path, sep="\t").iloc[0]
        name = f"{path.parent.name}/{path.stem}"
        hours = row["s"] * grows / 3600
        print(f"{name:40} {row['max_rss'] / 1000:5.2f} GB, {row['s']:6.0f} s, {hours:6.2f} h")
    for path in sorted(own.glob("embeddings/*.safetensors")):
        print(f"{path.name:40} {path.stat().st_size / 1e9:5.2f} GB")


if __name__ == "__main__":
    main()
