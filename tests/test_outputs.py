"""A run writes over nothing that is there, and reads nothing that it writes."""

import re
from pathlib import Path

import pytest
import yaml
from conftest import nested
from snakemake.utils import update_config

from treehead.artifacts import InputError
from treehead.config import outputs

ROOT = Path(__file__).parents[1]
SECOND = r"to start from it, set another results, such as results/second, or give a copy"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a project that has made nothing yet."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def config(**changes: object) -> dict:
    """The default for a data set called mine, with some settings: `__` stands for a dot."""
    whole = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    own = {"dataset.name": "mine", "dataset.source": "pictures"}
    own |= {key.replace("__", "."): value for key, value in changes.items()}
    update_config(whole, nested(own))
    return whole


def refused(sentence: str, layers: dict[str, list[str]] | None = None, **changes: object) -> None:
    with pytest.raises(InputError, match=f"^Config: {sentence}\\.$"):
        outputs.check(config(**changes), layers or {})


@pytest.mark.parametrize(
    ("results", "sentence"),
    [
        (".", r"results is \., which holds the project; give a folder of its own"),
        ("..", r"results is \.\., which holds the project; .*"),
        ("/", "results is /, which holds the project; .*"),
        ("workflow", "results is workflow, in the project's workflow; give a folder of its own"),
        ("config/out", "results is config/out, in the project's config; .*"),
        ("a/../resources", "results is .*, in the project's resources; .*"),
        (".snakemake/out", r"results is .*, in the project's \.snakemake; .*"),
        ("README.md", r"results is README\.md, which is a file; give a folder"),
    ],
)
def test_results_are_not_written_over_the_project(project: Path, results: str, sentence: str):
    (project / "README.md").touch()
    refused(sentence, results=results)


def test_a_link_to_another_disk_holds_results(project: Path, tmp_path: Path):
    (project / "out").symlink_to(tmp_path)
    (project / "run").symlink_to(tmp_path / "disk")
    outputs.check(config(results="run"), {})
    refused("results is out, which holds the project; .*", results="out")


def test_what_the_rules_write_in_results_is_known():
    """A new rule may write a new file there, which is then an output like the others."""
    rules = [ROOT / "Snakefile", *(ROOT / "workflow/rules").glob("*.smk")]
    text = "\n".join(path.read_text() for path in rules)
    folder = r"(?:<results>|{+model}+|{config\['results'\]})"
    assert set(re.findall(folder + r"/([\w.]+)", text)) == set(outputs.RESULTS)


OWN = [
    "backbone/weights.safetensors",
    "networks/flat/backbone/weights.safetensors",
    "heads/linear/head.safetensors",
    "hierarchy10/taxonomy.json",
    "hierarchy100/predictions.parquet",
    "taxonomy.json",
    "figures",
]
KEYS = ["taxonomy", "backbone.weights", "dataset.source"]


@pytest.mark.parametrize("file", OWN)
@pytest.mark.parametrize("key", KEYS)
def test_a_run_reads_none_of_its_results(project: Path, key: str, file: str):
    setting, place = key.replace(".", "__"), re.escape(Path(file).parts[0])
    for path in (f"results/{file}", f"results/../results/{file}", f"{project}/results/{file}"):
        refused(
            f"{key} is {re.escape(path)}, and this run writes results/{place}; {SECOND}",
            **{setting: path},
        )
        outputs.check(config(results="results/second", **{setting: path}), {})


def test_a_network_of_ones_own_does_not_come_from_the_results():
    sentence = rf"backbone\.architecture is results/logs/net\.py, and this run .*; {SECOND}"
    refused(sentence, backbone__architecture="results/logs/net.py:build")
    outputs.check(config(backbone__architecture="net.py:build"), {})


def test_results_of_another_run_are_inputs_like_others():
    """Runs may lie side by side in the folder that one of them writes to."""
    for first, second in (("results/first", "results"), ("first", "second"), ("/a/b", "/a/c")):
        given = {
            "taxonomy": f"{first}/taxonomy.json",
            "backbone__weights": f"{first}/backbone/weights.safetensors",
            "dataset__source": f"{first}/figures",
        }
        outputs.check(config(results=second, **given), {})
    outputs.check(config(backbone__weights="results/w.pt"), {})


