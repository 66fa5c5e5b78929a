"""A classifier file: what it is, and its probabilities. Needs no torch."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from treehead import records
from treehead.artifacts import InputError, lacks_memory
from treehead.backbones import sessions

FORMAT = 1
# Of the metadata that holds `About` as JSON.
KEY = "treehead"
# The bytes before the 64 digits of the last metadata, a SHA-256 of all that stands before them. A
# message of protobuf may have a part of a repeated field at its end (protobuf.dev, "Encoding").
_SEAL = b"\x72\x53\x0a\x0ftreehead.sha256\x12\x40"


@dataclass(frozen=True)
class About:
    """What a classifier is; kept in the metadata of its file.

    Args:
        classes: names of the classes, in the order of the probabilities.
        parents: names of their parents.
        parent_of: the parent of each class.
        image_size: sides in pixels to which pictures are resized.
        resize: how: "crop", "pad" or "stretch".
        head: `name`, `module`, `precision` and `seed` of the head.
        temperature: by which the logits are divided.
        hashes: SHA-256 of the files that it was made from, by name.
    """

    classes: list[str]
    parents: list[str]
    parent_of: list[int]
    image_size: int
    resize: str
    head: dict[str, Any]
    temperature: float
    hashes: dict[str, str]
    format: int = FORMAT


class Model:
    """A classifier file, ready to run on the CPU.

    Args:
        path: the file.
        threads: of onnxruntime.

    Raises:
        InputError: the file is no classifier of ours, is damaged, changed since it was made, or has
            a newer format.
    """

    def __init__(self, path: str | Path, threads: int) -> None:
        if not Path(path).is_file():
            raise InputError(f"{path} does not exist; give a results folder or classifier.onnx.")
        records.check([path])
        try:
            self.session = sessions.opened(str(path), threads)
            metadata = self.session.get_modelmeta().custom_metadata_map
        except Exception as error:  # onnxruntime's own, which it does not export, or no UTF-8
            raise _damaged(path, error) from error
        self.path = path
        self.about = _about(path, metadata)
        names = [one.name for one in (*self.session.get_inputs(), *self.session.get_outputs())]
        if names != ["pictures", "probabilities"]:
            raise InputError(
                f"{path} is damaged: it maps pictures to probabilities no more; make it again."
            )
        _check_seal(path)

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Pictures uint8 (n, 3, h, w) -> probabilities (n, classes).

        Raises:
            InputError: the file is damaged in a way that shows only now.
        """
        try:
            return self.session.run(["probabilities"], {"pictures": pictures})[0]
        except Exception as error:
            if lacks_memory(error):
                raise
            raise _damaged(self.path, error) from error


def sealed(content: bytes) -> bytes:
    """The bytes of an ONNX file, with their own SHA-256 as one more of its metadata."""
    return content + _SEAL + hashlib.sha256(content).hexdigest().encode()


def _check_seal(path: str | Path) -> None:
    """Check that a file is as `sealed` made it, wherever it was taken."""
    found = Path(path).read_bytes()
    if found != sealed(found[: -len(_SEAL) - 64]):
        raise InputError(
            f"{path} is not as treehead made it; take it again, or make it again. One that you "
            "changed yourself runs in onnxruntime alone, as MODEL_CARD.md shows."
        )


def _damaged(path: str | Path, error: Exception) -> InputError:
    reason = str(error).splitlines()[0]
    return InputError(f"{path} is damaged or not an ONNX file ({reason}); make it again.")


def _about(path: str | Path, metadata: dict[str, str]) -> About:
    if KEY not in metadata:
        raise InputError(f"{path} is no classifier of treehead; give a results folder or its file.")
    try:
        about = json.loads(metadata[KEY])
        version = about["format"]
        if version == FORMAT:
            return About(**about)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"{path} has damaged metadata ({error}); make it again.") from error
    raise InputError(
        f"{path} has format {version}, and this treehead reads {FORMAT}; install the treehead "
        "that wrote it, or make it again."
    )
