"""A head in the bytes that a device stores: weights of few bits, masks of one bit a weight.

The type of an array says what it is. Float arrays of two axes are weights: below 16 bits each row
is a scale (float16) times whole numbers. Other float arrays (biases, scales) are float16 then.
int8 arrays are weights that were trained as whole numbers; unsigned arrays are places, and bool
arrays masks. These are stored without loss, in as few bits as their range needs; three values take
a fifth of a byte. Settings stand among the arrays. docs/packed-format.md describes each byte.
"""

import math
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

from treehead.artifacts import InputError, write_bytes
from treehead.heads.head import Head, Setting

# Bits of a weight by the name of the precision.
PRECISIONS = {"float32": 32, **{f"int{bits}": bits for bits in range(2, 9)}}

_MAGIC = b"treehead"
# The byte after the magic. Version 1 kept settings as arrays.
_VERSION = b"2"
_KINDS = {"f": np.float32, "i": np.int8, "u": np.uint16, "b": np.bool_}

# Equal numbers take no bits; a damaged file may claim any number of them.
_MOST_EQUAL = 2**24

# Clippings of the largest weight that are tried for the scale of a row.
_CLIPPINGS = np.linspace(1, 0.4, 25)


class Whole(NamedTuple):
    """Weights as stored: int8 (rows, columns) times a float16 scale of each row (rows,)."""

    numbers: np.ndarray
    scale: np.ndarray

    def weight(self) -> np.ndarray:
        """The weights in float32."""
        return self.numbers.astype(np.float32) * _column(self.scale)


def pack(head: Head, bits: int) -> bytes:
    """A head as bytes, its float weights in `bits` bits (2 to 8, or 32).

    Raises:
        InputError: a number is too large for float16, which scales and biases are below 16 bits.
    """
    entries = [(name, array, False) for name, array in head.arrays.items()]
    entries += [(name, _as_array(value), True) for name, value in head.settings.items()]
    parts = [_MAGIC, _VERSION, struct.pack("<B", len(entries))]
    for name, array, is_setting in sorted(entries, key=lambda entry: entry[0]):
        kind = array.dtype.kind
        letter = kind.upper() if is_setting else kind
        parts.append(struct.pack("<B", len(name)) + name.encode() + letter.encode())
        parts.append(struct.pack(f"<B{array.ndim}H", array.ndim, *array.shape))
        parts.append(_pack_floats(array, bits) if kind == "f" else _pack_whole(array))
    return b"".join(parts)


def unpack(data: bytes, path: str | Path = "it") -> Head:
    """A head as it is used, weights back in float32.

    Raises:
        InputError: the bytes of the file `path` are not a complete packed head of this version.
    """
    arrays, settings = _stored(data, path)
    floats = {n: a.weight() if isinstance(a, Whole) else a for n, a in arrays.items()}
    return Head(floats, settings)


def _stored(
    data: bytes, path: str | Path
) -> tuple[dict[str, np.ndarray | Whole], dict[str, Setting]]:
    """The arrays, of which weights of few bits are as they are stored, and the settings."""
    if not data.startswith(_MAGIC):
        raise InputError(f"{path} is not a packed head; make it again with the pipeline.")
    reader = _Reader(data, len(_MAGIC))
    arrays, settings = {}, {}
    try:
        if (version := reader.take(1)) != _VERSION:
            raise InputError(
                f"{path} has version {version!r} of the packed format, not {_VERSION!r}; delete it "
                "and run again, or read it with the version of treehead that wrote it."
            )
        for _ in range(reader.number("B")):
            name, array, is_setting = _unpack_array(reader)
            if not is_setting:
                arrays[name] = array
            elif isinstance(array, Whole):
                raise ValueError("a setting has no rows")
            else:
                settings[name] = _as_setting(array)
    except (struct.error, ValueError, KeyError, OverflowError) as error:
        raise InputError(
            f"{path} is not a complete packed head; delete it and run again."
        ) from error
    if reader.place != len(data):
        raise InputError(f"{path} has bytes after its end; delete it and run again.")
    return arrays, settings


def _as_array(value: Setting) -> np.ndarray:
    """A setting as an array: text as its UTF-8 bytes, numbers of a kind that loses nothing."""
    if isinstance(value, str):
        return np.frombuffer(value.encode(), np.uint8).astype(np.int8)
    kind = {bool: np.bool_, int: np.uint16}.get(type(value), np.float32)
    return np.array(value, kind)


def _as_setting(array: np.ndarray) -> Setting:
    return array.astype(np.uint8).tobytes().decode() if array.dtype == np.int8 else array.tolist()


def write(path: str | Path, head: Head, bits: int) -> None:
    """Write a packed head."""
    write_bytes(path, pack(head, bits))


def read(path: str | Path) -> Head:
    """Read a packed head."""
    return unpack(Path(path).read_bytes(), path)


def read_stored(path: str | Path) -> tuple[dict[str, np.ndarray | Whole], dict[str, Setting]]:
    """Read a packed head's arrays and settings; weights of few bits stay whole numbers."""
    return _stored(Path(path).read_bytes(), path)


def precision_and_seed(path: str | Path) -> tuple[str, int]:
    """What a packed file is of, by its name "<precision>-<seed>.bin"."""
    precision, seed = Path(path).stem.split("-")
    return precision, int(seed)


def parameters(head: Head) -> int:
    """Numbers that were learned: weights, biases and scales, not places and masks."""
    return sum(array.size for array in head.arrays.values() if array.dtype.kind in "fi")


