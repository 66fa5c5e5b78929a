"""The variants of a backbone, one an objective: their names, settings, files, table and run."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import yaml
from conftest import METRICS, ROOT, Project, checked, unlisted
from safetensors.numpy import load_file

from treehead.backbones import inputs
from treehead.backbones.backbone import build
from treehead.config import stages
from treehead.data import trees
from treehead.evaluation import variants
from treehead.report import figures
from treehead.training import finetune

STUDY = pandas.read_csv(ROOT / "resources" / "study_networks.csv")
# The first is the run's own: the objective of `own_dataset`.
THREE = {"networks": ["flat", "bottleneck-10", "parent"]}


@pytest.mark.parametrize("name", ["flat", "parent", "joint", "bottleneck-10", "bottleneck-90"])
def test_a_name_gives_the_settings_that_have_this_name(name: str):
    config = {"finetune": {"objective": "joint", "bottleneck": 50, "epochs": 3}, "seed": 0}
    found = stages.for_variant(config, name)
    assert stages.variant_name(found) == name
    assert found["finetune"]["epochs"] == 3
    assert found["seed"] == 0
    assert stages.variant_name(config) == "joint"


def test_the_study_has_each_variant_of_the_default():
    assert list(STUDY["network"]) == [
        "flat",
        *(f"bottleneck-{width}" for width in range(10, 100, 10)),
        "parent",
        "joint",
    ]


def test_the_table_sets_heads_trees_and_the_study_side_by_side():
    heads = {"flat": {"accuracy": 0.7}, "parent": {"parent_accuracy": 0.8}}
    children = [{"child_accuracy": value, "count": 5} for value in (0.4, 0.6)]
    children.append({"child_accuracy": None, "count": 0})
    trees = {"parent": {"per_parent": children, "accuracy": 0.3, "flat": {"accuracy": 0.5}}}
    table = variants.table(heads, trees, STUDY).set_index("network")
    assert list(table.index) == ["flat", "parent"]
    assert table.loc["parent", "child_accuracy"] == pytest.approx(0.5)
    assert table.loc["parent", "best_child_accuracy"] == 0.6
    assert table.loc["parent", "tree_accuracy"] == 0.3
    assert table.loc["parent", "linear_accuracy"] == 0.5
    assert table.loc["parent", "study_child_accuracy"] == pytest.approx(0.459)
    assert table.loc["flat", "study_accuracy"] == pytest.approx(0.739)
    assert np.isnan(table.loc["flat", "tree_accuracy"])
    assert not [name for name in variants.table(heads, trees, None) if name.startswith("study")]


@pytest.mark.parametrize(
    "names",
    [["flat"], ["parent"], ["bottleneck-10"], ["flat", "joint"], ["bottleneck-10", "parent"]],
)
def test_the_figure_shows_whichever_variants_there_are(names: list[str], tmp_path: Path):
    trained = {"accuracy": 0.7, "parent_accuracy": 0.8}
    tree = {
        "per_parent": [{"child_accuracy": 0.5, "count": 5}],
        "accuracy": 0.3,
        "flat": {"accuracy": 0.5},
    }
    heads = dict.fromkeys(names, trained)
    trees = {name: tree for name in names if name in ("parent", "joint")}
    for study in (None, STUDY):
        table = variants.table(heads, trees, study)
        figures.save(figures.variants(table, "images"), tmp_path / "networks.svg")
        assert (tmp_path / "networks.svg").read_bytes().startswith(b"<?xml")


def test_a_variants_jobs_read_and_write_in_its_own_folder_alone(own_dataset: Project):
    """But for the taxonomy and the record of the configuration, which the whole run shares."""
    jobs = own_dataset.having(THREE).jobs("results/networks.svg", force=True)
    shared = {"results/taxonomy.json", "results/config.yaml"}
    rules = set()
    for job in jobs:
        variant = re.search(r"model=results/networks/([\w-]+)", job.wildcards)
        files = {file for file in job.input + job.output if file.startswith("results/")}
        if variant:
            rules.add(job.rule)
            own = f"results/networks/{variant[1]}/"
            assert all(file.startswith(own) for file in files - shared), job
            assert not shared & set(job.output)
        elif job.rule != "compare_variants":
            assert not [file for file in files if file.startswith("results/networks/")], job
    assert rules == {
        "finetune_backbone",
        "export_backbone",
        "embed",
        "evaluate_backbone",
        "take_parent",
        "train_child",
        "reduce_child",
        "fit_head",
        "evaluate_hierarchy",
    }


@pytest.mark.parametrize("name", ["flat", "bottleneck-20", "other"])
def test_there_is_no_folder_for_what_is_no_other_variant(own_dataset: Project, name: str):
    """The run's own objective, one that is not compared, and none."""
    done = own_dataset.having(THREE).snakemake(
        "-n", "--", f"results/networks/{name}/embeddings/val.safetensors"
    )
    assert "No rule to produce" in done.stdout + done.stderr


