"""MODEL_CARD.md: the hub's format, and every figure is that of a file of the run."""

import json
import re
import subprocess
import sys
from pathlib import Path

import deployed
import numpy as np
import pytest
from conftest import Project
from huggingface_hub import ModelCard
from PIL import Image

from treehead.artifacts import InputError, sha256
from treehead.deploy import card, published
from treehead.deploy.model import Model

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def run(pristine: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project after a tiny run, with a head chosen and taken away; only for reading."""
    project = pristine.edited(tmp_path_factory.mktemp("card") / "project")
    results = project.folder / "results"
    deployed.choose(results)
    deployed.take_away(results, *published.DEPLOYED)
    measured = {"accuracy": 0.25, "accuracy_ci95": [0.2, 0.3], "expected_calibration_error": 0.125}
    measured["sha256"] = sha256(results / published.CLASSIFIER)
    (results / "deploy/metrics.json").write_text(json.dumps(measured))
    (results / "backbone/cost.json").write_text('{"macs": 51308304, "parameters": 552267}')
    (results / "backbone/metrics.json").write_text(
        '{"accuracy": 0.5, "accuracy_ci95": [0.4, 0.6], "macs": 7}'
    )
    return project.folder


@pytest.fixture
def results(run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(run)
    return Path("results")


@pytest.fixture
def unfinished(pristine: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the results of the tiny run with a classifier, to spoil; no head is chosen."""
    project = pristine.edited(tmp_path / "project")
    monkeypatch.chdir(project.folder)
    deployed.take_away(Path("results"), published.CLASSIFIER)
    return Path("results")


def cells(text: str, title: str) -> dict[str, list[str]]:
    """The rows of the table under a heading, by their first cell."""
    part = text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| ")]
    return {row[0]: row[1:] for row in rows}


def percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def test_the_metadata_are_the_hubs(results: Path):
    data = ModelCard(card.text(results, "apache-2.0")).data
    assert data.pipeline_tag == "image-classification"
    assert (data.library_name, data.license) == ("treehead", "apache-2.0")
    assert "onnx" in data.tags
    assert "airbench_residual" in data.tags
    (result,) = data.eval_results
    assert (result.dataset_type, result.dataset_split) == ("demo100", "test")
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.25)


def test_without_a_licence_and_a_set_of_the_hub_none_is_named(results: Path):
    data = ModelCard(card.text(results)).data.to_dict()
    assert not {"license", "datasets"} & data.keys()


def test_a_set_of_the_hub_is_named_with_its_revision(unfinished: Path):
    metrics = unfinished / published.TREE
    report = json.loads(metrics.read_text())
    report["dataset"] |= {"source": "uoft-cs/cifar100", "name": "cifar100"}
    metrics.write_text(json.dumps(report))
    origin = {"revision": "f" * 40, "sha256": {"a/b.parquet": "e" * 64}}
    Path("resources/datasets/demo100/provenance.json").write_text(json.dumps(origin))
    text = card.text(unfinished)
    data = ModelCard(text).data
    assert data.datasets == ["uoft-cs/cifar100"]
    assert data.eval_results[0].dataset_type == "uoft-cs/cifar100"
    assert data.eval_results[0].dataset_revision == "f" * 40
    assert cells(text, "Data")["SHA-256 of b.parquet"] == [f"`{'e' * 64}`"]
    Path("resources/datasets/demo100/test.parquet").write_bytes(b"of another run")
    assert "f" * 40 not in card.text(unfinished)


