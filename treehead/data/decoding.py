"""Pictures decoded by several processes into one file, from which broken ones are left out."""

import multiprocessing
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from treehead.console import progress
from treehead.data import dataset, pictures

# Pictures that a process decodes at a time, and the fewest that are worth more processes.
_CHUNK = 64
_FEW = 500

Content = bytes | Path


class Decoded(NamedTuple):
    """A picture whose pixels are written, or the reason why they are not.

    Args:
        digest: of its pixels.
        sums: of the pixels of each channel, and of their squares, (2, 3).
        reason: why it can't be decoded, else "".
    """

    digest: str
    sums: list[list[int]]
    reason: str


def decoded(
    path: Path, contents: Iterable[Content], n: int, settings: dict[str, Any], what: str
) -> list[Decoded]:
    """Decode pictures into an .npy file, uint8 (n, 3, size, size), without the broken ones.

    Args:
        path: the file.
        contents: of each picture the bytes, or its path.
        n: their number.
        settings: `image_size`, `resize`, and how many `processes` decode.
        what: what is done, for the log.
    """
    size = settings["image_size"]
    begin = dataset.write_header(path, n, size)
    work = partial(_decode_chunk, path, begin, size, settings["resize"])
    processes = settings["processes"] if n >= _FEW else 1
    chunks = _in_order(work, _chunks(contents), processes)
    done = [each for chunk in progress(chunks, what, n, "images", _CHUNK) for each in chunk]
    _close_gaps(path, begin, size, [not each.reason for each in done])
    return done


def _chunks(contents: Iterable[Content]) -> Iterator[tuple[int, list[Content]]]:
    """Contents in chunks, each with the place of its first one."""
    rest, first = iter(contents), 0
    while chunk := list(islice(rest, _CHUNK)):
        yield first, chunk
        first += len(chunk)


def _in_order(work: Any, chunks: Iterable[Any], processes: int) -> Iterator[list[Decoded]]:
    """`work` of each chunk in order, in other processes, which get few chunks ahead of time."""
    if processes == 1:
        yield from map(work, chunks)
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        waiting: deque[Any] = deque()
        for chunk in chunks:
            waiting.append(pool.submit(work, chunk))
            if len(waiting) > 4 * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _decode_chunk(
    path: Path, begin: int, size: int, resize: str, chunk: tuple[int, list[Content]]
) -> list[Decoded]:
    """Decode some pictures and write each to its place in the file."""
    first, contents = chunk
    done = []
    # 256 * 256 squares of a byte fit in 32 bits, which is faster.
    wide = np.uint32 if size <= 256 else np.uint64
    file = os.open(path, os.O_WRONLY)
    try:
        for place, content in enumerate(contents, first):
            try:
                data = content if isinstance(content, bytes) else content.read_bytes()
                image = pictures.decode(data, size, resize)
            except (pictures.Broken, OSError) as error:
                done.append(Decoded("", [], str(error)))
                continue
            os.pwrite(file, image, begin + place * image.nbytes)
            channels = image.reshape(3, -1)
            squares = np.square(channels, dtype=np.uint16)
            sums = [each.sum(1, dtype=wide).tolist() for each in (channels, squares)]
            done.append(Decoded(dataset.digest(image), sums, ""))
    finally:
        os.close(file)
    return done


def _close_gaps(path: Path, begin: int, size: int, good: list[bool]) -> None:
    """Move the good images of a file together, and write how many they are."""
    places, length = np.flatnonzero(good).tolist(), 3 * size**2
    with open(path, "rb+") as file:
        for to, place in enumerate(places):
            if to != place:
                file.seek(begin + place * length)
                image = file.read(length)
                file.seek(begin + to * length)
                file.write(image)
        file.truncate(begin + len(places) * length)
    dataset.write_header(path, len(places), size)
