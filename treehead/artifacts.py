"""Files that are whole or absent, their hashes, and the one error that a user's mistake raises."""

import errno
import glob
import hashlib
import json
import mmap
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as _dump_safetensors

Tensors = dict[str, np.ndarray]
# Types of arrays as safetensors files name them.
_TYPES = {"<f4": "F32", "<f2": "F16", "<i8": "I64"}

# What a machine refuses any program, and the remedy.
_REMEDIES = {
    errno.ENOSPC: "free disk space or inodes",
    errno.EDQUOT: "free disk space, or raise the quota",
    errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
    errno.EIO: "check the disk",
    errno.EROFS: "make its file system writable",
    errno.EACCES: "check the permissions",
    errno.EPERM: "check the permissions",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "remove the folder",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close other programs",
    errno.EBUSY: "close what uses it",
    errno.ETXTBSY: "close what uses it",
    **dict.fromkeys(
        (
            *(errno.ESTALE, errno.ENOLCK, errno.EREMOTEIO, errno.ENOTCONN, errno.ETIMEDOUT),
            *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH),
        ),
        "check the network and its file systems",
    ),
}


class InputError(Exception):
    """A mistake in what the user gave: one sentence naming the file, key or row, and the remedy."""


def refused(error: BaseException) -> str:
    """What the machine refused, in one sentence; "" if the error is none of that kind."""
    if lacks_memory(error):
        reason = str(error).partition("\n")[0] or type(error).__name__
        return f"memory ran out ({reason}); lower a batch size or an image size, or free memory."
    if not isinstance(error, OSError) or error.errno not in _REMEDIES:
        return ""
    what = f"{error.filename} can't be read or written" if error.filename else "a file failed"
    return f"{what} ({os.strerror(error.errno)}); {_REMEDIES[error.errno]}, and run again."


def lacks_memory(error: BaseException) -> bool:
    """Whether numpy, torch, onnxruntime or the loader of libraries ran out of memory."""
    words = (
        "allocate memory",
        "not enough memory",
        "out of memory",
        "bad alloc",
        "bad_alloc",
        "failed to map segment",
        "start new thread",
        "launch worker thread",
        "error return without exception set",  # Python's own, of an import without memory
    )
    # oneDNN says no more; what it does not have is a primitive descriptor.
    alone = str(error) == "could not create a primitive"
    found = alone or any(word in str(error).lower() for word in words)
    return isinstance(error, MemoryError) or (isinstance(error, Exception) and found)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary file beside `path`; sync and rename it on success, remove it on failure."""
    path = Path(path)
    with _named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        temporary = Path(name)
        os.close(handle)
        try:
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """An error of the system without a name, as that of a write, or of our half file, names it.

    Raises:
        InputError: the half file is gone.
    """
    try:
        yield
    except FileNotFoundError as error:
        if not str(error.filename).endswith(".part"):
            raise
        raise InputError(
            f"{path} was being written when its half file vanished, as when another run makes the "
            "same file; run again when that has ended."
        ) from error
    except OSError as error:
        if error.filename is None or str(error.filename).endswith(".part"):
            error.filename = str(path)
        raise


def remove_halves(path: str | Path) -> None:
    """Remove what `replacing` left beside `path` when its process was killed."""
    path = Path(path)
    for half in path.parent.glob(f".{glob.escape(path.name)}.????????.part"):
        half.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` so that `path` holds all of it or is as it was."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 `text` so that `path` holds all of it or is as it was."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, value: object) -> None:
    """Write `value` as indented JSON; NaN and infinities are refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_text(path: str | Path) -> str:
    """Read UTF-8 text, with or without a byte-order mark; line ends become "\\n"."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({error}); save it as UTF-8.") from error
    except OSError as error:
        raise InputError(
            f"{path} can't be read ({error.strerror}); check the path and its permissions."
        ) from error


def read_json(path: str | Path) -> object:
    """Read a JSON file; the error of a malformed one says where."""

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        content = dict(pairs)
        if len(content) < len(pairs):
            repeated = Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise InputError(f'{path} has the key "{repeated}" twice in one place; keep one.')
        return content

    try:
        return json.loads(read_text(path), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON ({error}); correct or remove it.") from error


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_tensors(
    path: str | Path, tensors: Tensors, metadata: dict[str, str] | None = None
) -> None:
    """Write named arrays as safetensors: the same arrays give the same bytes.

    `metadata` goes into the file's header; more than one key would come in any order.
    """
    contiguous = {name: np.asarray(array, order="C") for name, array in sorted(tensors.items())}
    write_bytes(path, _dump_safetensors(contiguous, metadata))


def write_joined(path: str | Path, parts: list[Tensors], axes: dict[str, int]) -> None:
    """Write the arrays of several parts, each joined along its axis, as `write_tensors` would.

    None is copied, so they may be those of `map_tensors`.
    """
    arrays = {name: [part[name] for part in parts] for name in axes}
    ordered = sorted(axes, key=lambda name: (-arrays[name][0].itemsize, name))
    header, start = {}, 0
    for name in ordered:
        own, shape = arrays[name], list(arrays[name][0].shape)
        shape[axes[name]] = sum(array.shape[axes[name]] for array in own)
        places = [start, start := start + sum(array.nbytes for array in own)]
        header[name] = {"dtype": _TYPES[own[0].dtype.str], "shape": shape, "data_offsets": places}
    described = json.dumps(header, separators=(",", ":")).encode()
    described += b" " * (-len(described) % 8)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(len(described).to_bytes(8, "little") + described)
        for name in ordered:
            for place in np.ndindex(*header[name]["shape"][: axes[name]]):
                for array in arrays[name]:
                    file.write(np.ascontiguousarray(array[place]).data)


def read_tensors(path: str | Path) -> Tensors:
    """Read the named arrays of a safetensors file."""
    with _checked(path) as file:
        return {name: file.get_tensor(name) for name in file.offset_keys()}


def map_tensors(path: str | Path) -> Tensors:
    """The named arrays of a safetensors file, which stay there until they are looked at.

    They can't be written to.
    """
    with _checked(path) as file, open(path, "rb") as content:
        start = 8 + int.from_bytes(content.read(8), "little")  # the length of the header, before it
        mapped = mmap.mmap(content.fileno(), 0, access=mmap.ACCESS_READ)
        # Rows are read in any order: what lies beside one is not read ahead.
        mapped.madvise(mmap.MADV_RANDOM)
        found = {}
        for name in file.offset_keys():
            part = file.get_slice(name)
            dtype, shape = part[:0].dtype, part.get_shape()
            found[name] = np.frombuffer(mapped, dtype, prod(shape), start).reshape(shape)
            start += found[name].nbytes
    return found


def read_metadata(path: str | Path) -> dict[str, str]:
    """Read the metadata in the header of a safetensors file; {} if it has none."""
    with _checked(path) as file:
        return file.metadata() or {}


@contextmanager
def _checked(path: str | Path) -> Iterator[safe_open]:
    try:
        with safe_open(path, framework="np") as file:
            yield file
    except SafetensorError as error:
        raise InputError(
            f"{path} is not a complete safetensors file ({error}); delete it and make it again."
        ) from error
    except BaseException as error:
        # What safetensors raises where Python finds no memory for an array.
        if type(error).__name__ != "PanicException":
            raise
        raise MemoryError(f"{path} can't be held") from error
