"""Whether a head's C says the same on every test image as its reference and the whole classifier.

The C is that of the head in deploy/classifier-int8.onnx, for features as its backbone gives them.
It is compiled for this machine, with and without sanitizers, and for the emulated Cortex-M4 and
M0+. Its logits are compared to the bit with the numpy reference, its classes with the classifier.

    python -m benchmarks.agreement results/cifar100-frozen resources/datasets/cifar100
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from treehead.artifacts import InputError
from treehead.console import progress
from treehead.data import dataset, embeddings
from treehead.deploy import prediction
from treehead.deploy.c import arriving, build, emulated, source

BATCH = 16


def main() -> None:
    """Print a line for each processor."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("results", type=Path, help="a folder with deploy/classifier-int8.onnx")
    parser.add_argument("dataset", type=Path, help="folder of test.npy and test.parquet")
    options = parser.parse_args()
    own = options.results / "int8"
    model = prediction.of_results(options.results, prediction.FILES[1])
    about = model.about.head
    packed = own / f"heads/{about['name']}/packed/{about['precision']}-{about['seed']}.bin"
    sample = embeddings.sample(own / "embeddings/train.safetensors")
    arrive = arriving.of_network(str(own / "backbone/backbone.onnx"))
    head = build.build(about["module"], packed, arrive, sample)
    q, _ = arrive.quantized(embeddings.read(own / "embeddings/test.safetensors").features[0])
    logits, saturated = head.logits(q)
    print(f"{len(q):,} images, {int((saturated > 0).sum()):,} with a number out of range")
    with tempfile.TemporaryDirectory() as folder:
        source.write(folder, head, packed=packed, title=about["name"], examples=q[:1])
        for name in emulated.PROCESSORS:
            try:
                told = emulated.compiled(folder, name).run(q)
            except InputError as error:
                print(f"{name:<16}{error}")
                continue
            same = (told.logits == logits).all(1) & (told.saturated == saturated)
            print(f"{name:<16}{int(same.sum()):,} the same to the bit")
    files = [options.dataset / f"test.{kind}" for kind in ("npy", "parquet")]
    images, fine = dataset.part(*files, "test", {})
    starts = range(0, len(images), BATCH)
    parts = progress(starts, "classifier", len(images), "images", BATCH)
    classes = np.concatenate([model(images[at : at + BATCH]).argmax(1) for at in parts])
    found = logits.argmax(1)
    print(f"{'classifier':<16}{int((classes == found).sum()):,} of the same class")
    print(f"accuracy: C {(found == fine).mean():.2%}, classifier {(classes == fine).mean():.2%}")


if __name__ == "__main__":
    main()
