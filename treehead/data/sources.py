"""The parquet files of a data set, taken from the hub or from a folder."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from treehead import artifacts
from treehead.console import say
from treehead.data import dataset, hub


def take(settings: dict[str, Any], given: dict[str, str], kept: dict[str, str]) -> dict[str, str]:
    """Check every image and label of both splits, and keep the files.

    Args:
        settings: of the `dataset` part of the config; its `source` is "hub" or a folder.
        given: the folder's file of each split; the hub needs none.
        kept: the file to write of each split.

    Returns:
        Where the files are from: `source`, the hub's `commit`, and the SHA-256 of each split.
    """
    origin = {"source": settings["source"]}
    with tempfile.TemporaryDirectory() as downloads:
        for split in ("train", "test"):
            if settings["source"] == "hub":
                file, origin["commit"] = _downloaded(settings, split, downloads)
            else:
                file = given[split]
            dataset.check(file, settings, split)
            with artifacts.replacing(kept[split]) as temporary:
                shutil.copyfile(file, temporary)
            origin[split] = artifacts.sha256(kept[split])
            say(f"{split}: every image and label of {file} is checked")
    return origin


def _downloaded(settings: dict[str, Any], split: str, folder: str) -> tuple[Path, str]:
    """A split of the hub's CIFAR-100, and the commit that it is from."""
    name = f"cifar100/{split}-00000-of-00001.parquet"
    file = Path(folder, name)
    commit = hub.fetch(
        "uoft-cs/cifar100",
        name,
        settings["revision"],
        file,
        key="dataset.source",
        repo_type="dataset",
        sha256=settings["sha256"][split],
    )
    return file, commit
