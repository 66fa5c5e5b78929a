"""The part of the configuration that each stage uses: nothing else can invalidate the stage.

Each is one mapping with its names, so that two settings that swap their values are seen.
"""

from typing import Any

from treehead.backbones.checkpoints import shards
from treehead.config import architectures, settings, sweeps
from treehead.config.sweeps import Head
from treehead.data.catalog import Catalog
from treehead.data.taxonomy import Taxonomy, groups

Config = dict[str, Any]

# Settings of `finetune` that shape the head.
_OBJECTIVE = (
    "objective",
    "bottleneck",
    "child_weight",
    "tree_weight",
    "self_distillation",
    "label_smoothing",
)


def _part(mapping: Config, *keys: str) -> Config:
    return {key: mapping[key] for key in keys}


# Settings that only some choices of another setting use.
_USED_WITH = {
    "bottleneck": {"objective": ("bottleneck",)},
    "child_weight": {"objective": ("joint", "multitask")},
    "tree_weight": {"objective": ("multitask",)},
    "self_distillation": {"objective": ("multitask",)},
    "momentum": {"optimizer": ("sgd", "muon")},
    "muon_learning_rate": {"optimizer": ("muon",)},
    "muon_momentum": {"optimizer": ("muon",)},
    "warmup": {"schedule": ("triangle",)},
}


def _used(part: Config) -> Config:
    """A copy without the settings that the choices made in it leave unused."""
    return {
        key: part[key]
        for key in part
        if all(part[choice] in users for choice, users in _USED_WITH.get(key, {}).items())
    }


def _parent_of(taxonomy: Taxonomy | None) -> list[int] | None:
    """The parent of each class; None if it is yet to be learned."""
    return taxonomy.parent_of().tolist() if taxonomy else None


def _parents_of_objective(config: Config, taxonomy: Taxonomy | None) -> list[int] | None:
    """The parent of each class if the objective has parents; else one parent of all."""
    uses_tree = settings.has_parents(config["finetune"]["objective"])
    return _parent_of(taxonomy) if uses_tree else [0] * config["dataset"]["classes"]


def local_weights(config: Config) -> dict[str, Any]:
    """The user's file of the weights, with its shards, if there is one."""
    weights = config["backbone"]["weights"]
    if weights in settings.NAMED_WEIGHTS:
        return {}
    file, *others = shards.files(weights)
    return {"file": file, "shards": others}


def drawing(config: Config) -> Config:
    """Drawing demo100."""
    return _part(config["dataset"], "classes", "train_per_class", "test_per_class")


def reading(config: Config, catalog: Catalog) -> Config:
    """Reading the pictures of a source, and what the graph knows of them."""
    later = ("val_fraction", "mean", "std", "classes")
    return {
        "dataset": {key: value for key, value in config["dataset"].items() if key not in later},
        "known": {"names": list(catalog.names), "version": catalog.version},
    }


def network(config: Config) -> Config:
    """What shapes the backbone: its architecture with its own settings, and its preprocessing.

    What is None comes with the weights, or from the data.
    """
    backbone, dataset = config["backbone"], config["dataset"]
    own = backbone.get(architectures.key(backbone["architecture"]), {})
    size = backbone["image_size"]
    if size is None and not may_bring(config):
        size = dataset["image_size"]
    return {
        "architecture": backbone["architecture"],
        "settings": {name: value for name, value in own.items() if value is not None},
        "size": size,
        **_part(backbone, "interpolation", "crop"),
        "normalization": _part(dataset, "mean", "std"),
    }


def may_bring(config: Config) -> bool:
    """Whether more may come with the weights: the size and the normalisation of their images."""
    return config["backbone"]["weights"] not in ("scratch", "hub")


def weights(config: Config) -> Config:
    """The weights that the graph starts from."""
    shape = _part(network(config), "architecture", "settings", "size")
    if shape["size"] is None:
        shape |= _part(config["dataset"], "image_size")
    source = config["backbone"]["weights"]
    origin = {
        "scratch": {"seed": config["seed"], **config["compute"]},
        "hub": _part(config["backbone"], "revision", "sha256"),
        "timm": _part(config["backbone"], "revision", "sha256"),
    }
    file = _part(config["backbone"], "weights_key") if local_weights(config) else {}
    return {**shape, "source": source, **origin.get(source, file)}


