"""Small files that claim, or unpack to, more than a machine holds; pickles of any opcode."""

import io
import os
import pickle
import pickletools
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_fuzz import outcome, outcomes

from treehead import artifacts
from treehead.backbones.checkpoints import opening
from treehead.data import pictures
from treehead.heads import packing
from treehead.hierarchy import reduction

PROMISE = "refused in one sentence; 1 GB at most"
HUGE = 3 << 30


def zip_of(folder: Path, name: str, ending: str) -> Path:
    """A `.pt` file of which one member is zeros."""
    path = folder / name
    torch.save({"w": torch.ones(4)}, path)
    with (
        zipfile.ZipFile(path) as old,
        zipfile.ZipFile(folder / "bomb.pt", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new,
    ):
        for member in old.namelist():
            if not member.endswith(ending):
                new.writestr(member, old.read(member))
                continue
            info = zipfile.ZipInfo(member)
            info.compress_type = zipfile.ZIP_DEFLATED
            with new.open(info, "w", force_zip64=True) as stream:
                for _ in range(HUGE >> 24):
                    stream.write(bytes(1 << 24))
    (folder / "bomb.pt").replace(path)
    assert path.stat().st_size < HUGE / 100
    return path


def written(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def packed(shape: tuple[int, ...]) -> bytes:
    """A packed head of one array whose numbers are all the same, which takes no bits."""
    name = struct.pack("<B", 1) + b"a" + b"u"
    sides = struct.pack(f"<B{len(shape)}H", len(shape), *shape)
    return b"treehead2" + struct.pack("<B", 1) + name + sides + struct.pack("<iH", 0, 0)


def safetensors(header: bytes, claimed: int) -> bytes:
    return struct.pack("<Q", claimed) + header


ENORMOUS = b'{"w":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}'
JPEG = (
    b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01"
    b"\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00" + bytes(100) + b"\xff\xd9"
)
BMP = (
    b"BM"
    + struct.pack("<IHHI", 54, 0, 0, 54)
    + struct.pack("<IiiHHIIiiII", 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0)
)
TIFF = (
    b"II*\0"
    + struct.pack("<I", 8)
    + struct.pack("<H", 6)
    + b"".join(
        struct.pack("<HHII", tag, 4, 1, value)
        for tag, value in [(256, 60000), (257, 60000), (258, 8), (262, 1), (273, 8), (279, 100)]
    )
)


def png(side: int) -> bytes:
    """A PNG of transparent black, a few kilobytes for each 16 megapixels."""
    squeeze, row = zlib.compressobj(9), bytes(1 + 4 * side)
    pixels = b"".join(squeeze.compress(row) for _ in range(side)) + squeeze.flush()
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)), (b"IDAT", pixels)]
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in [*chunks, (b"IEND", b"")]
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def decode(path: Path) -> Any:
    return pictures.decode(path.read_bytes(), 32, "crop")


BOMBS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], Any]]] = {
    "a `.pt` whose pickle unpacks to 3 GB": (
        lambda folder: zip_of(folder, "w.pt", "data.pkl"),
        opening.tensors,
    ),
    "a `.pt` whose tensor unpacks to 3 GB": (
        lambda folder: zip_of(folder, "w.pt", "data/0"),
        opening.tensors,
    ),
    "a reduced child that unpacks to 3 GB": (
        lambda folder: zip_of(folder, "w.pt", "data.pkl"),
        reduction.load,
    ),
    "safetensors with a header of 2^63 bytes": (
        lambda folder: written(folder, "w.safetensors", safetensors(b"{}", 2**63)),
        artifacts.read_tensors,
    ),
    "safetensors with a tensor of 2^64 numbers": (
        lambda folder: written(
            folder, "w.safetensors", safetensors(ENORMOUS, len(ENORMOUS)) + bytes(8)
        ),
        opening.tensors,
    ),
    "a packed head of 2^32 equal numbers": (
        lambda folder: written(folder, "int4-0.bin", packed((65535, 65535))),
        packing.read,
    ),
    "a packed head of 2^48 equal numbers": (
        lambda folder: written(folder, "int4-0.bin", packed((65535, 65535, 65535))),
        packing.read,
    ),
    "JSON of a million levels": (
        lambda folder: written(folder, "a.json", b'{"a":' * 1_000_000),
        artifacts.read_json,
    ),
    "a JPEG of 4 gigapixels": (lambda folder: written(folder, "a.jpg", JPEG), decode),
    "a BMP of 4 gigapixels": (lambda folder: written(folder, "a.bmp", BMP), decode),
    "a TIFF of 4 gigapixels": (lambda folder: written(folder, "a.tif", TIFF), decode),
    "a PPM of 4 gigapixels": (
        lambda folder: written(folder, "a.ppm", b"P6 60000 60000 255\n" + bytes(99)),
        decode,
    ),
    "a PNG of 100 megapixels with transparency": (
        lambda folder: written(folder, "a.png", png(10_000)),
        decode,
    ),
    "a GIF of 8 x 8 pixels on a page of 100 megapixels": (
        lambda folder: written(
            folder,
            "a.gif",
            b"GIF89a"
            + struct.pack("<HHBBB", 10_000, 10_000, 0x80, 0, 0)
            + bytes(6)
            + b","
            + struct.pack("<HHHHB", 0, 0, 8, 8, 0)
            + b"\2\2L\1\0;",
        ),
        decode,
    ),
    "a GIF of 4 gigapixels": (
        lambda folder: written(
            folder,
            "a.gif",
            b"GIF89a" + b"\xff\xff\xff\xff\0\0\0," + bytes(4) + b"\xff\xff\xff\xff\0\2\2L\1\0;",
        ),
        decode,
    ),
}


