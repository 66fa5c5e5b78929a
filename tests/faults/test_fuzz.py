"""Files of each format with bytes changed by chance: a sentence or an answer, within bounds.

Each reader runs in forks of the test, so that a crash of a library, a hang, and memory beyond the
bound are found. Of a file of ours a job checks the hash before it reads it; here nothing does.
"""

import faulthandler
import json
import os
import random
import resource
import shutil
import signal
import struct
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Project, effective
from deployed import classifier
from PIL import Image
from safetensors.numpy import save_file

from treehead import artifacts
from treehead.artifacts import InputError
from treehead.backbones.checkpoints import opening
from treehead.data import catalog, pictures
from treehead.data.sources import tables
from treehead.deploy.model import About, Model
from treehead.heads import packing
from treehead.heads.head import Head
from treehead.hierarchy import reduction

PROMISE = "one sentence or an answer; no traceback, no crash, 10 s and 1 GB at most"
SECONDS, BYTES = 10, 1 << 30
FORK = 250  # mutations


def mutated(data: bytes, dice: random.Random) -> bytes:
    """The bytes with one to four changes: bits, numbers, parts that are cut, doubled or moved."""
    changed = bytearray(data)
    for _ in range(dice.choice([1, 1, 2, 4])):
        at = dice.randrange(len(changed) + 1) if changed else 0
        size = dice.choice([1, 2, 4, 8, 64])
        match dice.randrange(6):
            case 0 if at < len(changed):
                changed[at] ^= 1 << dice.randrange(8)
            case 1:
                changed[at : at + size] = dice.randbytes(size)
            case 2:
                number = dice.choice(
                    [0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**32 - 1, 2**63]
                )
                changed[at : at + 8] = struct.pack(dice.choice("<>") + "Q", number)
            case 3:
                del changed[at : at + size]
            case 4:
                changed[at:at] = changed[at : at + size]
            case 5:
                there = dice.randrange(len(changed) + 1)
                changed[at : at + size] = changed[there : there + size]
    return bytes(changed) if dice.random() < 0.95 else bytes(changed[: dice.randrange(len(data))])


def outcome(read: Callable[[Path], Any], path: Path) -> str:
    """ "answer", "sentence", or the traceback of what is neither."""
    try:
        read(path)
    except (InputError, pictures.Broken) as error:
        return "sentence" if str(error).count("\n") == 0 else f"several lines: {error}"
    except BaseException:
        return traceback.format_exc()
    return "answer"


def outcomes(
    read: Callable[[Path], Any],
    path: Path,
    whole: bytes,
    seeds: range,
    change: Callable[[bytes, random.Random], bytes] = mutated,
    room: int = BYTES,
) -> list[str]:
    """What comes of mutations, read in a fork; of those after a crash or a hang there is none.

    It can have `room` more bytes, and may use `BYTES` of them.
    """
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        os.close(receive)
        faulthandler.disable()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + room, used + room))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        most = peak() + BYTES
        with os.fdopen(send, "w") as answers:
            for seed in seeds:
                path.write_bytes(change(whole, random.Random(seed)))
                signal.alarm(SECONDS)
                answers.write(json.dumps(outcome(read, path)) + "\n")
                answers.flush()
            if peak() > most:
                answers.write(json.dumps("too much memory") + "\n")
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as answers:
        found = [json.loads(line) for line in answers]
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return found if status == 0 else [*found, f"the process ended with {status}"]


