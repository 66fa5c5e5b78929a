"""Only what is invalid runs: an edit is made, and the plan of a dry run is compared to the job."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import METRICS, ROOT, Job, Project, checked, effective, invalid
from snakemake.iocontainers import Wildcards

from treehead.config import stages, sweeps
from treehead.data import trees

RECORDED = {"record_config": 1}
EVALUATED = {"evaluate_hierarchy": 1}
REDUCED = {"reduce_child": 20, **EVALUATED}
CHILDREN = {"train_child": 20, **REDUCED}
PARENT = {"train_parent": 1, **CHILDREN}
HEADS = {"fit_head": 1, **PARENT}
EMBEDDED = {"embed": 3, **HEADS}
EXPORTED = {"export_backbone": 1, **EMBEDDED}
FINETUNED = {"finetune_backbone": 1, **EXPORTED}
DRAWN = {"make_demo_dataset": 1, **FINETUNED}

# Which jobs a changed setting makes invalid. The record of the config is always among them.
SETTINGS = [
    ({"child.l2": 0.01}, CHILDREN),
    ({"parent.top_k": [2]}, EVALUATED),
    ({"training.epochs": 3}, {"fit_head": 1, **EVALUATED}),
    ({"heads.linear.training": {"epochs": 3}}, {"fit_head": 1, **EVALUATED}),
    ({"training.class_weights": "sqrt"}, {"fit_head": 1, **EVALUATED}),
    ({"seeds": [0]}, {"fit_head": 1, **EVALUATED}),
    ({"threads.heads": 2}, HEADS),
    ({"embed.views": ["identity"]}, {**HEADS, "embed": 1}),
    ({"embed.device": "cpu"}, EMBEDDED),
    ({"backbone.airbench_residual.middles": [8, 8, 8]}, {"fetch_weights": 1, **FINETUNED}),
    ({"seed": 1}, {"fetch_weights": 1, **FINETUNED}),
    ({"compute.portable": True}, {"fetch_weights": 1, **FINETUNED}),
    ({"backbone.phinet.alpha": 1}, EVALUATED),
    ({"finetune.child_weight": 1}, FINETUNED),
    ({"finetune.bottleneck": 20}, EVALUATED),
]
# Which jobs two settings make invalid that swap their values.
SWAPS = [
    ("parent.learning_rate", "parent.weight_decay", PARENT),
    ("training.learning_rate", "training.weight_decay", {"fit_head": 1, **EVALUATED}),
    ("dataset.mean", "dataset.std", FINETUNED),
    ("dataset.train_per_class", "dataset.test_per_class", DRAWN),
]
# Which jobs an edited file makes invalid.
FILES = [
    ("treehead/evaluation/metrics.py", EVALUATED),
    ("treehead/hierarchy/reduction.py", REDUCED),
    ("treehead/hierarchy/children.py", CHILDREN),
    ("treehead/data/embeddings.py", EMBEDDED),
    ("treehead/training/augment.py", FINETUNED),
    ("treehead/data/demo100/shapes.py", DRAWN),
    ("treehead/report/figures.py", {}),
    ("workflow/scripts/evaluate_hierarchy.py", EVALUATED),
    ("workflow/scripts/train_child.py", CHILDREN),
    ("workflow/scripts/build_taxonomy.py", {"build_taxonomy": 1, **EVALUATED}),
    ("workflow/scripts/embed.py", EMBEDDED),
]


@pytest.fixture(scope="module")
def every_job(pristine: Project, own_dataset: Project) -> list[Job]:
    """The jobs of all rules of the workflow, whatever is up to date."""
    rules = pristine.snakemake("--list-target-rules").stdout.splitlines()
    named_rules = [line.split()[0] for line in rules]
    fetched = own_dataset.jobs("resources/datasets/mine/train.parquet", force=True)
    counting = pristine.having({"comparison.processor": "cortex-m4"})
    return counting.jobs(*named_rules, force=True) + fetched


@pytest.fixture(scope="module")
def needed(every_job: list[Job]) -> list[Job]:
    """The jobs that make the metrics from nothing."""
    files, found = {METRICS}, []
    while new := [job for job in every_job if files & {*job.output} and job not in found]:
        found += new
        files |= {file for job in new for file in job.input}
    return found


def expressions() -> dict[str, str]:
    """What stands in the rule files as the one parameter of each rule."""
    text = "\n".join(path.read_text() for path in sorted(ROOT.glob("workflow/rules/*.smk")))
    _, *parts = re.split(r"^ *rule (\w+):\n", text, flags=re.MULTILINE)
    found = {}
    for rule, body in zip(parts[::2], parts[1::2], strict=True):
        if given := re.search(r"^ +params:\n(.*?)^ +script:", body, re.MULTILINE | re.DOTALL):
            (parameter,) = ast.parse(f"params({given[1].strip()})", mode="eval").body.keywords
            found[rule] = ast.unparse(parameter.value)
    return found


def parameters(project: Project) -> Callable[[Job], Any]:
    """The parameter of a job, which its rule takes from the configuration of the project."""
    config, catalog = checked(project)
    names = {
        "config": config,
        "training_of": lambda model: config,
        "stages": stages,
        "HEADS": sweeps.expand(config["heads"]),
        "CATALOG": catalog,
        "TAXONOMY": trees.choose(
            config["taxonomy"],
            config["taxonomy_level"],
            dataset=config["dataset"]["name"],
            names=catalog.names,
            ancestors=catalog.above,
        ),
    }
    written = expressions()

    def parameter(job: Job) -> Any:
        value = eval(written.get(job.rule, "None"), names)
        wildcards = dict(pair.split("=") for pair in job.wildcards.split(", ") if pair)
        return value(Wildcards(fromdict=wildcards)) if callable(value) else value

    return parameter


def invalid_with(project: Project, changed: dict[str, Any], jobs: list[Job]) -> dict[str, int]:
    """Which of the jobs run again with other settings."""
    before, after = parameters(project), parameters(project.having(changed))
    return invalid(jobs, lambda job: before(job) != after(job))


def swapped(project: Project, *keys: str) -> dict[str, Any]:
    """Two settings, each with the value of the other."""
    values: Any = [checked(project)[0]] * 2
    for place, key in enumerate(keys):
        for part in key.split("."):
            values[place] = values[place][part]
    assert values[0] != values[1]
    return dict(zip(keys, reversed(values), strict=True))


def test_with_nothing_edited_nothing_runs(pristine: Project):
    assert pristine.plan() == {}


def test_files_that_are_only_touched_run_nothing(project: Project):
    """New dates, old content: scripts, modules, images, embeddings, tensors."""
    for place in ("workflow", "treehead", "resources", "results"):
        for path in (project.folder / place, *(project.folder / place).rglob("*")):
            os.utime(path)
    assert project.plan() == {}


def test_each_rule_has_its_settings_as_one_mapping(pristine: Project, needed: list[Job]):
    """Snakemake compares params as a set of values, so two bare numbers that swap go unseen."""
    parameter = parameters(pristine)
    given = [parameter(job) for job in needed if job.rule in expressions()]
    assert len(given) > 30
    assert all(isinstance(value, dict) for value in given)


@pytest.mark.parametrize(
    ("changed", "again"), SETTINGS, ids=[next(iter(changed)) for changed, _ in SETTINGS]
)
def test_a_setting_invalidates_its_stage_and_what_depends_on_it(
    pristine: Project, needed: list[Job], changed: dict[str, Any], again: dict[str, int]
):
    """The record of the config is always among them, and the metrics hold its hash."""
    assert invalid_with(pristine, changed, needed) == {**RECORDED, **again}


@pytest.mark.parametrize(("one", "other", "again"), SWAPS)
def test_two_settings_that_swap_their_values_are_seen(
    pristine: Project, needed: list[Job], one: str, other: str, again: dict[str, int]
):
    changed = swapped(pristine, one, other)
    assert invalid_with(pristine, changed, needed) == {**RECORDED, **again}


@pytest.mark.parametrize(("file", "again"), FILES)
def test_an_edited_file_invalidates_the_rules_that_reach_it(
    needed: list[Job], file: str, again: dict[str, int]
):
    assert (ROOT / file).exists()
    assert invalid(needed, lambda job: file in job.input) == again


@pytest.mark.parametrize(
    "key", ["child.l2", "training.epochs", "embed.views", "seed", "finetune.bottleneck"]
)
def test_snakemake_plans_the_same_for_a_setting(pristine: Project, needed: list[Job], key: str):
    (changed,) = [changed for changed, _ in SETTINGS if key in changed]
    assert pristine.having(changed).plan() == invalid_with(pristine, changed, needed)


def test_snakemake_plans_the_same_for_settings_that_swap(pristine: Project, needed: list[Job]):
    changed = swapped(pristine, "parent.learning_rate", "parent.weight_decay")
    assert pristine.having(changed).plan() == invalid_with(pristine, changed, needed)


@pytest.mark.parametrize(
    "file", ["treehead/hierarchy/children.py", "workflow/scripts/build_taxonomy.py"]
)
def test_snakemake_plans_the_same_for_an_edited_file(
    project: Project, needed: list[Job], file: str
):
    with (project.folder / file).open("a") as opened:
        opened.write("# edited\n")
    assert project.plan() == invalid(needed, lambda job: file in job.input)


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
    (project.folder / "results/hierarchy100/reduced/7_weight.pt").unlink()
    again = named([job for job in project.jobs("all") if job.rule in DRAWN])
    assert again == {"reduce_child parent=7", "evaluate_hierarchy"}


def test_another_results_tree_needs_all_but_the_dataset_and_the_weights(pristine: Project):
    other = pristine.having({"results": "results/other"})
    assert other.plan("results/other/hierarchy100/metrics.json") == {
        **RECORDED,
        "build_taxonomy": 1,
        **FINETUNED,
    }
    assert pristine.plan() == {}


@pytest.mark.long
def test_another_results_tree_leaves_the_first_as_it_was(own_run: Project, tmp_path: Path):
    """Run with another seed, so that the two trees share nothing that was computed.

    Without an epoch of training, which keeps the weights that the seed has drawn.
    """
    project = own_run.copy(tmp_path / "project")
    before = hashes(project.folder / "results")
    other = project.having({"results": "other", "seed": 1, "finetune.epochs": 0})
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
    assert after["backbone/weights.safetensors"] in hashes(project.folder / "resources").values()


def test_editing_the_children_of_a_parent_retrains_its_child_alone(
    own_run: Project, tmp_path: Path
):
    """The first two children of parent 2 change places."""
    project = own_run.copy(tmp_path / "project")
    before = hashes(project.folder / "results")
    with edited(project.folder / "mine/tree.json") as content:
        assert content["tree"]["2"] == {"2": 0, "1": 1, "3": 2}
        content["tree"]["2"] |= {"1": 0, "2": 1}
    assert named(project.jobs()) == {
        "build_taxonomy",
        "train_child parent=2",
        "reduce_child parent=2",
        "evaluate_hierarchy",
    }
    figures = json.loads((project.folder / METRICS).read_text())
    project.run(METRICS)
    assert project.plan() == {}
    after = hashes(project.folder / "results")
    changed = {path for path in before if before[path] != after[path]}
    metrics = METRICS.removeprefix("results/")
    assert {path for path in changed if "logs" not in path} - {metrics} == {
        "taxonomy.json",
        "hierarchy100/children/2.safetensors",
        "hierarchy100/reduced/2_weight.pt",
        "hierarchy100/reduced/2_bias.pt",
    }
    # Probabilities are summed in another order.
    again = json.loads((project.folder / METRICS).read_text())
    errors = [each.pop("expected_calibration_error") for each in (figures, again)]
    assert errors[1] == pytest.approx(errors[0], rel=1e-5)
    assert again == figures


@pytest.fixture
def own_taxonomy(project: Project) -> Project:
    """The project after a tiny run, with its taxonomy as a file of the user's."""
    shutil.copy(project.folder / "resources/taxonomies/demo100.json", project.folder / "tree.json")
    return project.having({"taxonomy": "tree.json"})