def test_the_figures_are_those_of_the_files(results: Path):
    text = card.text(results)
    tree = json.loads((results / published.TREE).read_text())
    chosen = json.loads((results / "chosen.json").read_text())
    shares = cells(text, "Results on test")
    low, high = map(percent, tree["accuracy_ci95"])
    assert shares["accuracy of the tree, one parent asked"] == [
        percent(tree["accuracy"]),
        f"{low} to {high}",
    ]
    low, high = map(percent, chosen["test"]["file_ci95"])
    assert shares["accuracy of linear, packed"] == [
        percent(chosen["test"]["file_accuracy"]),
        f"{low} to {high}",
    ]
    assert shares[f"accuracy of {published.CLASSIFIER}"] == ["25.00 %", "20.00 % to 30.00 %"]
    assert shares[f"calibration error of {published.CLASSIFIER}"][0] == "12.50 %"
    assert f"accuracy of {published.INT8}" not in shares
    assert shares["accuracy of the backbone's own head"] == ["50.00 %", "40.00 % to 60.00 %"]
    parents = cells(text, "Results by parent")
    for row in tree["per_parent"]:
        recall, child = percent(row["recall"]), percent(row["child_accuracy"])
        assert parents[row["name"]] == [recall, child, str(row["count"])]
    size = cells(text, "Size")
    onnx = (results / published.BACKBONE).stat().st_size
    assert size["backbone"][:3] == ["552,267", f"{onnx:,}", "51,308,304"]
    assert size["linear"][1] == f"{(results / chosen['file']).stat().st_size:,}"
    assert size["tree"][:2] == [f"{tree['parameters']:,}", f"{tree['bytes']:,}"]


def test_data_weights_and_seeds_are_traced_by_their_hashes(results: Path):
    text = card.text(results)
    data, weights, made = (cells(text, t) for t in ("Data", "Weights", "How it was made"))
    table = "resources/datasets/demo100/test.parquet"
    assert data["SHA-256 of test.parquet"] == [f"`{sha256(table)}`"]
    (first,) = Path("resources/weights").glob("*.safetensors")
    assert weights["SHA-256 of the first weights"] == [f"`{sha256(first)}`"]
    trained = sha256(results / "backbone/weights.safetensors")
    assert weights["SHA-256 of the trained weights"] == [f"`{trained}`"]
    assert weights["started from"] == ["scratch"]
    assert made["SHA-256 of the configuration"] == [f"`{sha256(results / 'config.yaml')}`"]
    assert made["seeds of the heads"] == ["0, 1"]
    assert made["exported with"][0].startswith("pytorch ")


def test_each_file_is_listed_with_its_size_and_hash(results: Path):
    rows = cells(card.text(results), "Files")
    files = published.files(results)
    assert [name for name in rows if "/" in name or "json" in name] == [f"`{f}`" for f in files]
    for file in files:
        size, digest = (results / file).stat().st_size, sha256(results / file)
        assert rows[f"`{file}`"][1:] == [f"{size:,}", f"`{digest}`"]


def test_the_lines_under_how_to_run_classify_a_picture(results: Path, tmp_path: Path):
    """In a folder that has what is published, and nothing else."""
    for file in published.files(results):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes((results / file).read_bytes())
    image = np.load("resources/datasets/demo100/test.npy")[7]
    Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / "picture.png")
    model = Model(results / published.CLASSIFIER, threads=1)
    expected = model.about.classes[model(image[None])[0].argmax()]
    text = card.text(results)
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (command,) = re.findall(r"```sh\ntreehead (.*?)\n```", text, re.DOTALL)
    predict = command.replace("path/to/pictures", "picture.png").split()
    told = []
    for arguments in (["-c", program], ["-m", "treehead", *predict]):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told.append(done.stdout.strip())
    assert told == [expected, ""]
    assert f"picture.png,1,{expected}," in (tmp_path / "rows.csv").read_text()


def test_a_card_says_what_a_file_of_8_bits_needs_where_sums_overflow(results: Path):
    entry = 'options.add_session_config_entry("session.x64quantprecision", "1")'
    assert entry in card.text(results)
    assert "x64quantprecision" not in card.text(results, deployed=[published.CLASSIFIER])


