"""A mistake in the configuration is answered with the key, its value and what would be right."""

import copy
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from snakemake.utils import update_config

from treehead.artifacts import InputError
from treehead.config import architectures, settings
from treehead.data.catalog import Catalog

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
    """What an entry of heads or an architecture may hold, its module says."""
    for name in ("own", *architectures.names(), *architectures.libraries()):
        config["backbone"].pop(name, None)
    known = set(schema_keys(loaded(SCHEMA)))
    optional = {key for key in known if key.startswith(("dataset.splits.", "dataset.columns."))}
    assert len(optional) == 8
    assert set(keys(config | {"heads": None})) == known - optional


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
    dataset = schema["properties"]["dataset"]["properties"]
    of_names = dataset["sha256"]  # its keys are names of files
    assert of_names["additionalProperties"] == {"$ref": "#/$defs/sha256"}
    optional = (schema["$defs"]["training"], dataset["splits"], dataset["columns"])
    for mapping in mappings(schema):
        if mapping is of_names:
            continue
        assert mapping["additionalProperties"] is False
        if not any(mapping is one for one in optional):
            assert set(mapping["required"]) == set(mapping["properties"])
    shared = schema["properties"]["training"]["required"]
    assert set(shared) == set(schema["$defs"]["training"]["properties"])


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("sed", 0, "sed is not a key; did you mean seed"),
        ("parent.topk", [2], "parent.topk is not a key; did you mean top_k"),
        (
            "finetune.learning_rte",
            1,
            "finetune.learning_rte is not a key; did you mean learning_rate",
        ),
        (
            "finetune.augment.rotate",
            5,
            "finetune.augment.rotate is not a key; did you mean rotation",
        ),
        ("backbone.resnet9.widht", 1, 'backbone.resnet9.widht is not a setting; use "width"'),
        ("seeds", [], "seeds"),
        ("precisions", ["int9"], "precisions.0 is 'int9'; it must be one of float32, int8"),
        ("comparison.baselines", ["mlp"], "comparison.baselines"),
        ("training.epochs", 0, "training.epochs is 0; it must be at least 1"),
        (
            "heads.lasso.training",
            {"class_weights": "balance"},
            "heads.lasso.training.class_weights is 'balance'; it must be one of none, balanced, "
            r"sqrt \(did you mean balanced\?\)",
        ),
        ("heads.Linear", {}, "heads"),
        ("heads.lasso", 3, "heads.lasso is 3; it must be of type object or null"),
        ("heads.lasso.training", {"epoch": 3}, "heads.lasso.training.epoch is not a key"),
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
        (
            "backbone.architecture",
            "ResNet9",
            'is "ResNet9"; use "resnet9", .*"torchvision/<name>" or "xinet"',
        ),
        ("backbone.weights", "torchvision", "torchvision has no weights of airbench_residual; set"),
        ("finetune.device", "gpu", "finetune.device is 'gpu'; it must be one of auto, cpu, cuda"),
        ("finetune.processes", 0, "finetune.processes is 0; it must be at least 1"),
        (
            "finetune.machines",
            2,
            "machines is 2 and finetune.rendezvous is null; set the latter to",
        ),
        ("finetune.rendezvous", "node1:29400", "finetune.machines is 1 and finetune.rendezvous is"),
        (
            "finetune.machines",
            1000,
            "and 1000 processes share each batch; give each an image at least",
        ),
        ("finetune.rendezvous", "node1", "finetune.rendezvous"),
        ("finetune.average", 1, "finetune.average is 1; it must be less than 1"),
        ("finetune.progressive", [{"until": 0.5, "size": 24}], "finetune.progressive.0.size is no"),
        ("finetune.progressive", [{"until": 2, "image_size": 24}], "finetune.progressive.0.until"),
        (
            "finetune.progressive",
            [{"until": 0.5, "image_size": 24}, {"until": 0.2, "image_size": 20}],
            r"finetune.progressive has until \[0.5, 0.2\]; each must be larger",
        ),
        ("networks", ["bottleneck"], "networks.0"),
        ("embed.views", ["flip"], "embed.views.0"),
        ("embed.views", ["identity", "identity"], "embed.views"),
        ("dataset.mean", [0.5, 0.5], "dataset.mean"),
        ("dataset.columns", {"lable": "x"}, "dataset.columns.lable is not a key; did you mean lab"),
        ("dataset.splits", {"valid": "dev"}, "dataset.splits.valid is not a key; did you mean val"),
        ("dataset.splits", {"test": 1}, "dataset.splits.test is 1; it must be of type string"),
        ("dataset.resize", "fit", "dataset.resize is 'fit'; it must be one of crop, pad, stretch"),
        ("dataset.test_fraction", 1, "dataset.test_fraction is 1; it must be at most 0.5"),
        ("dataset.skip_broken", 1, "dataset.skip_broken is 1; it must be of type boolean"),
        ("taxonomy_level", 0, "taxonomy_level is 0; it must be at least 1"),
        ("backbone.sha256", "abc", "backbone.sha256"),
        ("dataset.classes", 2_000_000, "dataset.classes is 2000000; it must be at most 100000"),
        (
            "finetune.batch_size",
            10**30,
            "finetune.batch_size is 1000.*; it must be at most 1000000",
        ),
        ("networks", ["bottleneck-1000000000"], "networks.0"),
        ("results", " ", "results"),
        ("chosen.by", "byte", r"by is 'byte'; it must be one of .*did you mean bytes\?"),
        ("chosen.by", {"mac": 1}, "chosen.by.mac is not a key; did you mean macs"),
        ("chosen.by", {"macs": 0}, "chosen.by.macs is 0; it must be greater than 0"),
        ("chosen.by", {}, "chosen.by"),
        ("chosen.by", None, "chosen.by is None; it must be of type string or object"),
        ("chosen.margin", 1.5, "chosen.margin is 1.5; it must be at most 1"),
        ("chosen.at_most.byte", 9, "chosen.at_most.byte is not a key; did you mean bytes"),
        ("chosen.at_most.macs", 0, "chosen.at_most.macs is 0; it must be at least 1"),
        ("chosen.at_most.macs", "few", "chosen.at_most.macs is 'few'; .* of type integer or null"),
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


