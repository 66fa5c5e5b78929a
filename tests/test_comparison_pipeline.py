"""The comparison of heads as a run: what it leaves behind, and that only what is invalid runs."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas
import pytest
import yaml
from conftest import METRICS, ROOT, Job, Project, invalid, unlisted
from PIL import Image
from safetensors.numpy import load_file

from treehead.__main__ import main
from treehead.artifacts import sha256
from treehead.data.taxonomy import read
from treehead.deploy import prediction
from treehead.deploy.c import emulated
from treehead.deploy.model import Model
from treehead.evaluation import comparison
from treehead.heads import fitting, packing

PARETO = "results/pareto.csv"
CHOSEN = "results/chosen.json"
HEADS = {
    *("linear", "linear-distilled", "mlp", "lowrank-2", "tree-1"),
    "nested-4-8-3-2",
}


@pytest.fixture
def mine(compared: Project, tmp_path: Path) -> Project:
    """A copy of it, to edit."""
    return compared.copy(tmp_path / "project")


@pytest.fixture(scope="module")
def table(compared: Project) -> pandas.DataFrame:
    return pandas.read_csv(compared.folder / PARETO)


def test_the_table_has_a_row_for_each_head_and_precision(table: pandas.DataFrame):
    assert list(table.columns[: len(comparison.COLUMNS)]) == comparison.COLUMNS
    rows = set(zip(table["head"], table["precision"], strict=True))
    assert rows == {(head, precision) for head in HEADS for precision in ("float32", "int4")}
    assert set(table["seeds"]) == {2}
    assert table["p_value"].between(0, 1).all()


def test_the_table_agrees_with_predictions_and_files(compared: Project, table: pandas.DataFrame):
    tree = read(compared.folder / "results/taxonomy.json")
    for row in table.itertuples():
        folder = compared.folder / "results/heads" / row.head
        predicted = pandas.read_parquet(folder / "predictions.parquet")
        names = [f"{row.precision}-{seed}" for seed in (0, 1)]
        assert predicted["class"].tolist() == [tree.fine_names[fine] for fine in predicted["fine"]]
        accuracies = [(predicted[name] == predicted["fine"]).mean() for name in names]
        assert row.accuracy_mean == pytest.approx(np.mean(accuracies), rel=1e-4)
        assert row.accuracy_sd == pytest.approx(np.std(accuracies, ddof=1), rel=1e-4, abs=1e-6)
        sizes = [(folder / f"packed/{name}.bin").stat().st_size for name in names]
        per_class = pandas.read_csv(folder / "per_class.csv")
        first = (predicted["float32-0"] == predicted["fine"]).mean()
        assert per_class["recall"].mean() == pytest.approx(first, abs=1e-6)
        assert row.bytes == pytest.approx(np.mean(sizes), rel=1e-4)


@pytest.fixture(scope="module")
def pictures(compared: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test images as pictures, each in the folder of its class, and the chosen predictions."""
    chosen = json.loads((compared.folder / CHOSEN).read_text())
    predicted = pandas.read_parquet(
        compared.folder / f"results/heads/{chosen['head']}/predictions.parquet"
    )
    images = np.load(compared.folder / "resources/datasets/demo100/test.npy")
    folder = tmp_path_factory.mktemp("pictures")
    for place, name in enumerate(predicted["class"]):
        path = folder / name / f"{place:03}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(images[place].transpose(1, 2, 0)).save(path)
    return folder


@pytest.fixture(scope="module")
def expected(compared: Project) -> list[str]:
    """The class that the pipeline has predicted for each test image with the chosen head."""
    chosen = json.loads((compared.folder / CHOSEN).read_text())
    path = compared.folder / f"results/heads/{chosen['head']}/predictions.parquet"
    column = f"{chosen['precision']}-{chosen['seed']}"
    names = read(compared.folder / "results/taxonomy.json").fine_names
    return [names[number] for number in pandas.read_parquet(path)[column]]


def test_the_classifiers_file_says_what_the_pipeline_measured(compared: Project):
    report = json.loads((compared.folder / "results/deploy/metrics.json").read_text())
    chosen = json.loads((compared.folder / CHOSEN).read_text())
    assert report["as_pipeline"] == report["n_test"] == 200
    assert report["accuracy"] == pytest.approx(chosen["test"]["file_accuracy"])
    assert report["head"] == {
        key: chosen[name]
        for key, name in (("name", "head"), ("module",) * 2, ("precision",) * 2, ("seed",) * 2)
    }


