"""A tiny set of pictures of somebody's own, laid out in each way that a source may have."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

from treehead.data import catalog, dataset, reading

ROOT = Path(__file__).parents[1]
SIZE = 8

DEFAULTS = yaml.safe_load((ROOT / "config/config.yaml").read_text())["dataset"]


def settings(source: str | Path, **changes: Any) -> dict[str, Any]:
    """The `dataset` part of the config for a source, of small images."""
    own = {"name": "mine", "source": str(source), "image_size": SIZE}
    return DEFAULTS | own | changes


class Picture(NamedTuple):
    """A picture in its place, `<part>/<groups>/<label>/<name>`."""

    path: str
    part: str
    above: tuple[str, ...]
    label: str
    image: np.ndarray

    def png(self) -> bytes:
        return encoded(self.image)


def encoded(image: np.ndarray) -> bytes:
    """An image (h, w, 3) uint8 as a PNG."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def noise(seed: int, height: int = SIZE, width: int = SIZE) -> np.ndarray:
    """Random pixels (height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


TREE = {"apple": ("fruit",), "pear": ("fruit",), "leek": ("root", "white"), "beet": ("root",)}
COUNTS = {"test": 1, "train": 3, "val": 1}

# In the order of their paths; beet is absent from val.
SET = [
    Picture("/".join((part, *TREE[label], label, f"{at}.png")), part, TREE[label], label, image)
    for part, count in COUNTS.items()
    for label in sorted(TREE, key=lambda label: (*TREE[label], label))
    for at in range(count)
    if (label, part) != ("beet", "val")
    for image in [noise(len(part) + 10 * at + 100 * list(TREE).index(label))]
]
CLASSES = tuple(sorted(TREE))


def folders(root: Path, pictures: list[Picture] = SET) -> Path:
    """The pictures in folders."""
    for picture in pictures:
        path = root / picture.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture.png())
    return root


def listed(root: Path) -> Path:
    """The pictures in folders, and a list of them with a header."""
    folders(root)
    lines = [f"{p.path},{p.label},{p.above[-1]},{p.part}" for p in reversed(SET)]
    (root / "all.csv").write_text("\n".join(["path,label,parent,split", *lines]))
    return root / "all.csv"


def bare(root: Path) -> Path:
    """The pictures in folders, a list of each split without a header, and a classes.csv."""
    folders(root)
    parents = sorted({above[-1] for above in TREE.values()})
    number = {label: place for place, label in enumerate(CLASSES)}
    for part in COUNTS:
        lines = [
            f"{p.path}, {number[p.label]}, {parents.index(p.above[-1])}"
            for p in SET
            if p.part == part
        ]
        (root / f"{part}.txt").write_text("\n".join(lines))
    rows = [
        f"{label},{number[label]},{TREE[label][-1]},{parents.index(TREE[label][-1])}"
        for label in CLASSES
    ]
    header = "Class Name (str),Class ID (int),Coarse Class Name (str),Coarse Class ID (int)"
    (root / "classes.csv").write_text("\n".join([header, *rows]))
    return root / "train.txt"


def table(
    pictures: list[Picture],
    picture: Callable[[Picture], Any] = lambda p: {"bytes": p.png(), "path": None},
    label: Callable[[str], str | int] = str,
    **columns: list[Any],
) -> pa.Table:
    """The pictures and their labels as columns, and perhaps more of them."""
    own = {"image": list(map(picture, pictures)), "label": [label(p.label) for p in pictures]}
    return pa.table(own | columns)


def of(part: str) -> list[Picture]:
    return [picture for picture in SET if picture.part == part]


def shards(root: Path, **as_columns: Any) -> Path:
    """The pictures as parquet, two files of train and one of the others."""
    root.mkdir(parents=True, exist_ok=True)
    train = of("train")
    pq.write_table(table(train[:5], **as_columns), root / "train-00000-of-00002.parquet")
    pq.write_table(table(train[5:], **as_columns), root / "train-00001-of-00002.parquet")
    for part in ("test", "val"):
        pq.write_table(table(of(part), **as_columns), root / f"{part}.parquet")
    return root


def plain_bytes(root: Path) -> Path:
    return shards(root, picture=Picture.png)


def paths_in_tables(root: Path) -> Path:
    """Parquet lists: the pictures are files beside them."""
    folders(root)
    return shards(root, picture=lambda p: p.path)


def paths_beside_no_bytes(root: Path) -> Path:
    folders(root)
    return shards(root, picture=lambda p: {"bytes": None, "path": p.path})


def with_features(whole: pa.Table, names: tuple[str, ...] = CLASSES) -> pa.Table:
    """The table with the hub's types in its metadata, as `datasets` writes them."""
    features = {
        "image": {"_type": "Image"},
        "label": {"names": list(names), "_type": "ClassLabel"},
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return whole.replace_schema_metadata(metadata)


def class_labels(root: Path) -> Path:
    """Numbers for labels, whose names the metadata has."""
    root.mkdir(parents=True, exist_ok=True)
    for part in COUNTS:
        whole = table(of(part), label=CLASSES.index)
        pq.write_table(with_features(whole), root / f"{part}-00000-of-00001.parquet")
    return root


def arrow_files(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for part in COUNTS:
        whole = with_features(table(of(part), label=CLASSES.index))
        with pa.ipc.new_file(str(root / f"{part}.arrow"), whole.schema) as writer:
            writer.write_table(whole, max_chunksize=3)
    return root


def saved_to_disk(root: Path) -> Path:
    """Streams in a folder for each split, and a cache, as `datasets.save_to_disk` leaves them."""
    for part in COUNTS:
        (root / part).mkdir(parents=True)
        whole = with_features(table(of(part), label=CLASSES.index))
        for name in ("data-00000-of-00001", "cache-1b1f"):
            with pa.ipc.new_stream(str(root / part / f"{name}.arrow"), whole.schema) as writer:
                writer.write_table(whole, max_chunksize=3)
        (root / part / "state.json").write_text("{}")
    (root / "dataset_dict.json").write_text("{}")
    return root


LAYOUTS = [
    folders,
    listed,
    bare,
    shards,
    plain_bytes,
    paths_in_tables,
    paths_beside_no_bytes,
    class_labels,
    arrow_files,
    saved_to_disk,
]


class Made(NamedTuple):
    """What reading a source has written."""

    folder: Path
    catalog: catalog.Catalog

    def pixels(self, split: str) -> np.ndarray:
        return np.load(self.folder / f"{split}.npy")

    def column(self, split: str, name: str) -> list[Any]:
        return pq.read_table(self.folder / f"{split}.parquet")[name].to_pylist()

    def json(self, name: str) -> dict[str, Any]:
        return json.loads((self.folder / f"{name}.json").read_text())

    def part(self, name: str, **chosen: Any) -> tuple[dataset.Pixels, np.ndarray]:
        split = self.folder / ("test" if name == "test" else "train")
        files = [split.with_suffix(suffix) for suffix in (".npy", ".parquet")]
        return dataset.part(*files, name, {"val_fraction": 0.25, "seed": 0} | chosen)


OUTPUTS = {
    "train": "train.npy",
    "train_table": "train.parquet",
    "test": "test.npy",
    "test_table": "test.parquet",
    "statistics": "statistics.json",
    "leaks": "leaks.csv",
    "provenance": "provenance.json",
}


def made(folder: Path, chosen: dict[str, Any], processes: int = 1) -> Made:
    """Look at a source as the graph does, and read it as its job does."""
    folder.mkdir(parents=True, exist_ok=True)
    found = catalog.known(chosen, folder / "source.json", look=True)
    outputs = {name: str(folder / file) for name, file in OUTPUTS.items()}
    known = {"names": list(found.names), "version": found.version}
    reading.read({**chosen, "processes": processes}, known, outputs)
    return Made(folder, found)
