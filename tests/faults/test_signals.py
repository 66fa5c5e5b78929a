"""A run is stopped in each of its stages, or at random, and run again to the same bytes."""

import random
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest
from conftest import METRICS, Project, made
from stages import STAGES, completed, lacking, stop, wait_for

SAME = "the same command ends in the same bytes"


def stopped(name: str, number: int, whom: str, promise: str = SAME):
    words = {"job": "of a job", "Snakemake": "of Snakemake alone", "group": "of the whole group"}
    mark = pytest.mark.fault(f"{name} {words[whom]}, in each stage", promise)
    return pytest.param(number, whom, marks=mark, id=f"{name}-{whom}")


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("number", "whom"),
    [
        stopped("SIGKILL", signal.SIGKILL, "job"),
        stopped(
            "SIGKILL",
            signal.SIGKILL,
            "Snakemake",
            "its job ends beside the next run, which has the same bytes (after --unlock)",
        ),
        stopped("SIGKILL", signal.SIGKILL, "group", f"after --unlock, {SAME}"),
        stopped("SIGTERM", signal.SIGTERM, "group"),
        stopped("SIGINT", signal.SIGINT, "group"),
    ],
)
def test_stopped_in_a_stage_a_run_ends_in_the_same_bytes(
    own_run: Project, tmp_path: Path, number: int, whom: str, stage: str
):
    project, targets = lacking(own_run, tmp_path / "project", stage)
    with project.running("--cores=1", "--", *targets) as run:
        wait_for(run, stage)
        time.sleep(random.Random(f"{stage} {whom} {number}").uniform(0, 0.4))
        left = stop(run, number, whom)
    assert run.returncode != 0
    completed(project, targets)
    psutil.wait_procs(left)
    assert made(project.folder) == made(own_run.folder)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(metafunc.config.getoption("interruptions")))


@pytest.mark.fault(
    "SIGKILL, SIGTERM or SIGINT of job, Snakemake or group at a random moment of the whole graph",
    "the run ends in the same bytes",
)
def test_interrupted_at_random_the_whole_graph_ends_in_the_same_bytes(
    own_run: Project, tmp_path: Path, seed: int
):
    """It begins at a stage by chance, is interrupted once, and runs to its end."""
    draw = random.Random(seed)
    stage = draw.choice(STAGES)
    delay = draw.uniform(0, 1) * seconds(own_run, stage)
    number = draw.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    whom = draw.choice(["group", "Snakemake", "job"])
    while (left := interrupted(own_run, tmp_path / "p", stage, delay, number, whom)) is None:
        delay /= 2
    project = own_run._replace(folder=tmp_path / "p")
    completed(project, [METRICS])
    psutil.wait_procs(left)
    assert made(project.folder) == made(own_run.folder), (stage, delay, number, whom)


def interrupted(
    whole: Project, folder: Path, stage: str, delay: float, number: int, whom: str
) -> list[psutil.Process] | None:
    """Begin at a stage and interrupt the run; what is left of it, None if it had ended before."""
    shutil.rmtree(folder, ignore_errors=True)
    project, targets = lacking(whole, folder, *STAGES[STAGES.index(stage) :])
    with project.running("--cores=1", "--", *targets) as run:
        wait_for(run, stage)
        time.sleep(delay)
        left = stop(run, number, whom)
    return left if run.returncode else None


def seconds(whole: Project, stage: str) -> float:
    """How long an undisturbed run took from a stage to its end, by the dates of its logs."""
    logs = {
        path.stem if path.parent.name == "logs" else path.parent.name: path
        for path in sorted((whole.folder / "results/logs").rglob("*.log"))
    }
    end = logs["evaluate_hierarchy"].stat().st_mtime
    return max(1.0, end - logs[stage].stat().st_mtime) if stage in logs else 10.0