def test_a_head_may_be_chosen_by_a_sum_and_within_bounds(config: dict):
    layer = {"chosen": {"by": {"macs": 1, "bytes": "5e-1"}, "at_most": {"bytes": 20_000}}}
    update_config(config, layer)
    settings.check(config, SCHEMA)
    assert config["chosen"]["by"] == {"macs": 1, "bytes": 0.5}
    assert config["chosen"]["at_most"]["macs"] is None


def test_an_unknown_key_is_told_before_what_else_is_wrong(config: dict):
    """A misspelt key is most often the cause of the rest, such as a key that is missing."""
    config["parent"]["objektive"] = config["parent"].pop("objective")
    config["seed"] = -1
    with pytest.raises(InputError, match=r"parent\.objektive is not a key; did you mean objective"):
        settings.check(config, SCHEMA)


@pytest.mark.parametrize(
    ("key", "text", "number"),
    [
        ("parent.learning_rate", "1e-4", 0.0001),
        ("seed", "12", 12),
        ("threads", "{backbone: 3, heads: 1}", {"backbone": 3, "heads": 1}),
        ("embed.views", "[identity]", ["identity"]),
        ("finetune.steps_per_epoch", "2", 2),
        ("quantize.activation_bits", "16", 16),
        ("comparison.feature_bits", "8", 8),
        ("finetune.steps_per_epoch", "null", None),
        ("dataset.sha256", {"train": "null", "test": "~"}, {"train": None, "test": None}),
        ("seeds", ["0", "3"], [0, 3]),
        ("dataset.mean", ["0.5", "1e-1", "0"], [0.5, 0.1, 0]),
        ("heads.linear", "null", None),
        ("heads.linear", {"training": {"epochs": "3"}}, {"training": {"epochs": 3}}),
    ],
)
def test_what_yaml_or_the_command_line_left_as_text_is_mended(config, key, text, number):
    settings.check(changed(config, key, text), SCHEMA)
    *path, last = key.split(".")
    for part in path:
        config = config[part]
    assert config[last] == number
    assert type(config[last]) is type(number)