def test_a_class_that_moves_retrains_a_backbone_that_learns_from_parents(own_taxonomy: Project):
    """Here the fine-tuning objective is multitask, so nothing below it is valid."""
    with edited(own_taxonomy.folder / "tree.json") as content:
        content["tree"]["8"]["85"] = len(content["tree"]["8"])
        del content["tree"]["7"]["85"]
    assert own_taxonomy.plan() == {**RECORDED, "build_taxonomy": 1, **FINETUNED}


def test_a_new_name_of_a_parent_retrains_nothing(own_taxonomy: Project):
    """The linear head is packed for the first time, since the run before asked for the tree."""
    with edited(own_taxonomy.folder / "tree.json") as content:
        content["parent_names"][1] = "darts"
    head = {"pack_head": 1, "evaluate_head": 1}
    expected = {**RECORDED, "build_taxonomy": 1, **EVALUATED, **head}
    assert own_taxonomy.plan(METRICS, "results/heads/linear/metrics.json") == expected


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


def test_the_run_records_the_config_that_it_used(pristine: Project, own_run: Project):
    """With the number of classes, which the data tell, in place of null."""
    for project, classes in ((pristine, 100), (own_run, 6)):
        used = yaml.safe_load((project.folder / "results/config.yaml").read_text())
        assert used == checked(project)[0]
        assert used["dataset"]["classes"] == classes
        given = effective(project)
        assert {key for key in used if used[key] != given[key]} == {"dataset"}
        filled = {key for key, value in given["dataset"].items() if used["dataset"][key] != value}
        assert filled == {key for key in filled if given["dataset"][key] is None}