@pytest.fixture(scope="module")
def compared(own_run: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = own_run.copy(tmp_path_factory.mktemp("networks") / "project").having(THREE)
    project.run("results/networks.svg")
    return project


@pytest.mark.long
def test_each_variant_is_a_run_of_its_own(compared: Project):
    results = compared.folder / "results"
    table = pandas.read_csv(results / "networks.csv").set_index("network")
    assert list(table.index) == THREE["networks"]
    assert table.loc[["flat", "bottleneck-10"], "accuracy"].between(0, 1).all()
    assert 0 <= table.loc["parent", "parent_accuracy"] <= 1
    assert table["tree_accuracy"].notna().tolist() == [False, False, True]
    assert (results / "networks.svg").read_bytes().startswith(b"<?xml")
    weights = {
        name: (folder / "backbone/weights.safetensors").read_bytes()
        for name, folder in folders(results).items()
    }
    assert len(set(weights.values())) == 3


@pytest.mark.long
def test_the_table_is_printed_for_people(compared: Project):
    done = subprocess.run(
        [sys.executable, "-m", "treehead", "show", "results/networks.csv"],
        cwd=compared.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    header, *rows = done.stdout.split("\n\n")[-1].strip().splitlines()[-4:]
    assert header.split()[:2] == ["network", "accuracy"]
    assert [row.split()[0] for row in rows] == THREE["networks"]
    assert "nan" not in done.stdout


def folders(results: Path) -> dict[str, Path]:
    """The variant of the configured objective is the run's own."""
    own, *others = THREE["networks"]
    return {own: results} | {name: results / "networks" / name for name in others}


@pytest.mark.long
def test_a_variant_has_its_own_parent_children_and_tensors(compared: Project):
    folder = compared.folder / "results/networks/parent"
    head = load_file(folder / "backbone/head.safetensors")
    parent = load_file(folder / "hierarchy100/parent.safetensors")
    np.testing.assert_array_equal(parent["weight"], head["first.weight"])
    np.testing.assert_array_equal(parent["bias"], head["first.bias"])
    assert len(list((folder / "hierarchy100/children").glob("*.safetensors"))) == 3
    assert len(list((folder / "hierarchy100/reduced").glob("*.pt"))) == 6
    metrics = json.loads((folder / "hierarchy100/metrics.json").read_text())
    own = json.loads((folder / "backbone/metrics.json").read_text())
    assert metrics["parent_accuracy"] == pytest.approx(own["parent_accuracy"])
    assert any("networks/parent/" in path for path in metrics["input_sha256"])


@pytest.mark.long
def test_the_tree_may_stand_on_the_parent_that_the_backbone_was_trained_with(
    pristine: Project, tmp_path: Path
):
    project = pristine.copy(tmp_path / "project").having({"parent.objective": "finetuned"})
    assert project.plan(METRICS) == {
        "record_config": 1,
        "take_parent": 1,
        "train_child": 20,
        "reduce_child": 20,
        "evaluate_hierarchy": 1,
    }
    project.run("results/hierarchy100/parent.safetensors")
    results = project.folder / "results"
    parent = load_file(results / "hierarchy100/parent.safetensors")
    head = load_file(results / "backbone/head.safetensors")
    np.testing.assert_array_equal(parent["weight"], head["first.weight"])


def test_a_backbone_that_is_not_trained_has_no_parent_to_take(own_dataset: Project):
    taken = {"parent.objective": "finetuned", "finetune.epochs": 0}
    done = own_dataset.having(taken).snakemake("-n", "--", METRICS)
    assert done.returncode == 1
    told = done.stdout + done.stderr
    assert "set finetune.objective to parent, joint or multitask, and finetune.epochs" in told


@pytest.mark.long
def test_a_second_call_runs_nothing_and_another_variant_runs_alone(compared: Project):
    assert compared.plan("results/networks.svg") == {}
    wider = compared.having({"networks": [*THREE["networks"], "bottleneck-20"]})
    assert wider.plan("results/networks.svg") == {
        "record_config": 1,
        "evaluate_hierarchy": 1,
        "finetune_backbone": 1,
        "export_backbone": 1,
        "embed": 2,
        "evaluate_backbone": 1,
        "compare_variants": 1,
    }


def dotted(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"child": {"l2": 0.01}} -> {"child.l2": 0.01}."""
    flat = {}
    for key, value in settings.items():
        inner = isinstance(value, dict) and value
        flat |= dotted(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return flat


def shipped(project: Project, *layers: str) -> Project:
    """With layers of config/, but on the project's own images, from scratch, for four steps."""
    given = {}
    for layer in layers:
        given |= dotted(yaml.safe_load((ROOT / "config" / f"{layer}.yaml").read_text()))
    given = {key: value for key, value in given.items() if not key.startswith("dataset.")}
    short = {"finetune.epochs": 2, "finetune.steps_per_epoch": 2, "backbone.weights": "scratch"}
    return project.having({**given, **short, "results": "out"})


@pytest.mark.parametrize("layers", [("cifar100", "study-resnet9"), ("cifar100-cpu",)])
def test_the_shipped_settings_train_two_steps_an_epoch(
    layers: tuple[str], own_run: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(own_run.folder)
    config, catalog = checked(shipped(own_run, *layers))
    tree = trees.choose(
        config["taxonomy"],
        config["taxonomy_level"],
        dataset="mine",
        names=catalog.names,
        ancestors=catalog.above,
    )
    training = stages.finetune(config, tree)
    made = "resources/datasets/mine"
    network = inputs.complete(training["network"], [], [f"{made}/statistics.json"])
    backbone = build(**network)
    images = [f"{made}/train.{kind}" for kind in ("npy", "parquet")]
    _, history = finetune.from_files(backbone, *images, training, checkpoint=None, rendezvous=None)
    assert len(history) == 2
    assert all(0.5 < row.loss < 100 for row in history)


@pytest.mark.long
def test_the_studys_settings_train_in_the_pipeline(own_run: Project, tmp_path: Path):
    """With the study's own architecture, which is of another library."""
    project = shipped(own_run.copy(tmp_path / "project"), "cifar100", "study")
    project.run("out/backbone/weights.safetensors")
    history = pandas.read_csv(project.folder / "out/backbone/history.csv")
    assert len(history) == 2
    assert history["loss"].between(0.5, 100).all()
    assert not list(project.folder.glob("out/backbone/unfinished-*"))
    assert {rule: files for rule, files in unlisted(project).items() if files} == {}


@pytest.mark.long
def test_two_processes_train_in_the_pipeline_as_well(own_run: Project, tmp_path: Path):
    """They import the job's script once more, and must not run it."""
    weights, settings = "results/backbone/weights.safetensors", {"finetune.processes": 2}
    project = own_run.copy(tmp_path / "project").having(settings)
    project.run(weights)
    log = (project.folder / "results/logs/finetune_backbone.log").read_text()
    assert log.count("Kept epoch 1, the best by val.") == 1
    assert log.count("epoch   1/1") == 1, "one of the processes tells"
    alone = load_file(own_run.folder / weights)
    for name, value in load_file(project.folder / weights).items():
        np.testing.assert_allclose(value, alone[name], rtol=0.2, atol=0.05, err_msg=name)


@pytest.mark.long
def test_the_manuals_backbone_trains_to_its_weights(own_run: Project, tmp_path: Path):
    """docs/adding-a-backbone.md: one file and one entry."""
    manual = (ROOT / "docs/adding-a-backbone.md").read_text()
    section = manual.partition("\n## One file in the library")[2]
    code, entry = re.search(r"```python\n(.*?)```.*?```yaml\n(.*?)```", section, re.DOTALL).groups()
    project = own_run.copy(tmp_path / "project")
    (project.folder / "treehead/backbones/networks/plain.py").write_text(code)
    plain = dotted(yaml.safe_load(entry))
    project.having(plain).run("results/embeddings/val.safetensors")
    weights = load_file(project.folder / "results/backbone/weights.safetensors")
    assert weights["backbone.0.6.weight"].shape == (128, 64, 3, 3)
    embeddings = load_file(project.folder / "results/embeddings/val.safetensors")
    assert embeddings["features"].shape[2] == 128
