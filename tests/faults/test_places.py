"""Where a run lies, and what happens to its files between two runs."""

import os
import shutil
import signal
import subprocess
from hashlib import sha256
from pathlib import Path

import psutil
import pytest
from conftest import METRICS, Project, made
from jobs import counting
from stages import completed, lacking, stop, wait_for

YEAR = 365 * 24 * 3600
NOTHING = "nothing runs again, `treehead verify` finds all as it was made"
PLACES = {
    "with spaces": "a folder with spaces",
    "with umlauts": "Ergebnisse für Ä, ö und ß",
    "with quotes and dollars": 'it\'s "$HOME" & co; #1',
    "with a name of 250 characters": 250 * "x",
    "deep, with a path of 700 characters": "/".join(7 * [99 * "y"]),
}


def verified(project: Project) -> str:
    """What `treehead verify` says of the results."""
    command = [os.sys.executable, "-m", "treehead", "verify", "results"]
    done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def is_whole(project: Project) -> bool:
    """Whether nothing would run, and all files are as they were made."""
    text = verified(project)
    count, _, rest = text.splitlines()[-1].removeprefix("results: ").partition(" of ")
    return project.plan() == {} and rest == f"{count} files are as they were made."


def dated(folder: Path, seconds: float) -> None:
    """Date all files of a folder some seconds later than they are."""
    for path in folder.rglob("*"):
        told = path.lstat()
        os.utime(path, (told.st_atime, told.st_mtime + seconds), follow_symlinks=False)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.fault(f"a run is moved to a folder {kind}", NOTHING))
        for kind, name in PLACES.items()
    ],
    ids=list(PLACES),
)
def test_a_run_that_is_moved_is_whole(own_run: Project, tmp_path: Path, name: str):
    assert is_whole(own_run.copy(tmp_path / name / "project"))


@pytest.mark.fault("a run is reached through a symbolic link", NOTHING)
def test_a_run_behind_a_link_is_whole(own_run: Project, tmp_path: Path):
    project = own_run.copy(tmp_path / "project")
    (tmp_path / "link").symlink_to(project.folder)
    assert is_whole(Project(tmp_path / "link", project.settings))


@pytest.mark.fault(
    "the whole graph in a folder with spaces, umlauts, quotes, a dollar and 250 characters, "
    "behind a link",
    "same bytes",
)
def test_a_run_in_an_odd_folder_has_the_same_bytes(
    own_dataset: Project, own_run: Project, tmp_path: Path
):
    odd = 'it\'s für "$HOME" & co; #1 ' + 200 * "x"
    project = own_dataset.copy(tmp_path / odd / "project")
    (tmp_path / "a link").symlink_to(project.folder)
    Project(tmp_path / "a link", project.settings).run(METRICS)
    assert made(project.folder) == made(own_run.folder)


@pytest.mark.fault("each file of a run is touched", NOTHING)
def test_touched_files_make_nothing_run(own_run: Project, tmp_path: Path):
    project = own_run.copy(tmp_path / "project")
    for path in [*project.folder.rglob("*")]:
        if path.is_file():
            path.touch()
    assert is_whole(project)


@pytest.mark.parametrize(
    "years",
    [
        pytest.param(1, marks=pytest.mark.fault("the clock was a year ahead in a run", NOTHING)),
        pytest.param(-1, marks=pytest.mark.fault("the clock was a year behind in a run", NOTHING)),
    ],
)
def test_results_dated_by_a_wrong_clock_are_whole(own_run: Project, tmp_path: Path, years: int):
    """And what changes afterwards, under the right clock, is seen."""
    project = own_run.copy(tmp_path / "project")
    dated(project.folder / "results", years * YEAR)
    dated(project.folder / "resources", years * YEAR)
    assert is_whole(project)
    assert project.having({"child.l2": 0.5}).plan() == own_run.having({"child.l2": 0.5}).plan()


@pytest.mark.parametrize(
    "years",
    [
        pytest.param(1, marks=pytest.mark.fault("the clock goes a year ahead", "same bytes")),
        pytest.param(-1, marks=pytest.mark.fault("the clock goes a year back", "same bytes")),
    ],
)
def test_a_clock_that_is_set_in_a_run_changes_no_byte(own_run: Project, tmp_path: Path, years: int):
    """One half of the run has the right clock, the other a wrong one."""
    project, targets = lacking(own_run, tmp_path / "project", "embed")
    wrong = {"LD_PRELOAD": str(counting()), "FAULT_CLOCK": str(years * YEAR)}
    project.run("results/embeddings/train.safetensors", **wrong)
    project.run(*targets)
    assert made(project.folder) == made(own_run.folder)


