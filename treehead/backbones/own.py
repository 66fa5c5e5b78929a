"""A network of one's own by file: `<file>.py:<function>`, called with the size and the settings.

Importing the file runs its code.
"""

import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import Any

import treehead
from treehead.artifacts import InputError

# Of treehead and of Python.
_FOLDERS = (Path(treehead.__file__).parent, Path(os.__file__).parent)


def build(size: int, architecture: str, **settings: Any) -> Any:
    """What the function gives; modules beside its file can be imported as it can itself."""
    path, _, name = architecture.rpartition(":")
    file = Path(path).resolve()
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    module = importlib.import_module(file.stem)
    if Path(module.__file__ or "").resolve() != file:
        raise InputError(
            f"backbone.architecture {architecture}: Python knows {file.stem} as {module.__file__}; "
            "give the file another name."
        )
    return getattr(module, name)(size, **settings)


def told(error: Exception, what: str) -> str:
    """What went wrong, with the file and the line of one's own code where it did.

    Args:
        error: raised while `build` or the network ran.
        what: its message.
    """
    kind = type(error).__name__
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {kind}: {error.msg}"
    libraries = {"site-packages", "dist-packages"}
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        ours = any(path.is_relative_to(folder) for folder in _FOLDERS)
        if path.is_file() and not ours and not libraries & {*path.parts}:
            return f"{os.path.relpath(path)}, line {frame.lineno}: {kind}: {what}"
    return f"{kind}: {what}"
