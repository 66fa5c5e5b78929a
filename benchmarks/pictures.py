"""Time decoding to square RGB arrays against Pillow's own decoding: the same files, turn by turn.

First in one process, from memory; then from the disk in two processes, ours into the canonical
file, Pillow's into nothing. The start of the processes counts in both.
"""

import argparse
import io
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from treehead.data import decoding, pictures


def plain(data: bytes) -> np.ndarray:
    """What Pillow decodes, (height, width, 3), at the file's own size."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def per_second(decode: Callable[[bytes], np.ndarray], files: list[bytes]) -> float:
    """Pictures per second of one turn."""
    start = time.perf_counter()
    for data in files:
        decode(data)
    return len(files) / (time.perf_counter() - start)


def plain_file(path: Path) -> None:
    """What Pillow decodes, of a file."""
    plain(path.read_bytes())


def both_per_second(paths: list[Path], size: int, resize: str) -> tuple[float, float]:
    """Pictures per second of Pillow's decoding, and of reading into the canonical file."""
    start = time.perf_counter()
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(plain_file, paths, chunksize=64))
    middle = time.perf_counter()
    settings = {"image_size": size, "resize": resize, "processes": 2}
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        decoding.decoded(Path(file.name), paths, len(paths), settings, "reading")
    end = time.perf_counter()
    return len(paths) / (middle - start), len(paths) / (end - middle)


def main() -> None:
    """Print pictures per second of both, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of pictures, of any depth")
    parser.add_argument("--size", type=int, default=128, help="of the result, px (default 128)")
    parser.add_argument("--resize", default="crop", choices=["crop", "pad", "stretch"])
    parser.add_argument("--pictures", type=int, default=1000, help="of a turn (default 1000)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each (default 7)")
    options = parser.parse_args()
    paths = sorted(
        path for path in options.folder.rglob("*") if path.suffix.lower() in pictures.EXTENSIONS
    )
    chosen = random.Random(0).sample(paths, min(options.pictures, len(paths)))
    files = [path.read_bytes() for path in chosen]
    ours = partial(pictures.decode, size=options.size, resize=options.resize)
    turns = [(per_second(plain, files), per_second(ours, files)) for _ in range(options.rounds)]
    theirs, own = (statistics.median(speeds) for speeds in zip(*turns, strict=True))
    ratio = statistics.median(own / theirs for theirs, own in turns)
    print(f"{len(files)} of {len(paths)} pictures, median of {options.rounds} turns of each")
    print(f"Pillow's open and convert    {theirs:7.0f} pictures/s")
    print(
        f"decode to {options.size} px, {options.resize:8}  {own:7.0f} pictures/s, {ratio:.2f} times"
    )

    turns = [both_per_second(paths, options.size, options.resize) for _ in range(options.rounds)]
    theirs, own = (statistics.median(speeds) for speeds in zip(*turns, strict=True))
    ratio = statistics.median(own / theirs for theirs, own in turns)
    print(f"all {len(paths)} pictures in two processes, median of {options.rounds} turns of each")
    print(f"Pillow's open and convert    {theirs:7.0f} pictures/s")
    print(f"into the canonical file      {own:7.0f} pictures/s, {ratio:.2f} times")


if __name__ == "__main__":
    main()
