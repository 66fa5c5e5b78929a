"""The states of an unfinished training on disk; their name says of which training."""

import hashlib
import io
import json
import platform
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from treehead.artifacts import remove_halves, replacing
from treehead.console import say

State = dict[str, Any]

_DIGEST_BYTES = hashlib.sha256().digest_size


def key(settings: dict[str, Any], files: list[str]) -> str:
    """SHA-256 of all that decides the bits of a training.

    Args:
        settings: of the training, as `compute.decided` gives them.
        files: the data, the weights that it starts from, and the code.
    """
    machine = [torch.__version__, platform.machine(), torch.backends.cpu.get_cpu_capability()]
    digest = hashlib.sha256(json.dumps([settings, machine], sort_keys=True).encode())
    for path in files:
        digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return digest.hexdigest()


class Checkpoint:
    """Two files that hold the newest state of one training and the one before it.

    A file is its content's SHA-256 and what `torch.save` made of the state: tensors, numbers,
    text, and lists and dicts of these, since it is loaded with `weights_only`.

    Args:
        path: the file of the newest; its name should hold the training's key.
        seconds: from one save until the next one is due.
    """

    def __init__(self, path: str | Path, seconds: float) -> None:
        self.path = Path(path)
        self.older = self.path.with_name(f"{self.path.name}.older")
        self.seconds = seconds
        self._saved = time.monotonic()

    def load(self) -> State | None:
        """The newest state that is whole, or None if there is none; a damaged file is told."""
        remove_halves(self.path)
        there = [path for path in (self.path, self.older) if path.is_file()]
        for path, instead in zip(there, [*there[1:], "its beginning"], strict=False):
            try:
                data = path.read_bytes()
            except OSError as error:
                say(f"{path} can't be read ({error.strerror}); training starts from {instead}.")
                continue
            digest, content = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
            if hashlib.sha256(content).digest() == digest:
                return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            say(f"{path} is damaged; training starts from {instead}.")
        return None

    def due(self) -> bool:
        """Whether the last save is long enough ago."""
        return time.monotonic() - self._saved >= self.seconds

    def save(self, state: State) -> None:
        """Keep a state, and the newest one as the older; a kill at any moment leaves one whole."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        with replacing(self.path) as temporary:
            temporary.write_bytes(hashlib.sha256(content).digest() + content)
            if self.path.is_file():
                self.path.replace(self.older)
        self._saved = time.monotonic()

    def remove(self) -> None:
        """The training is complete, and so are its results: forget the state."""
        self.path.unlink(missing_ok=True)
        self.older.unlink(missing_ok=True)


def beside(output: str, settings: dict[str, Any], files: list[str], seconds: float) -> Checkpoint:
    """The checkpoint of the training that makes `output`, in the same folder, named by its key.

    States of other trainings in that folder are told, for they are not resumed.
    """
    name = f"unfinished-{key(settings, files)[:16]}.pt"
    path = Path(output).with_name(name)
    found = sorted(path.parent.glob("unfinished-*.pt*"))
    if others := [str(other) for other in found if not other.name.startswith(name)]:
        say(
            f"{', '.join(others)}: of a training with other settings, data, code or versions, or "
            "on another kind of processor, and not resumed here; delete what you don't want."
        )
    return Checkpoint(path, seconds)


@contextmanager
def noticing_signals() -> Iterator[Callable[[], int]]:
    """In the body SIGTERM and SIGINT stop nothing; give a function that returns the last one.

    It returns 0 if there was none.
    """
    noticed = [0]

    def notice(number: int, _: object) -> None:
        noticed[0] = number

    before = {number: signal.signal(number, notice) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: noticed[0]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
