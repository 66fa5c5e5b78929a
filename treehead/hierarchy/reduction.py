"""A child head as two bare tensors: `.pt` files that torch loads with `weights_only=True`.

Such a file is a zip of a pickle, which describes a tensor, and the bytes that it stores. Neither
side needs torch here: its import takes a second and a half, and there are twenty reductions.
"""

import io
import pickle
import zipfile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from treehead.artifacts import InputError, write_bytes

# torch._utils._rebuild_tensor_v2(("storage", torch.FloatStorage, "0", "cpu", <elements>), 0,
# <shape>, <strides>, False, OrderedDict()) in protocol 2.
_PICKLE = (
    b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
    b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu%btQK\x00%b%b\x89ccollections\nOrderedDict\n)RtR."
)


def save(path: str | Path, array: np.ndarray) -> None:
    """Write one float32 tensor; the same values give the same bytes."""
    array = np.array(array, dtype="<f4", order="C")
    strides = tuple(step // array.itemsize for step in array.strides)
    content = _PICKLE % tuple(map(_pickled, (array.size, array.shape, strides)))
    records = {"data.pkl": content, "byteorder": b"little", "data/0": array.tobytes()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in {**records, "version": b"3\n"}.items():
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), data)
    write_bytes(path, buffer.getvalue())


def _pickled(value: int | tuple[int, ...]) -> bytes:
    """The operations that push a value, without the head and the end of a pickle."""
    return pickle.dumps(value, protocol=2)[2:-1]


def load(path: str | Path) -> np.ndarray:
    """Read one float32 tensor; nothing that a pickle names is executed."""
    try:
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type for member in archive.infolist()):
                raise pickle.UnpicklingError("it is compressed")  # to any size
            tensor = _Unpickler(archive).load()
    except Exception as error:  # a damaged zip or pickle can fail in any way
        reason = str(error) or type(error).__name__
        raise InputError(
            f"{path} is not a complete float32 tensor file ({reason}); delete it and run again."
        ) from error
    if not isinstance(tensor, np.ndarray):
        raise InputError(f"{path} holds no float32 tensor; delete it and run again.")
    return tensor


class _Unpickler(pickle.Unpickler):
    """Knows what a float32 tensor is made of, and refuses all else."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        (pickled,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
        super().__init__(io.BytesIO(archive.read(pickled)))
        self.archive, self.folder = archive, pickled.removesuffix("data.pkl")

    def find_class(self, module: str, name: str) -> Any:
        known = {"_rebuild_tensor_v2": _rebuilt, "FloatStorage": "<f4", "OrderedDict": dict}
        if module not in ("torch._utils", "torch", "collections") or name not in known:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return known[name]

    def persistent_load(self, pid: tuple) -> np.ndarray:
        _, kind, key, *_ = pid
        return np.frombuffer(self.archive.read(f"{self.folder}data/{key}"), kind)


def _rebuilt(storage: np.ndarray, offset: int, shape: tuple, strides: tuple, *_: Any) -> np.ndarray:
    array = storage[offset : offset + prod(shape)].reshape(shape).copy()
    if tuple(step // array.itemsize for step in array.strides) != strides:
        raise pickle.UnpicklingError("its rows are not in order")
    return array
