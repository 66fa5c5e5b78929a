"""The heads that a configuration names: a setting that is a list becomes one head for each value.

A head is a module of `treehead/heads`; the keyword arguments of its `fit` are its settings. It may
have a function `check` of these, which says what is wrong with a combination of valid settings.
"""

import itertools
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from treehead.artifacts import InputError
from treehead.config import signatures
from treehead.config.signatures import Setting, choices

_HEADS = Path(__file__).parents[1] / "heads"

# The positional arguments of a head's three functions.
_FUNCTIONS = {"fit": ["train"], "predict": ["head", "features"], "cost": ["head", "features"]}

# Arguments of `fit` that its job gives, not the configuration of the head.
_GIVEN = ("parent_of", "sample_weight", "seed")

# What an entry gives in the place of others: keys of the training, which the schema checks, and the
# name of a teacher.
_OF_ENTRY = {"training": Setting("dict", needed=False), "teacher": Setting("str", needed=False)}


class Head(NamedTuple):
    """One head: the module that fits it, its settings, and which of them were swept."""

    module: str
    settings: dict[str, Any]
    swept: tuple[str, ...]

    def describe(self) -> str:
        """The swept settings, such as "rank=25"."""
        chosen = {key: self.settings[key] for key in self.swept}
        return ", ".join(f"{key}={value}" for key, value in chosen.items() if value is not None)


def _file(module: str) -> Path:
    return _HEADS / f"{module}.py"


def arguments(module: str) -> dict[str, Setting]:
    """The keyword arguments of a head's `fit`."""
    return signatures.settings(signatures.functions(_file(module))["fit"])


@cache
def modules() -> list[str]:
    """The modules that define a head."""
    return [path.stem for path in sorted(_HEADS.glob("*.py")) if is_head(path)]


def is_head(path: Path) -> bool:
    """Whether a file has `fit(train, *, seed, ...)`, and `predict` and `cost` (head, features)."""
    defined = signatures.functions(path)
    if not _FUNCTIONS.keys() <= defined.keys():
        return False
    taken = {name: signatures.positional(defined[name]) for name in _FUNCTIONS}
    keywords = {name: signatures.settings(defined[name]) for name in _FUNCTIONS}
    return taken == _FUNCTIONS and "seed" in keywords.pop("fit") and not any(keywords.values())


def expand(entries: dict[str, dict[str, Any] | None]) -> dict[str, Head]:
    """The heads of the mapping `heads` of the configuration, by name.

    An entry's name is that of its module, or the module stands under `head`. Each swept value is
    appended to the name: {"lowrank": {"rank": [10, 25]}} gives lowrank-10 and lowrank-25. A value
    of null appends nothing and leaves the setting out. An entry of null is left out.

    Raises:
        InputError: there is no such module, or a setting of it is wrong or missing.
    """
    heads: dict[str, Head] = {}
    for entry, given in entries.items():
        if given is None:
            continue
        where, module = f"heads.{entry}", given.get("head", entry)
        taken = _settings(where, module)
        own = {key: given[key] for key in given if key != "head"}
        # In the order of the signature: names must not depend on the order in a configuration.
        swept = [key for key in taken if isinstance(own.get(key), list)]
        if empty := [key for key in swept if not own[key]]:
            raise InputError(f"Config: {where}.{empty[0]} is an empty list; give it a value.")
        for values in itertools.product(*(own[key] for key in swept)):
            chosen = own | dict(zip(swept, values, strict=True))
            settings = signatures.converted(where, chosen, taken)
            check = signatures.functions(_file(module)).get("check")
            if mistake := check and signatures.called(check, settings):
                raise InputError(f"Config: {where}: {mistake}.")
            kept = tuple(key for key in swept if key in settings)
            name = "-".join([entry, *(_text(settings[key]) for key in kept)])
            if name in heads:
                raise InputError(f"Config: {where}: {name} appears twice; remove one.")
            heads[name] = Head(module, settings, kept)
    _check_teachers(heads)
    return heads


def _text(value: Any) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _settings(where: str, module: str) -> dict[str, Setting]:
    """The settings that an entry of a module may have."""
    if module not in modules():
        told = f"there is not a head {module}"
        if _file(module).is_file():
            told = (
                f"treehead/heads/{module}.py is not a head, which has fit(train, *, seed, ...), "
                "predict(head, features) and cost(head, features)"
            )
        raise InputError(f"Config: {where}: {told}; use {choices(modules(), module)}.")
    taken = {key: each for key, each in arguments(module).items() if key not in _GIVEN}
    return taken | {key: each for key, each in _OF_ENTRY.items() if key in arguments(module)}


def check_baselines(heads: dict[str, Head], baselines: list[str]) -> None:
    """Check that every head to compare with is there."""
    if absent := [name for name in baselines if name not in heads]:
        raise InputError(
            f"Config: comparison.baselines names {absent[0]}, but there is no such head; add it to "
            f"heads, or use {choices(heads, absent[0])}."
        )


def check_class_weights(heads: dict[str, Head], training: dict[str, Any]) -> None:
    """Check that every head whose training has class weights can weigh images."""
    for name, head in heads.items():
        kind = (training | head.settings.get("training", {}))["class_weights"]
        if kind != "none" and "sample_weight" not in arguments(head.module):
            raise InputError(
                f"Config: heads.{name} can't have class_weights {kind}, since fit of "
                f"treehead/heads/{head.module}.py takes no sample_weight; set "
                "training.class_weights to none, or remove the head."
            )


def deployed(heads: dict[str, Head], name: str) -> list[str]:
    """The heads of which one becomes the classifier: all if it is the chosen one."""
    if name == "chosen":
        return list(heads)
    if name not in heads:
        raise InputError(
            f"Config: deploy.head is {name}, but there is no such head; use chosen or "
            f"{choices(heads, name)}."
        )
    return [name]


def _check_teachers(heads: dict[str, Head]) -> None:
    untaught = [name for name, head in heads.items() if "teacher" not in head.settings]
    for name, head in heads.items():
        teacher = head.settings.get("teacher")
        if teacher is not None and teacher not in untaught:
            told = "has a teacher itself" if teacher in heads else "is not a head"
            use = f"use {choices(untaught, teacher)}" if untaught else "remove it"
            raise InputError(f"Config: heads.{name}: its teacher {teacher} {told}; {use}.")