def peak() -> int:
    """The most memory that this process has used, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def parquet(folder: Path, own: Project) -> tuple[Path, Callable[[Path], Any]]:
    path = folder / "train.parquet"
    shutil.copy(own.folder / "mine/train-00000-of-00001.parquet", path)
    settings = effective(own)["dataset"]

    def read(path: Path) -> None:
        source = tables.look({str(path): None}, settings)
        catalog.listed(source, settings)
        for content in source.read(list(range(len(source.entries)))):
            if isinstance(content, bytes):
                pictures.decode(content, 8, "crop")

    return path, read


def onnx(folder: Path, own: Project) -> tuple[Path, Callable[[Path], Any]]:
    path = folder / "classifier.onnx"
    names = ["red", "green", "blue"]
    head = {"name": "linear", "module": "linear", "precision": "int4", "seed": 0}
    classifier(path, About(names, ["all"], [0, 0, 0], 8, "crop", head, 1.0, {}))
    picture = np.arange(192, dtype=np.uint8).reshape(1, 3, 8, 8)
    right = Model(path, threads=1)(picture)

    def read(path: Path) -> None:
        np.testing.assert_array_equal(Model(path, threads=1)(picture), right)

    return path, read


def tensors(folder: Path, own: Project) -> tuple[Path, Callable[[Path], Any]]:
    path = folder / "head.safetensors"
    artifacts.write_tensors(path, {"w": np.ones((3, 4), np.float32), "b": np.zeros(3)}, {"a": "b"})

    def read(path: Path) -> None:
        artifacts.read_tensors(path)
        artifacts.read_metadata(path)

    return path, read


def mapped(folder: Path, own: Project) -> tuple[Path, Callable[[Path], Any]]:
    path = folder / "train.safetensors"
    features, fine = np.ones((2, 3, 4), np.float16), np.arange(3)
    artifacts.write_tensors(path, {"features": features, "fine": fine})

    def read(path: Path) -> None:
        found, copied = artifacts.map_tensors(path), artifacts.read_tensors(path)
        assert found.keys() == copied.keys()
        for name, array in copied.items():
            assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
            assert found[name].tobytes() == array.tobytes()

    return path, read


def weights(folder: Path, own: Project) -> tuple[Path, Callable[[Path], Any]]:
    path = folder / "w.safetensors"
    save_file({"w": np.ones((3, 4), np.float32), "b": np.zeros(3)}, path)
    return path, opening.tensors


def checkpoint(folder: Path, zipped: bool) -> tuple[Path, Callable[[Path], Any]]:
    path = folder / "w.pt"
    state = {"state_dict": {"w": torch.ones(3, 4), "b": torch.zeros(3)}, "epoch": 3}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    return path, opening.tensors


def reduced(folder: Path, own: Project) -> tuple[Path, Callable[[Path], Any]]:
    path = folder / "0_weight.pt"
    reduction.save(path, np.ones((3, 4), np.float32))
    return path, reduction.load


def packed(folder: Path, own: Project) -> tuple[Path, Callable[[Path], Any]]:
    path = folder / "int4-0.bin"
    arrays = {
        "weight": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4),
        "bias": np.ones(3, np.float32),
        "mask": np.eye(3, 4, dtype=bool),
        "place": np.arange(3, dtype=np.uint16),
        "signs": np.array([[-1, 0, 1]], np.int8),
        "same": np.zeros((2, 2), np.uint16),
    }
    packing.write(path, Head(arrays, {"name": "text", "k": 3, "scale": 0.5}), 4)
    return path, packing.read_stored


def picture(folder: Path, form: str) -> tuple[Path, Callable[[Path], Any]]:
    path = folder / "picture"
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(path, form)
    return path, lambda path: pictures.decode(path.read_bytes(), 8, "crop")


FORMATS: dict[str, Callable[[Path, Project], tuple[Path, Callable[[Path], Any]]]] = {
    "parquet data": parquet,
    "an ONNX classifier": onnx,
    "safetensors": tensors,
    "safetensors that stay in their file": mapped,
    "safetensors weights": weights,
    "`.pt` weights": lambda folder, own: checkpoint(folder, True),
    "older `.pt` weights": lambda folder, own: checkpoint(folder, False),
    "a reduced child": reduced,
    "a packed head": packed,
    **{
        f"a {form} picture": lambda folder, own, form=form: picture(folder, form)
        for form in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "PPM")
    },
}


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(make, marks=pytest.mark.fault(f"{name}, bytes changed by chance", PROMISE))
        for name, make in FORMATS.items()
    ],
    ids=list(FORMATS),
)
def test_any_change_gives_a_sentence_or_an_answer(
    own_dataset: Project, tmp_path: Path, request: pytest.FixtureRequest, record_property, make
):
    path, read = make(tmp_path, own_dataset)
    whole, count = path.read_bytes(), request.config.getoption("mutations")
    assert outcome(read, path) == "answer"
    found: list[str] = []
    while len(found) < count:
        seeds = range(len(found), min(count, len(found) + FORK))
        found += outcomes(read, path, whole, seeds)
        assert found[-1] in ("answer", "sentence"), (len(found) - 1, found[-1])
    kinds = Counter(found)
    strange = {seed: kind for seed, kind in enumerate(found) if kind not in ("answer", "sentence")}
    assert not strange, next(iter(strange.items()))
    assert kinds["sentence"] > 0.05 * count
    record_property(
        "happened", f"{count:,} files: {kinds['sentence']:,} sentences, {kinds['answer']:,} answers"
    )


@pytest.mark.instrument
def test_the_forks_find_what_is_no_sentence(tmp_path: Path):
    """The instrument itself: a traceback, a crash, a hang and memory beyond the bound are found."""
    path, whole = tmp_path / "file", bytes(100)

    def bad(kind: str) -> Callable[[Path], Any]:
        kinds = {
            "traceback": lambda path: 1 / 0,
            "crash": lambda path: os.kill(os.getpid(), signal.SIGSEGV),
            "memory": lambda path: bytearray(2 * BYTES),
            "pages": lambda path: len(bytearray(BYTES + 2**24)),
        }
        return kinds[kind]

    assert "ZeroDivisionError" in outcomes(bad("traceback"), path, whole, range(1))[0]
    assert outcomes(bad("crash"), path, whole, range(1)) == ["the process ended with -11"]
    assert "MemoryError" in outcomes(bad("memory"), path, whole, range(1))[0]
    found = outcomes(bad("pages"), path, whole, range(1), room=4 * BYTES)
    assert found == ["answer", "too much memory"]
    assert mutated(whole, random.Random(0)) != whole
