"""Predictions for picture files: decoded by threads while the classifier runs."""

import glob
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from treehead import artifacts
from treehead.artifacts import InputError
from treehead.config import outputs
from treehead.data import pictures
from treehead.deploy.model import Model

Content = bytes | Path

# Pictures of a batch, and batches that are decoded ahead.
_BATCH = 64
_AHEAD = 2


class Prediction(NamedTuple):
    """What a picture shows.

    Args:
        probabilities: of each class, (classes,); None if the picture can't be decoded.
        reason: why it can't, else "".
    """

    probabilities: np.ndarray | None
    reason: str


def opened(model: str | Path, threads: int) -> Model:
    """The classifier of a results folder, or that of a file.

    Raises:
        InputError: as `Model`, or the folder has none, or one of another backbone or head.
    """
    folder = Path(model)
    if not folder.is_dir():
        return Model(model, threads)
    file = folder / "deploy/classifier.onnx"
    making = outputs.making(model, "deploy/classifier.onnx")
    if not file.is_file():
        raise InputError(f"{model} has no deploy/classifier.onnx; make it with {making}.")
    found = Model(file, threads)
    head, hashes = found.about.head, found.about.hashes
    packed = f"heads/{head['name']}/packed/{head['precision']}-{head['seed']}.bin"
    for name, part in (("backbone", "backbone/weights.safetensors"), ("head", packed)):
        if (folder / part).is_file() and artifacts.sha256(folder / part) != hashes.get(name):
            raise InputError(f"{file} was made of another {part}; make it again with {making}.")
    return found


def found(patterns: Iterable[str]) -> list[Path]:
    """The picture files that paths, folders and patterns name, in their order, each once.

    Of a folder these are the files below it with the suffix of a picture, sorted.

    Raises:
        InputError: one names nothing, or a folder has no picture.
    """
    files: dict[Path, None] = {}
    for pattern in patterns:
        paths = (
            [Path(pattern)]
            if os.path.lexists(pattern)
            else sorted(map(Path, glob.glob(pattern, recursive=True)))
        )
        if not paths:
            raise InputError(f"{pattern} names no file; give pictures, folders or patterns.")
        for path in paths:
            inside = _pictures(path) if path.is_dir() else [path]
            if not inside:
                raise InputError(f"{path} has no picture in it; give a folder with pictures.")
            files |= dict.fromkeys(inside)
    if not files:
        raise InputError("No picture is given; give pictures, folders or patterns.")
    return list(files)


def _pictures(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in pictures.EXTENSIONS and path.is_file()
    )


def predict(model: Model, contents: Iterable[Content], threads: int) -> Iterator[Prediction]:
    """Predict pictures in their order, decoded ahead of the network.

    Args:
        contents: of each picture the bytes, or its path.
        threads: that decode.
    """
    about = model.about

    def decoded(content: Content) -> np.ndarray | str:
        try:
            data = content if isinstance(content, bytes) else content.read_bytes()
            return pictures.decode(data, about.image_size, about.resize)
        except (pictures.Broken, OSError) as error:
            return str(error)

    rest, ahead = iter(contents), deque()
    with ThreadPoolExecutor(threads) as pool:
        while batch := list(islice(rest, _BATCH)):
            ahead.append([pool.submit(decoded, content) for content in batch])
            if len(ahead) > _AHEAD:
                yield from _predicted(model, ahead.popleft())
        for waiting in ahead:
            yield from _predicted(model, waiting)


def _predicted(model: Model, batch: list[Future[np.ndarray | str]]) -> Iterator[Prediction]:
    images = [each.result() for each in batch]
    whole = [image for image in images if not isinstance(image, str)]
    rows = iter(model(np.stack(whole)) if whole else ())
    for image in images:
        yield Prediction(None, image) if isinstance(image, str) else Prediction(next(rows), "")
