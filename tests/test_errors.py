"""A mistake of the user ends a run in one sentence: where, and what to do. Nothing is left."""

import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from conftest import METRICS, Project, png, write_cifar100
from safetensors.numpy import load_file, save_file

from treehead import console
from treehead.artifacts import InputError
from treehead.data import dataset

TRAIN = "mine/train-00000-of-00001.parquet"
FETCHED = "resources/datasets/mine/train.parquet"


@pytest.fixture
def mine(own_dataset: Project, tmp_path: Path) -> Project:
    """A user's own data set of 6 classes, in which nothing has run, to be spoiled."""
    return own_dataset.copy(tmp_path / "project")


def refused(project: Project, done: CompletedProcess[str], sentence: str, *absent: str) -> None:
    """The run failed with this sentence on one line, no traceback, and without these outputs."""
    told = done.stdout + done.stderr
    assert done.returncode == 1
    assert "Traceback" not in told
    lines = [line.strip().removeprefix("Error: ") for line in told.splitlines()]
    assert [line for line in lines if re.fullmatch(sentence, line)], told
    for pattern in (*absent, "**/*.part"):
        assert not list(project.folder.glob(pattern)), pattern


def failed(project: Project, target: str) -> CompletedProcess[str]:
    return project.snakemake("--cores=1", "--", target)


def test_a_mistake_in_the_config_is_told_before_anything_runs(own_dataset: Project):
    """Which mistakes are found, test_settings, test_sweeps and test_taxonomy say."""
    project = own_dataset.having({"child.l3": 1})
    sentence = r"Config: child\.l3 is not a key; did you mean l2\? Valid here: input, l2\."
    refused(project, project.snakemake("--dry-run"), sentence, "results")


def test_a_taxonomy_that_is_no_partition_is_told_before_anything_runs(mine: Project):
    tree = {"0": {"4": 0}, "1": {"0": 0, "5": 1}, "2": {"2": 0, "1": 1}}
    (mine.folder / "mine/tree.json").write_text(json.dumps({"tree": tree}))
    sentence = r"mine/tree\.json is not a partition: fine label 3 is under no parent; add it to .*"
    refused(mine, mine.snakemake("--dry-run"), sentence, "results")


def test_a_target_that_snakemake_takes_for_a_configuration_is_told(pristine: Project):
    """Without `--`, what follows --configfile is a configuration file to Snakemake."""
    sentence = (
        r"Config: results/hierarchy100/metrics\.json is given as a configuration file, but .* is "
        r"not a key; if it is a target, name it before --configfile, or after --\."
    )
    refused(pristine, pristine.snakemake(METRICS, "--dry-run"), sentence)


@pytest.mark.parametrize(
    "error", [MemoryError, torch.OutOfMemoryError("CUDA out of memory. Tried")]
)
def test_memory_that_runs_out_is_told_in_a_sentence(tmp_path: Path, error: BaseException):
    with pytest.raises(SystemExit), console.job(tmp_path / "job.log"):
        raise error
    (line,) = (tmp_path / "job.log").read_text().splitlines()
    assert re.fullmatch(
        r"Error: memory ran out \(.+\); lower a batch size or an image size.*", line
    )


def test_memory_that_torch_does_not_get_is_told_in_a_sentence(tmp_path: Path):
    with pytest.raises(SystemExit), console.job(tmp_path / "job.log"):
        torch.empty(10**14)
    assert (tmp_path / "job.log").read_text().startswith("Error: memory ran out (")


def without_a_column(table: pa.Table) -> pa.Table:
    return table.drop_columns("fine_label")


def with_an_undecodable_image(table: pa.Table) -> pa.Table:
    return with_image(table, 3, b"no image")


def with_a_smaller_image(table: pa.Table) -> pa.Table:
    return with_image(table, 5, png((0, 0, 0), 16))


def with_image(table: pa.Table, row: int, content: bytes) -> pa.Table:
    images = table["img"].to_pylist()
    images[row] = {"bytes": content, "path": None}
    return table.set_column(0, "img", pa.array(images, table.schema.field("img").type))


def with_a_label_out_of_range(table: pa.Table) -> pa.Table:
    return table.set_column(1, "fine_label", pa.array([*table["fine_label"].to_pylist()[:-1], 6]))


def without_class_4(table: pa.Table) -> pa.Table:
    return table.filter(pc.not_equal(table["fine_label"], 4))


@pytest.mark.parametrize(
    ("spoiled", "sentence"),
    [
        (without_a_column, rf"{TRAIN} has no column fine_label; it needs .*"),
        (
            with_an_undecodable_image,
            rf"{TRAIN}, row 3: the image can't be decoded .*; replace or remove that row\.",
        ),
        (
            with_a_smaller_image,
            rf"{TRAIN}, row 5: the image is 16 x 16 pixels, not 32 x 32; set dataset.image_size.*",
        ),
        (
            with_a_label_out_of_range,
            rf"{TRAIN}, row 47: fine_label is 6, outside 0\.\.5; correct the row, or set .*",
        ),
        (
            without_class_4,
            rf"{TRAIN} has 0 images of class 4, and train needs two of each; add some, or .*",
        ),
    ],
    ids=lambda value: value.__name__.replace("_", " ") if callable(value) else "",
)
def test_a_spoiled_dataset_is_named_by_file_and_row(
    mine: Project,
    monkeypatch: pytest.MonkeyPatch,
    spoiled: Callable[[pa.Table], pa.Table],
    sentence: str,
):
    monkeypatch.chdir(mine.folder)
    pq.write_table(spoiled(pq.read_table(TRAIN)), TRAIN)
    settings = {"classes": 6, "image_size": 32, "train_per_class": None}
    with pytest.raises(InputError) as error:
        dataset.check(TRAIN, settings, "train")
    assert re.fullmatch(sentence, str(error.value))


