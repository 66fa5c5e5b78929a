"""A backbone of one's own by file, `<file>.py:<function>`: its settings, and the code it imports.

All is read from the source. Only jobs import the file.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from treehead.artifacts import InputError, read_text
from treehead.config import signatures
from treehead.config.signatures import Setting

_FORM = re.compile(r"(.+\.py)(?::(\w+))?")


def is_own(architecture: str) -> bool:
    """Whether an architecture is a file."""
    return _FORM.fullmatch(architecture) is not None


def converted(architecture: str, given: dict[str, Any]) -> dict[str, Any]:
    """The settings `backbone.own` as the annotations of the function want them.

    Values without an annotation, or with one that `signatures` does not know, stay as they are.

    Raises:
        InputError: there is no such file or function, or a setting is wrong or missing.
    """
    path, name = _FORM.fullmatch(architecture).groups()
    where = f"Config: backbone.architecture is {architecture}"
    if not Path(path).is_file():
        raise InputError(f"{where}, but there is no file {path}; correct the path.")
    functions = _functions(path)
    if name not in functions:
        told = f"{path} has no function of that name" if name else "which names no function"
        use = [f"{path}:{function}" for function in functions]
        remedy = f"use {signatures.choices(use, architecture)}" if use else "define one there"
        raise InputError(f"{where}, {'but ' if name else ''}{told}; {remedy}.")
    function = functions[name]
    size, settings = _taken(function)
    if not size:
        raise InputError(f"{where}, but {name} has no argument for the size; give it a first one.")
    if function.args.kwarg:
        settings |= {key: Setting("", False) for key in given if key not in settings}
    known = {key: each for key, each in settings.items() if signatures.understood(each.annotation)}
    for key, each in settings.items():
        if each.needed and given.get(key) is None:
            raise InputError(
                f"Config: backbone.own.{key} is missing; give it, since {name} has no default."
            )
    if unknown := [key for key in given if key not in settings]:
        use = f"use {signatures.choices(settings, unknown[0])}" if settings else "remove it"
        raise InputError(f"Config: backbone.own.{unknown[0]} is not a setting of {name}; {use}.")
    checked = {key: value for key, value in given.items() if key in known}
    return given | signatures.converted("backbone.own", checked, known)


def _taken(function: ast.FunctionDef) -> tuple[ast.arg | None, dict[str, Setting]]:
    """The first argument of a function, and the others by name."""
    taken = function.args
    named = [*taken.posonlyargs, *taken.args]
    defaults = [None] * (len(named) - len(taken.defaults)) + taken.defaults
    pairs = [*zip(named, defaults, strict=True)][1:]
    settings = {
        argument.arg: Setting(
            ast.unparse(argument.annotation) if argument.annotation else "", default is None
        )
        for argument, default in pairs
    }
    return (named[0] if named else None), settings | signatures.settings(function)


def files(architecture: str) -> list[str]:
    """The file of an architecture and the modules beside it that it imports; none if it is no file.

    A library that is installed, and treehead, are not among them.
    """
    if not is_own(architecture):
        return []
    first = Path(_FORM.fullmatch(architecture)[1])
    found = [first]
    for path in found:
        found += [each for each in _imported(path, first.parent) if each not in found]
    return [str(path) for path in found]


def _imported(path: Path, root: Path) -> Iterator[Path]:
    """The files under `root` that one of them imports, and the packages that hold them."""
    seen = set()
    for node in ast.walk(_parsed(str(path))):
        names: list[str] = []
        base = root
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = path.parents[node.level - 1]
            names = [".".join(filter(None, (node.module, alias.name))) for alias in node.names]
        for name in names:
            words = name.split(".")
            if base == root and words[0] == "treehead":
                continue
            for depth in range(1, len(words) + 1):
                place = base.joinpath(*words[:depth])
                for file in (place.with_suffix(".py"), place / "__init__.py"):
                    if file not in seen and file.is_file():
                        seen.add(file)
                        yield file


def _functions(path: str) -> dict[str, ast.FunctionDef]:
    body = _parsed(path).body
    return {node.name: node for node in body if isinstance(node, ast.FunctionDef)}


@cache
def _parsed(path: str) -> ast.Module:
    try:
        return ast.parse(read_text(path))
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}," if isinstance(error, SyntaxError) else ""
        reason = getattr(error, "msg", error)
        raise InputError(f"{path}{line} is not Python ({reason}); correct it.") from error