def is_of_test(file: str) -> bool:
    return file.endswith(("/test.npy", "/test.parquet", "/embeddings/test.safetensors"))


def test_test_images_are_seen_by_embed_and_evaluation_only(every_job: list[Job]):
    readers = named([job for job in every_job if any(map(is_of_test, job.input))])
    assert "embed split=test" in readers
    assert "evaluate_hierarchy" in readers
    embedding = {
        reader for reader in readers if reader.startswith("embed ") and "split=test" in reader
    }
    assert len(embedding) == 14, "the run, each variant, and the backbone in 8 bits"
    assert all(reader.startswith("evaluate_") for reader in readers - embedding), readers


def test_nothing_is_fitted_to_what_comes_from_test_images(every_job: list[Job]):
    """Follow the files from the test images on: only embeddings, metrics and pictures are there.

    The choice of a head is not: it gets its test figures in another file.
    """
    reached = {f"resources/datasets/demo100/test.{kind}" for kind in ("npy", "parquet")}
    while new := {file for job in every_job if reached & set(job.input) for file in job.output} - (
        reached | {""}
    ):
        reached |= new
    assert {"results/figures/confusion.png", "results/chosen.json"} <= reached
    choices = [job for job in every_job if "results/heads/choice.json" in job.output]
    assert len(choices) == 1
    assert "results/heads/choice.json" not in reached
    tensors = {file for file in reached if file.endswith((".safetensors", ".pt", ".onnx"))}
    assert "results/embeddings/test.safetensors" in tensors
    assert all(map(is_of_test, tensors)), tensors


