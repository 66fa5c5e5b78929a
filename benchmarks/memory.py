"""The resident memory of the jobs that read a large data set: fetch, fine-tuning and embedding.

Draws pictures of random shapes as JPEG files, runs the graph on them, and prints what Snakemake's
benchmarks say. 200,000 pictures of 160 px are 15 GB of pixels.
"""

import argparse
import multiprocessing
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

CLASSES = 100


def draw(number: int, folder: Path, side: int) -> None:
    """One picture of coarse random patches; its class is its number modulo the classes."""
    rng = np.random.default_rng(number)
    patches = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    place = folder / f"{number % CLASSES:03}"
    place.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(patches).resize((side, side), Image.Resampling.BICUBIC)
    image.save(place / f"{number}.jpg", quality=85)


def main() -> None:
    """Print the peak resident memory of each job."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder to draw into, which is kept")
    parser.add_argument("--pictures", type=int, default=200_000)
    parser.add_argument("--side", type=int, default=160, help="in pixels")
    options = parser.parse_args()
    pictures = options.folder / "pictures"
    with multiprocessing.Pool(2) as pool:
        work = partial(draw, folder=pictures, side=options.side)
        pool.map(work, range(options.pictures), chunksize=500)
    results = options.folder / "results"
    layer = {
        "results": str(results),
        "dataset": {"name": "large", "source": str(pictures), "image_size": options.side},
        "taxonomy": "clusters-10",
        "backbone": {"image_size": 32},
        "finetune": {"epochs": 1, "steps_per_epoch": 50, "objective": "flat"},
        "embed": {"views": ["identity"]},
    }
    config = options.folder / "large.yaml"
    config.write_text(yaml.safe_dump(layer))
    targets = [f"{results}/embeddings/{split}.safetensors" for split in ("train", "val", "test")]
    command = ["snakemake", "--cores", "2", "--configfile", str(config), "--", *targets]
    subprocess.run([sys.executable, "-m", *command], check=True)
    tables = [
        Path("resources/datasets/large/fetch_dataset.tsv"),
        *sorted(results.glob("benchmarks/**/*.tsv")),
    ]
    for path in tables:
        row = pd.read_csv(path, sep="\t").iloc[0]
        print(f"{path.stem:18} {row['max_rss'] / 1000:5.2f} GB resident, {row['s']:5.0f} s")


if __name__ == "__main__":
    main()
