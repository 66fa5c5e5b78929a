"""What a run needs is scarce, missing or forbidden: disk, memory, permission, network, locale."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import METRICS, Project, apart, made
from jobs import Runner, jobs, runner
from stages import STAGES, lacking

SENTENCE = "one sentence, no half file, and the same bytes once there is enough"
# Stages that read the data, train with torch, run onnxruntime, and fit with numpy.
MANY = ("fetch_dataset", "finetune_backbone", "embed", "train_child")
ROOT_ALONE = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root mounts file systems in a namespace of its own"
)
# Root without the right to pass over the permissions of files, as all others are.
PLAIN = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]


def under(project: Project, before: str, *arguments: str, **environment: str):
    """Run snakemake after a shell command, in a namespace of its own for mounts and network."""
    command = project.command(project.folder / "layer.json", *arguments)
    shell = f'{before}\nexec "$@"'
    return subprocess.run(
        ["unshare", "--mount", "--net", "sh", "-ec", shell, "sh", *command],
        cwd=project.folder,
        env=apart(str(project.folder / "cache")) | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def is_sentence(done: subprocess.CompletedProcess[str], word: str) -> bool:
    """Whether a run failed in one error line with this word, and without a traceback."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    failed = done.returncode == 1 and len(lines) == 1 and word in lines[0]
    return failed and "Traceback" not in done.stderr and "Logging error" not in done.stderr


def ends_the_same(project: Project, targets: list[str], whole: Project) -> bool:
    assert not list(project.folder.glob("results/**/*.part"))
    project.run(*targets)
    return made(project.folder) == made(whole.folder)


@ROOT_ALONE
@pytest.mark.parametrize(
    ("options", "stage"),
    [
        pytest.param(
            f"size={size}k", "embed", marks=pytest.mark.fault(f"a disk of {size} kB", SENTENCE)
        )
        for size in (4, 8, 12)
    ]
    + [pytest.param("nr_inodes=4", "embed", marks=pytest.mark.fault("no inode is left", SENTENCE))],
)
def test_a_small_disk_is_told(own_run: Project, tmp_path: Path, options: str, stage: str):
    """Embeddings go to a file system of their own."""
    project, targets = lacking(own_run, tmp_path / "project", stage)
    small = project.folder / "results/embeddings"
    shutil.rmtree(small)
    small.mkdir()
    # Snakemake removes a folder that is empty, as it can't one where something is mounted.
    mount = f"mount -t tmpfs -o {options} tmpfs {small}; touch {small}/kept"
    done = under(project, mount, "--cores=1", "--", *targets)
    assert is_sentence(done, "No space left"), done.stderr
    assert ends_the_same(project, targets, own_run)