IS_MODULE = re.compile(r"treehead/.*\.py$")

# What loads modules by their names, which no import statement shows.
HEADS_BY_NAME = "treehead/heads/fitting.py"
NETWORKS_BY_NAME = "treehead/backbones/backbone.py"
# A user's own file, which is no module of the library.
OWN_BY_NAME = "treehead/backbones/own.py"


def test_modules_are_loaded_by_name_in_three_places():
    """So the next test knows of all."""
    files = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("treehead/**/*.py")}
    by_name = re.compile(r"import_module\(|__import__\(|run_path\(|run_module\(|spec_from")
    found = {file for file in files if by_name.search((ROOT / file).read_text())}
    assert found == {HEADS_BY_NAME, NETWORKS_BY_NAME, OWN_BY_NAME}


def test_a_rule_lists_the_modules_that_its_script_imports_and_no_other(
    pristine: Project, own_dataset: Project, every_job: list[Job]
):
    """Compared with what Python loads for each script, once that is all that it may ever import.

    Beside them stand the modules that it loads by name: of the architecture, where a script reaches
    what builds one, of the head that a job fits or evaluates, and of a teacher.
    """
    scripts = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("workflow/scripts/*.py")}
    heads = sweeps.expand(effective(pristine)["heads"])
    modules = {name: f"treehead/heads/{name}.py" for name in sweeps.modules()}
    network = "treehead/backbones/networks/airbench_residual.py"
    command = [sys.executable, "-c", LOADED, network, *sorted(scripts), *modules.values()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {path: with_code({path, *files}) for path, files in json.loads(done.stdout).items()}
    by_name, seen = set(), set()
    sharded = own_dataset.having({"embed.shards": 2})
    joining = sharded.jobs("results/embeddings/val.safetensors", force=True)
    for job in every_job + joining:
        (script,) = scripts & {*job.input} or {None}
        if script is None:
            continue
        seen.add(script)
        chosen = []
        if job.rule in ("fit_head", "evaluate_head", "count_instructions"):
            head = heads[re.search(r"head=([\w.-]+)", job.wildcards)[1]]
            chosen.append(modules[head.module])
            if "teacher" in head.settings and script.endswith("fit_head.py"):
                chosen.append(modules[heads[head.settings["teacher"]].module])
        of_any = ("choose_head", "write_c", "write_int8_c")
        if job.rule in (*of_any, "build_classifier", "build_int8_classifier"):
            chosen += {modules[head.module] for head in heads.values()}
        if NETWORKS_BY_NAME in loaded[script]:
            chosen.append(network)
        by_name |= set(chosen)
        expected = loaded[script].union(*(loaded[module] for module in chosen)) - {script}
        assert with_code({file for file in job.input if IS_MODULE.match(file)}) == expected, job
    assert seen == scripts
    assert by_name == {network, *(modules[head.module] for head in heads.values())}


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
    """Jobs by rule and wildcards, such as "train_child parent=7"; of the model if not the own."""
    own = re.compile(r"model=results(, |$)")
    return {f"{job.rule} {own.sub('', job.wildcards)}".strip() for job in jobs}


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file under a folder but the records, which tell of more than a file."""
    return {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != ".made"
    }
