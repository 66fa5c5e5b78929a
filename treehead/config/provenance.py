"""What a result depends on: the modules that a script reaches, and a short name for settings."""

import ast
import hashlib
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import grimp

_PACKAGE = Path(__file__).parents[1]
# Data that modules read from where they lie.
_DATA = ("*.yaml", "templates/*", "board/*")


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph(_PACKAGE.name, cache_dir=None)


@cache
def reached_modules(script: str | Path, *loaded: str) -> list[Path]:
    """Files of the treehead modules that a script imports, directly or through others.

    A module's packages run before it, so they are among them, and so are the tables (.yaml), the
    templates and the boards beside it. `loaded` names more modules: those that a setting chooses,
    which the script loads by name.
    """
    named = set(loaded)
    for node in ast.walk(ast.parse(Path(script).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            named |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
    direct = named & _graph().modules
    reached = direct.union(*(_graph().find_upstream_modules(module) for module in direct))
    packages = {package for module in reached for package in _packages(module)}
    files = {_file(module) for module in reached | packages}
    folders = {file.parent for file in files}
    return sorted(files.union(*(folder.glob(data) for folder in folders for data in _DATA)))


def _packages(module: str) -> list[str]:
    """The packages that hold a module, the outermost first."""
    names = module.split(".")
    return [".".join(names[:depth]) for depth in range(1, len(names))]


def _file(module: str) -> Path:
    path = _PACKAGE.parent.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return Path(os.path.relpath(file))


def digest(settings: dict[str, Any]) -> str:
    """Eight hexadecimal digits that tell settings apart."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
