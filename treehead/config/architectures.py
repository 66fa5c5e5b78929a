"""The architectures of backbones: each is a file of `treehead/backbones/networks`.

The keyword arguments of its `build` are the settings under `backbone.<architecture>`. A library has
a `build` that also takes a name; its architectures are `<library>/<name>`. A network of one's own
is `<file>.py:<function>`.
"""

from functools import cache
from pathlib import Path
from typing import Any

from treehead.artifacts import InputError
from treehead.config import own, signatures
from treehead.config.signatures import Setting

_NETWORKS = Path(__file__).parents[1] / "backbones" / "networks"


@cache
def _taking(*arguments: str) -> dict[str, dict[str, Setting]]:
    """The settings of each file whose `build` takes these positional arguments."""
    defined = {path.stem: signatures.functions(path) for path in sorted(_NETWORKS.glob("*.py"))}
    return {
        name: signatures.settings(functions["build"])
        for name, functions in defined.items()
        if "build" in functions and signatures.positional(functions["build"]) == [*arguments]
    }


def names() -> list[str]:
    """The architectures that have settings of their own, under their name."""
    return sorted(_taking("size"))


def libraries() -> list[str]:
    """The libraries of networks; each may have settings, under its name."""
    return sorted(_taking("size", "name"))


def key(architecture: str) -> str:
    """The key under `backbone` that holds the settings of an architecture."""
    return "own" if own.is_own(architecture) else architecture.partition("/")[0]


def label(architecture: str) -> str:
    """An architecture as the name of a file, which may be in a folder of its library."""
    if not own.is_own(architecture):
        return architecture
    path, _, function = architecture.rpartition(":")
    return f"{Path(path).stem}-{function}"


def module(architecture: str) -> str:
    """The module that builds an architecture."""
    folder = "" if own.is_own(architecture) else "networks."
    return f"treehead.backbones.{folder}{key(architecture)}"


def check(backbone: dict[str, Any]) -> None:
    """Check the architecture and the settings of each one, which are converted in place.

    Raises:
        InputError: there is no such architecture, or a setting of one is wrong.
    """
    chosen = backbone["architecture"]
    library, _, name = chosen.partition("/")
    if own.is_own(chosen):
        backbone["own"] = own.converted(chosen, backbone.get("own", {}))
    elif chosen not in names() and not (name and library in libraries()):
        valid = [
            *names(),
            *(f"{library}/<name>" for library in libraries()),
            "<file>.py:<function>",
        ]
        raise InputError(
            f"Config: backbone.architecture is {signatures.shown(chosen)}; "
            f"use {signatures.choices(valid, chosen)}."
        )
    for file, settings in {**_taking("size"), **_taking("size", "name")}.items():
        given = backbone.get(file, {})
        if given or file == key(chosen):
            converted = signatures.converted(f"backbone.{file}", given, settings)
            backbone[file] = {name: converted.get(name) for name in given}
