"""Settings are the keyword arguments of a function; its annotations say which values are right.

They are read from the source, since importing a head or a backbone means importing torch. An
annotation is made of int, float, bool, str, None, `Literal`, `list`, `|` and `Annotated` with
limits of annotated_types, or with a compiled pattern and its description as `doc`.
"""

import ast
import dataclasses
import difflib
import json
import math
import operator
import re
import typing
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, NamedTuple

import annotated_types
from annotated_types import DocInfo, Ge, Gt, Le, Lt, MaxLen, MinLen

from treehead.artifacts import InputError

_TYPES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    dict: "a mapping",
    NoneType: "null",
}

# Limits of a number, or of the length of a list.
_LIMITS = {
    Ge: (operator.ge, "at least"),
    Gt: (operator.gt, "more than"),
    Le: (operator.le, "at most"),
    Lt: (operator.lt, "less than"),
    MinLen: (operator.ge, "at least"),
    MaxLen: (operator.le, "at most"),
}

_WORDS = {"true": True, "false": False, "null": None}


class Setting(NamedTuple):
    """A keyword argument: its annotation as written, and whether it must be given."""

    annotation: str
    needed: bool


@cache
def functions(path: Path) -> dict[str, ast.FunctionDef]:
    """The functions that a file defines, by name."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return {node.name: node for node in body if isinstance(node, ast.FunctionDef)}


def positional(function: ast.FunctionDef) -> list[str]:
    """A function's positional arguments; *args and **kwargs stand among them with their stars."""
    taken = function.args
    stars = [(taken.vararg, "*"), (taken.kwarg, "**")]
    named = [argument.arg for argument in (*taken.posonlyargs, *taken.args)]
    return named + [f"{star}{argument.arg}" for argument, star in stars if argument]


def settings(function: ast.FunctionDef) -> dict[str, Setting]:
    """The keyword arguments of a function, by name."""
    named = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    return {
        argument.arg: Setting(
            ast.unparse(argument.annotation) if argument.annotation else "", default is None
        )
        for argument, default in named
    }


def called(function: ast.FunctionDef, arguments: dict[str, Any]) -> Any:
    """What a function returns that uses nothing but builtins."""
    names: dict[str, Any] = {}
    exec(compile(ast.Module([function], []), function.name, "exec"), names)
    return names[function.name](**arguments)


def converted(where: str, given: dict[str, Any], settings: dict[str, Setting]) -> dict[str, Any]:
    """Given values as the annotations want them; null leaves a setting out.

    Numbers, true, false and null may be text, as YAML reads 1e-3 and Snakemake a command line.

    Args:
        where: key of the configuration whose mapping is given.
        given: values by name.
        settings: those that the mapping may have.

    Raises:
        InputError: a value is not allowed, which the message lists, or a setting is unknown or
            missing.
    """
    for key in given:
        if key not in settings:
            use = f"use {choices(settings, key)}" if settings else "remove it"
            raise InputError(f"Config: {where}.{key} is not a setting; {use}.")
    values = {}
    for key, setting in settings.items():
        kind, value = _kind(f"{where}.{key}", setting.annotation), given.get(key)
        if value in (None, "null"):
            if setting.needed:
                raise InputError(
                    f"Config: {where}.{key} is missing; give {_described(kind, value)}."
                )
            continue
        try:
            values[key] = _converted(value, kind)
        except ValueError:
            raise InputError(
                f"Config: {where}.{key} is {shown(value)}; use {_described(kind, value)}."
            ) from None
    return {key: values[key] for key in given if key in values}


_NAMES = {
    *("int", "float", "bool", "str", "list", "Literal", "Annotated", "Optional", "Union"),
    *(limit.__name__ for limit in _LIMITS),
}


@cache
def understood(annotation: str) -> bool:
    """Whether an annotation of anybody's code is made of what is known here alone."""
    nodes = list(ast.walk(ast.parse(annotation or "None", mode="eval")))
    if not annotation or any(isinstance(node, ast.Attribute | ast.Lambda) for node in nodes):
        return False
    if {node.id for node in nodes if isinstance(node, ast.Name)} - _NAMES:
        return False
    with suppress(InputError):
        return bool(_kind("", annotation))
    return False


@cache
def _kind(key: str, annotation: str) -> Any:
    """The type that an annotation is."""
    try:
        kind = eval(annotation, vars(typing) | vars(annotated_types) | {"re": re})
        _described(kind, None)
    except Exception as error:
        raise InputError(
            f"Config: {key} can't be checked: its annotation {annotation!r} is not understood "
            f"({error}); {__name__} says what annotations are made of."
        ) from error
    return kind


def shown(value: Any) -> str:
    """A value as a configuration has it."""
    return json.dumps(value, ensure_ascii=False, default=str)


def choices(valid: Iterable[str], given: object) -> str:
    """Names in quotes, the nearest to what was given first; of many the three nearest."""
    names = sorted(valid)
    near = difflib.get_close_matches(str(given).lower(), names, n=3, cutoff=0)
    *others, last = map(shown, near if len(names) > 12 else dict.fromkeys([*near[:1], *names]))
    return f"{', '.join(others)} or {last}" if others else last


def _converted(value: Any, kind: Any) -> Any:
    """The value as one of a kind; a ValueError if it is none."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        value = _converted(value, parts[0])
        if all(_holds(value, limit) for limit in kind.__metadata__):
            return value
    elif origin is list and isinstance(value, list):
        return [_converted(item, parts[0]) for item in value]
    elif origin is typing.Literal:
        for part in parts:
            if str(part) == str(value):
                return part
    elif origin in (typing.Union, UnionType):
        for part in parts:
            with suppress(ValueError):
                return _converted(value, part)
    elif origin is None:
        return _plain(value, kind)
    raise ValueError


def _plain(value: Any, kind: type) -> Any:
    if isinstance(value, str) and kind is not str:
        if re.fullmatch(r"[-+]?0[\d_]+", value):  # YAML would read it to base 8
            raise ValueError
        word = value.lower()
        value = _WORDS[word] if word in _WORDS else (int if kind is int else float)(value)
    if kind in (float, str) and type(value) in (int, float):
        value = kind(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise ValueError
    return value


def _holds(value: Any, limit: Any) -> bool:
    match limit:
        case DocInfo():
            return True
        case re.Pattern():
            return bool(limit.fullmatch(value))
    compare, _ = _LIMITS[type(limit)]
    return compare(len(value) if isinstance(value, list) else value, _bound(limit))


def _bound(limit: Any) -> Any:
    (bound,) = dataclasses.astuple(limit)
    return bound


def _described(kind: Any, value: Any) -> str:
    """The values of a kind in words, the choice nearest to `value` first."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        limits = kind.__metadata__
        if docs := [limit.documentation for limit in limits if isinstance(limit, DocInfo)]:
            return docs[0]
        within = " and ".join(f"{_LIMITS[type(limit)][1]} {_bound(limit)}" for limit in limits)
        what = _described(parts[0], value)
        is_list = typing.get_origin(parts[0]) is list
        return f"{what}; {within} of them" if is_list else f"{what} of {within}"
    if origin is list:
        return f"a list, each value {_described(parts[0], value)}"
    if origin is typing.Literal:
        texts = all(isinstance(part, str) for part in parts)
        return choices(parts, value) if texts else " or ".join(map(shown, parts))
    if set(parts) == {int, float}:
        return _TYPES[float]
    if origin in (typing.Union, UnionType):
        return " or ".join(_described(part, value) for part in parts)
    return _TYPES[kind]