def passes(folder: Path, out: Path) -> bool:
    """Whether the example of a head's C finds its golden vectors."""
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("gcc is not installed")
    sources = [folder / file for file in ("head.c", "example.c")]
    subprocess.run([gcc, "-std=c99", "-Werror", *sources, "-o", out], check=True)
    return subprocess.run([out], check=False).returncode == 0


def test_the_heads_c_compiles_and_finds_its_golden_vectors(compared: Project, tmp_path: Path):
    assert passes(compared.folder / "results/deploy", tmp_path / "example")
    told = (compared.folder / "results/logs/write_c.log").read_text()
    assert re.search(r"packed/int4-\d\.bin: its C gives \d+\.\d+% of \d+ images of val", told)


@pytest.mark.long
def test_the_backbone_in_8_bits_has_a_classifier_and_c_of_its_own(mine: Project, tmp_path: Path):
    taken = "results/deploy"
    own = mine.having({"deploy.head": "linear"})
    own.run(f"{taken}/metrics-int8.json", f"{taken}/int8/head.c")
    report = json.loads((mine.folder / taken / "metrics-int8.json").read_text())
    assert report["as_pipeline"] == report["n_test"] == 200
    assert report["head"]["precision"] == "int4"
    file = mine.folder / taken / "classifier-int8.onnx"
    assert Model(file, 1).about.hashes["backbone"] == sha256(
        mine.folder / "results/int8/backbone/weights.safetensors"
    )
    assert file.stat().st_size < 0.6 * (mine.folder / taken / "classifier.onnx").stat().st_size
    header = (mine.folder / taken / "int8/head.h").read_text()
    assert "int8_t" in header
    assert passes(mine.folder / taken / "int8", tmp_path / "example")
    prediction.of_results(mine.folder / "results", f"{taken.removeprefix('results/')}/{file.name}")


def test_the_instructions_of_a_head_are_counted_if_a_processor_is_set(mine: Project):
    if emulated.missing("cortex-m4"):
        pytest.skip("needs Debian's gcc-arm-none-eabi and qemu-system-arm")
    counting = mine.having({"comparison.processor": "cortex-m4"})
    (before,) = [job for job in counting.jobs(PARETO) if job.rule == "compare_heads"]
    files = [f"results/heads/{head}/instructions.json" for head in HEADS]
    assert set(files) <= {*before.input}
    counting.run("results/heads/lowrank-2/instructions.json")
    found = json.loads((mine.folder / "results/heads/lowrank-2/instructions.json").read_text())
    assert found["precisions"]["float32"] == {"reason": "floats have no C"}
    figures = found["precisions"]["int4"]
    assert 0 < figures["instructions_mean"] < figures["loop_instructions_mean"]


