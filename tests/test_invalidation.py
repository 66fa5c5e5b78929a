"""Only what is invalid runs: an edit is made, and the plan of a dry run is compared to the job."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import METRICS, ROOT, Job, Project, nested
from snakemake.utils import update_config

RECORDED = {"record_config": 1}
EVALUATED = {"evaluate_hierarchy": 1}
REDUCED = {"reduce_child": 20, **EVALUATED}
CHILDREN = {"train_child": 20, **REDUCED}
PARENT = {"train_parent": 1, **CHILDREN}
HEADS = {"fit_head": 1, **PARENT}
EMBEDDED = {"embed": 3, **HEADS}
EXPORTED = {"export_backbone": 1, **EMBEDDED}
FINETUNED = {"finetune_backbone": 1, **EXPORTED}
DRAWN = {"make_demo_dataset": 1, "build_taxonomy": 1, **FINETUNED}


def test_with_nothing_edited_nothing_runs(pristine: Project):
    assert pristine.plan() == {}


@pytest.mark.parametrize("touched", ["workflow", "treehead", "resources", "results"])
def test_files_that_are_only_touched_run_nothing(project: Project, touched: str):
    """New dates, old content: scripts, modules, images, embeddings, tensors."""
    place = project.folder / touched
    for path in (place, *place.rglob("*")):
        os.utime(path)
    assert project.plan() == {}


@pytest.mark.parametrize(
    ("settings", "invalid"),
    [
        ({"child.l2": 0.01}, CHILDREN),
        ({"parent.top_k": [2]}, EVALUATED),
        ({"training.epochs": 3}, {"fit_head": 1, **EVALUATED}),
        ({"heads.linear.training": {"epochs": 3}}, {"fit_head": 1, **EVALUATED}),
        ({"seeds": [0]}, {"fit_head": 1, **EVALUATED}),
        ({"threads.heads": 2}, HEADS),
        ({"embed.views": ["identity"]}, {**HEADS, "embed": 1}),
        ({"embed.device": "cpu"}, EMBEDDED),
        ({"backbone.resnet9.width": 0.125}, {"fetch_weights": 1, **FINETUNED}),
        ({"seed": 1}, {"fetch_weights": 1, **FINETUNED}),
        ({"backbone.phinet.alpha": 1}, EVALUATED),
        ({"finetune.child_weight": 1}, FINETUNED),
        ({"finetune.bottleneck": 20}, EVALUATED),
    ],
    ids=lambda value: next(iter(value)),
)
def test_a_setting_invalidates_its_stage_and_what_depends_on_it(
    pristine: Project, settings: dict[str, Any], invalid: dict[str, int]
):
    """The record of the config is always among them, and the metrics hold its hash."""
    assert pristine.having(settings).plan() == {**RECORDED, **invalid}


@pytest.mark.parametrize(
    ("one", "other", "invalid"),
    [
        ("parent.learning_rate", "parent.weight_decay", PARENT),
        (
            "training.learning_rate",
            "training.weight_decay",
            {"fit_head": 1, **EVALUATED},
        ),
        ("dataset.mean", "dataset.std", FINETUNED),
        ("dataset.train_per_class", "dataset.test_per_class", DRAWN),
    ],
)
def test_two_settings_that_swap_their_values_are_seen(
    pristine: Project, one: str, other: str, invalid: dict[str, int]
):
    """Snakemake compares params as a set of values, so two bare numbers would go unseen."""
    config: Any = recorded(pristine)
    values = {}
    for key in (one, other):
        values[key] = config
        for part in key.split("."):
            values[key] = values[key][part]
    assert values[one] != values[other]
    swapped = {one: values[other], other: values[one]}
    assert pristine.having(swapped).plan() == {**RECORDED, **invalid}


@pytest.mark.parametrize(
    ("module", "invalid"),
    [
        ("evaluation/metrics", EVALUATED),
        ("hierarchy/reduction", REDUCED),
        ("hierarchy/children", CHILDREN),
        ("data/embeddings", EMBEDDED),
        ("training/augment", FINETUNED),
        ("data/demo100/shapes", DRAWN),
        ("report/figures", {}),
    ],
)
def test_an_edited_module_invalidates_the_rules_that_reach_it(
    project: Project, module: str, invalid: dict[str, int]
):
    with (project.folder / f"treehead/{module}.py").open("a") as file:
        file.write("# edited\n")
    assert project.plan() == invalid


@pytest.mark.parametrize(
    ("script", "invalid"),
    [
        ("evaluate_hierarchy", EVALUATED),
        ("train_child", CHILDREN),
        ("build_taxonomy", {"build_taxonomy": 1, **EVALUATED}),
        ("embed", EMBEDDED),
    ],
)
def test_an_edited_script_invalidates_its_rule(
    project: Project, script: str, invalid: dict[str, int]
):
    with (project.folder / f"workflow/scripts/{script}.py").open("a") as file:
        file.write("# edited\n")
    assert project.plan() == invalid


@pytest.mark.parametrize(
    ("lost", "invalid"),
    [
        ("reduced/7_bias.pt", {"reduce_child parent=7", "evaluate_hierarchy"}),
        (
            "children/7.safetensors",
            {"train_child parent=7", "reduce_child parent=7", "evaluate_hierarchy"},
        ),
    ],
)
def test_a_lost_file_is_made_again_alone(project: Project, lost: str, invalid: set[str]):
    """Snakemake misses a file between when it is asked for; metrics that are there stay valid."""
    (project.folder / "results/hierarchy100" / lost).unlink()
    assert named(project.jobs(METRICS, f"results/hierarchy100/{lost}")) == invalid


def test_a_plain_call_restores_a_lost_tensor(project: Project):
    """The tensors are the product, so the default target, `all`, asks for each of them."""
    before = named(project.jobs("all"))
    (project.folder / "results/hierarchy100/reduced/7_weight.pt").unlink()
    assert named(project.jobs("all")) - before == {"reduce_child parent=7", "evaluate_hierarchy"}


def test_another_results_tree_needs_all_but_the_dataset_and_the_weights(pristine: Project):
    other = pristine.having({"results": "results/other"})
    assert other.plan("results/other/hierarchy100/metrics.json") == {
        **RECORDED,
        "build_taxonomy": 1,
        **FINETUNED,
    }
    assert pristine.plan() == {}


def test_another_results_tree_leaves_the_first_as_it_was(own_run: Project, tmp_path: Path):
    """Run with another seed, so that the two trees share nothing that was computed."""
    project = own_run.copy(tmp_path / "project")
    before = hashes(project.folder / "results")
    other = project.having({"results": "other", "seed": 1})
    results = ("heads/linear/head", "hierarchy100/parent", "hierarchy100/children/2")
    targets = [f"other/{name}.safetensors" for name in results]
    other.run(*targets)
    assert hashes(project.folder / "results") == before
    assert project.plan() == {}
    assert other.plan(*targets) == {}
    after = hashes(project.folder / "other")
    for fitted in (
        "backbone/weights.safetensors",
        "embeddings/train.safetensors",
        "heads/linear/head.safetensors",
        "hierarchy100/parent.safetensors",
        "hierarchy100/children/2.safetensors",
    ):
        assert after[fitted] != before[fitted], f"the seed does not decide {fitted}"


@pytest.fixture(scope="module")
def own_taxonomy(pristine: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """After a tiny run with demo100's taxonomy as a file of the user's; only for reading."""
    project = pristine.copy(tmp_path_factory.mktemp("own_taxonomy") / "project")
    built_in = project.folder / "resources/taxonomies/demo100.json"
    shutil.copy(built_in, project.folder / "tree.json")
    project = project.having({"taxonomy": "tree.json"})
    assert project.plan() == {**RECORDED, "build_taxonomy": 1, **EVALUATED}
    project.run(METRICS)
    assert project.plan() == {}
    return project


def test_editing_the_children_of_parent_7_retrains_child_7_alone(
    own_taxonomy: Project, tmp_path: Path
):
    project = own_taxonomy.copy(tmp_path / "project")
    before = hashes(project.folder / "results")
    with edited(project.folder / "tree.json") as content:
        content["tree"]["7"] |= {"17": 1, "35": 0}
    assert named(project.jobs()) == {
        "build_taxonomy",
        "train_child parent=7",
        "reduce_child parent=7",
        "evaluate_hierarchy",
    }
    project.run(METRICS)
    assert project.plan() == {}
    after = hashes(project.folder / "results")
    changed = {path for path in before if before[path] != after[path]}
    assert {path for path in changed if "logs" not in path} == {
        "taxonomy.json",
        "hierarchy100/children/7.safetensors",
        "hierarchy100/reduced/7_weight.pt",
        "hierarchy100/reduced/7_bias.pt",
    }


def test_a_class_that_moves_retrains_a_backbone_that_learns_from_parents(
    own_taxonomy: Project, tmp_path: Path
):
    """Here the fine-tuning objective is joint, so nothing below it is valid."""
    project = own_taxonomy.copy(tmp_path / "project")
    with edited(project.folder / "tree.json") as content:
        content["tree"]["8"]["85"] = len(content["tree"]["8"])
        del content["tree"]["7"]["85"]
    assert project.plan() == {"build_taxonomy": 1, **FINETUNED}


def test_a_class_that_moves_retrains_two_children_of_a_frozen_backbone(
    own_run: Project, tmp_path: Path
):
    """Class 3 moves from parent 2 to parent 1; parent 0 is not concerned, nor are the features."""
    project = own_run.copy(tmp_path / "project")
    with edited(project.folder / "mine/tree.json") as content:
        content["tree"]["1"]["3"] = 2
        del content["tree"]["2"]["3"]
    assert named(project.jobs()) == {
        "build_taxonomy",
        "train_parent",
        "train_child parent=1",
        "train_child parent=2",
        "reduce_child parent=1",
        "reduce_child parent=2",
        "evaluate_hierarchy",
    }


def test_a_parents_new_name_retrains_nothing(own_taxonomy: Project, tmp_path: Path):
    project = own_taxonomy.copy(tmp_path / "project")
    with edited(project.folder / "tree.json") as content:
        content["parent_names"][1] = "darts"
    assert project.plan() == {"build_taxonomy": 1, **EVALUATED}


def test_the_run_records_the_config_that_it_used(pristine: Project, own_run: Project):
    for project in (pristine, own_run):
        merged = yaml.safe_load((project.folder / "config/config.yaml").read_text())
        update_config(merged, yaml.safe_load((project.folder / "tests/tiny.yaml").read_text()))
        update_config(merged, nested(project.settings))
        assert recorded(project) == merged


@pytest.fixture(scope="module")
def every_job(pristine: Project, own_dataset: Project) -> list[Job]:
    """The jobs of all rules of the workflow, whatever is up to date."""
    rules = pristine.snakemake("--list-target-rules").stdout.splitlines()
    named_rules = [line.split()[0] for line in rules]
    fetched = own_dataset.jobs("resources/datasets/mine/train.parquet", force=True)
    return pristine.jobs(*named_rules, force=True) + fetched


def is_of_test(file: str) -> bool:
    return file.endswith(("/test.parquet", "/embeddings/test.safetensors"))


def test_test_images_are_seen_by_embed_and_evaluation_only(every_job: list[Job]):
    readers = named([job for job in every_job if any(map(is_of_test, job.input))])
    assert "embed split=test" in readers
    assert "evaluate_hierarchy" in readers
    embedding = {reader for reader in readers if re.match(r"embed(_variant)? .*split=test", reader)}
    assert len(embedding) == 12, "the run, and each variant"
    assert all(reader.startswith("evaluate_") for reader in readers - embedding), readers


def test_nothing_is_fitted_to_what_comes_from_test_images(every_job: list[Job]):
    """Follow the files from the test images on: only embeddings, metrics and pictures are there."""
    reached = {"resources/datasets/demo100/test.parquet"}
    while new := {file for job in every_job if reached & set(job.input) for file in job.output} - (
        reached | {""}
    ):
        reached |= new
    assert "results/figures/confusion.png" in reached
    tensors = {file for file in reached if file.endswith((".safetensors", ".pt", ".onnx"))}
    assert "results/embeddings/test.safetensors" in tensors
    assert all(map(is_of_test, tensors)), tensors


def test_a_rule_lists_the_modules_that_its_script_imports_and_no_other(every_job: list[Job]):
    """Compared with what Python loads for each script, once that is all that it may ever import.

    A head's jobs list its own module beside them, which the script loads by its name, and jobs that
    build the network list its architecture.
    """
    network = "treehead/backbones/networks/resnet9.py"
    listed, scripts = defaultdict(set), set()
    for job in every_job:
        own = [file for file in job.input if file.startswith("workflow/scripts/")]
        scripts |= set(own)
        for script in own:
            listed[script] |= {file for file in job.input if re.match(r"treehead/.+\.py$", file)}
    expected = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("workflow/scripts/*.py")}
    assert scripts == expected
    heads = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("treehead/heads/*.py")]
    command = [sys.executable, "-c", LOADED, *sorted(scripts), *heads]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {path: with_code(modules) for path, modules in json.loads(done.stdout).items()}
    for script in scripts:
        found = with_code(listed[script])
        assert loaded[script] <= found, script
        if not script.endswith(("fit_head.py", "evaluate_head.py")):
            assert found - {network} == loaded[script], script
    building = {Path(script).stem for script in scripts if network in listed[script]}
    assert building == {
        "count_backbone",
        "embed",
        "export_backbone",
        "fetch_weights",
        "finetune_backbone",
    }
    for job in every_job:
        if job.rule in ("fit_head", "evaluate_head"):
            own = {file for file in job.input if file.startswith("treehead/heads/")}
            modules = set().union(*({path} | loaded[path] for path in own & set(heads)))
            assert with_code({f for f in job.input if f.startswith("treehead/")}) <= (
                loaded[f"workflow/scripts/{job.rule}.py"] | modules
            )


# Runs the import statements of each script in a Python without any module of ours, then those that
# stand inside functions of the modules that were loaded, until no new module comes.
LOADED = """
import ast, importlib, json, os, sys

