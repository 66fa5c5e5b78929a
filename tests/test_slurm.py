"""The graph on a real SLURM: few submissions, the same bytes, and nothing lost if it stumbles."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest
import slurm
from conftest import METRICS, Project
from slurm import Cluster

pytestmark = pytest.mark.skipif(bool(slurm.lacking()), reason=slurm.lacking() or "-")

# This machine is smaller than a node of a cluster, and quick to ask.
PROFILE = (
    *("--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks=1"),
    *("--cores=2", "--resources=mem_mb=8000"),
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with slurm.cluster(tmp_path_factory.mktemp("slurm") / "cluster", cores=2) as made:
        yield made


def made(project: Project) -> dict[str, str]:
    """The hash of each file that has a record, for what was made from the images to the metrics."""
    files = [
        record.parent.parent / record.stem
        for folder in ("results", "resources")
        for record in (project.folder / folder).rglob(".made/*.json")
    ]
    return {
        file.relative_to(project.folder).as_posix(): sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def test_on_slurm_the_graph_gives_the_same_bytes_in_few_submissions(
    fresh: Project, pristine: Project, cluster: Cluster, tmp_path: Path
):
    project, before = fresh.copy(tmp_path / "project"), len(cluster.jobs())
    done = project.snakemake(*PROFILE, "--", METRICS, **cluster.environment)
    assert done.returncode == 0, done.stderr
    assert made(project) == made(pristine)
    assert 0 < len(cluster.jobs()) - before <= 10
    assert set(cluster.jobs().values()) == {"COMPLETED"}
    assert project.plan() == {}


def cancelled(cluster: Cluster) -> None:
    """The job that runs is cancelled."""
    for number in cluster.running():
        cluster.cancel(number)


def node_restarted(cluster: Cluster) -> None:
    """The daemon of the node is killed while a job runs, and started again."""
    cluster.kill("slurmd")
    time.sleep(2)
    cluster.start("slurmd")


@pytest.mark.parametrize("stumble", [cancelled, node_restarted])
def test_after_a_stumble_the_same_command_gives_the_same_bytes(
    stumble: Callable[[Cluster], None],
    fresh: Project,
    pristine: Project,
    cluster: Cluster,
    tmp_path: Path,
):
    project = fresh.copy(tmp_path / "project")
    command = (*PROFILE, "--", METRICS)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(project.snakemake, *command, **cluster.environment)
        while not (project.folder / "results/logs/finetune_backbone.log").exists():
            assert not first.done(), first.result().stderr
            time.sleep(0.05)
        stumble(cluster)
        done = first.result()
    if stumble is cancelled:
        assert done.returncode == 1
        assert "CANCELLED" in done.stderr
        done = project.snakemake(*command, **cluster.environment)
    assert done.returncode == 0, done.stderr
    assert made(project) == made(pristine)
