"""The configuration: checked against its schema, with errors that name the nearest valid key."""

import difflib
import math
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError

from treehead.artifacts import InputError, read_json, read_text, sha256
from treehead.backbones.checkpoints import shards
from treehead.config import architectures, own
from treehead.data.catalog import Catalog
from treehead.data.taxonomy import groups

# YAML's parser in C takes a tenth of the time.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# Values of backbone.weights that are not files.
NAMED_WEIGHTS = ("scratch", "hub", "torchvision", "timm")
# Values of taxonomy, dataset.source and backbone.weights that are not paths.
_RESERVED = ("superclass", "generated", *NAMED_WEIGHTS)
# What null means for demo100, which is drawn.
_DEMO100 = {
    "classes": 100,
    "train_per_class": 100,
    "test_per_class": 25,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
}


# A number is finite, and 3.0 is not an integer.
_Validator = validators.extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda _, value: type(value) is int,
            "number": lambda _, value: type(value) in (int, float) and math.isfinite(value),
        }
    ),
)


def check(
    config: dict[str, Any], schema: str | Path, layers: dict[str, list[str]] | None = None
) -> None:
    """Check a merged configuration; the first mistake is raised as an InputError.

    Numbers, lists and nulls that YAML (1e-4) or the command line ('child={l2: 0.01}') left as text
    are converted, and paths are normalised.

    Args:
        config: changed in place.
        schema: the file of the JSON schema.
        layers: the keys of the files of --configfile in their order, then of config/config.yaml.
    """
    rules = yaml.load(Path(schema).read_text(encoding="utf-8"), _Loader)
    keys = ("own", *architectures.names(), *architectures.libraries())
    rules["properties"]["backbone"]["properties"] |= {key: {"type": "object"} for key in keys}
    validator = _Validator(rules)
    for mistake in _targets_among(layers or {}, list(validator.schema["properties"])):
        raise InputError(f"Config: {mistake}.")
    for error in list(validator.iter_errors(config)):
        if isinstance(error.instance, str) and "type" in error.schema:
            value = _parsed(".".join(map(str, error.absolute_path)), error.instance)
            if error.validator == "type" or (value is None and "null" in error.schema["type"]):
                _set(config, list(error.absolute_path), value)
    errors = sorted(validator.iter_errors(config), key=_unknown_keys_first)
    if errors:
        raise InputError(f"Config: {_sentence(errors[0])}.")
    if own.is_own(config["backbone"]["architecture"]):
        _normalise(config, "backbone.architecture")
    architectures.check(config["backbone"])
    for key in ("results", "taxonomy", "dataset.source", "backbone.weights"):
        _normalise(config, key)
    if config["dataset"]["source"] == "hub" and config["dataset"]["name"] == "cifar100":
        config["dataset"]["source"] = "uoft-cs/cifar100"
    dataset = config["dataset"]
    if dataset["source"] == "generated":
        dataset |= {key: own for key, own in _DEMO100.items() if dataset[key] is None}
    for mistake in _contradictions(config):
        raise InputError(f"Config: {mistake}.")


def keys(path: str | Path) -> list[str]:
    """The keys of a configuration file.

    Raises:
        InputError: a key is twice in one place, of which Snakemake would take the last, or a number
            is written so that YAML reads another one.
    """
    try:
        root = yaml.compose(read_text(path), _Loader)
    except yaml.YAMLError:  # JSON that YAML does not know, with tabs
        return list(read_json(path))
    for name, node in _nodes(root):
        _check_plain(f"{path}, line {node.start_mark.line + 1}: {name}", node)
        found: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key.value in found:
                line = key.start_mark.line + 1
                raise InputError(
                    f"Config: {path}, line {line}: {key.value} is there again; keep one."
                )
            found.add(key.value)
    return [key.value for key, _ in root.value]


