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
    "types": "MappingProxyType SimpleNamespace",
    "uuid": "UUID",
}
# The functions of other packages that rebuild arrays, random generators and tensors.
_REBUILDERS = {
    "numpy": "scalar _reconstruct _frombuffer dtype __generator_ctor __bit_generator_ctor "
    "__randomstate_ctor",
    "fastai": "_fa_rebuild_tensor _fa_rebuild_qtensor",
}


class Refused(Exception):
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
            raise Refused(cls.origin)
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
            raise Refused(cls.origin)
        made = list.__new__(cls)
        made.args, made.named, made.states = args, {}, []
        return made

    def __setitem__(self, key: object, value: object) -> None:
        self.named[key] = value

    def __setstate__(self, state: object) -> None:
        self.states.append(state)

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


def _attribute(owner: object, name: object) -> object:
    """A class nested in a foreign class, or its bound method, which can't be called."""
    nested = isinstance(owner, _Kind) and isinstance(name, str) and _is_class(name)
    return owner if nested else StandIn.__new__(StandIn)


def _is_class(name: str) -> bool:
    return name.lstrip("_")[:1].isupper()


def _stand_in(module: str, name: str) -> _Kind:
    package = module.split(".", maxsplit=1)[0]
    if package in sys.stdlib_module_names:
        called = made = name in _DATA.get(module, "").split()
    else:
        called = _is_class(name) or name in _REBUILDERS.get(package, "").split()
        made = True
    body = {"origin": f"{module}.{name}", "may_be_called": called, "may_be_made": made}
    return _Kind(name, (StandIn,), body)


def load(path: Path) -> object:
    """The object in a zip or legacy file of `torch.save`; foreign objects in it are stand-ins."""
    protocol, stand_ins = 2, {}
    try:
        zipped = zipfile.is_zipfile(path)
        for operation, argument in _operations(path, zipped):
            if operation == "PROTO":
                protocol = max(protocol, argument)
            elif operation == "GLOBAL":
                name = argument.replace(" ", ".", 1)
                if name not in stand_ins:
                    module, attribute = _today(*argument.split(" ", 1))
                    stand_ins[name] = _stand_in(module, attribute)
                    stand_ins[f"{module}.{attribute}"] = stand_ins[name]
        allowed = [(stand_in, name) for name, stand_in in stand_ins.items()]
        with warnings.catch_warnings(), torch.serialization.safe_globals(allowed):
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Refused as refused:
        raise InputError(
            f"{path} is refused because it would call {refused}; save its state dict alone, with "
            "torch.save or as .safetensors."
        ) from refused
    except Exception as error:  # a damaged pickle can fail in any way
        raise InputError(_told(path, str(error) or type(error).__name__, protocol)) from error


def _told(path: Path, error: str, protocol: int) -> str:
    """What torch's refusal or failure means."""
    alone = "save its state dict alone, with torch.save or as .safetensors."
    if blocked := re.search(r"GLOBAL (\S+) whose module", error):
        return f"{path} is refused because it names {blocked[1]}; {alone}"
    if "call reduce for unrecognized function" in error:
        return f"{path} is refused because it would call what it makes itself; {alone}"
    if "Unsupported operand" in error and protocol > 2:
        return (
            f"{path} is a pickle of protocol {protocol}, and only protocol 2 is read without "
            "running it; save it again with torch.save, without pickle_protocol."
        )
    reason = error.rsplit("WeightsUnpickler error:", maxsplit=1)[-1].strip().splitlines()[0]
    return f"{path} is not a complete weights file ({reason}); download or save it again."


def _operations(path: Path, zipped: bool) -> Iterator[tuple[str, object]]:
    """The operations of the file's pickles, read and not carried out."""
    with open(path, "rb") as file:
        # A legacy file begins with a magic number, a version and the machine's sizes.
        for pickled in [_pickle_of_zip(file)] if zipped else [file] * 4:
            for operation, argument, _ in pickletools.genops(pickled):
                yield operation.name, argument


def _pickle_of_zip(file: BinaryIO) -> BinaryIO:
    with zipfile.ZipFile(file) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        return io.BytesIO(archive.read(name))


def _today(module: str, name: str) -> tuple[str, str]:
    """The module and name in Python 3 of what a pickle of Python 2 names."""
    if (module, name) in NAME_MAPPING:
        return NAME_MAPPING[module, name]
    return IMPORT_MAPPING.get(module, module), name
