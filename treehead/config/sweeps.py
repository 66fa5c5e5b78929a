"""The heads that a configuration names: a setting that is a list becomes one head for each value.

A head is a module of `treehead/heads`; the keyword arguments of its `fit` are its settings. They
are read from its source, since importing a head means importing torch.
"""

import ast
import itertools
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from treehead.artifacts import InputError

_HEADS = Path(__file__).parents[1] / "heads"

# The positional arguments of a head's three functions.
_FUNCTIONS = {"fit": ["train"], "predict": ["head", "features"], "cost": ["head", "features"]}

# What `fit` is given by its job and not by the configuration of the head.
_GIVEN = ("parent_of", "training", "seed")


class Head(NamedTuple):
    """One head: the module that fits it, its settings, and which of them were swept."""

    module: str
    settings: dict[str, Any]
    swept: tuple[str, ...]

    def describe(self) -> str:
        """The swept settings, such as "rank=25"."""
        chosen = {key: self.settings[key] for key in self.swept}
        return ", ".join(f"{key}={value}" for key, value in chosen.items() if value is not None)


class Argument(NamedTuple):
    """A keyword argument of a head's `fit`: its type as written, and whether it must be given."""

    type: str
    needed: bool


@cache
def arguments(module: str) -> dict[str, Argument]:
    """The keyword arguments of a head's `fit`."""
    tree = ast.parse((_HEADS / f"{module}.py").read_text(encoding="utf-8"))
    fit = next(
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "fit"
    )
    named = zip(fit.args.kwonlyargs, fit.args.kw_defaults, strict=True)
    return {
        argument.arg: Argument(ast.unparse(argument.annotation), default is None)
        for argument, default in named
    }


@cache
def modules() -> list[str]:
    """The modules that define a head: those with its three functions, of its arguments."""
    return [path.stem for path in sorted(_HEADS.glob("*.py")) if _is_head(path)]


def _is_head(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    defined = {
        node.name: [argument.arg for argument in node.args.args]
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }
    return all(defined.get(name) == arguments for name, arguments in _FUNCTIONS.items())


def expand(entries: dict[str, dict[str, Any] | None]) -> dict[str, Head]:
    """The heads of the mapping `heads` of the configuration, by name.

    An entry's name is that of its module, or the module stands under `head`. Each swept value is
    appended to the name: {"lowrank": {"rank": [10, 25]}} gives lowrank-10 and lowrank-25. A value
    of null appends nothing and leaves the setting out. An entry of null is left out.

    Raises:
        InputError: no such module, a setting that it does not have, or one that it misses.
    """
    heads: dict[str, Head] = {}
    for entry, given in entries.items():
        if given is None:
            continue
        module = given.get("head", entry)
        settings = {key: value for key, value in given.items() if key != "head"}
        _check(entry, module, settings)
        if [] in settings.values():
            raise InputError(f"heads.{entry} has an empty list, and so no head; give it a value.")
        swept = tuple(key for key, value in settings.items() if isinstance(value, list))
        for values in itertools.product(*(settings[key] for key in swept)):
            chosen = settings | dict(zip(swept, values, strict=True))
            kept = {
                key: _typed(entry, key, value, arguments(module))
                for key, value in chosen.items()
                if value is not None
            }
            name = "-".join([entry, *(str(value) for value in values if value is not None)])
            if name in heads:
                raise InputError(f"heads.{entry}: {name} stands there twice; remove one.")
            heads[name] = Head(module, kept, tuple(key for key in swept if key in kept))
    _check_teachers(heads)
    return heads


def _check(entry: str, module: str, settings: dict[str, Any]) -> None:
    if module not in modules():
        raise InputError(
            f"heads.{entry}: there is no head {module}; heads are {', '.join(modules())}."
        )
    taken = {key: each for key, each in arguments(module).items() if key not in _GIVEN}
    valid = [*taken, "training"]
    if unknown := [key for key in settings if key not in valid]:
        raise InputError(
            f"heads.{entry}.{unknown[0]} is no setting of {module}; it has {', '.join(valid)}."
        )
    absent = [key for key, each in taken.items() if each.needed and _left_out(settings.get(key))]
    if absent:
        raise InputError(f"heads.{entry}.{absent[0]} is missing; {module} needs it.")


def _left_out(value: Any) -> bool:
    return value is None or value == [] or (isinstance(value, list) and None in value)


def _typed(entry: str, key: str, value: Any, taken: dict[str, Argument]) -> Any:
    """A setting as its type wants it; YAML leaves numbers like 1e-3 as text."""
    if key in ("training", "teacher"):
        return value
    wanted = taken[key].type.removesuffix(" | None")
    if wanted == "float" and isinstance(value, str | int) and not isinstance(value, bool):
        with suppress(ValueError):
            value = float(value)
    if type(value).__name__ != wanted or value != value:
        raise InputError(f"heads.{entry}.{key} is {value!r}; it must be of type {wanted}.")
    return value


def check_baselines(heads: dict[str, Head], baselines: list[str]) -> None:
    """Check that every head to compare with is there."""
    if absent := [name for name in baselines if name not in heads]:
        raise InputError(
            f"comparison.baselines names {absent[0]}, but there is no such head; add it to heads, "
            "or remove it there."
        )


def _check_teachers(heads: dict[str, Head]) -> None:
    for name, head in heads.items():
        teacher = head.settings.get("teacher")
        if teacher is not None and (not isinstance(teacher, str) or teacher not in heads):
            raise InputError(
                f"heads.{name}: there is no head {teacher} to be its teacher; add one, or remove "
                "the teacher."
            )
        if teacher is not None and heads[teacher].settings.get("teacher"):
            raise InputError(f"heads.{name}: its teacher {teacher} has a teacher; choose another.")
