"""The project after a run in little, and copies of it in which a test may edit anything."""

import fcntl
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image
from snakemake.utils import update_config

from treehead.config import settings
from treehead.data import catalog
from treehead.data.catalog import Catalog
from treehead.data.demo100 import classes

ROOT = Path(__file__).parents[1]
METRICS = "results/hierarchy100/metrics.json"

# Python imports tests/recorder/sitecustomize.py first in each job; it writes to this folder.
RECORDER = ROOT / "tests/recorder"
JOBS = ".snakemake/jobs"

# A loaded machine is slow, not wrong.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

# A job that a shell starts in the background ignores SIGINT, and so would the runs that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The modules that run the graph begin first, the longest before the others, so that two workers
# end at about the same time.
FIRST = (
    "test_slurm.py",
    "test_pipeline.py",
    "test_networks.py",
    "test_comparison_pipeline.py",
    "test_invalidation.py",
    "test_errors.py",
    "test_resume.py",
    "test_parallel.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long the fault suite takes; `make faults` uses the defaults."""
    parser.addoption("--interruptions", type=int, default=200, help="of whole graphs")
    parser.addoption("--mutations", type=int, default=10_000, help="of each format of files")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = dict(zip(FIRST, range(-len(FIRST), 0), strict=True))
    items.sort(key=lambda item: places.get(item.path.name, 0))
    for item in items:
        # tests/reliability.py reads them in the JUnit file of the run.
        if mark := item.get_closest_marker("fault"):
            item.user_properties += zip(("fault", "promise"), mark.args, strict=True)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Threads only wait for one another on tensors as small as those of the tests."""
    torch.set_num_threads(1)


class Job(NamedTuple):
    """A job of a dry run, as Snakemake tells it."""

    rule: str
    wildcards: str
    input: tuple[str, ...]
    output: tuple[str, ...]


class Project(NamedTuple):
    """A copy of the project, and the settings that its runs lay over tests/tiny.yaml."""

    folder: Path
    settings: dict[str, Any]

    def having(self, settings: dict[str, Any]) -> "Project":
        """The same folder with more settings, such as {"child.l2": 0.01}."""
        return Project(self.folder, self.settings | settings)

    def copy(self, folder: Path) -> "Project":
        """A copy in which a test may edit; dates are kept."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder, self.settings)

    def edited(self, folder: Path) -> "Project":
        """A copy whose results a test may edit by hand: they have no record of what they were."""
        project = self.copy(folder)
        for records in list(folder.rglob(".made")):
            shutil.rmtree(records)
        return project

    def command(self, layer: Path, *arguments: str) -> list[str]:
        """The call of snakemake with the settings, which are written to `layer`."""
        layer.write_text(json.dumps(nested(self.settings)))
        layers = ["tests/tiny.yaml", str(layer)]
        return [sys.executable, "-m", "snakemake", "--configfile", *layers, *arguments]

    def snakemake(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run snakemake in the folder, with its own cache and without settings from outside."""
        with tempfile.TemporaryDirectory() as outside:
            return subprocess.run(
                self.command(Path(outside) / "layer.json", *arguments),
                cwd=self.folder,
                env=apart(outside) | environment,
                capture_output=True,
                text=True,
                check=False,
            )

    @contextmanager
    def running(self, *arguments: str, **environment: str) -> Iterator[psutil.Popen]:
        """Run snakemake beside the body, as `snakemake` does, in a process group of its own."""
        with (
            tempfile.TemporaryDirectory() as outside,
            psutil.Popen(
                self.command(Path(outside) / "layer.json", *arguments),
                cwd=self.folder,
                env=apart(outside) | environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            ) as process,
        ):
            yield process

    def stopped(self, number: int, when: Callable[[], bool], target: str) -> None:
        """Begin to make the target, and send a signal to all processes when the time has come."""
        with self.running("--cores=1", "--", target) as process:
            while not when() and process.poll() is None:
                time.sleep(0.002)
            os.killpg(process.pid, number)

    def run(self, *targets: str, cores: int = 1, **environment: str) -> None:
        """Make the targets, or without one the default target; they must succeed."""
        quiet = ["--quiet", "rules", "host"]
        done = self.snakemake(f"--cores={cores}", *quiet, "--", *targets, **environment)
        assert done.returncode == 0, done.stderr

    def jobs(self, *targets: str, force: bool = False) -> list[Job]:
        """The jobs that would run for the targets, or with `force` all that they could need."""
        forced = ["--forceall"] if force else []
        done = self.snakemake("--dry-run", *forced, "--", *(targets or (METRICS,)))
        assert done.returncode == 0, done.stderr
        found = list(_told(done.stdout))
        total = re.search(r"^total +(\d+)$", done.stdout, re.MULTILINE)
        assert len(found) == (int(total[1]) if total else 0)
        assert total or "Nothing to be done" in done.stdout
        return found

    def plan(self, *targets: str) -> dict[str, int]:
        """How many jobs of each rule would run for the targets."""
        return dict(Counter(job.rule for job in self.jobs(*targets)))


def apart(cache: str) -> dict[str, str]:
    """The environment of a run: none of the settings from outside, and a cache of its own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HF_", "SNAKEMAKE_", "PYTHON"))
    }
    return kept | {"XDG_CACHE_HOME": cache, "PYTHONPATH": str(RECORDER)}


def nested(settings: dict[str, Any]) -> dict[str, Any]:
    """{"child.l2": 0.01} -> {"child": {"l2": 0.01}}."""
    tree: dict[str, Any] = {}
    for key, value in settings.items():
        *path, last = key.split(".")
        inner = tree
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return tree


def effective(project: Project) -> dict[str, Any]:
    """The configuration of a project: its layers, one over the other."""
    merged = yaml.safe_load((project.folder / "config/config.yaml").read_text())
    update_config(merged, yaml.safe_load((project.folder / "tests/tiny.yaml").read_text()))
    update_config(merged, nested(project.settings))
    return merged


def checked(project: Project) -> tuple[dict[str, Any], Catalog]:
    """The configuration of a project as the graph checks and completes it, and its catalog."""
    config = effective(project)
    dataset = config["dataset"]
    with chdir(project.folder):
        settings.check(config, ROOT / "workflow/schemas/config.schema.yaml")
        kept = f"resources/datasets/{dataset['name']}/source.json"
        found = catalog.known(dataset, kept, look=False)
    settings.complete(config, found)
    return config, found


def _told(text: str) -> Iterator[Job]:
    """The jobs in the text of a dry run: a line `rule <name>:`, then indented `<key>: <value>`."""
    for block in re.finditer(r"^(?:local)?rule (\w+):\n((?:    .*\n)*)", text, re.MULTILINE):
        fields = dict(line.strip().partition(": ")[::2] for line in block[2].splitlines())
        files = [tuple(fields.get(key, "").split(", ")) for key in ("input", "output")]
        yield Job(block[1], fields.get("wildcards", ""), *files)


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project as it would be committed now, in which nothing has run."""
    folder = tmp_path_factory.mktemp("fresh") / "project"
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return Project(folder, {})


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Project]:
    """A project that a test run makes once: a second worker waits for the first, and reads it."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def shared(name: str, start: Project, *targets: str) -> Project:
        """A copy of `start` after a run for the targets."""
        project = Project(root / name, start.settings)
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not project.folder.exists():
                shutil.rmtree(root / f"{name}.part", ignore_errors=True)
                part = start.copy(root / f"{name}.part")
                part.run(*targets)
                part.folder.rename(project.folder)
        return project

    return shared


@pytest.fixture(scope="session")
def pristine(fresh: Project, once: Callable[..., Project]) -> Project:
    """The project after a tiny run; only for reading."""
    return once("pristine", fresh, METRICS)


@pytest.fixture(scope="session")
def compared(pristine: Project, once: Callable[..., Project]) -> Project:
    """The project after a tiny comparison too, and with what is taken away; only for reading."""
    taken = ("deploy/metrics.json", "deploy/head.c", "deploy/MODEL_CARD.md")
    made = ("pareto.svg", "study.md", "chosen.json", *taken)
    return once("compared", pristine, *(f"results/{file}" for file in made))


@pytest.fixture
def project(pristine: Project, tmp_path: Path) -> Project:
    """A copy of the project after a tiny run, to edit."""
    return pristine.copy(tmp_path / "project")


@pytest.fixture(scope="session")
def own_dataset(fresh: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A user's own data in the folder `mine`, in which nothing has run: few images of 6 classes.

    The taxonomy `mine/tree.json` has three parents of one, two and three children. The backbone
    learns the classes alone, and children read the features. One thread computes: on so few
    images, and beside another run, two only wait for each other.
    """
    project = fresh.copy(tmp_path_factory.mktemp("own") / "project")
    mine = project.folder / "mine"
    mine.mkdir()
    for split, count in (("train", 8), ("test", 2)):
        fine = list(range(6)) * count
        images = [classes.image(0, split, label, row // 6) for row, label in enumerate(fine)]
        write_parquet(mine / f"{split}-00000-of-00001.parquet", images, fine, [0] * len(fine))
    tree = {"0": {"4": 0}, "1": {"0": 0, "5": 1}, "2": {"2": 0, "1": 1, "3": 2}}
    (mine / "tree.json").write_text(json.dumps({"tree": tree}, indent=1))
    settings = {
        "dataset.name": "mine",
        "dataset.source": "mine",
        "dataset.train_per_class": None,
        "dataset.test_per_class": None,
        "taxonomy": "mine/tree.json",
        "threads.backbone": 1,
        "finetune.objective": "flat",
        "parent.objective": "parent",
        "child.input": "features",
    }
    return project.having(settings)


@pytest.fixture(scope="session")
def own_run(own_dataset: Project, once: Callable[..., Project]) -> Project:
    """The user's own data set after a run; only for reading."""
    return once("own_run", own_dataset, METRICS)


def made(root: Path) -> dict[str, str]:
    """The hash of each file that has a record, of what was made from the images to the metrics."""
    files = [
        record.parent.parent / record.stem
        for folder in ("results", "resources")
        for record in (root / folder).rglob(".made/*.json")
        # The one tells how fast the training was, the other is found before the first job.
        if record.stem not in ("history.csv", "source.json")
    ]
    return {
        file.relative_to(root).as_posix(): sha256(file.read_bytes()).hexdigest() for file in files
    }


def invalid(jobs: list[Job], begin: Callable[[Job], bool]) -> dict[str, int]:
    """How many jobs of each rule run again: those where it begins, and all that depend on them."""
    found, files = set(), set()
    while new := {job for job in jobs if begin(job) or files & {*job.input}} - found:
        found |= new
        files |= {file for job in new for file in job.output}
    return dict(Counter(job.rule for job in found))


def unlisted(project: Project) -> dict[str, set[str]]:
    """Of each rule that ran, the files of the library that a job imported and had not as input."""
    found = defaultdict(set)
    for path in (project.folder / JOBS).glob("*.json"):
        job = json.loads(path.read_text())
        found[job["rule"]] |= set(job["imported"]) - set(job["input"])
    return dict(found)


def write_cifar100(path: Path) -> None:
    """A parquet file in the hub's layout: two plain images of each class, labelled as CIFAR-100."""
    tree = json.loads((ROOT / "resources/taxonomies/cifar100.json").read_text())["tree"]
    coarse = {int(fine): int(parent) for parent in tree for fine in tree[parent]}
    fine = [*range(100), *range(100)]
    images = [np.full((32, 32, 3), label, dtype=np.uint8) for label in fine]
    write_parquet(path, images, fine, [coarse[label] for label in fine])


def write_parquet(path: Path, images: list[np.ndarray], fine: list, coarse: list) -> None:
    """Images (h, w, 3) uint8 and their labels in the layout of the hub's `uoft-cs/cifar100`."""
    pictures = [{"bytes": png(image), "path": None} for image in images]
    pq.write_table(pa.table({"img": pictures, "fine_label": fine, "coarse_label": coarse}), path)


def png(image: np.ndarray) -> bytes:
    """An image (h, w, 3) uint8 as a PNG."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()
