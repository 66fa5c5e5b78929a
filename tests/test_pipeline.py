"""What a run leaves behind: tensors, metrics that agree with them, and the same bytes each time."""

import io
import json
import re
import shutil
import subprocess
import sys
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from conftest import JOBS, METRICS, ROOT, Project, unlisted, write_cifar100
from hub_server import COMMIT, Hub, serving
from PIL import Image
from safetensors.numpy import load_file

from treehead.data import taxonomy

TREE = "results/hierarchy100"


@pytest.fixture(scope="module")
def metrics(pristine: Project) -> dict[str, Any]:
    return json.loads((pristine.folder / METRICS).read_text())


def reduced(project: Project, parent: int, name: str) -> np.ndarray:
    path = project.folder / TREE / f"reduced/{parent}_{name}.pt"
    return torch.load(path, weights_only=True).numpy()


def test_each_child_is_reduced_to_two_bare_tensors(pristine: Project):
    folder = pristine.folder / TREE / "reduced"
    expected = {f"{parent}_{name}.pt" for parent in range(20) for name in ("weight", "bias")}
    assert {path.name for path in folder.iterdir() if path.is_file()} == expected
    for parent in range(20):
        child = load_file(pristine.folder / TREE / f"children/{parent}.safetensors")
        assert child.keys() == {"weight", "bias"}
        assert child["weight"].shape == (5, 20)
        for name, array in child.items():
            path = folder / f"{parent}_{name}.pt"
            tensor = torch.load(path, weights_only=True)
            assert type(tensor) is torch.Tensor
            assert tensor.dtype == torch.float32
            assert tensor.is_contiguous()
            assert not tensor.requires_grad
            assert tensor.untyped_storage().nbytes() == 4 * array.size
            np.testing.assert_array_equal(tensor.numpy(), array, strict=True)
            assert path.stat().st_size <= 4096


def test_the_metrics_have_all_that_others_rely_on(metrics: dict[str, Any]):
    assert metrics.keys() >= {
        *("accuracy", "accuracy_ci95", "parent_accuracy", "top_k", "flat", "per_parent"),
        *("child_given_true_parent", "child_given_predicted_parent", "mistake_severity"),
        *("macs", "parameters", "bytes", "n_test", "dataset", "backbone", "config_sha256"),
    }
    assert metrics["top_k"].keys() == {"2", "3"}
    assert metrics["flat"].keys() >= {"accuracy", "macs"}
    for row in metrics["per_parent"]:
        assert row.keys() >= {"parent", "recall", "child_accuracy", "count"}
    assert metrics["dataset"]["name"] == "demo100"
    assert metrics["backbone"]["architecture"] == "airbench_residual"


def test_the_metrics_agree_with_one_another(metrics: dict[str, Any]):
    low, high = metrics["accuracy_ci95"]
    assert 0 <= low < metrics["accuracy"] < high <= 1
    assert metrics["n_test"] == 200
    rows = metrics["per_parent"]
    assert [row["parent"] for row in rows] == list(range(20))
    assert [row["count"] for row in rows] == [10] * 20
    reached = sum(row["recall"] * row["count"] for row in rows) / 200
    assert reached == pytest.approx(metrics["parent_accuracy"])
    told_apart = sum(row["child_accuracy"] * row["count"] for row in rows) / 200
    assert told_apart == pytest.approx(metrics["child_given_true_parent"])
    product = metrics["parent_accuracy"] * metrics["child_given_predicted_parent"]
    assert metrics["accuracy"] == pytest.approx(product)


def test_the_metrics_are_those_of_the_predictions(pristine: Project, metrics: dict[str, Any]):
    table = pandas.read_parquet(pristine.folder / TREE / "predictions.parquet")
    assert len(table) == metrics["n_test"]
    right = table["predicted"] == table["fine"]
    assert right.mean() == pytest.approx(metrics["accuracy"])
    parent_of = parents(pristine)
    mistakes = table[~right][["predicted", "fine"]].replace(parent_of)
    across = (mistakes["predicted"] != mistakes["fine"]).mean()
    assert 1 + across == pytest.approx(metrics["mistake_severity"])
    per_class = pandas.read_csv(pristine.folder / TREE / "per_class.csv")
    assert per_class["recall"].mean() == pytest.approx(metrics["balanced_accuracy"], abs=1e-6)
    assert per_class["confused"].max() <= 10