def imports(path):
    for node in ast.walk(ast.parse(open(path).read())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            if "treehead" in ast.unparse(node):
                yield ast.unparse(node)

def ours():
    return {name: os.path.relpath(module.__file__) for name, module in sys.modules.items()
            if name.partition(".")[0] == "treehead"}

found = {}
for script in sys.argv[1:]:
    for name in ours():
        del sys.modules[name]
    pending = {script}
    done = set()
    while pending:
        for path in pending:
            for statement in imports(path):
                exec(statement, {"__name__": "__main__"})
        done |= pending
        pending = set(ours().values()) - done
    found[script] = sorted(ours().values())
print(json.dumps(found))
"""


def with_code(modules: set[str]) -> set[str]:
    """Without the `__init__.py` that hold a docstring alone: these can't change a result."""
    return {
        module
        for module in modules
        if not module.endswith("__init__.py")
        or len(ast.parse((ROOT / module).read_text()).body) > 1
    }


@contextmanager
def edited(path: Path) -> Iterator[Any]:
    """The content of a JSON file, to be changed in place."""
    content = json.loads(path.read_text())
    yield content
    path.write_text(json.dumps(content))


def named(jobs: list[Job]) -> set[str]:
    """Jobs by rule and wildcards, such as "train_child parent=7"."""
    return {f"{job.rule} {job.wildcards}".strip() for job in jobs}


def recorded(project: Project) -> dict[str, Any]:
    return yaml.safe_load((project.folder / "results/config.yaml").read_text())


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file under a folder."""
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