def test_a_number_below_its_least_is_told_as_a_number(config: dict):
    with pytest.raises(InputError, match=r"seed is -1; it must be at least 0"):
        settings.check(changed(config, "seed", "-1"), SCHEMA)


@pytest.mark.parametrize(
    ("inner", "key", "sentence"),
    [
        (
            "",
            "dataset.name",
            r"dataset\.name is not a key.*; write `name:` in the mapping `dataset:`",
        ),
        ("finetune", "augment.mix", r"write `mix:` in the mapping `finetune\.augment:`"),
        ("heads", "lowrank.rank", r"write `rank:` in the mapping `heads\.lowrank:`"),
        ("", "datasets.name", r"datasets\.name is not a key; did you mean dataset"),
    ],
)
def test_a_key_with_a_dot_is_answered_with_how_to_nest(config: dict, inner: str, key, sentence):
    (config[inner] if inner else config)[key] = "x"
    with pytest.raises(InputError, match=sentence):
        settings.check(config, SCHEMA)


HOME = Path.home()


@pytest.mark.parametrize(
    ("results", "normal"),
    [
        ("out", "out"),
        ("out/", "out"),
        ("./out", "out"),
        ("out//x", "out/x"),
        ("a/../out", "out"),
        ("../beside", "../beside"),
        (" out ", "out"),
        ("my results/ü", "my results/ü"),
        ("~/out", f"{HOME}/out"),
        ("/tmp/a//b/", "/tmp/a/b"),
        ("hub", "hub"),
        ("./hub", "hub"),
    ],
)
def test_the_folder_of_results_is_written_as_snakemake_writes_its_targets(config, results, normal):
    """A relative target is os.path.relpath of what the user gives."""
    settings.check(changed(config, "results", results), SCHEMA)
    assert config["results"] == normal


@pytest.mark.parametrize(
    ("results", "sentence"),
    [
        *(
            (f"a{mark}b", rf"results is .*; a path must not hold '\{mark}' here")
            for mark in "{}<>$"
        ),
        ("a\nb", "results is .*; a path must not hold"),
        ("s3://bucket", "results is 's3://bucket'; a path must not hold '://'"),
        ("~nobody-of-that-name/out", "results is .*; a path must not hold '~'"),
    ],
)
def test_results_are_a_path_that_snakemake_takes_as_it_is(config: dict, results: str, sentence):
    with pytest.raises(InputError, match=f"Config: {sentence}"):
        settings.check(changed(config, "results", results), SCHEMA)


OWN = {"dataset.name": "mine", "dataset.train_per_class": None}


def test_paths_of_data_weights_and_taxonomy_are_normalised(config: dict, tmp_path: Path):
    for key, value in (OWN | {"dataset.source": ".//config/"}).items():
        changed(config, key, value)
    changed(config, "taxonomy", "./config//config.yaml")
    changed(config, "finetune.epochs", 0)
    changed(config, "backbone.weights", f"{tmp_path}/../{tmp_path.name}//w.pt")
    (tmp_path / "w.pt").touch()
    settings.check(config, SCHEMA)
    assert config["dataset"]["source"] == "config"
    assert config["taxonomy"] == "config/config.yaml"
    assert config["backbone"]["weights"] == f"{tmp_path}/../{tmp_path.name}/w.pt", (
        "a link's .. stays"
    )


