"""What a file is that can't be opened as weights, and what to do about it."""

import re
import tarfile
import zipfile
from pathlib import Path

_PYTORCH = "convert it to PyTorch and save the state dict as .safetensors"
_SOURCE = "give the checkpoint that it was exported from"
_UNPACK = "unpack it and give the weights file inside"

# By the first bytes, from a place in the file on.
_MAGIC = [
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes", _PYTORCH),
    (0, b"GGUF", "a GGUF file of a language model", "give the network's .safetensors"),
    (0, b"\x93NUMPY", "an array of NumPy", "save the arrays by name with safetensors.numpy"),
    (4, b"TFL3", "a TFLite model", _SOURCE),
    (4, b"ET12", "an ExecuTorch program", _SOURCE),
    (0, b"\x1f\x8b", "compressed with gzip", _UNPACK),
    (0, b"BZh", "compressed with bzip2", _UNPACK),
    (0, b"\xfd7zXZ\x00", "compressed with xz", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (0, b"Rar!", "a RAR archive", _UNPACK),
    (0, b"\x89PNG", "a picture", "give a weights file"),
    (0, b"\xff\xd8\xff", "a picture", "give a weights file"),
    (0, b"\x08\x01\x12", "a TensorFlow SavedModel", _PYTORCH),
]
_LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the magic number before torch.save's older format
_TABLE = bytes.fromhex("57fb808b247547db")  # the last bytes of TensorFlow's index of a checkpoint
_WEIGHTS = (".safetensors", ".index.json", ".bin", ".pt", ".pth", ".ckpt", ".tar")


def is_safetensors(head: bytes) -> bool:
    """Whether a file begins as safetensors do: the length of a JSON header, and its brace."""
    return head[4:9] == b"\0\0\0\0{"


def description(path: Path) -> str | None:
    """One sentence on a file that is neither safetensors nor of `torch.save`; None for those."""
    what = _folder(path) if path.is_dir() else _file(path)
    return what and f"{path} is {what}."


def _file(path: Path) -> str | None:
    with open(path, "rb") as file:
        head = file.read(4096)
        file.seek(max(0, path.stat().st_size - len(_TABLE)))
        tail = file.read()
    if is_safetensors(head) or (head[:1] == b"\x80" and _LEGACY in head[:64]):
        return None
    if not head.strip(b"\0"):
        what = "a file of zeros" if head else "empty"
        return f"{what}, as after a download that broke off; download or save it again"
    if head.startswith(b"PK\x03\x04"):
        return _zip(path)
    for place, magic, what, remedy in _MAGIC:
        if head[place:].startswith(magic):
            return f"{what}; {remedy}"
    if head[257:262] == b"ustar" or (path.suffix == ".tar" and tarfile.is_tarfile(path)):
        return _tar(path)
    if tail == _TABLE or re.search(r"\.data-\d{5}-of-\d{5}$", path.name):
        return f"part of a TensorFlow checkpoint; {_PYTORCH}"
    if re.match(rb"\x80[\x00-\x05]", head) or path.suffix in (".pkl", ".pickle"):
        return (
            "a plain pickle, which only its own library can read without risk; open it there, and "
            "save the state dict with torch.save or as .safetensors"
        )
    if path.suffix == ".onnx" or re.match(rb"\x08[\x03-\x20][\x12\x1a\x22\x3a\x42]", head):
        return f"an ONNX model; {_SOURCE}"
    return _text(head) or (
        f"no weights file (it begins with the bytes {head[:8].hex(' ')}); give a .safetensors or "
        "a file of torch.save, or download it again"
    )


def _zip(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # a damaged archive can fail in any way
        return "not a complete weights file (its end is missing); download or save it again"
    ends = {name.split("/", 1)[-1] for name in names}
    if "constants.pkl" in ends:
        return (
            "a TorchScript archive, which is a program; take its weights with torch.save("
            f'torch.jit.load("{path}", map_location="cpu").state_dict(), "weights.pt")'
        )
    if ends & {"archive_format", "serialized_exported_program.json"}:
        return (
            "an exported program of torch.export; take its weights with torch.save("
            f'torch.export.load("{path}").state_dict, "weights.pt")'
        )
    if any(name.endswith("/data.pkl") for name in names):
        return None
    if "model.weights.h5" in names:
        return f"a Keras model; {_PYTORCH}"
    if names and all(name.endswith(".npy") for name in names):
        return (
            f"an archive of NumPy arrays ({_listed(names)}); save them with safetensors.numpy."
            f'save_file(dict(numpy.load("{path}")), "weights.safetensors")'
        )
    return f"a zip archive of {_listed(names)}; {_UNPACK}"


def _tar(path: Path) -> str:
    try:
        with tarfile.open(path) as archive:
            names = archive.getnames()
    except tarfile.TarError:
        return "not a complete tar archive; download it again"
    if {"storages", "tensors", "pickle"} <= set(names):
        return (
            "in the tar format of torch before 0.1.10, which is not read without running it; where "
            "you trust it, save torch.load(..., weights_only=False) again with torch.save"
        )
    return f"a tar archive of {_listed(names)}; {_UNPACK}"


def _text(head: bytes) -> str | None:
    """What text is; None for other bytes."""
    try:
        text = head.decode("utf-8-sig", errors="strict" if len(head) < 4096 else "ignore").strip()
    except UnicodeDecodeError:
        return None
    if re.search(r"[\x00-\x08\x0e-\x1a]", text):
        return None
    if text.startswith("version https://git-lfs"):
        return "a Git LFS pointer, not the file itself; run git lfs pull in its repository"
    if re.match(r"<!doctype html|<html", text, re.IGNORECASE):
        return (
            "an HTML page, as a server answers with a login or an error; open its address in a "
            "browser and download the file itself"
        )
    if text.startswith("<") and "<net " in text:
        return f"an OpenVINO model; {_SOURCE}"
    if text.startswith(("{", "[")):
        return "JSON text without a weight_map; give the weights file beside it"
    line = text.splitlines()[0][:60] if text else ""
    return f'text that begins "{line}", not weights; download the file again'


def _folder(path: Path) -> str:
    names = sorted(file.name for file in path.iterdir())
    if any(name.endswith(".distcp") for name in names):
        return (
            "a distributed checkpoint; join it with python -m "
            f"torch.distributed.checkpoint.format_utils dcp_to_torch {path} weights.pt"
        )
    if "data.pkl" in names:
        return f"an unpacked file of torch.save; pack it again with zip -0 -r weights.pt {path}"
    if "saved_model.pb" in names:
        return f"a TensorFlow SavedModel; {_PYTORCH}"
    weights = [name for name in names if name.endswith(_WEIGHTS)]
    if not weights:
        return f"a folder without weights ({_listed(names)}); give a weights file"
    return f"a folder; give one of its files: {_listed(weights)}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return (", ".join(names[:6]) or "nothing") + more