@pytest.mark.parametrize("source", ["", "/train.parquet", "/raw/list.csv", "/../mine"])
def test_a_data_set_is_not_read_where_its_images_are_written(source: str):
    """The job would remove the user's own train.parquet before it reads it."""
    source = f"resources/datasets/mine{source}"
    sentence = "set another dataset.name, or move it to a folder of its own"
    refused(
        f"dataset.source is {source}, and this run writes resources/datasets/mine; {sentence}",
        dataset__source=source,
    )
    outputs.check(config(dataset__source=source, dataset__name="other"), {})


@pytest.mark.parametrize(
    ("source", "results", "sentence"),
    [
        ("pictures", "pictures/out", "set results to a folder outside it"),
        ("pictures", "pictures", "set results to a folder outside it"),
        ("results", "results", "set results to a folder outside it"),
        ("/data/pictures", "/data/pictures/a/b", "set results to a folder outside it"),
        (".", "results", "move it to a folder of its own"),
        ("..", "/elsewhere", "move it to a folder of its own"),
        ("resources", "results", "move it to a folder of its own"),
    ],
)
def test_results_are_not_written_among_the_pictures(source: str, results: str, sentence: str):
    """The figures would be a class at the second run."""
    refused(
        rf"dataset\.source is {re.escape(source)}, and this run writes .*; {sentence}",
        dataset__source=source,
        results=results,
    )


def test_names_are_no_paths():
    """A folder of results may be called as what is no path."""
    for name in ("clusters", "superclass", "scratch", "hub", "generated"):
        outputs.check(config(results=name, taxonomy="clusters"), {})
        outputs.check(
            config(results=name, dataset__name="demo100", dataset__source="generated"), {}
        )
    outputs.check(config(dataset__source="owner/name"), {})


def test_a_link_to_what_a_run_writes_is_no_way_round(project: Path, tmp_path: Path):
    (project / "results/backbone").mkdir(parents=True)
    weights = project / "results/backbone/weights.safetensors"
    weights.touch()
    (tmp_path / "w.pt").symlink_to(weights)
    refused(
        rf"backbone\.weights is \.\./w\.pt, a link to {weights}, and this run writes .*; {SECOND}",
        backbone__weights="../w.pt",
    )
    (project / "linked").symlink_to("results")
    refused(
        "taxonomy is results/taxonomy.json, and this run .*/second, or give a copy",
        taxonomy="results/taxonomy.json",
        results="linked",
    )
    (project / "results/heads").symlink_to(tmp_path / "disk")
    refused(
        "taxonomy is .*/disk/t.json, and this run writes results/heads; .*",
        taxonomy=f"{tmp_path}/disk/t.json",
    )


def test_the_files_of_a_source_are_no_links_to_its_images(project: Path):
    """As if only a part of a data set put there by hand were read."""
    (project / "tables").mkdir()
    (project / "tables/train.parquet").symlink_to("../resources/datasets/mine/train.parquet")
    with pytest.raises(InputError, match=r"dataset\.source is tables/train\.parquet, a link to .*"):
        outputs.check_apart(config(), "dataset.source", ["tables/train.parquet"])
    outputs.check_apart(config(dataset__name="x"), "dataset.source", ["tables/train.parquet"])


def test_canonical_weights_are_not_linked_to_their_source(project: Path):
    own = config(backbone__weights="w.pt")
    (project / "w.pt").symlink_to(f"{outputs.weights(own)}.safetensors")
    with pytest.raises(InputError, match=r"weights is w\.pt, a link to .*; give a copy\.$"):
        outputs.check(own, {})
    other = outputs.weights(config(backbone__weights="scratch"))
    outputs.check(config(backbone__weights=f"{other}.safetensors"), {})


def test_a_layer_is_not_written_over_by_the_configuration_of_its_run():
    """The user's config.yaml stands where the run records its own; that one may be a layer."""
    refused(
        rf"--configfile is results/config\.yaml, and this run writes .*\.yaml; {SECOND}",
        {"results/config.yaml": ["results"]},
    )
    layers = {"results/config.yaml": list(config()), "a.yaml": ["seed"]}
    outputs.check(config(), layers)
    refused(r"--configfile is results/heads/a\.yaml, .*", {"results/heads/a.yaml": ["seed"]})