def test_home_is_expanded_in_every_path(config: dict, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("tree.json", "w.pt"):
        (tmp_path / name).touch()
    changed(config, "finetune.epochs", 0)
    given = OWN | {"dataset.source": "~", "taxonomy": "~/tree.json", "backbone.weights": "~/w.pt"}
    for key, value in given.items():
        changed(config, key, value)
    settings.check(config, SCHEMA)
    assert config["dataset"]["source"] == str(tmp_path)
    assert config["taxonomy"] == str(tmp_path / "tree.json")
    assert config["backbone"]["weights"] == str(tmp_path / "w.pt")


def test_a_folder_called_hub_is_not_the_hub(config: dict, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hub").mkdir()
    for name in ("clusters-3", "scratch"):
        (tmp_path / name).touch()
    changed(config, "finetune.epochs", 0)
    given = {"dataset.source": "./hub", "taxonomy": "./clusters-3", "backbone.weights": "./scratch"}
    for key, value in (OWN | given).items():
        changed(config, key, value)
    settings.check(config, SCHEMA)
    assert config["dataset"]["source"] == "./hub"
    assert config["taxonomy"] == "./clusters-3"
    assert config["backbone"]["weights"] == "./scratch"


@pytest.mark.parametrize("key", ["taxonomy", "dataset.source", "backbone.weights"])
def test_a_path_holds_nothing_that_snakemake_gives_a_meaning(config: dict, key: str):
    with pytest.raises(InputError, match=rf"Config: {key} is 'a\{{b\}}'; .* must not hold '\{{'"):
        settings.check(changed(config, key, "a{b}"), SCHEMA)


BASE = "config/config.yaml"


@pytest.mark.parametrize(
    "target",
    [
        ["accuracy", "macs", "dataset", "backbone", "flat"],
        ["tree", "parent_names", "fine_names"],
        ["objective"],
    ],
)
def test_a_target_among_the_configuration_files_is_told(config: dict, target: list[str]):
    layers = {"config/study.yaml": ["seed"], "results/a.json": target, BASE: list(config)}
    sentence = r"Config: results/a\.json is given as a configuration file, .* name it before --conf"
    with pytest.raises(InputError, match=sentence):
        settings.check(config | dict.fromkeys(target, 1), SCHEMA, layers)


def test_a_recorded_configuration_is_a_configuration(config: dict):
    whole = list(config)
    settings.check(config, SCHEMA, {"results/config.yaml": whole, BASE: whole})
    settings.check(config, SCHEMA, {"results/config.yaml": whole, "a.yaml": ["seed"], BASE: whole})


def test_a_whole_configuration_after_another_file_is_taken_for_a_target(config: dict):
    whole = list(config)
    with pytest.raises(InputError, match=r"results/config\.yaml has every key, .* target"):
        settings.check(
            config, SCHEMA, {"a.yaml": ["seed"], "results/config.yaml": whole, BASE: whole}
        )


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ({"finetun": {}}, "finetun is not a key; did you mean finetune"),
        ({"dataset.name": "x"}, r"dataset\.name is not a key, since a dot does not nest"),
        ({"seed": 0, "x": 1}, "x is not a key; did you mean"),
    ],
)
def test_a_misspelt_key_is_not_taken_for_a_target(config: dict, layer: dict, sentence: str):
    with pytest.raises(InputError, match=f"Config: {sentence}"):
        settings.check(config | layer, SCHEMA, {"a.yaml": list(layer), BASE: list(config)})


def test_an_empty_layer_changes_nothing(config: dict):
    settings.check(config, SCHEMA, {"a.yaml": [], BASE: list(config)})


