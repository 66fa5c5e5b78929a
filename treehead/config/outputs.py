"""What a run writes: not over the project, and not over or among what it reads."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from treehead import records
from treehead.artifacts import InputError, read_text
from treehead.config import architectures, provenance, settings, stages

Config = dict[str, Any]

# Folders of the project; results are not written there.
_PROJECT = (
    "benchmarks",
    "config",
    "docs",
    "profiles",
    "resources",
    "tests",
    "treehead",
    "workflow",
)
# What the rules write in <results>, which may hold the results of other runs beside it.
RESULTS = (
    "backbone",
    "benchmarks",
    "chosen.json",
    "config.yaml",
    "deploy",
    "embeddings",
    "figures",
    "heads",
    "hierarchy10",
    "hierarchy100",
    "int8",
    "logs",
    "networks",
    "networks.csv",
    "networks.svg",
    "pareto.csv",
    "pareto.svg",
    "study.md",
    "taxonomy.json",
)


def dataset(config: Config) -> str:
    """The folder of the canonical images."""
    return f"resources/datasets/{config['dataset']['name']}"


def weights(config: Config) -> str:
    """The canonical file of the first weights, without its suffix."""
    architecture = architectures.label(config["backbone"]["architecture"])
    return f"resources/weights/{architecture}-{provenance.digest(stages.weights(config))}"


def recorded(results: str | Path) -> Config:
    """The configuration that a run recorded in its results folder; empty if it has not yet."""
    path = Path(results, "config.yaml")
    if not path.exists():
        return {}
    records.check([path])
    try:
        config = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        told = " ".join(str(error).split())
        raise InputError(f"{path} is not valid YAML ({told}); make it again.") from error
    if not isinstance(config, dict):
        raise InputError(f"{path} is not a configuration; make it again.")
    return config


def making(results: str | Path, file: str) -> str:
    """The command that makes a file of a results folder."""
    target = f"{recorded(results).get('results', results)}/{file}"
    path = Path(results, "config.yaml")
    layer = path if path.exists() else "CONFIG.yaml"
    return f"`snakemake --cores 4 {target} --configfile {layer}`"


def check(config: Config, layers: dict[str, list[str]]) -> None:
    """Check where a run writes; the first mistake is raised as an InputError.

    Args:
        config: checked.
        layers: the keys of the files of --configfile. The configuration that this run recorded may
            be one of them.
    """
    given = f"Config: results is {config['results']}"
    root, folder = Path.cwd().resolve(), Path(config["results"]).resolve()
    if root.is_relative_to(folder):
        raise InputError(f"{given}, which holds the project; give a folder of its own.")
    own = folder.relative_to(root).parts[0] if folder.is_relative_to(root) else ""
    if own in _PROJECT or own.startswith("."):
        raise InputError(f"{given}, in the project's {own}; give a folder of its own.")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{given}, which is a file; give a folder.")
    for key, path in settings.paths(config).items():
        check_apart(config, key, [path])
    recorded = [path for path in layers if Path(path).resolve() == folder / "config.yaml"]
    whole = [path for path in recorded if set(layers[path]) == set(config)]
    check_apart(config, "--configfile", layers.keys() - whole)


def check_apart(config: Config, key: str, paths: Iterable[str]) -> None:
    """Check that no path that `key` gives is, holds or is in what the run writes."""
    results, alone = config["results"], "move it to a folder of its own"
    second = f"to start from it, set another results, such as {results}/second, or give a copy"
    # What to do about a path that is such a place or in it, and about one that holds it.
    remedies = {
        dataset(config): (f"set another dataset.name, or {alone}", alone),
        f"{weights(config)}.safetensors": ("give a copy", alone),
    } | {f"{results}/{name}": (second, "set results to a folder outside it") for name in RESULTS}
    written = {place: Path(place).resolve() for place in remedies}
    for path in paths:
        real = Path(path).resolve()
        shown = path if os.path.abspath(path) == str(real) else f"{path}, a link to {real}"
        for place, (inside, around) in remedies.items():
            within = real.is_relative_to(written[place])
            if within or written[place].is_relative_to(real):
                remedy = inside if within else around
                raise InputError(
                    f"Config: {key} is {shown}, and this run writes {place}; {remedy}."
                )
