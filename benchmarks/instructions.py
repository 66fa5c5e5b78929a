"""What heads cost as C on an emulated Cortex-M4: flash, RAM and instructions an image.

Each head that a results folder has packed at a precision of whole numbers is compiled, run on
images of val, and compared with its reference to the bit. Features have 8 or 16 bits.

    python -m benchmarks.instructions results --precision int8 --bits 16
"""

import argparse
from pathlib import Path

from treehead.artifacts import InputError, read_json
from treehead.data import embeddings
from treehead.deploy.c import build, emulated, integer

ROW = "{:<40} {:>8} {:>8} {:>10} {:>10} {:>10}"


def main() -> None:
    """Print a row for each head."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("results", type=Path, help="a results folder with evaluated heads")
    parser.add_argument("--precision", default="int8", help="default: %(default)s")
    parser.add_argument("--bits", type=int, default=16, choices=(8, 16), help="of features")
    parser.add_argument("--images", type=int, default=200, help="of val (default: %(default)s)")
    options = parser.parse_args()
    folder = options.results / "embeddings"
    sample = embeddings.read(folder / "train.safetensors").features[0]
    features = integer.calibrated(sample, options.bits)
    val = embeddings.read(folder / "val.safetensors").features[0]
    q, _ = features.quantized(val[: options.images])
    print(ROW.format("head", "flash", "RAM", "M4, mean", "M4, worst", "M4 loop"))
    for path in sorted(options.results.glob(f"heads/*/packed/{options.precision}-0.bin")):
        name = path.parents[1].name
        try:
            head = build.build(_module(path), path, features, sample)
        except InputError as error:
            print(f"{name:<40} {error}")
            continue
        found = emulated.measure(head, path, q)
        loop = emulated.measure(head, path, q, "cortex-m4-loop")
        shown = (found.instructions_mean, found.instructions_worst, loop.instructions_mean)
        figures = (found.flash_bytes, found.ram_bytes, *shown)
        print(ROW.format(name, *(f"{figure:,.0f}" for figure in figures)))


def _module(packed: Path) -> str:
    """The module of a packed head, which its metrics tell."""
    return read_json(packed.parents[1] / "metrics.json")["module"]


if __name__ == "__main__":
    main()