@pytest.mark.parametrize(
    "text",
    [
        "seed: 0\nchild:\n  l2: 1\n  input: features\n",
        "{seed: 0, child: {l2: 1}}",
        '\ufeff{"seed": 0,\r\n"child": {"l2": 1}}',
        '{\n\t"seed": 0,\n\t"child": {"l2": 1}\n}',
    ],
)
def test_the_keys_of_a_layer_are_those_at_its_top(tmp_path: Path, text: str):
    (tmp_path / "a.yaml").write_text(text)
    assert settings.keys(tmp_path / "a.yaml") == ["seed", "child"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("seed: 0\nchild:\n  l2: 1\nseed: 1\n", "line 4: seed is there again; keep one"),
        ("seed: 0\nchild:\n  l2: 1\n  l2: 1\n", "line 4: l2 is there again; keep one"),
        ('{"seed": 0, "child": {"l2": 1, "l2": 2}}', "line 1: l2 is there again; keep one"),
        ('{\n\t"seed": 0,\n\t"seed": 0\n}', "line 3: seed is there again; keep one"),
    ],
)
def test_a_key_that_a_layer_has_twice_is_refused(tmp_path: Path, text: str, sentence: str):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(InputError, match=rf"a\.yaml.*{sentence}"):
        settings.keys(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: 1\nseed: 010\n", "line 2: seed is 010, which YAML reads as 8; write a number without"),
        ("child: {l2: -007}", "line 1: child.l2 is -007, which YAML reads as -7"),
        ("x:\n- 1\n- 1:30\n", "line 3: x.1 is 1:30, which YAML reads as 90"),
        ("x: 1:30.5", "x is 1:30.5, which YAML reads as 90.5"),
        ("x: 0_10", "x is 0_10, which YAML reads as 8"),
        ("sha256: {010: x}", "sha256.010 is 010, which YAML reads as 8"),
        ('{"seed": 010}', "seed is 010, which YAML reads as 8"),
        ("x:\n- {until: 1, until: 2}\n", "line 2: until is there again; keep one"),
    ],
)
def test_a_number_that_yaml_takes_for_another_is_refused(tmp_path: Path, text: str, sentence: str):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(InputError, match=rf"a\.yaml, .*{sentence}"):
        settings.keys(tmp_path / "a.yaml")


def test_other_numbers_and_texts_are_what_they_look_like(tmp_path: Path):
    text = "[0, 10, -3, 0.5, 00.5, 1e-4, 0x1f, 1_000, '010', \"1:30\", node:29400, 2020-01-01]"
    (tmp_path / "a.yaml").write_text(f"x: {text}")
    assert settings.keys(tmp_path / "a.yaml") == ["x"]


@pytest.mark.parametrize(
    ("key", "text", "sentence"),
    [
        ("seed", "010", "seed is 010, which YAML reads as 8; write a number without leading zeros"),
        ("seed", "1:30", "seed is 1:30, which YAML reads as 90"),
        ("child", "{input: features, l2: 010}", "child.l2 is 010, which YAML reads as 8"),
        ("seeds", ["0", "010"], "seeds.1 is 010, which YAML reads as 8"),
    ],
)
def test_a_command_line_is_read_as_a_file_is(config: dict, key: str, text, sentence: str):
    with pytest.raises(InputError, match=f"Config: {sentence}"):
        settings.check(changed(config, key, text), SCHEMA)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda path: path.stem)
def test_no_shipped_config_has_a_key_twice(layer: Path):
    assert set(settings.keys(layer)) == set(loaded(layer))


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
        (
            {"dataset.name": "mine", "dataset.source": "hub"},
            "dataset.source hub is uoft-cs/cifar100",
        ),
        ({"taxonomy": "no/tree.json"}, "the file no/tree.json of taxonomy does not exist"),
        ({"backbone.weights": "hub"}, "the hub has no airbench_residual"),
        ({"backbone.weights": "no/file.pt"}, "the file no/file.pt of backbone.weights"),
        (
            {"backbone.weights": "config/config.yaml"},
            "muon scales each filter anew, .* backbone.weights is config/config.yaml; put ",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_told(config: dict, changes: dict, sentence: str):
    for key, value in changes.items():
        changed(config, key, value)
    with pytest.raises(InputError, match=sentence):
        settings.check(config, SCHEMA)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"backbone.sha256": "0" * 64},
            r"backbone\.weights is scratch; set backbone\.sha256 to nul",
        ),
        ({"backbone.revision": "0" * 40}, r"weights is scratch; set backbone\.revision to main"),
        (
            {
                "backbone.architecture": "torchvision/resnet18",
                "backbone.weights": "torchvision",
                "backbone.sha256": "0" * 64,
            },
            r"sha256 is the hash of a file, and backbone\.weights is torchvision; set backbone\.",
        ),
        ({"dataset.revision": "main"}, r"dataset\.revision is of data that are read, and demo100"),
        ({"dataset.configuration": "a"}, r"dataset\.configuration is of data that are read"),
        ({"dataset.sha256": {"train": "0" * 64}}, r"dataset\.sha256 is of data that are read"),
        ({"dataset.splits": {"train": "fit"}}, r"dataset\.splits is of data that are read"),
        ({"dataset.columns": {"label": "x"}}, r"dataset\.columns is of data that are read"),
    ],
)
def test_a_pin_that_holds_nothing_is_told(config: dict, changes: dict, sentence: str):
    for key, value in changes.items():
        changed(config, key, value)
    with pytest.raises(InputError, match=sentence):
        settings.check(config, SCHEMA)


