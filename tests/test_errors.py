"""A mistake of the user ends a run in one sentence: where, and what to do. Nothing is left."""

import json
import os
import pickle
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import METRICS, Project
from safetensors.numpy import load_file, save_file

from treehead import artifacts, console

TRAIN = "mine/train-00000-of-00001.parquet"


@pytest.fixture
def mine(own_dataset: Project, tmp_path: Path) -> Project:
    """A user's own data set of 6 classes, in which nothing has run, to be spoiled."""
    project = own_dataset.copy(tmp_path / "project")
    shutil.rmtree(project.folder / "resources/datasets", ignore_errors=True)  # from others' looks
    return project


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
    sentence = (
        r"Config: child\.l3 is not a key; did you mean l2\? Valid here: input, l2, class_weights\."
    )
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
@pytest.mark.fault("numpy or CUDA runs out of memory", "one sentence")
def test_memory_that_runs_out_is_told_in_a_sentence(tmp_path: Path, error: BaseException):
    with pytest.raises(SystemExit), console.job(tmp_path / "job.log"):
        raise error
    (line,) = (tmp_path / "job.log").read_text().splitlines()
    assert re.fullmatch(
        r"Error: memory ran out \(.+\); lower a batch size or an image size.*", line
    )


@pytest.mark.fault("torch asks for more memory than there is", "one sentence")
def test_memory_that_torch_does_not_get_is_told_in_a_sentence(tmp_path: Path):
    with pytest.raises(SystemExit), console.job(tmp_path / "job.log"):
        torch.empty(10**14)
    assert (tmp_path / "job.log").read_text().startswith("Error: memory ran out (")


@pytest.mark.fault("a file of tensors takes more memory than there is", "one sentence")
def test_memory_for_tensors_that_is_not_there_is_told_in_a_sentence(tmp_path: Path):
    """In a process of its own, since safetensors' own words of it go to its stderr."""
    artifacts.write_tensors(tmp_path / "large", {"a": np.zeros(2**28, np.int8)})
    limited = (
        "import resource, sys; from treehead import artifacts, console; "
        "resource.setrlimit(resource.RLIMIT_DATA, (2**28, 2**28))\n"
        "with console.job(sys.argv[1]): artifacts.read_tensors(sys.argv[2])"
    )
    command = [sys.executable, "-c", limited, tmp_path / "job.log", tmp_path / "large"]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 1
    told = rf"Error: memory ran out \({re.escape(str(tmp_path / 'large'))} can't be held\); .*\n"
    assert re.fullmatch(told, (tmp_path / "job.log").read_text())