def test_predict_gives_each_picture_the_class_of_the_pipeline(
    compared: Project, pictures: Path, expected: list[str], tmp_path: Path, capsys
):
    results = str(compared.folder / "results")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    table = str(tmp_path / "rows.csv")
    assert main(["predict", results, str(pictures), "--top=2", f"--csv={table}"]) == 0
    rows = pandas.read_csv(table)
    assert rows["rank"].tolist() == [1, 2] * 200
    first = rows[rows["rank"] == 1]
    place = [int(Path(path).stem) for path in first["picture"]]
    assert first["class"].tolist() == [expected[number] for number in place]
    assert capsys.readouterr().out == ""
    one = str(next(pictures.rglob("000.png")))
    assert main(["predict", results, one, str(broken), "--top=1"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == one
    assert re.fullmatch(rf" +[\d.]+%  {expected[0]} \(.+\)", lines[1])
    assert lines[2:] == [str(broken), "  not read: not a picture: text"]
    assert main(["predict", results, one, str(broken), "--json=-", "--top=1"]) == 1
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert told[0]["classes"][0]["class"] == expected[0]
    assert told[1] == {"picture": str(broken), "reason": "not a picture: text"}


def test_evaluate_measures_labelled_pictures_as_the_pipeline_does(
    compared: Project, pictures: Path, tmp_path: Path, capsys
):
    model = str(compared.folder / "results/deploy/classifier.onnx")
    assert main(["evaluate", model, str(pictures), f"--csv={tmp_path / 'classes.csv'}"]) == 0
    report = json.loads((compared.folder / "results/deploy/metrics.json").read_text())
    assert f"200 pictures\naccuracy {report['accuracy']:.2%} (" in capsys.readouterr().out
    per_class = pandas.read_csv(tmp_path / "classes.csv")
    assert per_class["support"].tolist() == [2] * 100
    assert per_class["recall"].mean() == pytest.approx(report["accuracy"], abs=1e-6)
    foreign = tmp_path / "set/unicorn/one.png"
    foreign.parent.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(foreign)
    assert main(["evaluate", model, str(tmp_path / "set")]) == 1
    assert "that the classifier does not know, the first 'unicorn'" in capsys.readouterr().err


def test_a_folder_without_a_classifier_is_told_what_makes_it(pristine: Project, capsys):
    assert main(["predict", str(pristine.folder / "results"), "some.png"]) == 1
    told = capsys.readouterr().err
    assert (
        "has no deploy/classifier.onnx; make it with `snakemake --cores 4 results/deploy/" in told
    )


def test_packed_files_alone_predict_what_was_measured(compared: Project, table: pandas.DataFrame):
    features = load_file(compared.folder / "results/embeddings/test.safetensors")["features"][0]
    for head, module in {(row.head, row.module) for row in table.itertuples()}:
        folder = compared.folder / "results/heads" / head
        predicted = pandas.read_parquet(folder / "predictions.parquet")
        for path in (folder / "packed").glob("*.bin"):
            logits = fitting.predict(module, packing.read(path), features)
            assert logits.argmax(1).tolist() == predicted[path.stem].tolist()


def test_a_tree_tells_how_it_routes(compared: Project):
    found = json.loads((compared.folder / "results/heads/tree-1/metrics.json").read_text())
    routing = found["routing"]
    product = routing["parent_accuracy"] * routing["child_given_predicted_parent"]
    hard = found["precisions"]["float32"]["accuracies"][0]
    assert routing["top_k"]["1"]["accuracy"] == pytest.approx(product) == pytest.approx(hard)
    assert len(routing["per_parent"]) == 20
    assert 0 <= routing["soft_routing"] <= 1


def test_the_recommendation_is_a_file_that_fits_and_agrees_with_the_comparison(
    compared: Project, table: pandas.DataFrame
):
    found = json.loads((compared.folder / CHOSEN).read_text())
    path = compared.folder / "results" / found["file"]
    assert (sha256(path), path.stat().st_size) == (found["sha256"], found["cost"]["bytes"])
    assert found["val"]["difference"] >= -found["margin"] - 1e-9
    rows = table.set_index(["head", "precision"])
    row, full = rows.loc[(found["head"], found["precision"])], rows.loc[("linear", "float32")]
    assert found["val"]["accuracy"] == pytest.approx(row["val_accuracy"], rel=1e-4)
    assert found["test"]["accuracy"] == pytest.approx(row["accuracy_mean"], rel=1e-4)
    assert found["test"]["full"] == pytest.approx(full["accuracy_mean"], rel=1e-4)
    assert found["test"]["ci95"] == pytest.approx(row[["accuracy_low", "accuracy_high"]], rel=1e-4)
    fits = rows[rows["val_accuracy"] > full["val_accuracy"] - found["margin"] - 1e-6]
    assert found["cost"]["bytes"] <= fits["bytes"].min() * (1 + 1e-4)
    decided = json.loads((compared.folder / "results/heads/choice.json").read_text())
    assert decided == {key: found[key] for key in found if key != "test"}


def test_the_figure_and_the_page_are_there(compared: Project):
    drawing = (compared.folder / "results/pareto.svg").read_text()
    assert drawing.rstrip().endswith("</svg>")
    page = (compared.folder / "results/study.md").read_text()
    assert "| frozen linear (PhiNet) | 73.81 |" in page
    assert "`linear`" in page


def test_every_test_that_keeps_a_defect_out_exists():
    listed = pandas.read_csv(ROOT / "resources/study_defects.csv")
    assert len(listed) == 11
    for name in listed["test"]:
        path, _, test = name.partition("::")
        assert f"def {test}" in (ROOT / path).read_text()


def test_with_nothing_edited_nothing_runs(compared: Project):
    assert compared.plan(PARETO, CHOSEN, METRICS) == {}


def test_what_a_job_has_imported_at_its_end_is_among_its_input(compared: Project):
    found = unlisted(compared)
    assert found.keys() >= {
        "fit_head",
        "pack_head",
        "evaluate_head",
        "compare_heads",
        "choose_head",
    }
    assert {rule: files for rule, files in found.items() if files} == {}


def test_one_setting_more_fits_one_head_more(compared: Project):
    more = compared.having({"heads.lowrank.rank": [2, 3]})
    assert more.plan(PARETO) == {
        "fit_head": 1,
        "pack_head": 1,
        "evaluate_head": 1,
        "compare_heads": 1,
    }


def test_a_teacher_is_fitted_before_its_students(compared: Project):
    """Linear-distilled and nothing else learns from the teacher whose width changes."""
    other = compared.having({"heads.mlp.width": 17, "heads.nested.teacher": None})
    jobs = {f"{job.rule} {job.wildcards}" for job in other.jobs(PARETO)}
    assert {job for job in jobs if job.startswith("fit_head")} == {
        "fit_head model=results, head=mlp",
        "fit_head model=results, head=linear-distilled",
        "fit_head model=results, head=nested-4-8-3-2",
    }


@pytest.fixture(scope="module")
def jobs(compared: Project) -> list[Job]:
    """The jobs that make the table from nothing."""
    return compared.jobs(PARETO, force=True)


@pytest.mark.parametrize(
    ("module", "fitted"), [("lowrank", 1), ("nested", 1), ("tree", 1), ("pruning", 1)]
)
def test_an_edited_head_is_fitted_again_alone(jobs: list[Job], module: str, fitted: int):
    again = {"pack_head": fitted, "evaluate_head": fitted, "compare_heads": 1}
    file = f"treehead/heads/{module}.py"
    assert invalid(jobs, lambda job: file in job.input) == {"fit_head": fitted, **again}


def test_an_edited_packing_fits_nothing(jobs: list[Job], mine: Project):
    file = "treehead/heads/packing.py"
    with (mine.folder / file).open("a") as opened:
        opened.write("# edited\n")
    heads = len(HEADS)
    again = {"pack_head": heads, "evaluate_head": heads, "compare_heads": 1}
    assert invalid(jobs, lambda job: file in job.input) == again
    assert mine.plan(PARETO) == again


def test_deleting_a_heads_file_and_its_entry_deletes_the_head(mine: Project):
    (mine.folder / "treehead/heads/nested.py").unlink()
    config = mine.folder / "config/config.yaml"
    entries = yaml.safe_load(config.read_text())
    for entry in ("nested", "nested-structured"):
        del entries["heads"][entry]
    config.write_text(yaml.safe_dump(entries, sort_keys=False))
    tiny = mine.folder / "tests/tiny.yaml"
    layer = yaml.safe_load(tiny.read_text())
    for entry in ("nested", "nested-structured"):
        del layer["heads"][entry]
    tiny.write_text(yaml.safe_dump(layer, sort_keys=False))
    assert mine.plan(PARETO) == {"compare_heads": 1}


def test_the_head_of_the_manual_works_as_it_stands(mine: Project):
    """docs/adding-a-head.md: one file, one entry, and its metrics."""
    manual = (ROOT / "docs/adding-a-head.md").read_text()
    code = re.search(r"```python\n(.*?)```", manual, re.DOTALL)[1]
    entry = yaml.safe_load(re.search(r"```yaml\n(.*?)```", manual, re.DOTALL)[1])
    (mine.folder / "treehead/heads/centroid.py").write_text(code)
    project = mine.having({f"heads.{name}": value for name, value in entry["heads"].items()})
    project.run("results/heads/centroid-0.1/metrics.json")
    path = mine.folder / "results/heads/centroid-0.1/metrics.json"
    found = json.loads(path.read_text())["precisions"]["float32"]
    dim = load_file(mine.folder / "results/embeddings/test.safetensors")["features"].shape[2]
    assert found["macs_mean"] == 100 * dim
    assert len(found["accuracies"]) == 2
    assert len(code.splitlines()) < 40


@pytest.mark.long
def test_a_hierarchy_of_learned_clusters_runs_through(own_run: Project, tmp_path: Path):
    """From features to clusters to the tree, its figures, and the parent alone."""
    project = own_run.copy(tmp_path / "project").having({"taxonomy": "clusters-4"})
    assert project.plan(METRICS)["train_child"] == 4
    figures = ("results/figures/dendrogram.png", "results/figures/cluster_confusion.png")
    project.run(METRICS, "results/hierarchy10/metrics.json", *figures)
    tree = read(project.folder / "results/taxonomy.json")
    assert sorted(map(len, tree.classes)) == [1, 1, 2, 2]
    found = json.loads((project.folder / METRICS).read_text())
    assert len(found["per_parent"]) == 4
    alone = json.loads((project.folder / "results/hierarchy10/metrics.json").read_text())
    assert alone["parents"] == 4
    assert 1 / 8 < alone["accuracy"] < 1
    assert all((project.folder / figure).stat().st_size > 10_000 for figure in figures)
    assert project.plan(METRICS, *figures) == {}
