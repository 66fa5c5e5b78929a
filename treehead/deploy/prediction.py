"""Predictions for picture files: each thread decodes a batch and runs the classifier on it."""

import glob
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from treehead import artifacts
from treehead.artifacts import InputError
from treehead.config import outputs
from treehead.data import pictures
from treehead.deploy.model import About, Model

Content = bytes | Path

# The maps of few pictures stay in a core's cache: with 64, PhiNet at 160 px has 0.7 of the speed.
BATCH = 8
# Of a results folder; the first that is there is taken.
FILES = ("deploy/classifier.onnx", "deploy/classifier-int8.onnx")


class Prediction(NamedTuple):
    """What a picture shows.

    Args:
        probabilities: of each class, (classes,); None if the picture can't be decoded.
        reason: why it can't, else "".
    """

    probabilities: np.ndarray | None
    reason: str


def opened(model: str | Path) -> Model:
    """The classifier of a results folder, or that of a file, which runs in the thread that asks.

    Raises:
        InputError: as `Model` and `of_results`, or the folder has none.
    """
    folder = Path(model)
    if not folder.is_dir():
        return Model(model, threads=1)
    file = next((file for file in FILES if (folder / file).is_file()), None)
    if file is None:
        making = outputs.making(model, FILES[0])
        raise InputError(f"{model} has no {FILES[0]}; make it with {making}.")
    return of_results(folder, file)


def of_results(results: Path, file: str) -> Model:
    """A classifier in a results folder.

    Raises:
        InputError: as `Model`, or it was made of another backbone or head than the folder's.
    """
    found = Model(results / file, threads=1)
    head, hashes = found.about.head, found.about.hashes
    model = "int8/" if file == FILES[1] else ""
    packed = f"{model}heads/{head['name']}/packed/{head['precision']}-{head['seed']}.bin"
    for name, part in (("backbone", f"{model}backbone/weights.safetensors"), ("head", packed)):
        if (results / part).is_file() and artifacts.sha256(results / part) != hashes.get(name):
            raise InputError(
                f"{results / file} was made of another {part}; make it again with "
                f"{outputs.making(results, file)}."
            )
    return found


def found(patterns: Iterable[str], listed: Iterable[str] = ()) -> list[Path]:
    """The picture files that paths, folders and patterns name, in their order, each once.

    Of a folder these are the files below it with the suffix of a picture, sorted.

    Args:
        patterns: each names a file.
        listed: paths as they are, of files that may be gone.

    Raises:
        InputError: a pattern names nothing, or a folder has no picture.
    """
    files: dict[Path, None] = {}
    for path in chain(chain.from_iterable(map(_matching, patterns)), map(Path, listed)):
        inside = _pictures(path) if os.path.isdir(path) else [path]
        if not inside:
            raise InputError(f"{path} has no picture in it; give a folder with pictures.")
        files |= dict.fromkeys(inside)
    if not files:
        raise InputError("No picture is given; give pictures, folders or patterns.")
    return list(files)


def listed(data: bytes) -> list[str]:
    """The paths of a list: one a line, or each ended by a zero byte, as `find -print0` does."""
    lines = data.split(b"\0" if b"\0" in data else b"\n")
    return [os.fsdecode(line.rstrip(b"\r")) for line in lines if line.strip()]


def _matching(pattern: str) -> list[Path]:
    if os.path.lexists(pattern):
        return [Path(pattern)]
    if paths := sorted(map(Path, glob.glob(pattern, recursive=True))):
        return paths
    raise InputError(f"{pattern} names no file; give pictures, folders or patterns.")


def _pictures(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in pictures.EXTENSIONS and path.is_file()
    )


def predict(model: Model, contents: Iterable[Content], threads: int) -> Iterator[Prediction]:
    """Predict pictures in their order.

    Batches run side by side, each in one thread: none waits for another, as the parts of a batch
    that all threads share do.

    Args:
        contents: of each picture the bytes, or its path.
        threads: that decode and run the classifier.
    """
    rest, ahead = iter(contents), deque()
    with ThreadPoolExecutor(threads) as pool:
        while batch := list(islice(rest, BATCH)):
            ahead.append(pool.submit(_predicted, model, batch))
            if len(ahead) > 2 * threads:
                yield from ahead.popleft().result()
        for waiting in ahead:
            yield from waiting.result()


def _predicted(model: Model, batch: list[Content]) -> list[Prediction]:
    images = [_decoded(content, model.about) for content in batch]
    whole = [image for image in images if not isinstance(image, str)]
    rows = iter(model(np.stack(whole)) if whole else ())
    return [
        Prediction(None, image) if isinstance(image, str) else Prediction(next(rows), "")
        for image in images
    ]


def _decoded(content: Content, about: About) -> np.ndarray | str:
    """A picture of the classifier's size, or why there is none."""
    try:
        data = content if isinstance(content, bytes) else content.read_bytes()
        return pictures.decode(data, about.image_size, about.resize)
    except pictures.Broken as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)