def test_the_hash_of_a_weights_file_is_checked(config: dict, tmp_path: Path):
    path = tmp_path / "w.pt"
    path.write_bytes(b"mine")
    right = sha256(b"mine").hexdigest()
    changed(config, "finetune.epochs", 0)
    changed(config, "backbone.weights", str(path))
    settings.check(changed(config, "backbone.sha256", right), SCHEMA)
    path.write_bytes(b"another")
    sentence = (
        rf"w\.pt of backbone\.weights has the SHA-256 .*, and backbone\.sha256 is {right}; put"
    )
    with pytest.raises(InputError, match=sentence):
        settings.check(config, SCHEMA)


def test_the_hash_of_an_index_does_not_hold_its_shards(config: dict, tmp_path: Path):
    path = tmp_path / "w.index.json"
    path.write_text('{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}')
    changed(config, "finetune.epochs", 0)
    changed(config, "backbone.weights", str(path))
    changed(config, "backbone.sha256", sha256(path.read_bytes()).hexdigest())
    with pytest.raises(InputError, match=r"hash of one file, and .*json is the index of 2; set"):
        settings.check(config, SCHEMA)


def test_a_users_own_dataset_with_a_taxonomy_is_valid(config: dict):
    own = {
        "dataset.name": "mine",
        "dataset.source": "config",
        "dataset.classes": 7,
        "dataset.train_per_class": None,
        "taxonomy": "config/config.yaml",
        "backbone.weights": "config/config.yaml",
        "finetune.optimizer": "adamw",
    }
    for key, value in own.items():
        changed(config, key, value)
    settings.check(config, SCHEMA)


def test_null_is_a_number_of_demo100_and_stays_null_for_other_data(config: dict):
    """Only what is drawn is known before it is read."""
    own = copy.deepcopy(config)
    settings.check(config, SCHEMA)
    found = {key: config["dataset"][key] for key in FOUND}
    assert found == {
        "classes": 100,
        "train_per_class": 100,
        "test_per_class": 25,
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
    }
    changed(own, "dataset.name", "mine")
    settings.check(changed(own, "dataset.source", "config"), SCHEMA)
    assert {own["dataset"][key] for key in FOUND} == {None}


FOUND = ("classes", "train_per_class", "test_per_class", "mean", "std")


def test_what_is_given_for_demo100_stays(config: dict):
    settings.check(changed(config, "dataset.test_per_class", 3), SCHEMA)
    assert config["dataset"]["test_per_class"] == 3


def test_hub_is_short_for_the_one_data_set_that_it_meant(config: dict):
    changed(config, "dataset.name", "cifar100")
    settings.check(changed(config, "dataset.source", "hub"), SCHEMA)
    assert config["dataset"]["source"] == "uoft-cs/cifar100"


SEVEN = Catalog(tuple("abcdefg"), None, {})


def test_the_number_of_classes_is_that_of_the_data(config: dict):
    settings.complete(config, SEVEN)
    assert config["dataset"]["classes"] == 7
    settings.complete(config, SEVEN)
    changed(config, "dataset.classes", 6)
    with pytest.raises(InputError, match=r"classes is 6, but generated has 7 classes; set it to n"):
        settings.complete(config, SEVEN)


def test_there_are_no_more_clusters_than_classes(config: dict):
    settings.complete(changed(config, "taxonomy", "clusters-7"), SEVEN)
    with pytest.raises(InputError, match="clusters-8 wants more clusters than the 7 classes"):
        settings.complete(changed(config, "taxonomy", "clusters-8"), SEVEN)