DAMAGE = {
    "is empty": lambda path: path.write_bytes(b""),
    "is cut in half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "has bytes behind its end": lambda path: path.write_bytes(path.read_bytes() + bytes(8)),
    "is zeros of its length": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(
            damage,
            marks=pytest.mark.fault(
                f"an input of a job {kind}", "one sentence, whose remedy leads to the same bytes"
            ),
        )
        for kind, damage in DAMAGE.items()
    ],
    ids=list(DAMAGE),
)
def test_a_damaged_input_ends_a_run_and_its_remedy_helps(own_run: Project, tmp_path: Path, damage):
    project, targets = lacking(own_run, tmp_path / "project", "train_parent")
    path = project.folder / "results/embeddings/train.safetensors"
    dates = path.stat()
    damage(path)
    os.utime(path, ns=(dates.st_atime_ns, dates.st_mtime_ns))
    failed = project.snakemake("--cores=1", "--", *targets)
    sentence = "Error: results/embeddings/train.safetensors changed since it was made; delete it"
    assert failed.returncode == 1
    assert sentence in failed.stderr
    assert "Traceback" not in failed.stderr
    path.unlink()
    project.run(*targets)
    assert made(project.folder) == made(own_run.folder)


@pytest.mark.parametrize(
    ("lost", "stage"),
    [
        pytest.param(
            lost,
            stage,
            marks=pytest.mark.fault(f"{what} is lost between two runs", "same bytes"),
        )
        for what, lost, stage in [
            ("Snakemake's own folder", ".snakemake", "train_child"),
            ("the folder of the embeddings", "results/embeddings", "train_child"),
            ("each record", "**/.made", "train_child"),
            ("the log of each job", "results/logs", "train_child"),
        ]
    ],
)
def test_what_is_deleted_between_two_runs_changes_no_byte(
    own_run: Project, tmp_path: Path, lost: str, stage: str
):
    project, targets = lacking(own_run, tmp_path / "project", stage)
    for path in list(project.folder.glob(lost)):
        shutil.rmtree(path)
    project.run(*targets)
    for path, digest in made(own_run.folder).items():
        assert sha256((project.folder / path).read_bytes()).hexdigest() == digest, path


@pytest.mark.fault("a folder stands where a file is to be made", "one sentence")
def test_a_folder_in_the_place_of_a_file_is_told(own_run: Project, tmp_path: Path):
    project, targets = lacking(own_run, tmp_path / "project", "evaluate_hierarchy")
    (project.folder / METRICS / "inside").mkdir(parents=True)
    failed = project.snakemake("--cores=1", "--", *targets)
    assert failed.returncode == 1
    told = f"Error: {METRICS} can't be read or written (Is a directory); remove the folder, and run"
    assert told in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.fault(
    "two runs at once in one folder",
    "the second is refused in Snakemake's words, and the first ends in the same bytes",
)
def test_a_second_run_at_once_is_refused(own_run: Project, tmp_path: Path):
    project, targets = lacking(own_run, tmp_path / "project", "embed")
    with project.running("--cores=1", "--", *targets) as first:
        wait_for(first, "embed")
        second = project.snakemake("--cores=1", "--", *targets)
        assert second.returncode == 1
        assert "Error: Directory cannot be locked." in second.stderr
        assert "Traceback" not in second.stderr
        assert first.wait() == 0
    assert made(project.folder) == made(own_run.folder)


@pytest.mark.fault("two runs at once in one folder, with --nolock", "same bytes, no half file")
def test_two_runs_at_once_without_a_lock_have_the_same_bytes(own_run: Project, tmp_path: Path):
    """One may fail, as Snakemake deletes what the other one reads; run again, it ends well."""
    project, targets = lacking(own_run, tmp_path / "project", "embed")
    with (
        project.running("--cores=1", "--nolock", "--", *targets) as first,
        project.running("--cores=1", "--nolock", "--", *targets) as second,
    ):
        psutil.wait_procs([first, second])
    completed(project, targets)
    assert made(project.folder) == made(own_run.folder)
    assert not list(project.folder.glob("results/**/*.part"))


@pytest.mark.fault(
    "a stale lock of a killed run", "Snakemake names --unlock; after it the same bytes"
)
def test_a_stale_lock_names_its_remedy(own_run: Project, tmp_path: Path):
    project, targets = lacking(own_run, tmp_path / "project", "train_child")
    with project.running("--cores=1", "--", *targets) as run:
        wait_for(run, "train_child")
        stop(run, signal.SIGKILL, "group")
    refused = project.snakemake("--cores=1", "--", *targets)
    assert refused.returncode == 1
    assert "--unlock" in refused.stderr
    completed(project, targets)
    assert made(project.folder) == made(own_run.folder)
