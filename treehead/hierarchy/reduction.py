"""A child head as two bare tensors: `.pt` files that torch loads with `weights_only=True`.

They have the bytes that torch.save writes, but need no torch: its import takes a second and a
half, and there are twenty reductions.
"""

import pickle
import pickletools
from functools import reduce
from pathlib import Path
from struct import pack
from zlib import crc32

import numpy as np

from treehead.artifacts import InputError, write_bytes

# The pickle of a float32 tensor, but for the number of its elements, its shape and its strides.
_PICKLE = (
    b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x00((X\x07\x00\x00\x00storageq\x01"
    b"ctorch\nFloatStorage\nq\x02X\x01\x00\x00\x000q\x03X\x03\x00\x00\x00cpuq\x04%btq\x05Q"
    b"K\x00%bq\x06%bq\x07\x89ccollections\nOrderedDict\nq\x08)Rq\ttq\nRq\x0b."
)
_TUPLE = {1: pickle.TUPLE1, 2: pickle.TUPLE2}
# A record starts at a multiple of this; the archive's identity opens with a hash of their names.
_ALIGNMENT = 64
_NAMES = 15728199511854643026


def save(path: str | Path, array: np.ndarray) -> None:
    """Write one float32 vector or matrix; the same values give the same bytes."""
    write_bytes(path, _file(np.array(array, dtype="<f4", order="C")))


def load(path: str | Path) -> np.ndarray:
    """Read one tensor that `save` wrote, and no other: nothing of the pickle is executed."""
    data = Path(path).read_bytes()
    try:
        operations = pickletools.genops(data[_ALIGNMENT:])
        numbers = [value for code, value, _ in operations if "INT" in code.name]
        padding = data.index(b"archive/data/0") + len("archive/data/0FB")
        start = padding + 2 + int.from_bytes(data[padding : padding + 2], "little")
        array = np.frombuffer(data, "<f4", numbers[0], start)
        array = array.reshape(numbers[2 : 1 + len(numbers) // 2])
        whole = _file(array) == data
    except (ValueError, LookupError):
        whole = False
    if not whole:
        raise InputError(f"{path} is no whole tensor of a reduction; delete it and run again.")
    return array.copy()


def _file(array: np.ndarray) -> bytes:
    strides = (step // array.itemsize for step in array.strides)
    shapes = (b"".join(map(_integer, part)) + _TUPLE[array.ndim] for part in (array.shape, strides))
    records = {
        "data.pkl": _PICKLE % (_integer(array.size), *shapes),
        ".format_version": b"1",
        ".storage_alignment": b"%d" % _ALIGNMENT,
        "byteorder": b"little",
        "data/0": array.tobytes(),
        "version": b"3\n",
    }
    sums = reduce(_combined, map(crc32, records.values()), 0)
    records[".data/serialization_id"] = b"%020d%020d" % (_NAMES, sums)
    return _archive(records)


def _integer(number: int) -> bytes:
    """The operation that pushes a number, without the head and the end of its pickle."""
    return pickle.dumps(number, protocol=2)[2:-1]


def _combined(seed: int, value: int) -> int:
    """torch's combination of two hashes, in 64 bits."""
    return seed ^ (value + 0x9E3779B9 + (seed << 6) + (seed >> 2)) % 2**64


def _archive(records: dict[str, bytes]) -> bytes:
    """A zip of stored records, each followed by its sums, with padding where it may say more."""
    body = directory = b""
    for name, data in records.items():
        path = b"archive/" + name.encode()
        start = len(body)
        padding = -(start + 34 + len(path)) % _ALIGNMENT
        sums = pack("<3I", crc32(data), len(data), len(data))
        kind = pack("<5H", 0, 0x0808, 0, 0, 0)
        body += b"PK\3\4" + kind + pack("<3I2H", 0, 0, 0, len(path), padding + 4) + path
        body += b"FB" + pack("<H", padding) + b"Z" * padding + data + b"PK\7\10" + sums
        directory += b"PK\1\2\0\0" + kind + sums + pack("<5H2I", len(path), 0, 0, 0, 0, 0, start)
        directory += path
    count, size, start = len(records), len(directory), len(body)
    end = b"PK\6\6" + pack("<Q2H2I4Q", 44, 0x031E, 45, 0, 0, count, count, size, start)
    end += b"PK\6\7" + pack("<IQI", 0, start + size, 1)
    end += b"PK\5\6" + pack("<4H2IH", 0, 0, count, count, size, start, 0)
    return body + directory + end