def test_predictions_and_classes_have_the_names_of_the_taxonomy(pristine: Project):
    tree = taxonomy.read(pristine.folder / "results/taxonomy.json")
    table = pandas.read_parquet(pristine.folder / TREE / "predictions.parquet")
    for column, prefix in (("fine", ""), ("predicted", "predicted_")):
        names = [tree.fine_names[label] for label in table[column]]
        parents = [tree.parent_names[tree.parent_of()[label]] for label in table[column]]
        assert table[f"{prefix}class"].tolist() == names
        assert table[f"{prefix}parent_name"].tolist() == parents
    per_class = pandas.read_csv(pristine.folder / TREE / "per_class.csv")
    assert per_class["class"].tolist() == list(tree.fine_names)
    assert set(per_class["parent"]) == set(tree.parent_names)


def test_costs_are_those_of_the_stored_layers(pristine: Project, metrics: dict[str, Any]):
    """dim -> 20 and one child 20 -> 5 for each routed parent; the full head is dim -> 100."""
    dim = load_file(pristine.folder / TREE / "parent.safetensors")["weight"].shape[1]
    assert metrics["macs"] == dim * 20 + 20 * 5
    assert metrics["top_k"]["3"]["macs"] == dim * 20 + 3 * 20 * 5
    assert metrics["flat"]["macs"] == dim * 100
    assert metrics["parameters"] == (dim + 1) * 20 + 20 * (20 + 1) * 5
    assert metrics["bytes"] == 4 * metrics["parameters"]


def test_the_metrics_name_their_config_and_their_inputs_by_hash(
    pristine: Project, metrics: dict[str, Any]
):
    config = (pristine.folder / "results/config.yaml").read_bytes()
    assert metrics["config_sha256"] == sha256(config).hexdigest()
    assert "resources/datasets/demo100/test.parquet" in metrics["input_sha256"]
    for path, digest in metrics["input_sha256"].items():
        assert sha256((pristine.folder / path).read_bytes()).hexdigest() == digest


def test_predictions_follow_from_the_bare_tensors(pristine: Project):
    """By hand: the likeliest parent, then its likeliest child by the ReLU of the parent logits."""
    tree = json.loads((pristine.folder / "results/taxonomy.json").read_text())["tree"]
    test = load_file(pristine.folder / "results/embeddings/test.safetensors")
    parent = load_file(pristine.folder / TREE / "parent.safetensors")
    by_hand = []
    for features in test["features"][0]:
        logits = parent["weight"] @ features + parent["bias"]
        routed = int(logits.argmax())
        scores = reduced(pristine, routed, "weight") @ np.maximum(logits, 0)
        child = int((scores + reduced(pristine, routed, "bias")).argmax())
        by_hand.append({place: int(fine) for fine, place in tree[str(routed)].items()}[child])
    table = pandas.read_parquet(pristine.folder / TREE / "predictions.parquet")
    assert table["predicted"].tolist() == by_hand
    assert table["fine"].tolist() == test["fine"].tolist()


def test_an_emptied_tensor_silences_its_parent_alone(pristine: Project, tmp_path: Path):
    """The evaluation reads the reduced tensors: without weights, children are a tie."""
    project = pristine.edited(tmp_path / "project")
    predictions = project.folder / TREE / "predictions.parquet"
    before = pandas.read_parquet(predictions)["predicted"]
    parent_of = parents(project)
    routed = before.map(parent_of)
    parent = int(routed.mode()[0])
    children = sorted(fine for fine in parent_of if parent_of[fine] == parent)
    assert set(before[routed == parent]) != {children[0]}
    for name in ("weight", "bias"):
        path = project.folder / TREE / f"reduced/{parent}_{name}.pt"
        torch.save(torch.zeros_like(torch.load(path, weights_only=True)), path)
    assert project.plan() == {"evaluate_hierarchy": 1}
    project.run(METRICS)
    after = pandas.read_parquet(predictions)["predicted"]
    assert set(after[routed == parent]) == {children[0]}
    assert after[routed != parent].equals(before[routed != parent])


def test_the_graph_shows_twenty_children_and_twenty_reductions(pristine: Project):
    """Standard output is the graph alone, so that it can be piped into dot."""
    dot = pristine.snakemake("--dag", "--", METRICS).stdout
    assert dot.startswith("digraph")
    assert dot.rstrip().endswith("}")
    children = re.findall(r'label = "train_child\\nparent: (\d+)"', dot)
    assert sorted(map(int, children)) == list(range(20))
    assert dot.count('label = "reduce_child') == 20


