"""Every picture of a source, decoded once and written in the canonical form of `dataset`."""

import csv
import io
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from treehead import artifacts
from treehead.artifacts import InputError, replacing
from treehead.console import say
from treehead.data import catalog, dataset, leaks
from treehead.data.catalog import Catalog, Listing
from treehead.data.dataset import Pixels, Row
from treehead.data.decoding import Decoded, decoded


def read(settings: dict[str, Any], known: dict[str, Any], outputs: dict[str, str]) -> None:
    """Read a data set, check it, and write its canonical files.

    Args:
        settings: of the `dataset` part of the config, and `processes`, how many decode.
        known: the `names` of the classes and the `version` of the pictures in the graph.
        outputs: `train` and `test`, their tables `train_table` and `test_table`, `statistics`,
            `leaks` and `provenance`.

    Raises:
        InputError: a picture is broken, a class has no image, the source has changed, or the disk
            is too small; no output is written.
    """
    source = catalog.opened(settings)
    listing, found = catalog.listed(source, settings)
    for remark in found.remarks:
        say(f"{settings['source']}: {remark}.")
    if known != {"names": list(found.names), "version": found.version}:
        raise InputError(
            f"{settings['source']} has changed since the graph was built; run the command again."
        )
    folder = Path(outputs["provenance"]).parent
    for split in ("train", "test"):  # of a killed run, as large as the data
        artifacts.remove_halves(outputs[split])
    _check_room(len(listing.parts), settings["image_size"], folder)
    images, rows, sums, broken = {}, {}, {}, []
    with ExitStack() as stack:
        for split in ("train", "test"):
            path = images[split] = stack.enter_context(replacing(outputs[split]))
            places = [
                at for at, part in enumerate(listing.parts) if (part == "test") == (split == "test")
            ]
            done = decoded(path, source.read(places), len(places), settings, f"reading {split}")
            rows[split] = _rows(listing, places, done)
            sums[split] = np.array([each.sums for each in done if not each.reason], dtype=np.int64)
            broken += [
                (listing.entries[at].place, each.reason)
                for at, each in zip(places, done, strict=True)
                if each.reason
            ]
        _tell_broken(broken, folder, settings)
        pairs = leaks.find(Pixels(images["train"]), Pixels(images["test"]))
        dropped = {pair.train for pair in pairs} if settings["drop_leaks"] else set()
        rows["train"] = [
            row._replace(part="dropped") if at in dropped else row
            for at, row in enumerate(rows["train"])
        ]
        counts = _counts(rows, len(found.names))
        _check_counts(settings, found, counts)
    for split, table in rows.items():
        dataset.write_table(outputs[f"{split}_table"], table)
    _write_leaks(outputs["leaks"], rows, pairs)
    trained = [row.part == "train" for row in rows["train"]]
    statistics = _statistics(sums["train"][trained], settings["image_size"])
    artifacts.write_json(outputs["statistics"], {**statistics, "per_class": counts["train"]})
    kinds = {kind: sum(pair.kind == kind for pair in pairs) for kind in ("identical", "near")}
    report = {
        "source": settings["source"],
        "revision": source.revision,
        "sha256": {path: artifacts.sha256(path) for path in found.files},
        "images": {part: sum(each) for part, each in counts.items()},
        "broken": len(broken),
        "leaks": {**kinds, "dropped": len(dropped)},
        "remarks": list(found.remarks),
    }
    artifacts.write_json(outputs["provenance"], report)
    say(", ".join(f"{count:,} images of {part}" for part, count in report["images"].items()))
    if pairs:
        say(
            f"{kinds['identical']} pairs of pictures of train and test are identical and "
            f"{kinds['near']} nearly so; {outputs['leaks']} lists them"
            + (
                ", and those of train are left out."
                if dropped
                else "; dataset.drop_leaks: true leaves those of train out."
            )
        )


