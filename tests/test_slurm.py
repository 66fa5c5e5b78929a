"""The graph on a real SLURM: few submissions, the same bytes, and nothing lost if it stumbles."""

import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import slurm
from conftest import METRICS, ROOT, Project, made
from slurm import Cluster

needs_slurm = pytest.mark.skipif(bool(slurm.lacking()), reason=slurm.lacking() or "-")

# This machine is smaller than a node of a cluster, and quick to ask.
PROFILE = (
    *("--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks=1"),
    *("--cores=2", "--resources=mem_mb=8000"),
)


def test_the_whole_comparison_is_five_submissions():
    """Data, training, export, embedding, and all that is fitted to features."""
    targets = ("pareto.svg", "study.md", "chosen.json", "hierarchy100/metrics.json")
    told = subprocess.run(
        [
            *(sys.executable, "tests/submissions.py", "--profile", "profiles/slurm"),
            *("--config", "comparison={processor: cortex-m4}", "results=results/none"),
            *("--", *(f"results/none/{target}" for target in targets)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    submissions, jobs = map(int, re.search(r"(\d+) submissions of (\d+) jobs", told).groups())
    assert jobs > 250
    assert submissions == 5


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with slurm.cluster(tmp_path_factory.mktemp("slurm") / "cluster", cores=2) as made:
        yield made


@needs_slurm
def test_through_a_dead_node_and_a_cancelled_job_slurm_gives_the_same_bytes(
    own_dataset: Project, own_run: Project, cluster: Cluster, tmp_path: Path
):
    """The node's daemon is killed while the backbone is trained, and a job cancelled after that."""
    project = own_dataset.copy(tmp_path / "project")
    command = (*PROFILE, "--", METRICS)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(project.snakemake, *command)

        def wait(file: str) -> None:
            while not (project.folder / file).exists():
                assert not first.done(), first.result().stderr
                time.sleep(0.05)

        wait("results/logs/finetune_backbone.log")
        cluster.kill("slurmd")
        time.sleep(1)
        cluster.start("slurmd")
        wait("results/logs/export_backbone.log")
        (number,) = cluster.running()
        cluster.cancel(number)
        stopped = first.result()
    assert stopped.returncode == 1
    assert "At least one job did not complete successfully" in stopped.stderr
    assert cluster.jobs()[number] == "CANCELLED"
    done = project.snakemake(*command)
    assert done.returncode == 0, done.stderr
    assert made(project.folder) == made(own_run.folder)
    assert project.plan() == {}
    states = Counter(cluster.jobs().values())
    assert states["CANCELLED"] == 1
    assert states["COMPLETED"] == states.total() - 1
    assert states.total() <= 10