@pytest.mark.fault("a limit of the size of files", SENTENCE)
def test_a_limit_of_file_sizes_is_told(own_run: Project, tmp_path: Path):
    project, targets = lacking(own_run, tmp_path / "project", *MANY)
    limit = ["prlimit", "--fsize=50000"]
    command = project.command(tmp_path / "layer.json", "--cores=1", "--", *targets)
    done = subprocess.run(
        [*limit, *command],
        cwd=project.folder,
        env=apart(str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert is_sentence(done, "File too large"), done.stderr
    assert ends_the_same(project, targets, own_run)


@ROOT_ALONE
@pytest.mark.fault(
    "a read-only results folder",
    "Snakemake fails and names the file; the same bytes once it is writable",
)
def test_a_read_only_file_system_is_told(own_run: Project, tmp_path: Path):
    project, targets = lacking(own_run, tmp_path / "project", "train_child")
    folder = project.folder / "results/hierarchy100"
    mount = f"mount --bind {folder} {folder}; mount -o remount,ro,bind {folder}"
    done = under(project, mount, "--cores=1", "--", *targets)
    assert done.returncode == 1
    words = ("Read-only file system: 'results/hierarchy100", "Write-protected output files")
    assert any(word in done.stderr for word in words), done.stderr
    assert "results/hierarchy100/" in done.stderr
    assert ends_the_same(project, targets, own_run)


@pytest.mark.parametrize(
    ("place", "mode", "stage"),
    [
        pytest.param(
            "results/hierarchy100",
            0o500,
            "train_parent",
            marks=pytest.mark.fault("no permission to write results", SENTENCE),
        ),
        pytest.param(
            "results/embeddings/train.safetensors",
            0,
            "train_parent",
            marks=pytest.mark.fault("no permission to read an input", SENTENCE),
        ),
    ],
)
def test_what_is_forbidden_is_told(
    own_run: Project, tmp_path: Path, place: str, mode: int, stage: str
):
    project, targets = lacking(own_run, tmp_path / "project", stage)
    path = project.folder / place
    before = path.stat().st_mode
    path.chmod(mode)
    command = project.command(tmp_path / "layer.json", "--cores=1", "--", *targets)
    done = subprocess.run(
        [*PLAIN, *command] if os.geteuid() == 0 else command,
        cwd=project.folder,
        env=apart(str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
    )
    path.chmod(before)
    assert is_sentence(done, f"{place}"), done.stderr
    assert "Permission denied" in done.stderr
    assert ends_the_same(project, targets, own_run)


@pytest.fixture(scope="module")
def run(own_run: Project, tmp_path_factory: pytest.TempPathFactory):
    project = own_run.copy(tmp_path_factory.mktemp("memory") / "project")
    with runner(project, project.folder) as run:
        run.jobs = {job.rule: job for job in jobs(project)}
        yield run


@pytest.mark.fault(
    "memory that ends after 0 to 256 MB more, in each kind of job",
    "one sentence or the right bytes; if torch itself crashes, no half file",
)
@pytest.mark.parametrize("rule", STAGES)
def test_memory_that_ends_is_told(run: Runner, rule: str, record_property):
    job = run.jobs[rule]
    whole = {path: path.read_bytes() for path in job.output}
    told = []
    with job.restored():
        for megabytes in (0, 1, 4, 16, 64, 256):
            job.clear()
            ended = run(job, memory=megabytes << 20)
            crashed = ended.status == -signal.SIGSEGV  # in torch, when its thread finds no memory
            told.append({0: "made", 1: "told"}.get(ended.status, "crashed"))
            assert ended.status == 0 or ended.is_sentence() or crashed, (megabytes, ended)
            for path, content in whole.items():
                assert not path.exists() or path.suffix == ".csv" or path.read_bytes() == content
        job.clear()
        assert run(job).status == 0
    record_property("happened", f"{rule}: {', '.join(told)}")


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param(environment, marks=pytest.mark.fault(what, "same bytes"), id=what)
        for what, environment in {
            "no locale": {"LC_ALL": "C"},
            "a proxy that is set wrong, and data of one's own": dict.fromkeys(
                ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9"
            ),
            "a HOME that does not exist, with XDG_CACHE_HOME elsewhere": {"HOME": "/dev/null/home"},
        }.items()
    ],
)
def test_the_environment_changes_no_byte(own_run: Project, tmp_path: Path, environment: dict):
    project, targets = lacking(own_run, tmp_path / "project für mich", *MANY)
    project.run(*targets, **environment)
    assert made(project.folder) == made(own_run.folder)


@ROOT_ALONE
@pytest.mark.parametrize(
    "before",
    [
        pytest.param(before, marks=pytest.mark.fault(what, "same bytes"), id=what)
        for what, before in {
            "no network at all, and data of one's own": "true",
            "no /dev/shm": "mount -t tmpfs -o ro,nr_inodes=1 tmpfs /dev/shm",
            "a read-only HOME, with XDG_CACHE_HOME elsewhere": (
                "mkdir home; mount -t tmpfs -o ro tmpfs home"
            ),
        }.items()
    ],
)
def test_a_poor_machine_changes_no_byte(own_run: Project, tmp_path: Path, before: str):
    """Without XDG_CACHE_HOME, Snakemake itself needs a HOME that it may write to.

    The hub behind no network or a wrong proxy: tests/test_hub.py.
    """
    project, targets = lacking(own_run, tmp_path / "project", *MANY)
    home = str(project.folder / "home")
    done = under(project, before, "--cores=1", "--", *targets, HOME=home)
    assert done.returncode == 0, done.stderr
    assert made(project.folder) == made(own_run.folder)


@pytest.mark.parametrize(
    "cores",
    [
        pytest.param(
            cores, marks=pytest.mark.fault(f"the whole graph on {cores} cores", "same bytes")
        )
        for cores in (2, 4, 16)
    ],
)
def test_any_number_of_cores_has_the_same_bytes(
    own_dataset: Project, own_run: Project, tmp_path: Path, cores: int
):
    project = own_dataset.copy(tmp_path / "project")
    project.run(METRICS, cores=cores)
    assert made(project.folder) == made(own_run.folder)


@pytest.mark.parametrize("stage", ["finetune", "embed"])
@pytest.mark.fault("a GPU is asked for where there is none", "one sentence")
def test_a_gpu_that_is_not_there_is_told(own_run: Project, tmp_path: Path, stage: str):
    project = own_run.copy(tmp_path / "project").having({f"{stage}.device": "cuda"})
    done = project.snakemake("--cores=1", "--", METRICS, CUDA_VISIBLE_DEVICES="")
    assert is_sentence(done, f"{stage}.device is cuda, but torch sees no GPU"), done.stderr