def _rows(listing: Listing, places: list[int], done: list[Decoded]) -> list[Row]:
    """The rows of the table of the pictures that could be decoded."""
    return [
        Row(
            listing.entries[at].place,
            listing.labels[at],
            listing.parts[at],
            listing.entries[at].group,
            each.digest,
        )
        for at, each in zip(places, done, strict=True)
        if not each.reason
    ]


def _check_room(n: int, size: int, folder: Path) -> None:
    need = n * 3 * size**2
    free = shutil.disk_usage(folder).free
    if need > free:
        raise InputError(
            f"{n:,} images of {size} x {size} pixels take {need / 1e9:,.1f} GB, and {folder} has "
            f"{free / 1e9:,.1f} GB left; lower dataset.image_size, or make room."
        )


def _tell_broken(broken: list[tuple[str, str]], folder: Path, settings: dict[str, Any]) -> None:
    """Write the list of the broken pictures, and refuse them unless they may be left out."""
    path = folder / "broken.csv"
    if not broken:
        path.unlink(missing_ok=True)
        return
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("path", "reason"), *broken])
    artifacts.write_text(path, text.getvalue())
    for place, reason in broken[:20]:
        say(f"{place}: {reason}")
    if not settings["skip_broken"]:
        raise InputError(
            f"{len(broken)} of the pictures can't be decoded, such as {broken[0][0]} "
            f"({broken[0][1]}); {path} lists them. Replace or remove them, or set "
            "dataset.skip_broken: true to leave them out."
        )
    say(f"{len(broken)} broken pictures are left out; {path} lists them.")


def _counts(rows: dict[str, list[Row]], classes: int) -> dict[str, list[int]]:
    """Images of each class in train, val and test."""
    return {
        part: np.bincount(
            [row.label for own in rows.values() for row in own if row.part == part],
            minlength=classes,
        ).tolist()
        for part in ("train", "val", "test")
    }


def _check_counts(settings: dict[str, Any], found: Catalog, counts: dict[str, list[int]]) -> None:
    """Check that train has each class, and that there are as many images as the settings say."""
    for name, count in zip(found.names, counts["train"], strict=True):
        if count == 0:
            raise InputError(
                f"{settings['source']}: all pictures of the class {name!r} in train are broken or "
                "also in test; add some, or remove the class."
            )
    for part in ("val", "test"):
        if found.counts[part] and not any(counts[part]):
            raise InputError(
                f"{settings['source']}: all pictures of {part} are broken or left out as leaks; "
                f"replace them, or remove {part}."
            )
    given = {"train": np.add(counts["train"], counts["val"]), "test": counts["test"]}
    for split, own in given.items():
        wanted = settings[f"{split}_per_class"]
        for name, count in zip(found.names, own, strict=True):
            if wanted is not None and count != wanted:
                raise InputError(
                    f"{settings['source']} has {count} images of the class {name!r} in {split}, "
                    f"not {wanted}; fetch it again, or set dataset.{split}_per_class to null."
                )


def _statistics(sums: np.ndarray, size: int) -> dict[str, Any]:
    """Number, mean and standard deviation of images, on the scale 0 to 1, from (n, 2, 3) sums."""
    total, squares = sums.sum(0) / (len(sums) * size**2)
    deviation = np.sqrt(np.maximum(squares - total**2, 0)) / 255
    return {
        "images": len(sums),
        "mean": (total / 255).round(5).tolist(),
        # A channel that is the same everywhere is shifted, and not scaled.
        "std": [value or 1.0 for value in deviation.round(5).tolist()],
    }


def _write_leaks(path: str, rows: dict[str, list[Row]], pairs: list[leaks.Leak]) -> None:
    text = io.StringIO()
    table = [(rows["train"][p.train].path, rows["test"][p.held_out].path, p.kind) for p in pairs]
    csv.writer(text, lineterminator="\n").writerows([("train", "test", "kind"), *table])
    artifacts.write_text(path, text.getvalue())
