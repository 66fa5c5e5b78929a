"""A mistake in the configuration is answered with the key, its value and what would be right."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from snakemake.utils import update_config

from treehead.artifacts import InputError
from treehead.config import settings

ROOT = Path(__file__).parents[1]
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.yaml"
LAYERS = sorted((ROOT / "config").glob("*.yaml"))


def loaded(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def keys(mapping: dict, prefix: str = "") -> Iterator[str]:
    """All keys of nested mappings, as dotted paths, leaves and mappings."""
    for key, value in mapping.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from keys(value, f"{prefix}{key}.")


def schema_keys(node: dict, prefix: str = "") -> Iterator[str]:
    if "$ref" in node:
        node = loaded(SCHEMA)["$defs"][node["$ref"].removeprefix("#/$defs/")]
    for key, value in node.get("properties", {}).items():
        yield f"{prefix}{key}"
        yield from schema_keys(value, f"{prefix}{key}.")


@pytest.fixture
def config() -> dict:
    return loaded(ROOT / "config" / "config.yaml")


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)


def changed(config: dict, key: str, value: object) -> dict:
    *path, last = key.split(".")
    inner = config
    for part in path:
        inner = inner[part]
    inner[last] = value
    return config


@pytest.mark.parametrize("layer", LAYERS, ids=lambda path: path.stem)
def test_every_shipped_config_is_valid_over_the_default(config: dict, layer: Path):
    update_config(config, loaded(layer))
    settings.check(config, SCHEMA)


def test_the_configs_of_the_brief_are_shipped():
    assert {"config", "cifar100", "cifar100-cpu", "study", "study-resnet9"} <= {
        layer.stem for layer in LAYERS
    }


def test_the_default_has_every_key_of_the_schema_and_no_other(config: dict):
    """What an entry of heads may hold, its module says."""
    assert set(keys(config | {"heads": None})) == set(schema_keys(loaded(SCHEMA)))


def test_no_mapping_of_the_schema_lets_a_typo_pass():
    def mappings(node: object) -> Iterator[dict]:
        if isinstance(node, dict):
            if node.get("type") == "object":
                yield node
            for value in node.values():
                yield from mappings(value)

    schema = loaded(SCHEMA)
    del schema["properties"]["heads"]
    schema["required"].remove("heads")
    for mapping in mappings(schema):
        assert mapping["additionalProperties"] is False
        if mapping is not schema["$defs"]["training"]:
            assert set(mapping["required"]) == set(mapping["properties"])
    shared = schema["properties"]["training"]["required"]
    assert set(shared) == set(schema["$defs"]["training"]["properties"])


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("sed", 0, "sed is no key; did you mean seed"),
        ("parent.topk", [2], "parent.topk is no key; did you mean top_k"),
        ("finetune.learning_rte", 1, "finetune.learning_rte is no key; did you mean learning_rate"),
        ("finetune.augment.rotate", 5, "finetune.augment.rotate is no key; did you mean rotation"),
        ("backbone.resnet9.widht", 1, "backbone.resnet9.widht is no key; did you mean width"),
        ("seeds", [], "seeds"),
        ("precisions", ["int9"], "precisions.0 is 'int9'; it must be one of float32, int8"),
        ("comparison.baselines", ["mlp"], "comparison.baselines"),
        ("training.epochs", 0, "training.epochs is 0; it must be at least 1"),
        ("heads.Linear", {}, "heads"),
        ("heads.lasso", 3, "heads.lasso is 3; it must be of type object or null"),
        ("heads.lasso.training", {"epoch": 3}, "heads.lasso.training.epoch is no key"),
        ("dataset", None, "dataset is None; it must be of type object"),
        ("finetune.epochs", "ten", "finetune.epochs is 'ten'; it must be of type integer"),
        ("finetune.epochs", 1.5, "finetune.epochs is 1.5; it must be of type integer"),
        ("finetune.epochs", True, "finetune.epochs is True; it must be of type integer"),
        ("finetune.epochs", 10.0, "finetune.epochs is 10.0; it must be of type integer"),
        ("finetune.epochs", "1e1", "finetune.epochs is 10.0; it must be of type integer"),
        ("parent.learning_rate", "fast", "parent.learning_rate is 'fast'; .* of type number"),
        ("dataset.train_per_class", "all", "is 'all'; it must be of type integer or null"),
        (
            "finetune.augment.flip",
            True,
            "flip is True; it must be one of none, random, alternating",
        ),
        ("finetune.epochs", -1, "finetune.epochs is -1; it must be at least 0"),
        ("threads.heads", 0, "threads.heads is 0; it must be at least 1"),
        ("dataset.val_fraction", 0.9, r"dataset.val_fraction is 0.9; it must be at most 0.5"),
        ("dataset.val_fraction", 0, "dataset.val_fraction is 0; it must be greater than 0"),
        ("finetune.label_smoothing", 1, "finetune.label_smoothing is 1; it must be less than 1"),
        ("dataset.std", [0.2, 0, 0.2], r"dataset.std.1 is 0; it must be greater than 0"),
        ("child.l2", -0.1, "child.l2 is -0.1; it must be at least 0"),
        ("parent.objective", "jont", r"parent, joint, finetuned \(did you mean joint\?\)"),
        ("child.input", "logits", "must be one of parent_logits, features"),
        ("backbone.architecture", "ResNet9", r"or torchvision/<name> \(did you mean resnet9\?\)"),
        ("backbone.weights", "torchvision", "torchvision has no weights of resnet9; set"),
        ("finetune.device", "gpu", "finetune.device is 'gpu'; it must be one of auto, cpu, cuda"),
        ("finetune.processes", 0, "finetune.processes is 0; it must be at least 1"),
        ("finetune.average", 1, "finetune.average is 1; it must be less than 1"),
        ("finetune.progressive.size", 24, "finetune.progressive.size is no key"),
        ("networks", ["bottleneck"], "networks.0"),
        ("embed.views", ["flip"], "embed.views.0"),
        ("embed.views", ["identity", "identity"], "embed.views"),
        ("dataset.mean", [0.5, 0.5], "dataset.mean"),
        ("backbone.sha256", "abc", "backbone.sha256"),
    ],
)
def test_a_mistake_is_answered_with_the_key_and_the_remedy(config, key, value, sentence: str):
    with pytest.raises(InputError, match=sentence):
        settings.check(changed(config, key, value), SCHEMA)


@pytest.mark.parametrize("key", ["seed", "parent", "finetune.augment.mix"])
def test_a_missing_key_is_named(config: dict, key: str):
    *path, last = key.split(".")
    inner = config
    for part in path:
        inner = inner[part]
    del inner[last]
    with pytest.raises(InputError, match=f"{key} is missing; add it"):
        settings.check(config, SCHEMA)


def test_an_unknown_key_is_told_before_what_else_is_wrong(config: dict):
    """A misspelt key is most often the cause of the rest, such as a key that is missing."""
    config["parent"]["objektive"] = config["parent"].pop("objective")
    config["seed"] = -1
    with pytest.raises(InputError, match=r"parent\.objektive is no key; did you mean objective"):
        settings.check(config, SCHEMA)


@pytest.mark.parametrize(
    ("key", "text", "number"),
    [
        ("parent.learning_rate", "1e-4", 0.0001),
        ("seed", "12", 12),
        ("child", "{input: features, l2: 0.01}", {"input": "features", "l2": 0.01}),
        ("embed.views", "[identity]", ["identity"]),
        ("finetune.steps_per_epoch", "2", 2),
    ],
)
def test_what_yaml_or_the_command_line_left_as_text_is_mended(config, key, text, number):
    settings.check(changed(config, key, text), SCHEMA)
    *path, last = key.split(".")
    for part in path:
        config = config[part]
    assert config[last] == number
    assert type(config[last]) is type(number)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), "nan", "-inf"])
@pytest.mark.parametrize("key", ["finetune.learning_rate", "child.l2", "dataset.val_fraction"])
def test_a_setting_is_a_finite_number(config: dict, key: str, number: float):
    with pytest.raises(InputError, match=key):
        settings.check(changed(config, key, number), SCHEMA)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dataset.name": "mine"}, "demo100 and dataset.source generated belong together"),
        ({"dataset.source": "hub"}, "demo100 and dataset.source generated belong together"),
        ({"dataset.classes": 10}, "demo100 has dataset.classes 100"),
        ({"dataset.image_size": 64}, "demo100 has dataset.classes 100 and dataset.image_size 32"),
        ({"dataset.train_per_class": None}, "demo100 needs numbers"),
        ({"dataset.name": "mine", "dataset.source": "no/folder"}, "the folder no/folder"),
        ({"dataset.name": "mine", "dataset.source": "config"}, "taxonomy superclass is known for"),
        ({"taxonomy": "no/tree.json"}, "the file no/tree.json of taxonomy does not exist"),
        ({"backbone.weights": "hub"}, "the hub has no resnet9"),
        ({"backbone.weights": "no/file.pt"}, "the file no/file.pt of backbone.weights"),
    ],
)
def test_settings_that_do_not_go_together_are_told(config: dict, changes: dict, sentence: str):
    for key, value in changes.items():
        changed(config, key, value)
    with pytest.raises(InputError, match=sentence):
        settings.check(config, SCHEMA)


def test_a_users_own_dataset_with_a_taxonomy_is_valid(config: dict):
    own = {
        "dataset.name": "mine",
        "dataset.source": "config",
        "dataset.classes": 7,
        "dataset.train_per_class": None,
        "taxonomy": "config/config.yaml",
        "backbone.weights": "config/config.yaml",
    }
    for key, value in own.items():
        changed(config, key, value)
    settings.check(config, SCHEMA)


def test_the_one_parquet_file_of_a_split_is_found(tmp_path: Path):
    for name in ("train-00000-of-00001.parquet", "test-00000-of-00001.parquet", "notes.txt"):
        (tmp_path / name).touch()
    assert settings.parquet(tmp_path, "test").name == "test-00000-of-00001.parquet"
    with pytest.raises(InputError, match=r"holds 0 files that match \*val\*\.parquet"):
        settings.parquet(tmp_path, "val")
    (tmp_path / "train-00001-of-00002.parquet").touch()
    with pytest.raises(InputError, match=r"holds 2 files that match \*train\*\.parquet"):
        settings.parquet(tmp_path, "train")