FIGURES = {
    *("contact_sheet.png", "history.png", "confusion.png"),
    *("dendrogram.png", "cluster_confusion.png", "parents.html"),
}


@pytest.fixture(scope="module")
def default(fresh: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after a run of the default target from nothing; only for reading."""
    project = fresh.copy(tmp_path_factory.mktemp("default") / "project")
    project.run(cores=2)
    return project


def test_the_default_target_draws_each_figure(default: Project):
    folder = default.folder / "results/figures"
    assert {path.name for path in folder.iterdir() if path.is_file()} == FIGURES
    for path in folder.glob("*.png"):
        with Image.open(path) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert min(picture.size) > 300
            colours = picture.convert("RGB").getcolors(maxcolors=2**24)
        assert len(colours) > 20, f"{path.name} is a picture of something"


class Cells(HTMLParser):
    """The cells of all tables of a page, row by row; each tag that opens must close."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag not in ("meta", "!doctype", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1].append(data.strip())


def test_the_page_has_a_row_for_each_parent(default: Project, metrics: dict[str, Any]):
    rows = Cells((default.folder / "results/figures/parents.html").read_text()).rows
    assert len(rows) > 20
    for row in metrics["per_parent"]:
        assert [row["name"], str(row["count"])] in [[cells[0], cells[-1]] for cells in rows]


def test_make_run_prints_the_table_of_the_run(default: Project, metrics: dict[str, Any]):
    """The last command of `make run`, on what the default target has made."""
    makefile = (ROOT / "Makefile").read_text()
    recipe = re.search(r"^run:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)[1]
    program, *arguments = recipe.splitlines()[-1].strip().split()
    command = [program.replace("$(BIN)", str(Path(sys.executable).parent)), *arguments]
    done = subprocess.run(command, cwd=default.folder, capture_output=True, text=True, check=True)
    assert METRICS in arguments
    assert "200 test images" in done.stdout
    assert f"{100 * metrics['accuracy']:.2f} %" in done.stdout
    assert f"{metrics['macs']:,.0f}" in done.stdout


def test_two_runs_from_nothing_have_the_same_bytes(pristine: Project, default: Project):
    """All but logs, benchmarks and the speed in the history of fine-tuning; on one core or two."""
    one, other = contents(pristine.folder), contents(default.folder)
    assert len([path for path in one if path.endswith((".safetensors", ".pt"))]) >= 40 + 20 + 7
    assert METRICS in one
    assert {path for path in one if one[path] != other.get(path)} == set()
    more = {path for path in other.keys() - one.keys() if "/figures/" not in path}
    assert {Path(path).parts[1] for path in more} == {"hierarchy10"}, "for the figures"


def test_what_a_job_has_imported_at_its_end_is_among_its_input(default: Project, own_run: Project):
    assert len(unlisted(default)) >= 20, "rules that ran"
    assert "fetch_dataset" in unlisted(own_run)
    for project in (default, own_run):
        assert {rule: files for rule, files in unlisted(project).items() if files} == {}


def test_an_import_that_its_rule_does_not_list_is_found(default: Project, tmp_path: Path):
    """A script that loads a module by its name, where the rule can't know of it."""
    project = default.copy(tmp_path / "project")
    shutil.rmtree(project.folder / JOBS)
    with (project.folder / "workflow/scripts/tabulate_parents.py").open("a") as script:
        script.write("import importlib\n\nimportlib.import_module('treehead.heads.mlp')\n")
    project.run("results/figures/parents.html")
    assert "treehead/heads/mlp.py" in unlisted(project)["tabulate_parents"]


def contents(folder: Path) -> dict[str, bytes]:
    """What was made, by path; of the history of fine-tuning only what is not a time.

    Its record is left out, as it has the hash of all.
    """
    found = {}
    for path in [*folder.glob("results/**/*"), *folder.glob("resources/**/*")]:
        name = path.relative_to(folder).as_posix()
        if path.name == "history.csv":
            history = pandas.read_csv(path).drop(columns="images_per_second")
            found[name] = history.to_csv().encode()
        elif path.name == "history.csv.json":
            continue
        elif path.is_file() and path.suffix != ".log" and "/benchmarks/" not in name:
            found[name] = path.read_bytes()
    return found


def test_parents_of_one_two_and_three_children_run_through(own_run: Project):
    """On features as child input, a folder as source, and a parent layer for the parents alone."""
    dim = load_file(own_run.folder / TREE / "parent.safetensors")["weight"].shape[1]
    for parent, children in enumerate((1, 2, 3)):
        assert reduced(own_run, parent, "weight").shape == (children, dim)
        assert reduced(own_run, parent, "bias").shape == (children,)
    found = json.loads((own_run.folder / METRICS).read_text())
    assert [row["count"] for row in found["per_parent"]] == [2, 4, 6]
    assert found["per_parent"][0]["child_accuracy"] == 1
    assert found["n_test"] == 12
    assert found["macs_worst"] == dim * 3 + dim * 3
    assert dim * 3 + dim * 1 <= found["macs"] <= found["macs_worst"]
    assert found["parameters"] == (dim + 1) * (3 + 1 + 2 + 3)


def test_a_folder_is_read_as_it_is_and_its_hashes_are_kept(own_run: Project):
    """Also where the number of classes, the mean and the standard deviation come from."""
    made = own_run.folder / "resources/datasets/mine"
    origin = json.loads((made / "provenance.json").read_text())
    given = {split: f"mine/{split}-00000-of-00001.parquet" for split in ("train", "test")}
    assert origin["source"] == "mine"
    assert origin["sha256"] == {
        path: sha256((own_run.folder / path).read_bytes()).hexdigest() for path in given.values()
    }
    assert origin["images"] == {"train": 48, "val": 0, "test": 12}
    for split, path in given.items():
        pngs = [row["bytes"] for row in pandas.read_parquet(own_run.folder / path)["img"]]
        shown = np.stack([np.asarray(Image.open(io.BytesIO(data))) for data in pngs])
        np.testing.assert_array_equal(np.load(made / f"{split}.npy"), shown.transpose(0, 3, 1, 2))
    backbone = json.loads((own_run.folder / METRICS).read_text())["backbone"]
    pixels = np.load(made / "train.npy") / 255
    for key, expected in (("mean", pixels.mean((0, 2, 3))), ("std", pixels.std((0, 2, 3)))):
        np.testing.assert_allclose(backbone["normalization"][key], expected, atol=6e-6)


def test_the_metrics_tell_what_was_read(own_run: Project):
    told = json.loads((own_run.folder / METRICS).read_text())["dataset"]
    assert told["images"] == {"train": 48, "val": 0, "test": 12}
    assert told["broken"] == 0
    assert told["leaks"].keys() == {"identical", "near", "dropped"}


CARD = """\
---
configs:
- config_name: cifar100
  data_files:
  - {split: train, path: cifar100/train-*}
  - {split: test, path: cifar100/test-*}
  default: true
---
"""


def test_cifar100_comes_from_the_hub_at_the_pinned_commit(fresh: Project, tmp_path: Path):
    """A small hub serves files of its layout, whose superclasses are those of the built-in ones."""
    project = fresh.copy(tmp_path / "project")
    repo = "datasets/uoft-cs/cifar100"
    files = {f"{repo}/README.md": CARD.encode()}
    digests = {}
    for split in ("train", "test"):
        write_cifar100(tmp_path / split)
        content = (tmp_path / split).read_bytes()
        files[f"{repo}/cifar100/{split}-00000-of-00001.parquet"] = content
        digests[split] = sha256(content).hexdigest()
    settings = {
        "dataset.name": "cifar100",
        "dataset.source": "hub",
        "dataset.revision": COMMIT,
        "dataset.sha256": digests,
        "dataset.classes": 100,
        "dataset.train_per_class": 2,
        "dataset.test_per_class": 2,
    }
    made = "resources/datasets/cifar100"
    with serving(Hub(files)) as hub:
        environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hub")}
        project.having(settings).run(f"{made}/train.npy", **environment)
        assert hub.asked("GET")
    made = project.folder / made
    origin = json.loads((made / "provenance.json").read_text())
    assert origin["source"] == "uoft-cs/cifar100"
    assert origin["revision"] == COMMIT
    for split in ("train", "test"):
        table = pandas.read_parquet(made / f"{split}.parquet")
        assert table["label"].tolist() == [*range(100), *range(100)]
        pixels = np.load(made / f"{split}.npy")
        np.testing.assert_array_equal(pixels[:, 0, 0, 0], table["label"])


def parents(project: Project) -> dict[int, int]:
    """Parent of each fine class."""
    tree = json.loads((project.folder / "results/taxonomy.json").read_text())["tree"]
    return {int(fine): int(parent) for parent in tree for fine in tree[parent]}