@pytest.fixture
def small_files() -> Iterator[None]:
    """This process writes no file of more than 1000 bytes, as one on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.fault("a write that the system refuses", "one sentence; no half file")
def test_what_the_system_refuses_is_told_in_a_sentence(tmp_path: Path, small_files: None):
    log, path = tmp_path / "job.log", tmp_path / "weights"
    with pytest.raises(SystemExit), console.job(log):
        artifacts.write_bytes(path, bytes(2000))
    assert log.read_text() == (
        f"Error: {path} can't be read or written (File too large); raise the limit of file sizes "
        "(ulimit -f), and run again.\n"
    )
    assert list(tmp_path.iterdir()) == [log]


def test_a_log_that_has_no_room_prints_no_traceback(
    tmp_path: Path, small_files: None, capsys: pytest.CaptureFixture
):
    with console.job(tmp_path / "job.log"):
        for _ in range(100):
            console.say("line " * 10)
    assert set(capsys.readouterr().err.splitlines()) == {"line " * 10}


@pytest.mark.fault(
    "pictures of the data are broken", "one sentence and a list of them; no data are written"
)
def test_broken_pictures_end_the_run_in_one_sentence_and_one_report(mine: Project):
    """Which other faults of data are found, test_folder to test_reading say."""
    table = pq.read_table(mine.folder / TRAIN)
    images = table["img"].to_pylist()
    for row in (3, 7):
        images[row] = {"bytes": b"no image", "path": None}
    column = pa.array(images, table.schema.field("img").type)
    pq.write_table(table.set_column(0, "img", column), mine.folder / TRAIN)
    folder = "resources/datasets/mine"
    sentence = (
        rf"2 of the pictures can't be decoded, such as {TRAIN}, row 3 \(.*\); {folder}/broken\.csv "
        r"lists them\. Replace or remove them, or set dataset\.skip_broken: true to leave .*\."
    )
    done = failed(mine, f"{folder}/train.npy")
    refused(mine, done, sentence, f"{folder}/*.npy", f"{folder}/*.parquet")
    log = (mine.folder / folder / "fetch_dataset.log").read_text().splitlines()
    assert re.fullmatch(f"Error: {sentence}", log[-1])
    report = (mine.folder / folder / "broken.csv").read_text().splitlines()
    assert [line.split(", row ")[-1].partition('"')[0] for line in report[1:]] == ["3", "7"]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (
            "absent",
            r"Config: dataset\.source is absent, which is neither a folder, .*; corr.* it\.",
        ),
        ("config", r"The folder config of dataset\.source holds no picture \(\d+ \.yaml, .*\); .*"),
    ],
)
def test_a_source_without_pictures_is_told_before_anything_runs(
    mine: Project, source: str, sentence: str
):
    project = mine.having({"dataset.source": source})
    refused(project, project.snakemake("--dry-run"), sentence, "results", "resources/datasets")


def test_a_class_with_two_parents_is_told_before_anything_runs(mine: Project):
    """Image 7 is given the superclass 1 in place of 0."""
    table = pq.read_table(mine.folder / TRAIN)
    coarse = table["coarse_label"].to_pylist()
    coarse[7] = 1
    pq.write_table(table.set_column(2, "coarse_label", pa.array(coarse)), mine.folder / TRAIN)
    sentence = rf"{TRAIN}, row 7: the class 1 has the parent 1, and 0 before; a class has one .*"
    refused(mine, mine.snakemake("--dry-run"), sentence, "results", "resources/datasets/mine")


@pytest.mark.fault("weights of another shape", "one sentence; no output")
def test_weights_of_another_shape_are_told_with_the_tensor_and_both_shapes(
    pristine: Project, mine: Project
):
    (path,) = pristine.folder.glob("resources/weights/airbench_residual-*.safetensors")
    tensors = load_file(path)
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 4)
    whole, cut = tensors[name].shape, tensors[name][:-1].shape
    save_file(tensors | {name: tensors[name][:-1].copy()}, mine.folder / "cut.safetensors")
    project = mine.having({"backbone.weights": "cut.safetensors", "finetune.epochs": 0})
    shapes = f"first {name} {cut}, where the network has {whole}; "
    sentence = (
        r"cut\.safetensors does not fit backbone\.architecture: 1 of \d+ tensors have another "
        r"shape, "
        rf"{re.escape(shapes)}`treehead inspect cut\.safetensors` says what it fits\."
    )
    refused(project, failed(project, "fetch_weights"), sentence, "resources/weights/*.safetensors")


class Hostile:
    """Unpickled, it runs a command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.fault("a hostile pickle as the weights of a run", "one sentence; it runs nothing")
def test_a_hostile_pickle_as_weights_is_refused_and_its_command_does_not_run(
    mine: Project, tmp_path: Path
):
    ran = tmp_path / "ran"
    hostile = pickle.dumps({"weight": Hostile(f"touch '{ran}'")}, protocol=2)
    pickle.loads(hostile)
    assert ran.exists()
    ran.unlink()
    (mine.folder / "hostile.pt").write_bytes(hostile)
    project = mine.having({"backbone.weights": "hostile.pt", "finetune.epochs": 0})
    sentence = (
        r"hostile\.pt is a plain pickle, which only its own library can read without risk; open it "
        r"there, and save the state dict with torch\.save or as \.safetensors\."
    )
    refused(project, failed(project, "fetch_weights"), sentence, "resources/weights/*.safetensors")
    assert not ran.exists()


@pytest.mark.fault("a training diverges", "one sentence; no weights stand there")
def test_a_loss_that_is_no_number_names_its_epoch_and_step(project: Project):
    """Weights of an earlier run do not stand there as if they were this one's."""
    extreme = project.having({"finetune.learning_rate": 1e30, "finetune.precision": "float32"})
    sentence = (
        r"Training diverged: the loss became (nan|inf|[0-9.e+]+) in epoch 1, step [1-9]; "
        r"lower finetune\.learning_rate, or set it to 0\.001 and finetune\.optimizer to adamw .*\."
    )
    target = "results/backbone/weights.safetensors"
    refused(extreme, failed(extreme, target), sentence, target, "results/backbone/history.csv")
