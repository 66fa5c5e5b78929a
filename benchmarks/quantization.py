"""The backbone in 8 bits beside the float one and beside onnxruntime's own recipes.

Of each: bytes, speed, and accuracy on test of the full head of seed 0, fitted to the float
features, and for ours to its own. Speeds are the best of several rounds, in each of which the files
take turns.

    python -m benchmarks.quantization results/cifar100-frozen resources/datasets/cifar100
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from treehead.backbones import embed
from treehead.data import dataset
from treehead.heads import fitting, packing

METHODS = {"min-max": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
BATCH, CALIBRATED, ROUNDS = 16, 256, 8


class Images(CalibrationDataReader):
    """Batches of images for a calibration."""

    def __init__(self, images: np.ndarray) -> None:
        starts = range(0, len(images), BATCH)
        self.batches = iter([{"images": images[start : start + BATCH]} for start in starts])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch; None at the end."""
        return next(self.batches, None)


def recipes(backbone: Path, images: np.ndarray, folder: Path) -> Iterator[tuple[str, Path]]:
    """The backbone as onnxruntime quantises it by itself, by each of its methods."""
    prepared = folder / "prepared.onnx"
    quant_pre_process(str(backbone), str(prepared))
    for name, method in METHODS.items():
        path = folder / f"{name}.onnx"
        quantize_static(
            str(prepared),
            str(path),
            Images(images),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=getattr(CalibrationMethod, method),
        )
        yield f"onnxruntime, {name}", path


def main() -> None:
    """Print a row for each file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("results", type=Path, help="with int8/heads/linear and heads/linear")
    parser.add_argument("dataset", type=Path, help="folder of train.npy and test.npy")
    parser.add_argument("--images", type=int, default=2000, help="of test (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    options = parser.parse_args()
    test, fine = dataset.part(
        options.dataset / "test.npy", options.dataset / "test.parquet", "test", {}
    )
    rows = np.linspace(0, len(test) - 1, min(options.images, len(test))).astype(int)
    images, fine = test[rows], fine[rows]
    own = options.results / "int8"
    heads = {
        folder: packing.read(folder / "heads/linear/packed/float32-0.bin")
        for folder in (options.results, own)
    }
    with tempfile.TemporaryDirectory() as temporary:
        train = dataset.Pixels(options.dataset / "train.npy")[:CALIBRATED]
        float_file = options.results / "backbone/backbone.onnx"
        files = {"float32": float_file, "ours": own / "backbone/backbone.onnx"}
        files |= dict(recipes(float_file, train, Path(temporary)))
        runs = {name: embed.with_onnx(path, options.threads) for name, path in files.items()}
        speeds = dict.fromkeys(runs, 0.0)
        for _ in range(ROUNDS):
            for name, run in runs.items():
                start = time.perf_counter()
                embed.embed(images[:512], ["identity"], run, BATCH, name)
                speed = min(512, len(images)) / (time.perf_counter() - start)
                speeds[name] = max(speeds[name], speed)
        print(f"{'backbone':<26}{'bytes':>10}{'images/s':>10}{'accuracy':>10}")
        for name, run in runs.items():
            features = embed.embed(images, ["identity"], run, BATCH, name)[0]
            head = heads[own if name == "ours" else options.results]
            right = fitting.predict("linear", head, features).argmax(1) == fine
            size = files[name].stat().st_size
            print(f"{name:<26}{size:>10,}{speeds[name]:>10.0f}{right.mean():>10.2%}")


if __name__ == "__main__":
    main()
