"""Files of `torch.save`, read by torch's restricted unpickler; nothing in them is executed.

A checkpoint holds more than tensors: its trainer's settings, an optimiser, a whole network. Each
class that torch does not allow becomes a stand-in, which keeps what the file gives it and does
nothing. The file's own classes are never imported. A file that wants to call a function, and not
merely to rebuild data, is refused.
"""

import io
import pickletools
import re
import sys
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import torch

from treehead.artifacts import InputError

# What of Python's own library a file may call: these make data and do nothing else.
_DATA = {
    "builtins": "bool bytes dict float frozenset int list object range slice str tuple type",
    "_codecs": "encode",
    "_operator": "getitem",
    "argparse": "Namespace",
    "collections": "ChainMap UserDict UserList defaultdict deque",
    "copyreg": "__newobj__ _reconstructor",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "functools": "partial",
    "itertools": "count",
    "logging": "getLogger",
    "operator": "getitem",
    "pathlib": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
    "pathlib._local": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
    "random": "Random",
    "re": "_compile",
    "traceback": "FrameSummary StackSummary",
    "types": "MappingProxyType SimpleNamespace",
    "uuid": "UUID",
}
# The functions of other packages that rebuild arrays, random generators and tensors.
_REBUILDERS = {
    "numpy": "scalar _reconstruct _frombuffer dtype __generator_ctor __bit_generator_ctor "
    "__randomstate_ctor __pyx_unpickle_SeedSequence",
    "fastai": "_fa_rebuild_tensor _fa_rebuild_qtensor",
}
# What zeros are compressed to, and weights never are.
_MOST_COMPRESSED = 100
_SHARED = (".DTensor", ".ShardedTensor")


class _Refused(Exception):
    """What a file would call."""


class _Kind(type):
    """The class of the stand-ins' classes: REDUCE calls one, NEWOBJ calls its __new__."""

    origin: str
    may_be_called: bool
    may_be_made: bool

    def __call__(cls, *args: object) -> object:
        if cls.origin == "builtins.getattr" and len(args) == 2:
            return _attribute(*args)
        if not cls.may_be_called:
            raise _Refused(cls.origin)
        return cls.__new__(cls, *args)

    def __eq__(cls, other: object) -> bool:
        """Torch's unpickler sets items of a dict only; a stand-in for a subclass passes for one."""
        return cls is other or other is dict

    __hash__ = type.__hash__


class StandIn(list, metaclass=_Kind):
    """An object of a foreign class: the arguments, elements, items and state that the file gives.

    It is a list because torch's unpickler appends to lists alone.
    """

    origin, may_be_called, may_be_made = "", False, True

    def __new__(cls, *args: object) -> "StandIn":
        if not cls.may_be_made:
            raise _Refused(cls.origin)
        made = list.__new__(cls)
        made.args, made.named, made.states = args, {}, []
        return made

    def __repr__(self) -> str:
        return self.origin

    def __setitem__(self, key: object, value: object) -> None:
        self.named[key] = value

    def __setstate__(self, state: object) -> None:
        self.states.append(state)

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


def _attribute(owner: object, name: str) -> object:
    """A class nested in a foreign class, or a method, which torch's unpickler does not call."""
    if isinstance(owner, _Kind) and _is_class(name):
        return owner
    method = StandIn.__new__(StandIn)
    method.origin = f"{getattr(owner, 'origin', type(owner).__name__)}.{name}"
    return method


def _is_class(name: str) -> bool:
    return name.lstrip("_")[:1].isupper()


def _stand_in(module: str, name: str) -> _Kind:
    package = module.split(".", maxsplit=1)[0]
    if package in sys.stdlib_module_names:
        error = module == "builtins" and name.endswith(("Error", "Exception", "Warning"))
        called = made = error or name in _DATA.get(module, "").split()
    else:
        called = _is_class(name) or name in _REBUILDERS.get(package, "").split()
        made = True
    body = {"origin": f"{module}.{name}", "may_be_called": called, "may_be_made": made}
    return _Kind(name, (StandIn,), body)