def split(config: Config) -> Config:
    """How train is split into train and val, if val is not given."""
    return {**_part(config["dataset"], "val_fraction"), "seed": config["seed"]}


def finetune(config: Config, taxonomy: Taxonomy | None) -> Config:
    """Fine-tuning; with no epochs the weights are kept, and no other setting matters.

    Only the objectives with parents depend on the tree; the others see one parent of all.
    """
    if config["finetune"]["epochs"] == 0:
        return {"epochs": 0, "network": network(config)}
    used = _used(config["finetune"])
    del used["save_seconds"], used["rendezvous"]
    return {
        **used,
        "network": network(config),
        "split": split(config),
        "parent_of": _parents_of_objective(config, taxonomy),
        "seed": config["seed"],
        "threads": config["threads"]["backbone"],
        **config["compute"],
    }


def own_head(config: Config, taxonomy: Taxonomy | None) -> Config:
    """The head that the backbone is trained with, and its measurement."""
    used = _used(config["finetune"])
    return {
        "variant": variant_name(config),
        "objective": {key: used[key] for key in _OBJECTIVE if key in used},
        "parent_of": _parents_of_objective(config, taxonomy),
        "epochs": used["epochs"],
    }


def export(config: Config) -> Config:
    """The backbone as ONNX."""
    return {"network": network(config), **_part(config["dataset"], "image_size")}


def int8(config: Config) -> str:
    """The folder of the model whose backbone is in 8 bits."""
    return f"{config['results']}/int8"


def embed(config: Config, part: str, model: str) -> Config:
    """Embedding of one split: all views of train, the images as they are of val and test.

    Of the backbone in 8 bits it goes through onnxruntime, since torch has no kernels for the file.
    """
    used = {
        "split": split(config) if part != "test" else {},
        "views": config["embed"]["views"] if part == "train" else ["identity"],
        **_part(config["embed"], "batch_size", "device", "stored"),
        "network": network(config),
        "threads": config["threads"]["backbone"],
        **config["compute"],
    }
    return used | ({"device": "cpu", "portable": False} if model == int8(config) else {})


def shard(config: Config, number: int | str) -> Config:
    """Which of how many parts of a split's images a job embeds."""
    return {"shard": int(number), "shards": config["embed"]["shards"]}


def quantize(config: Config) -> Config:
    """The backbone in 8 bits."""
    return {
        **config["quantize"],
        "network": network(config),
        "split": split(config),
        "seed": config["seed"],
        "threads": config["threads"]["backbone"],
        "device": config["embed"]["device"],
        **config["compute"],
    }


def head(config: Config, taxonomy: Taxonomy | None, heads: dict[str, Head], name: str) -> Config:
    """One head of the comparison: its own settings, and the shared ones that it takes."""
    chosen = heads[name]
    own = dict(chosen.settings)
    training = {**config["training"], **own.pop("training", {})}
    shared = {"training": training, "parent_of": _parent_of(taxonomy)}
    class_weights = training.pop("class_weights")
    taken = sweeps.arguments(chosen.module)
    teacher = own.pop("teacher", None)
    return {
        "module": chosen.module,
        "teacher": teacher and heads[teacher].module,
        "settings": own | {key: value for key, value in shared.items() if key in taken},
        "classes": config["dataset"]["classes"],
        "class_weights": class_weights,
        "seeds": config["seeds"],
        "threads": config["threads"]["heads"],
    }


def head_evaluation(config: Config, heads: dict[str, Head], name: str) -> Config:
    """The evaluation of one head, and what describes it in the comparison."""
    chosen = heads[name]
    return {
        "head": name,
        "module": chosen.module,
        "setting": chosen.describe(),
        **_part(config, "seeds", "precisions"),
        "threads": config["threads"]["heads"],
    }


def clusters(config: Config, names: tuple[str, ...]) -> Config:
    """The learned taxonomy of the classes with these names."""
    return {
        "groups": groups(config["taxonomy"]) or min(10, len(names)),
        "names": list(names),
        "seed": config["seed"],
        "flat_seed": config["seeds"][0],
    }


def cluster_parent(config: Config) -> Config:
    """The parent layer of the learned taxonomy, trained for the parents alone."""
    return parent({**config, "parent": {**config["parent"], "objective": "parent"}}, None)