def test_a_figure_that_no_file_has_is_left_out(unfinished: Path):
    text = card.text(unfinished)
    assert "None" not in text.replace("picture[None]", "")
    assert "nan" not in text.split()
    assert set(cells(text, "Size")) == {"parameters", "---", "backbone", "tree"}
    assert cells(text, "Size")["backbone"][0] == ""
    assert not [name for name in cells(text, "Results on test") if "head" in name]
    assert not {f"`{file}`" for file in published.DEPLOYED[1:]} & {*cells(text, "Files")}
    tree = json.loads((unfinished / published.TREE).read_text())
    (result,) = ModelCard(text).data.eval_results
    assert result.metric_value == tree["accuracy"]


def test_where_local_files_lie_is_not_told(unfinished: Path):
    metrics = unfinished / published.TREE
    report = json.loads(metrics.read_text())
    report["dataset"]["source"] = "/home/jane/secret/pictures"
    metrics.write_text(json.dumps(report))
    text = card.text(unfinished)
    assert "jane" not in text
    assert cells(text, "Data")["source"] == ["pictures"]


@pytest.mark.parametrize("file", [published.BACKBONE, published.CLASSIFIER])
def test_an_unfinished_folder_is_an_error_with_the_command_that_finishes_it(
    unfinished: Path, file: str
):
    (unfinished / file).unlink()
    command = f"`snakemake --cores 4 results/{file} --configfile results/config.yaml`"
    sentence = f"results is unfinished, it has no {file}; make it with {command}."
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
        card.text(unfinished)


def test_results_of_another_version_are_an_error(unfinished: Path):
    report = json.loads((unfinished / published.TREE).read_text())
    del report["per_parent"]
    (unfinished / published.TREE).write_text(json.dumps(report))
    with pytest.raises(InputError, match="another version of treehead, it has no 'per_parent'; "):
        card.text(unfinished)


def test_a_head_that_is_not_the_measured_one_is_an_error(unfinished: Path):
    chosen = deployed.choose(unfinished)
    (unfinished / chosen["file"]).write_bytes(b"another")
    with pytest.raises(InputError, match=r"is not the head that results/chosen\.json measured"):
        card.text(unfinished)


def test_files_of_another_head_or_backbone_are_not_published(unfinished: Path):
    deployed.choose(unfinished)
    deployed.take_away(unfinished, *published.DEPLOYED)
    for classifier, (header, source) in published.C.items():
        told = (unfinished / header).read_text()
        (unfinished / header).write_text(f"/* {'0' * 64} */")
        sentence = rf"{header} is not of the head of {classifier}; make it again with `snakemake"
        with pytest.raises(InputError, match=sentence):
            published.files(unfinished)
        assert source not in published.files(unfinished, [published.CLASSIFIER])
        (unfinished / header).write_text(told)
    (unfinished / "backbone/weights.safetensors").write_bytes(b"another")
    with pytest.raises(InputError, match=r"deploy/classifier\.onnx was made of another backbone/"):
        published.files(unfinished)


def test_figures_of_an_earlier_classifier_are_left_out(unfinished: Path):
    measured = {"accuracy": 0.99, "sha256": "0" * 64}
    (unfinished / "deploy/metrics.json").write_text(json.dumps(measured))
    assert "99.00 %" not in card.text(unfinished)


def test_the_rule_needs_every_file_that_the_card_reads_and_is_no_default(pristine: Project):
    (job,) = (j for j in pristine.jobs("results/deploy/MODEL_CARD.md") if j.rule == "write_card")
    read = {published.TREE, published.BACKBONE, published.CHOSEN, "taxonomy.json", "config.yaml"}
    read |= {"backbone/cost.json", "backbone/metrics.json"}
    read |= {published.CLASSIFIER, "deploy/metrics.json"}
    assert {f"results/{file}" for file in read} <= {*job.input}
    assert [file for file in job.input if file.startswith("resources/weights/")]
    assert "write_card" not in pristine.plan("all")
