"""Time embedding against eager PyTorch: the same images, network and threads, turn by turn.

The study's PhiNet at 160 pixels with a seeded initialisation, on images of demo100.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import yaml

from treehead.backbones import embed, exporting, inputs
from treehead.backbones.backbone import build
from treehead.config import settings, stages
from treehead.data import dataset, embeddings
from treehead.data.demo100 import classes


def seconds(run: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    """Print images per second of both, and from stored images to stored features."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (default 5)")
    parser.add_argument("--images", type=int, default=1000, help="images a turn (default 1000)")
    options = parser.parse_args()
    config = yaml.safe_load(Path("config/config.yaml").read_text())
    settings.check(config, "workflow/schemas/config.schema.yaml")
    config["backbone"] |= {"architecture": "phinet", "image_size": 160}
    threads, size = config["threads"]["backbone"], config["embed"]["batch_size"]
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    backbone = build(**inputs.complete(stages.network(config), [], []))

    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"test.{kind}" for kind in ("npy", "parquet")]
        onnx = Path(folder) / "backbone.onnx"
        dataset.write(*files, classes.examples(0, "train", options.images // 100), "test")
        images = dataset.Pixels(files[0])
        exporting.write(backbone, onnx, images[:64], threads)
        run, batch = embed.with_onnx(onnx, threads), torch.from_numpy(images[:64])

        def eager() -> None:
            with torch.no_grad():
                backbone(batch)

        def ours() -> None:
            for start in range(0, 64, size):
                run(images[start : start + size])

        def end_to_end() -> None:
            pixels, fine = dataset.part(*files, "test", {})
            features = embed.embed(pixels, ["identity"], run, size, "embed")
            target = Path(folder) / "features.safetensors"
            embeddings.write(target, embeddings.Embeddings(features, fine))

        eager(), ours()
        times = [
            (seconds(eager), seconds(ours), seconds(end_to_end)) for _ in range(options.rounds)
        ]
    slow, fast, whole = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(one / other for one, other, _ in times)
    print(f"PhiNet at 160 px, {threads} threads, median of {options.rounds} turns, images/s")
    print(f"  eager PyTorch, NCHW, batch 64      {64 / slow:7.0f}")
    print(f"  onnxruntime, batch {size:<3}             {64 / fast:7.0f}   {ratio:.1f} times eager")
    print(f"  stored images to stored features   {len(images) / whole:7.0f}")


if __name__ == "__main__":
    main()