def _nodes(root: yaml.Node | None) -> Iterator[tuple[str, yaml.Node]]:
    """All nodes of YAML, each with the dotted path of its key."""
    nodes = [((), root)] if root else []
    for path, node in nodes:
        yield ".".join(path), node
        if isinstance(node, yaml.SequenceNode):
            nodes += [((*path, str(place)), item) for place, item in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            for pair in node.value:
                nodes += [((*path, str(pair[0].value)), each) for each in pair]


def _check_plain(where: str, node: yaml.Node) -> None:
    """Check that YAML reads no number as one of base 8 or 60: 010 as 8, and 1:30 as 90."""
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    octal = kind == "int" and re.match(r"[-+]?0[\d_]", node.value)
    if octal or (kind in ("int", "float") and ":" in node.value):
        raise InputError(
            f"Config: {where} is {node.value}, which YAML reads as {yaml.safe_load(node.value)}; "
            "write a number without leading zeros and colons, or a text in quotes."
        )


def _targets_among(layers: dict[str, list[str]], valid: list[str]) -> Iterator[str]:
    """Targets that follow --configfile: Snakemake takes them for more configuration files."""
    remedy = "if it is a target, name it before --configfile, or after --"
    for path, layer in layers.items():
        names = [key.partition(".")[0] for key in layer]
        foreign = [
            name for name in names if not difflib.get_close_matches(name, valid, n=1, cutoff=0.7)
        ]
        if 2 * len(foreign) > len(names):
            mistake = f"{foreign[0]} is not a key"
            yield f"{path} is given as a configuration file, but {mistake}; {remedy}"
    for path in list(layers)[1:-1]:
        if set(valid) <= set(layers[path]):
            yield f"{path} has every key, so the files before it have no effect; {remedy}"


def _parsed(key: str, text: str) -> Any:
    """What a text stands for where a setting is none, as in a file."""
    with suppress(yaml.YAMLError):
        for name, node in _nodes(yaml.compose(text, yaml.SafeLoader)):
            _check_plain(f"{key}.{name}".removesuffix("."), node)
    for parse in (int, float, yaml.safe_load):
        with suppress(ValueError, yaml.YAMLError):
            return parse(text)
    return text


def _normalise(config: dict[str, Any], key: str) -> None:
    """Expand ~ in a path, and leave out what is redundant in it, as Snakemake does in a target."""
    *path, last = key.split(".")
    for part in path:
        config = config[part]
    # A folder's name may end with a space, but results are made anew.
    given = config[last].strip() if key == "results" else config[last]
    text = os.path.expanduser(given)
    if found := re.search(r"[{}<>$\x00-\x1f]|^~|://", text):
        raise InputError(
            f"Config: {key} is {given!r}; a path must not hold {found[0]!r} here; choose another."
        )
    if key != "results":
        plain = str(Path(text))
    elif os.path.isabs(text):
        plain = str(Path(os.path.normpath(text)))
    else:
        plain = os.path.relpath(text)
    # "./hub" is a folder of that name, and "hub" is not.
    reserved = plain in _RESERVED or groups(plain)
    config[last] = given if reserved and key != "results" else plain


def paths(config: dict[str, Any]) -> dict[str, str]:
    """The settings of a checked configuration that are paths of what a run reads."""
    backbone = config["backbone"]
    given = {
        "taxonomy": config["taxonomy"],
        "dataset.source": config["dataset"]["source"],
        "backbone.weights": backbone["weights"],
        "backbone.architecture": backbone["architecture"].rpartition(":")[0],
    }
    return {
        key: path
        for key, path in given.items()
        if path and path not in _RESERVED and not groups(path)
    }


def _set(config: Any, path: list[str | int], value: Any) -> None:
    for key in path[:-1]:
        config = config[key]
    config[path[-1]] = value


def _unknown_keys_first(error: ValidationError) -> tuple[bool, list[str]]:
    return error.validator != "additionalProperties", [str(key) for key in error.absolute_path]


def _sentence(error: ValidationError) -> str:
    path = [str(key) for key in error.absolute_path]
    key, value, limit = ".".join(path), error.instance, error.validator_value
    match error.validator:
        case "additionalProperties":
            return _unknown_key(path, error)
        case "required":
            absent = next(name for name in limit if name not in value)
            return f"{'.'.join([*path, absent])} is missing; add it"
        case "type":
            names = " or ".join(limit if isinstance(limit, list) else [limit])
            return f"{key or 'it'} is {value!r}; it must be of type {names}"
        case "enum":
            near = difflib.get_close_matches(str(value), [str(choice) for choice in limit], n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            return f"{key} is {value!r}; it must be one of {', '.join(map(str, limit))}{hint}"
        case "minimum":
            return f"{key} is {value!r}; it must be at least {limit}"
        case "maximum":
            return f"{key} is {value!r}; it must be at most {limit}"
        case "exclusiveMinimum":
            return f"{key} is {value!r}; it must be greater than {limit}"
        case "exclusiveMaximum":
            return f"{key} is {value!r}; it must be less than {limit}"
        case "pattern" if key == "heads" and "." in value:
            return _dotted(f"heads.{value}")
        case _:
            return f"{key}: {error.message}; see config/README.md"


def _unknown_key(path: list[str], error: ValidationError) -> str:
    valid = list(error.schema["properties"])
    unknown = next(key for key in error.instance if key not in valid)
    near = difflib.get_close_matches(str(unknown), valid, n=1, cutoff=0.0)[0]
    full = ".".join([*path, str(unknown)])
    if str(unknown).partition(".")[0] in valid:
        return _dotted(full)
    return f"{full} is not a key; did you mean {near}? Valid here: {', '.join(valid)}"


def _dotted(key: str) -> str:
    outer, inner = key.rsplit(".", 1)
    return (
        f"{key} is not a key, since a dot does not nest; write `{inner}:` in the mapping `{outer}:`"
    )


def complete(config: dict[str, Any], catalog: Catalog) -> None:
    """Set what only the data tell: the number of classes, and what of the hub is read.

    Check what depends on it.
    """
    given, found = config["dataset"]["classes"], len(catalog.names)
    if given not in (None, found):
        raise InputError(
            f"Config: dataset.classes is {given}, but {config['dataset']['source']} has {found} "
            "classes; set it to null, or correct the data."
        )
    config["dataset"]["classes"] = found
    for key in ("configuration", "revision"):
        config["dataset"][key] = getattr(catalog, key) or config["dataset"][key]
    if (groups(config["taxonomy"]) or 0) > found:
        raise InputError(
            f"Config: taxonomy {config['taxonomy']} wants more clusters than the {found} classes."
        )


def _contradictions(config: dict[str, Any]) -> Iterator[str]:
    """What a schema cannot check: settings that contradict one another, files that do not exist."""
    dataset, backbone, taxonomy = config["dataset"], config["backbone"], config["taxonomy"]
    generated, named = dataset["source"] == "generated", dataset["name"] == "demo100"
    if generated != named:
        yield (
            "dataset.name demo100 and dataset.source generated belong together; "
            f"they are {dataset['name']} and {dataset['source']}"
        )
    for key in ("configuration", "revision", "sha256", "splits", "columns") if generated else ():
        given = dataset[key]
        if any(given.values()) if isinstance(given, dict) else given:
            yield f"dataset.{key} is of data that are read, and demo100 is drawn; remove it"
    if generated and (dataset["classes"], dataset["image_size"]) != (100, 32):
        yield "demo100 has dataset.classes 100 and dataset.image_size 32"
    if dataset["source"] == "hub" and dataset["name"] != "cifar100":
        yield (
            f"dataset.source hub is uoft-cs/cifar100, and dataset.name is {dataset['name']}; give "
            "the owner and the name of a data set of the hub, such as uoft-cs/cifar100"
        )
    learned = groups(taxonomy)
    if taxonomy != "superclass" and not learned and not Path(taxonomy).is_file():
        yield (
            f"the file {taxonomy} of taxonomy does not exist; give superclass, clusters, "
            "clusters-<number>, or a JSON or CSV file"
        )
    finetune = config["finetune"]
    trains_parents = finetune["epochs"] > 0 and has_parents(finetune["objective"])
    if learned and trains_parents:
        yield (
            f"finetune.objective {finetune['objective']} needs a taxonomy before there are "
            "features to learn clusters from; set it to flat or bottleneck, or finetune.epochs to 0"
        )
    together = finetune["machines"] * finetune["processes"]
    if together > finetune["batch_size"]:
        yield (
            f"finetune.batch_size is {finetune['batch_size']}, and {together} processes share each "
            "batch; give each an image at least"
        )
    if (finetune["machines"] > 1) != (finetune["rendezvous"] is not None):
        yield (
            f"finetune.machines is {finetune['machines']} and finetune.rendezvous is "
            f"{finetune['rendezvous'] or 'null'}; set the latter to <host>:<port> of one of "
            "several machines, and to null for one machine"
        )
    shares = [part["until"] for part in finetune["progressive"]]
    if shares != sorted(set(shares)):
        yield f"finetune.progressive has until {shares}; each must be larger than the one before"
    if config["parent"]["objective"] == "finetuned" and not trains_parents:
        yield (
            "parent.objective finetuned takes the parent layer that the backbone is trained with, "
            "and there is none; set finetune.objective to parent, joint or multitask, and "
            "finetune.epochs"
        )
    library = backbone["weights"]
    if library in ("torchvision", "timm") and library != architectures.key(
        backbone["architecture"]
    ):
        yield (
            f"{library} has no weights of {backbone['architecture']}; set backbone.weights to "
            f"scratch, hub or a file, or backbone.architecture to {library}/<name>"
        )
    if backbone["weights"] == "hub" and backbone["architecture"] != "phinet":
        yield (
            f"the hub has no {backbone['architecture']} of ours; set backbone.weights to scratch "
            "or a file"
        )
    if backbone["weights"] in NAMED_WEIGHTS and backbone["weights_key"] is not None:
        yield (
            "backbone.weights_key chooses a part of a file, and backbone.weights is "
            f"{backbone['weights']}; set backbone.weights_key to null"
        )
    if backbone["weights"] not in NAMED_WEIGHTS and not Path(backbone["weights"]).is_file():
        yield (
            f"the file {backbone['weights']} of backbone.weights does not exist; give scratch, "
            "hub, torchvision, timm or a file (.safetensors, .pt, .ckpt, .pth.tar)"
        )
    yield from _pins(backbone)
    rescales = finetune["optimizer"] == "muon" and finetune["epochs"] > 0
    if rescales and backbone["weights"] != "scratch":
        yield (
            "finetune.optimizer muon scales each filter anew, which changes weights that were "
            f"trained before, and backbone.weights is {backbone['weights']}; put "
            "config/finetune.yaml first behind --configfile, or set finetune.optimizer to adamw "
            "with a learning rate of about 0.001, or finetune.epochs to 0"
        )


def _pins(backbone: dict[str, Any]) -> Iterator[str]:
    """What contradicts the revision and the hash that pin the weights."""
    source, expected = backbone["weights"], backbone["sha256"]
    if source not in ("hub", "timm") and backbone["revision"] != "main":
        yield (
            f"backbone.revision is of the hub, and backbone.weights is {source}; set "
            "backbone.revision to main"
        )
    if expected is None or source in ("hub", "timm"):
        return
    if source in NAMED_WEIGHTS:
        yield (
            f"backbone.sha256 is the hash of a file, and backbone.weights is {source}; set "
            "backbone.sha256 to null"
        )
    elif others := shards.files(source)[1:]:
        yield (
            f"backbone.sha256 is the hash of one file, and {source} is the index of {len(others)}; "
            "set backbone.sha256 to null"
        )
    elif (found := sha256(source)) != expected:
        yield (
            f"the file {source} of backbone.weights has the SHA-256 {found}, and backbone.sha256 "
            f"is {expected}; put the right file there, or correct the hash"
        )


def has_parents(variant: str) -> bool:
    """Whether a variant's own head has a parent layer, under which children can be fitted."""
    return variant in ("parent", "joint", "multitask")
