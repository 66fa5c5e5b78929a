"""A data set of the hub, `owner/name`, in any layout that `datasets` reads without foreign code.

The hub's client downloads one configuration at one commit, `datasets` writes it once as arrow
files, and `tables` reads these. Both libraries have a cache, so a second look needs no network.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZipFile

import datasets
import huggingface_hub as hf
from datasets.data_files import sanitize_patterns
from datasets.fingerprint import Hasher
from datasets.info import DatasetInfosDict
from datasets.load import LocalDatasetModuleFactory, get_dataset_builder_class
from datasets.naming import filenames_for_dataset_split
from datasets.packaged_modules.folder_based_builder.folder_based_builder import (
    FolderBasedBuilderConfig,
)
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub.utils import logging as hub_logging

from treehead.artifacts import InputError
from treehead.console import say
from treehead.data import hub
from treehead.data.sources import tables
from treehead.data.sources.source import PARTS, Source

# What describes a data set beside its data.
_CARD = ("README.md", "dataset_infos.json")


def look(settings: dict[str, Any]) -> Source:
    """List the pictures of a data set of the hub, which is downloaded if the cache lacks it.

    Args:
        settings: of the `dataset` part of the config: `source`, `configuration`, `revision`,
            `sha256`, `splits` and `columns`.
    """
    repo, revision = settings["source"], settings["revision"] or "main"
    with _explained(repo, revision), _quiet():
        folder = hub.snapshot(repo, revision, [*_CARD, _script(repo)])
        builder = _builder(repo, folder, settings)
        say(f"Reading {repo}, configuration {builder.config.name}, commit {folder.name}.")
        builder.download_and_prepare()
        _check_features(repo, builder.info.features, settings)
    parts, remarks = _parts(repo, list(builder.info.splits), settings["splits"])
    starts = {path: at for split in parts for path, at in _files(builder, split)}
    columns = settings["columns"]
    if None not in parts.values():  # the hub's splits count, whatever a column is called
        columns = {"split": None, **columns}
    found = tables.look(
        {path: parts[split] for path, (split, _) in starts.items()},
        {**settings, "columns": columns},
    )

    def named(place: str) -> str:
        path, _, row = place.rpartition(", row ")
        split, start = starts[path]
        return f"{split}, row {start + int(row)}"

    def of_split(remark: str) -> str:
        for path, (split, _) in starts.items():
            remark = remark.replace(path, f"the split {split}")
        return remark

    return found._replace(
        entries=[entry._replace(place=named(entry.place)) for entry in found.entries],
        files=(),  # the graph does not watch the caches, which another machine may lack
        remarks=(*map(of_split, found.remarks), *remarks),
        configuration=builder.config.name,
        revision=folder.name,
    )


def _script(repo: str) -> str:
    return f"{repo.partition('/')[2]}.py"


def _builder(repo: str, folder: Path, settings: dict[str, Any]) -> datasets.DatasetBuilder:
    """Download the files of a configuration, and choose what reads them.

    `datasets.load_dataset_builder` would do the same, but takes any version in its cache for the
    wanted one if the hub fails, and does not find its files offline.
    """
    if (folder / _script(repo)).exists():
        raise InputError(
            f"dataset.source {repo} is read by a program of its repository, {_script(repo)}, which "
            "is never run; choose a data set of parquet files or pictures, or give a local copy in "
            "dataset.source."
        )
    card = folder / "README.md"
    described = hf.DatasetCard.load(card).data if card.exists() else hf.DatasetCardData()
    configurations = MetadataConfigs.from_dataset_card_data(described)
    name = _configuration(repo, configurations, settings["configuration"])
    infos = DatasetInfosDict.from_dataset_card_data(described)
    _check_features(repo, infos[name].features if name in infos else None, settings)
    every = [each.get("data_files") for each in configurations.values()]
    # A configuration without its own files is found among all files.
    sought = configurations[name]["data_files"] if every and all(every) else None
    below = configurations.get(name, {}).get("data_dir")
    hub.snapshot(repo, folder.name, [*_CARD, *_patterns(repo, sought, below)])
    module = LocalDatasetModuleFactory(str(folder), data_files=sought).get_module()
    infos = module.dataset_infos or {}
    info = infos.get(name) or (next(iter(infos.values())) if len(infos) == 1 else None)
    dataset_name = repo.replace("/", "___")
    kind = get_dataset_builder_class(module, dataset_name=dataset_name)
    builder = partial(
        kind,
        base_path=str(folder),
        dataset_name=dataset_name,
        config_name=name,
        # The arrow files of a commit are made again if its files are elsewhere, or checked anew.
        hash=f"{folder.name}-{Hasher.hash((str(folder), settings['sha256']))}",
        info=info,
    )
    config = builder().config
    files = {str(split): list(paths) for split, paths in config.data_files.items()}
    _check_hashes(repo, folder, files, settings["sha256"])
    if not isinstance(config, FolderBasedBuilderConfig):
        return builder()
    # Left to itself, it leaves out the labels if the first split has one class, or folders differ
    # in depth.
    labelled = {"drop_labels": False} if config.drop_labels is None else {}
    zipped = any(map(_zipped, chain(*files.values())))
    return builder(**labelled, **({"data_files": _unpacked(files)} if zipped else {}))


def _zipped(path: str) -> bool:
    return path.lower().endswith(".zip")


def _unpacked(files: dict[str, list[str]]) -> dict[str, list[str]]:
    """The files of each split with what is in archives, which may have the splits inside.

    `datasets` 5.2 can read archives of pictures, but takes the folder around the archive for the
    label: https://github.com/huggingface/datasets/pull/8419
    """
    found = {
        split: [
            pattern
            for path in paths
            for pattern in ([f"{_unzipped(Path(path))}/**"] if _zipped(path) else [path])
        ]
        for split, paths in files.items()
    }
    if len(found) == 1:
        roots = [Path(pattern).parent for pattern in next(iter(found.values()))]
        folders = [below for root in roots for below in (*root.glob("*/"), *root.glob("*/*/"))]
        inside: dict[str, list[str]] = {}
        for folder in folders:
            if folder.is_dir() and (part := PARTS.get(folder.name.lower())):
                inside.setdefault(part, []).append(f"{folder}/**")
        return inside or found
    return found


def _unzipped(archive: Path) -> Path:
    """The folder with the content of an archive; the cache names the archive by its hash."""
    folder = Path(datasets.config.EXTRACTED_DATASETS_PATH, "treehead", archive.resolve().name)
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent) as temporary, ZipFile(archive) as content:
            content.extractall(temporary + "/content")
            Path(temporary, "content").rename(folder)
    return folder


def _configuration(repo: str, known: MetadataConfigs, given: str | None) -> str:
    """The configuration that is read: the given one, else the default."""
    names = ", ".join(known) or "default"
    if given is not None and given not in (known or ["default"]):
        raise InputError(
            f"dataset.source {repo} has no configuration {given}, which dataset.configuration "
            f"names; it has {names}."
        )
    name = given or (known.get_default_config_name() if known else "default")
    if name is None:
        raise InputError(
            f"dataset.source {repo} has several configurations, {names}; set "
            "dataset.configuration to one of them."
        )
    return name


def _patterns(repo: str, sought: Any, below: str | None) -> list[str]:
    """The patterns of a configuration's files, as the hub's client has them: * matches a slash."""
    if sought is None:
        return ["*"]
    given = [pattern for own in sanitize_patterns(sought).values() for pattern in own]
    for pattern in (*given, below or "."):
        if "://" in pattern or pattern.startswith("/") or ".." in pattern.split("/"):
            raise InputError(
                f"dataset.source {repo} wants to read {pattern}, which is outside of its "
                "repository; choose another data set, or give a local copy in dataset.source."
            )
    start = f"{below}/" if below else ""
    return [(start + pattern).removeprefix("./").replace("**/", "*") for pattern in given]


def _check_features(
    repo: str, features: datasets.Features | None, settings: dict[str, Any]
) -> None:
    """Check that there is a column of pictures, before the data are read if the card tells."""
    if features is None or settings["columns"].get("image"):
        return
    if not any(map(_may_be_picture, features.values())):
        shown = ", ".join(f"{name} ({_shown(kind)})" for name, kind in features.items())
        raise InputError(
            f"dataset.source {repo} has no column of images: its columns are {shown}; choose "
            "another data set or configuration."
        )


def _may_be_picture(kind: Any) -> bool:
    """Whether a column holds images, or bytes that `tables` takes for images."""
    bare = kind.get("bytes") if isinstance(kind, dict) else kind
    return isinstance(kind, datasets.Image) or getattr(bare, "dtype", "").endswith("binary")


def _shown(kind: Any) -> str:
    return kind.dtype if isinstance(kind, datasets.Value) else type(kind).__name__


def _check_hashes(
    repo: str, folder: Path, files: dict[str, list[str]], expected: dict[str, str]
) -> None:
    """Check the files of splits whose hash is known; a wrong one is downloaded once more."""
    for split, sha256 in expected.items():
        found = files.get(split, [])
        if sha256 is None:
            continue
        if len(found) != 1:
            raise InputError(
                f"dataset.sha256.{split} is the hash of one file, but {repo} has "
                f"{len(found) or 'none'} of the split {split}; its splits are "
                f"{', '.join(files)}. Remove the hash, and pin dataset.revision to a commit."
            )
        hub.checked(
            {
                "repo_id": repo,
                "filename": str(Path(found[0]).relative_to(folder)),
                "revision": folder.name,
                "repo_type": "dataset",
            },
            sha256,
            "dataset.source",
        )


def _parts(
    repo: str, splits: list[str], given: dict[str, str]
) -> tuple[dict[str, str | None], list[str]]:
    """The part that each split is, and a remark on those that are left out."""
    if absent := set(given.values()) - set(splits):
        raise InputError(
            f"dataset.source {repo} has no split {min(absent)}, which dataset.splits names; its "
            f"splits are {', '.join(splits)}."
        )
    told = {split: part for part, split in given.items()} or {
        split: PARTS[split.lower()] for split in splits if split.lower() in PARTS
    }
    if not told and len(splits) == 1:
        return {splits[0]: None}, []
    if not told:
        raise InputError(
            f"dataset.source {repo} has the splits {', '.join(splits)}, none of which is called "
            "train, val or test; name them in dataset.splits, such as {train: fit, test: holdout}."
        )
    left_out = [split for split in splits if split not in told]
    remarks = [f"the split {split} is left out" for split in left_out]
    return {split: told[split] for split in splits if split in told}, remarks


def _files(builder: datasets.DatasetBuilder, split: str) -> Iterator[tuple[str, tuple[str, int]]]:
    """The arrow files of a split, each with the split and the number of its first row."""
    info = builder.info.splits[split]
    lengths = info.shard_lengths or [info.num_examples]
    paths = filenames_for_dataset_split(
        builder.cache_dir, builder.dataset_name, split, "arrow", info.shard_lengths
    )
    start = 0
    for path, length in zip(paths, lengths, strict=True):
        yield path, (split, start)
        start += length


@contextmanager
def _explained(repo: str, revision: str) -> Iterator[None]:
    """Tell what is wrong with a data set, or with the way to it, in one sentence."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # of any kind, since foreign files can be malformed in any way
        if isinstance(error, datasets.exceptions.DatasetGenerationError):
            error = error.__cause__ or error
        page = hub.page(repo, "dataset")
        raise InputError(
            f"Cannot read dataset.source {repo}, which is no path here but a data set of the hub, "
            f"{page} at revision {revision}: {hub.why(error, page)}, or give a folder, a list or "
            "a table in dataset.source."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' bars and warnings off the terminal, which is the log's."""
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(logging.CRITICAL)
    hub_logging.set_verbosity(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