def test_a_spoiled_dataset_ends_the_run_with_that_sentence_alone(mine: Project):
    table = with_an_undecodable_image(pq.read_table(mine.folder / TRAIN))
    pq.write_table(table, mine.folder / TRAIN)
    sentence = rf"{TRAIN}, row 3: the image can't be decoded .*; replace or remove that row\."
    refused(mine, failed(mine, FETCHED), sentence, "resources/datasets/mine/*.parquet")
    log = mine.folder / "resources/datasets/mine/fetch_dataset.log"
    assert re.fullmatch(f"Error: {sentence}", log.read_text().strip())


def test_a_truncated_parquet_file_is_named(mine: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(mine.folder)
    Path(TRAIN).write_bytes(Path(TRAIN).read_bytes()[:-1000])
    with pytest.raises(InputError) as error:
        dataset.labels(TRAIN)
    sentence = rf"{TRAIN} is not a complete parquet file \(.*\); download it again\."
    assert re.fullmatch(sentence, str(error.value))


def test_labels_that_contradict_the_taxonomy_are_named_by_row(mine: Project):
    """Image 7 of a CIFAR-100 in little is given the superclass of its neighbour."""
    for split in ("train", "test"):
        write_cifar100(mine.folder / f"mine/{split}-00000-of-00001.parquet")
    table = pq.read_table(mine.folder / TRAIN)
    coarse = table["coarse_label"].to_pylist()
    right, coarse[7] = coarse[7], coarse[8]
    assert right != coarse[7]
    table = table.set_column(2, "coarse_label", pa.array(coarse))
    pq.write_table(table, mine.folder / TRAIN)
    project = mine.having(
        {"dataset.name": "cifar100", "dataset.classes": 100, "taxonomy": "superclass"}
    )
    sentence = (
        rf"resources/datasets/cifar100/train\.parquet, row 7: fine label 7 has coarse label "
        rf"{coarse[7]}, but the taxonomy puts it under {right}; correct the row, or set .*"
    )
    done = failed(project, "results/taxonomy.json")
    refused(project, done, sentence, "results/taxonomy.json")


def test_weights_of_another_shape_are_told_with_the_tensor_and_both_shapes(
    pristine: Project, mine: Project
):
    (path,) = pristine.folder.glob("resources/weights/resnet9-*.safetensors")
    tensors = load_file(path)
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 4)
    whole, cut = tensors[name].shape, tensors[name][:-1].shape
    save_file(tensors | {name: tensors[name][:-1].copy()}, mine.folder / "cut.safetensors")
    project = mine.having({"backbone.weights": "cut.safetensors"})
    tensor = name.removeprefix("backbone.")
    sentence = (
        rf"cut\.safetensors does not fit backbone\.architecture: its tensor {re.escape(tensor)} "
        rf"has shape {re.escape(str(cut))}, the network's {re.escape(str(whole))}; give .*"
    )
    refused(project, failed(project, "fetch_weights"), sentence, "resources/weights/*.safetensors")


class Hostile:
    """Unpickled, it runs a command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


def test_a_hostile_pickle_as_weights_is_refused_and_its_command_does_not_run(
    mine: Project, tmp_path: Path
):
    ran = tmp_path / "ran"
    hostile = pickle.dumps({"weight": Hostile(f"touch '{ran}'")}, protocol=2)
    pickle.loads(hostile)
    assert ran.exists()
    ran.unlink()
    (mine.folder / "hostile.pt").write_bytes(hostile)
    project = mine.having({"backbone.weights": "hostile.pt"})
    sentence = (
        rf"hostile\.pt is refused because it holds {os.system.__module__}\.system; save its state "
        r"dict alone, with torch\.save or as \.safetensors\."
    )
    refused(project, failed(project, "fetch_weights"), sentence, "resources/weights/*.safetensors")
    assert not ran.exists()


def test_a_loss_that_is_no_number_names_its_epoch_and_step(project: Project):
    """Weights of an earlier run do not stand there as if they were this one's."""
    extreme = project.having({"finetune.learning_rate": 1e30, "finetune.precision": "float32"})
    sentence = (
        r"Training diverged: the loss became (nan|inf|[0-9.e+]+) in epoch 1, step [1-9]; "
        r"lower finetune\.learning_rate\."
    )
    target = "results/backbone/weights.safetensors"
    refused(extreme, failed(extreme, target), sentence, target, "results/backbone/history.csv")