def quantize(weight: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Round each row of a weight to whole numbers times a scale, of those tried the closest.

    Args:
        weight: float32 (rows, columns).
        bits: 2 to 8; the numbers are -(2^(bits-1) - 1) to 2^(bits-1) - 1.

    Returns:
        Numbers int8 (rows, columns), and scales float16 (rows,).
    """
    limit = 2 ** (bits - 1) - 1
    largest = np.abs(weight).max(1, initial=0)
    best_error = np.full(len(weight), np.inf)
    scale = np.zeros(len(weight), np.float16)
    for clipping in _CLIPPINGS:
        tried = np.maximum(clipping * largest / limit, np.finfo(np.float16).tiny).astype(np.float16)
        error = np.square(_rounded(weight, tried, limit) * _column(tried) - weight).sum(1)
        scale = np.where(error < best_error, tried, scale)
        best_error = np.minimum(error, best_error)
    return _rounded(weight, scale, limit).astype(np.int8), scale


def _rounded(weight: np.ndarray, scale: np.ndarray, limit: int) -> np.ndarray:
    return np.clip(np.rint(weight / _column(scale)), -limit, limit)


def _column(scale: np.ndarray) -> np.ndarray:
    return scale.astype(np.float32)[:, None]


def _pack_floats(array: np.ndarray, bits: int) -> bytes:
    if bits < 16 and (np.abs(array[np.isfinite(array)]) > np.finfo(np.float16).max).any():
        raise InputError("A head holds numbers beyond float16; lower its learning_rate.")
    if bits == 32:
        return struct.pack("<B", 32) + array.astype("<f4").tobytes()
    if array.ndim != 2:
        return struct.pack("<B", 16) + array.astype("<f2").tobytes()
    numbers, scale = quantize(array, bits)
    limit = 2 ** (bits - 1) - 1
    codes = _codes(numbers.astype(np.int64) + limit, 2 * limit + 1)
    return struct.pack("<B", bits) + scale.astype("<f2").tobytes() + codes


def _pack_whole(array: np.ndarray) -> bytes:
    values = array.astype(np.int64)
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    return struct.pack("<iH", low, high - low) + _codes(values - low, high - low + 1)


def _codes(values: np.ndarray, count: int) -> bytes:
    """Whole numbers in 0..count-1 as bytes: five to a byte for three values, else bit by bit."""
    flat = values.ravel()
    if count == 3:
        padded = np.pad(flat, (0, -len(flat) % 5)).reshape(-1, 5)
        return (padded @ 3 ** np.arange(5)).astype(np.uint8).tobytes()
    bits = flat[:, None] >> np.arange(_width(count)) & 1
    return np.packbits(bits.astype(np.uint8), bitorder="little").tobytes()


def _width(count: int) -> int:
    """Bits of a whole number in 0..count-1."""
    return (count - 1).bit_length()


class _Reader:
    """Takes numbers and arrays from bytes, one after the other."""

    def __init__(self, data: bytes, place: int) -> None:
        self.data, self.place = data, place

    def take(self, size: int) -> bytes:
        if self.place + size > len(self.data):
            raise ValueError("the data end early")
        self.place += size
        return self.data[self.place - size : self.place]

    def number(self, form: str) -> int:
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))[0]

    def codes(self, size: int, count: int) -> np.ndarray:
        if count == 3:
            packed = np.frombuffer(self.take(-(-size // 5)), np.uint8)
            return (packed[:, None] // 3 ** np.arange(5) % 3).ravel()[:size]
        width = _width(count)
        packed = np.frombuffer(self.take(-(-size * width // 8)), np.uint8)
        bits = np.unpackbits(packed, count=size * width, bitorder="little")
        return bits.reshape(size, width) @ 2 ** np.arange(width, dtype=np.int64)


def _unpack_array(reader: _Reader) -> tuple[str, np.ndarray | Whole, bool]:
    """The name of an array, the array, and whether it is a setting."""
    name = reader.take(reader.number("B")).decode()
    letter = reader.take(1).decode()
    kind, is_setting = _KINDS[letter.lower()], letter.isupper()
    shape = tuple(reader.number("H") for _ in range(reader.number("B")))
    size = math.prod(shape)
    if kind is np.float32:
        return name, _unpack_floats(reader, shape, size), is_setting
    low, count = reader.number("i"), reader.number("H") + 1
    if count == 1:  # takes no bits, so the file's own size is no bound
        if size > _MOST_EQUAL:
            raise ValueError("so many equal numbers are no head")
        return name, np.full(shape, low).astype(kind), is_setting
    whole = (reader.codes(size, count) + low).reshape(shape).astype(kind)
    return name, whole, is_setting


def _unpack_floats(reader: _Reader, shape: tuple[int, ...], size: int) -> np.ndarray | Whole:
    bits = reader.number("B")
    if bits in (32, 16):
        stored = np.frombuffer(reader.take(size * bits // 8), f"<f{bits // 8}")
        return stored.astype(np.float32).reshape(shape)
    if bits not in PRECISIONS.values() or len(shape) != 2:
        raise ValueError("no such weights")
    limit = 2 ** (bits - 1) - 1
    scale = np.frombuffer(reader.take(2 * shape[0]), "<f2")
    numbers = reader.codes(size, 2 * limit + 1).reshape(shape) - limit
    return Whole(numbers.astype(np.int8), scale)