@pytest.mark.parametrize(
    ("make", "read"),
    [
        pytest.param(*bomb, marks=pytest.mark.fault(f"a bomb: {name}", PROMISE))
        for name, bomb in BOMBS.items()
    ],
    ids=list(BOMBS),
)
def test_a_bomb_is_refused(tmp_path: Path, make, read):
    path = make(tmp_path)
    whole = path.read_bytes()
    found = outcomes(read, path, whole, range(1), change=lambda data, _: data, room=8 << 30)
    assert found == ["sentence"]


# --- Pickles ---

# Of each kind of argument bytes that are right, or might be.
LENGTHS = {-2: "<B", -3: "<i", -4: "<I", -5: "<Q"}
NAMES = [b"posix\nsystem\n", b"builtins\nexec\n", b"builtins\neval\n", b"subprocess\nPopen\n"]


def argument(opcode: pickletools.OpcodeInfo, dice: random.Random, marker: Path) -> bytes:
    """Bytes of an argument that the opcode can have."""
    if opcode.arg is None:
        return b""
    text = dice.choice([b"posix", b"system", b"builtins", b"exec", f"touch '{marker}'".encode()])
    if opcode.arg.n >= 0:
        return dice.choice(
            [bytes(opcode.arg.n), b"\1" + bytes(opcode.arg.n - 1), dice.randbytes(opcode.arg.n)]
        )
    if opcode.arg.n in LENGTHS:
        return struct.pack(LENGTHS[opcode.arg.n], len(text)) + text
    if opcode.arg.name == "stringnl_noescape_pair":
        return dice.choice(NAMES)
    numbers = "decimal" in opcode.arg.name or "float" in opcode.arg.name
    return (b"1" if numbers else b"'" + text + b"'") + b"\n"


def calls(marker: Path) -> list[bytes]:
    """Pickles that make the file `marker`, by each opcode that calls."""
    touch = f"touch '{marker}'".encode()
    text = b"X" + struct.pack("<I", len(touch)) + touch
    short = b"\x8c\x05posix\x8c\x06system"
    return [
        b"cposix\nsystem\n" + text + b"\x85R.",
        b"(" + text + b"iposix\nsystem\n.",
        b"(cposix\nsystem\n" + text + b"o.",
        b"\x80\x04" + short + b"\x93" + text + b"\x85R.",
        b"cbuiltins\neval\nX"
        + struct.pack("<I", len(touch) + 30)
        + f"__import__('os').system(\"{touch.decode()}\")".encode().ljust(len(touch) + 30)
        + b"\x85R.",
    ]


def as_weights(path: Path, pickled: bytes, zipped: bool) -> None:
    """A weights file of torch with this pickle in it."""
    torch.save({"w": torch.ones(2)}, path, _use_new_zipfile_serialization=zipped)
    if not zipped:
        parts = io.BytesIO(path.read_bytes())
        for _ in range(3):
            pickle.load(parts)
        path.write_bytes(path.read_bytes()[: parts.tell()] + pickled)
        return
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, data in members.items():
            new.writestr(name, pickled if name.endswith("data.pkl") else data)


@pytest.mark.fault(
    "pickles that run a command by each opcode that calls, as weights",
    "one sentence; the command never runs",
)
@pytest.mark.parametrize("zipped", [True, False])
def test_no_opcode_that_calls_runs_a_command(tmp_path: Path, zipped: bool):
    path, marker = tmp_path / "w.pt", tmp_path / "marker"
    for pickled in calls(marker):
        pickle.loads(pickled)
        assert marker.exists(), "python itself runs it"
        marker.unlink()
        as_weights(path, pickled, zipped)
        assert outcome(opening.tensors, path) == "sentence"
        assert not marker.exists()


@pytest.mark.fault(
    "hostile pickles of each of the opcodes with random others, as weights of both formats",
    "one sentence or weights; nothing runs",
)
def test_hostile_pickles_of_every_opcode_run_nothing(
    tmp_path: Path, request: pytest.FixtureRequest, record_property
):
    marker, count = tmp_path / "marker", max(1, request.config.getoption("mutations") // 100)
    files, sentences = 0, 0
    for opcode in pickletools.opcodes:
        for zipped in (True, False):
            whole = tmp_path / "whole.pt"
            as_weights(whole, b"PICKLE", zipped)
            around = whole.read_bytes()

            def change(_: bytes, dice: random.Random, opcode=opcode, zipped=zipped) -> bytes:
                parts = list(calls(marker)[dice.randrange(5)][:-1].partition(b"R"))
                chosen = [opcode, *dice.choices(pickletools.opcodes, k=dice.randrange(4))]
                more = [
                    each.code.encode("latin-1") + argument(each, dice, marker) for each in chosen
                ]
                parts.insert(dice.randrange(3), b"".join(dice.sample(more, len(more))))
                as_weights(tmp_path / "made.pt", b"\x80\x02" + b"".join(parts) + b".", zipped)
                return (tmp_path / "made.pt").read_bytes()

            found = outcomes(opening.tensors, tmp_path / "w.pt", around, range(count), change)
            strange = [kind for kind in found if kind not in ("answer", "sentence")]
            assert not strange, (opcode.name, zipped, strange[0])
            assert not marker.exists(), (opcode.name, zipped)
            files += len(found)
            sentences += found.count("sentence")
    assert os.listdir(tmp_path).count("marker") == 0
    record_property(
        "happened",
        f"{files:,} files of {len(pickletools.opcodes)} opcodes: {sentences:,} sentences",
    )