def comparison(config: Config, model: str) -> Config:
    """What the heads are compared with, and for which backbone."""
    backbone = "int8" if model == int8(config) else "float32"
    return _part(config["comparison"], "baselines", "margin") | {"backbone": backbone}


def instructions(config: Config, heads: dict[str, Head], name: str) -> Config:
    """The measurement of one head's C."""
    return {
        "module": heads[name].module,
        **_part(config["comparison"], "processor", "feature_bits"),
    }


def choice(config: Config, heads: dict[str, Head]) -> Config:
    """The choice of a head: what decides, and what it is compared with."""
    named = {
        name: {"module": head.module, "setting": head.describe()} for name, head in heads.items()
    }
    return {
        "chosen": config["chosen"],
        "full": [config["comparison"]["baselines"][0], config["precisions"][0]],
        "heads": named,
        "threads": config["threads"]["heads"],
    }


def deploy(config: Config, heads: dict[str, Head]) -> Config:
    """The classifier that is taken away."""
    return {
        "network": network(config),
        "pictures": _part(config["dataset"], "image_size", "resize"),
        **deploy_c(heads),
    }


def deploy_int8(config: Config, heads: dict[str, Head]) -> Config:
    """The same with the backbone in 8 bits."""
    rounding = _part(config["quantize"], "relu_above", "activation_bits")
    return deploy(config, heads) | {"rounding": rounding}


def deploy_c(heads: dict[str, Head]) -> Config:
    """The head that is taken away as C."""
    return {"heads": {name: head.module for name, head in heads.items()}}


def variant_name(config: Config) -> str:
    """The name of the configured variant: its objective, and a bottleneck's width."""
    objective, width = config["finetune"]["objective"], config["finetune"]["bottleneck"]
    return f"{objective}-{width}" if objective == "bottleneck" else objective


def for_variant(config: Config, name: str) -> Config:
    """The configuration with the settings that train the variant of that name."""
    objective, _, width = name.partition("-")
    own = {"objective": objective} | ({"bottleneck": int(width)} if width else {})
    return {**config, "finetune": {**config["finetune"], **own}}


def variant_names(config: Config, taxonomy: Taxonomy | None) -> list[str]:
    """The compared variants; none with parents while the taxonomy is to be learned."""
    return [name for name in config["networks"] if taxonomy or not settings.has_parents(name)]


def compared_variants(config: Config, taxonomy: Taxonomy | None) -> Config:
    """The comparison of variants."""
    names = variant_names(config, taxonomy)
    return {
        "names": names,
        "with_tree": list(filter(settings.has_parents, names)),
        **beside_study(config),
    }


def parent(config: Config, taxonomy: Taxonomy | None) -> Config:
    """The parent layer; which children a parent has, not in which order, matters to it."""
    used = _used(config["parent"])
    del used["top_k"]
    return {
        **used,
        "parent_of": _parent_of(taxonomy),
        "seed": config["seed"],
        "threads": config["threads"]["heads"],
    }


def child(config: Config, taxonomy: Taxonomy | None, parent: int) -> Config:
    """One parent's children: the settings of all, and this parent's classes alone."""
    classes = list(taxonomy.classes[parent]) if taxonomy else None
    return {**config["child"], "classes": classes}


def evaluation(config: Config) -> Config:
    """The evaluation, and the origin of its data for the metrics."""
    return {
        "top_k": config["parent"]["top_k"],
        "child_input": config["child"]["input"],
        "flat_seed": config["seeds"][0],
        "dataset": _part(config["dataset"], "name", "source") | {"note": _note(config["dataset"])},
        "backbone": network(config),
        "threads": config["threads"]["heads"],
    }


def _note(dataset: Config) -> str:
    """The note on the data set in metrics and figures."""
    drawn = dataset["source"] == "generated"
    return "drawn by this pipeline; it is not CIFAR-100" if drawn else "images as given"


def beside_study(config: Config) -> Config:
    """Figures with the study's numbers, which are numbers of its own images."""
    return {
        "of_the_study": config["dataset"]["name"] == "cifar100",
        "title": picture(config)["title"],
    }


def picture(config: Config) -> Config:
    """Figures that show images or classes, and what their title says of them."""
    dataset = config["dataset"]
    title = f"{dataset['name']}: {_note(dataset)}"
    return {**_part(dataset, "image_size"), "title": title}
