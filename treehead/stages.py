"""The part of the configuration that each stage uses: nothing else can invalidate the stage.

Each is one mapping with its names, so that two settings that swap their values are seen.
"""

from typing import Any

from treehead import settings
from treehead.taxonomy import Taxonomy

Config = dict[str, Any]


def _part(mapping: Config, *keys: str) -> Config:
    return {key: mapping[key] for key in keys}


def _used_by_objective(part: Config) -> Config:
    """A copy without the settings of other objectives than the chosen one."""
    owner = {"bottleneck": "bottleneck", "child_weight": "joint"}
    return {
        key: part[key] for key in part if owner.get(key, part["objective"]) == part["objective"]
    }


def local_files(config: Config) -> dict[str, dict[str, str]]:
    """Files of the user's that the first stages read: of the data set, and of the weights."""
    source, weights = config["dataset"]["source"], config["backbone"]["weights"]
    splits = () if source in ("generated", "hub") else ("train", "test")
    return {
        "dataset": {split: str(settings.parquet(source, split)) for split in splits},
        "weights": {} if weights in ("scratch", "hub") else {"file": weights},
    }


def dataset(config: Config) -> Config:
    """Drawing or fetching the data set."""
    used = ["name", "source", "classes", "image_size", "train_per_class", "test_per_class"]
    if config["dataset"]["source"] == "hub":
        used += ["revision", "sha256"]
    return _part(config["dataset"], *used)


def network(config: Config) -> Config:
    """What shapes the backbone: its architecture with its own settings, and its preprocessing."""
    chosen = config["backbone"]["architecture"]
    return {
        "architecture": chosen,
        "settings": config["backbone"][chosen],
        "size": config["backbone"]["image_size"],
        "normalization": _part(config["dataset"], "mean", "std"),
    }


def weights(config: Config) -> Config:
    """The weights that the graph starts from."""
    shape = network(config)
    del shape["normalization"]
    source = config["backbone"]["weights"]
    origin = {
        "scratch": {"seed": config["seed"]},
        "hub": _part(config["backbone"], "revision", "sha256"),
    }
    return {**shape, "source": source, **origin.get(source, {})}


def split(config: Config) -> Config:
    """How train is split into train and val, and what is read of the images."""
    return {**_part(config["dataset"], "image_size", "val_fraction"), "seed": config["seed"]}


def finetune(config: Config, taxonomy: Taxonomy) -> Config:
    """Fine-tuning; with no epochs the weights are kept, and no other setting matters.

    Only the objectives parent and joint depend on the tree; the others see one parent of all.
    """
    if config["finetune"]["epochs"] == 0:
        return {"epochs": 0, "network": network(config)}
    used = _used_by_objective(config["finetune"])
    uses_tree = used["objective"] in ("parent", "joint")
    parent_of = taxonomy.parent_of().tolist() if uses_tree else [0] * config["dataset"]["classes"]
    return {
        **used,
        "network": network(config),
        "split": split(config),
        "parent_of": parent_of,
        "seed": config["seed"],
        "threads": config["threads"]["backbone"],
    }


def export(config: Config) -> Config:
    """The backbone as ONNX."""
    return {"network": network(config), **_part(config["dataset"], "image_size")}


def embed(config: Config, part: str) -> Config:
    """Embedding of one split: all views of train, the images as they are of val and test."""
    return {
        "split": split(config) if part != "test" else _part(config["dataset"], "image_size"),
        "views": config["embed"]["views"] if part == "train" else ["identity"],
        **_part(config["embed"], "batch_size", "device"),
        "network": network(config),
        "threads": config["threads"]["backbone"],
    }


def linear(config: Config) -> Config:
    """The full head."""
    return {
        **config["heads"]["linear"],
        "classes": config["dataset"]["classes"],
        "seed": config["seed"],
        "threads": config["threads"]["heads"],
    }


def parent(config: Config, taxonomy: Taxonomy) -> Config:
    """The parent layer; which children a parent has, not in which order, matters to it."""
    used = _used_by_objective(config["parent"])
    del used["top_k"]
    return {
        **used,
        "parent_of": taxonomy.parent_of().tolist(),
        "seed": config["seed"],
        "threads": config["threads"]["heads"],
    }


def child(config: Config, taxonomy: Taxonomy, parent: int) -> Config:
    """One parent's children: the settings of all, and this parent's classes alone."""
    return {**config["child"], "classes": list(taxonomy.classes[parent])}


def evaluation(config: Config) -> Config:
    """The evaluation, and what the metrics say of where they come from."""
    return {
        "top_k": config["parent"]["top_k"],
        "child_input": config["child"]["input"],
        "classes": config["dataset"]["classes"],
        "dataset": _describe(config["dataset"]),
        "backbone": network(config),
        "threads": config["threads"]["heads"],
    }


def _describe(dataset: Config) -> Config:
    """What a reader of metrics or figures must know of the data set."""
    drawn = dataset["source"] == "generated"
    note = "drawn by this pipeline; it is not CIFAR-100" if drawn else "images as given"
    return {**_part(dataset, "name", "source"), "note": note}


def picture(config: Config) -> Config:
    """Figures that show images or classes, and what their title says of them."""
    name, _, note = _describe(config["dataset"]).values()
    return {**_part(config["dataset"], "classes", "image_size"), "title": f"{name}: {note}"}