def load(path: Path) -> object:
    """The object in a zip or legacy file of `torch.save`; foreign objects in it are stand-ins."""
    operations = []
    try:
        with open(path, "rb") as file:
            zipped = file.read(2) == b"PK"
            stored = zipped and _check_zip(path)
            operations += _operations(path, zipped)
            file.seek(0)
            # torch.load takes the name .safetensors for the format, and can map names alone.
            named = path.suffix != ".safetensors"
            with _only(_stand_ins(operations, path)):
                return torch.load(
                    path if named else file,
                    map_location="cpu",
                    weights_only=True,
                    mmap=stored and named,
                )
    except InputError:
        raise
    except _Refused as refused:
        raise InputError(
            f"{path} is refused because it would call {refused}; save its state dict alone, with "
            "torch.save or as .safetensors."
        ) from refused
    except Exception as error:  # a damaged pickle can fail in any way
        protocol = max((number for name, number in operations if name == "PROTO"), default=2)
        reason = str(error).strip() or type(error).__name__
        raise InputError(_explained(path, reason, protocol)) from error


def _stand_ins(operations: list[tuple[str, object]], path: Path) -> dict[str, _Kind]:
    """A stand-in for each name in the file, under its names in Python 2 and Python 3."""
    made = {}
    for named in sorted({named for operation, named in operations if operation == "GLOBAL"}):
        module, name = named.split(" ", 1)
        kind = _stand_in(*_in_python3(module, name))
        made |= {f"{module}.{name}": kind, kind.origin: kind}
    if shared := next((name for name in made if name.endswith(_SHARED)), None):
        raise InputError(
            f"{path} holds parts of tensors that several processes share ({shared}); gather them "
            "(torch.distributed.checkpoint.state_dict, full_state_dict=True), and save the state "
            "dict again."
        )
    return made


@contextmanager
def _only(stand_ins: dict[str, _Kind]) -> Iterator[None]:
    """Allow torch's unpickler the stand-ins, and nothing that an import has allowed it."""
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    allowed = [(stand_in, name) for name, stand_in in stand_ins.items()]
    try:
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.serialization.add_safe_globals(before)


def _check_zip(path: Path) -> bool:
    """Check the archive's checksums, as torch does not; whether its members are uncompressed."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.file_size > max(2**24, _MOST_COMPRESSED * member.compress_size):
                size = f"{member.file_size:,} bytes"
                raise ValueError(f"{member.filename} unpacks to {size}, as no weights do")
            if member.CRC:  # torch.save can leave them out
                with archive.open(member) as stream:
                    while stream.read(1 << 20):
                        pass
        return all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist())


def _explained(path: Path, error: str, protocol: int) -> str:
    """What torch's refusal or failure means."""
    alone = "save its state dict alone, with torch.save or as .safetensors."
    if blocked := re.search(r"GLOBAL (\S+) whose module", error):
        return f"{path} is refused because it names {blocked[1]}; {alone}"
    if called := re.search(r"call reduce for unrecognized function (\S+)", error):
        return f"{path} is refused because it would call {called[1]}; {alone}"
    if "Only persistent_load of storage" in error:
        return (
            f"{path} holds a whole network in torch.save's older format, which is not read without "
            "running it; where its code is, save its state_dict()."
        )
    if "Creating a Tensor subclass" in error:
        return (
            f"{path} holds tensors of a class of its own; save them as plain tensors "
            "(tensor.as_subclass(torch.Tensor))."
        )
    if "Unsupported operand" in error and protocol > 2:
        return (
            f"{path} is a pickle of protocol {protocol}, and only protocol 2 is read without "
            "running it; save it again with torch.save, without pickle_protocol."
        )
    reason = error.rsplit("WeightsUnpickler error:", maxsplit=1)[-1].strip().splitlines()[0]
    return f"{path} is not a complete weights file ({reason}); download or save it again."


def _operations(path: Path, zipped: bool) -> Iterator[tuple[str, object]]:
    """What the file's pickles name, and their protocols; they are read and not carried out."""
    with open(path, "rb") as file:
        # A legacy file begins with a magic number, a version and the machine's sizes.
        for pickled in [_pickle_of_zip(file)] if zipped else [file] * 4:
            for operation, argument, _ in pickletools.genops(pickled):
                if operation.name in ("PROTO", "GLOBAL"):
                    yield operation.name, argument


def _pickle_of_zip(file: BinaryIO) -> BinaryIO:
    with zipfile.ZipFile(file) as archive:
        member = next(one for one in archive.infolist() if one.filename.endswith("/data.pkl"))
        if not member.CRC:
            del member.CRC  # so that it is not compared
        return io.BytesIO(archive.read(member))


def _in_python3(module: str, name: str) -> tuple[str, str]:
    """The module and name in Python 3 of what a pickle of Python 2 names."""
    if (module, name) in NAME_MAPPING:
        return NAME_MAPPING[module, name]
    return IMPORT_MAPPING.get(module, module), name
