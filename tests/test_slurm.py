"""The graph on a real SLURM: few submissions, the same bytes, and nothing lost if it stumbles."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
import slurm
import yaml
from conftest import METRICS, ROOT, Project, apart, made
from slurm import Cluster

needs_slurm = pytest.mark.skipif(bool(slurm.lacking()), reason=slurm.lacking() or "-")

# This machine is smaller than a node of a cluster, and quick to ask.
PROFILE = (
    *("--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks=1"),
    *("--cores=2", "--resources", "mem_mb=8000", "serial=1"),
)


class Submission(NamedTuple):
    """What `tests/submissions.py` tells of one."""

    jobs: int
    cpus: int
    memory: int
    minutes: int
    rules: set[str]


@cache
def submissions(*targets: str, config: tuple[str, ...] = ()) -> list[Submission]:
    """What targets of a fresh results folder would be."""
    told = subprocess.run(
        [
            *(sys.executable, "tests/submissions.py", "--profile", "profiles/slurm"),
            *("--config", "results=results/none", "comparison={processor: cortex-m4}", *config),
            *("--", *(f"results/none/{target}" for target in targets)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = re.findall(r"^submission: (\d+) (\d+) (\d+) (\d+) (.*)$", told, re.MULTILINE)
    return [Submission(*map(int, numbers), set(rules.split())) for *numbers, rules in found]


# What other submissions than that of the tree make, of all that it needs.
KEPT = (
    *("backbone/weights.safetensors", "backbone/backbone.onnx", "embeddings/train.safetensors"),
    *("heads/linear/head.safetensors", "config.yaml"),
)
COMPARISON = ("pareto.svg", "study.md", "chosen.json", "hierarchy100/metrics.json")


def test_the_whole_comparison_is_ten_submissions_of_a_sane_size():
    """No submission is larger than its largest job, nor asks for as long as jobs of hours would."""
    found = submissions(*COMPARISON)
    assert sum(one.jobs for one in found) > 250
    assert len(found) <= 10
    assert max(one.cpus for one in found) == 2
    training = [one for one in found if "finetune_backbone" in one.rules]
    assert [(one.jobs, one.memory, one.minutes) for one in training] == [(1, 8000, 24 * 60)]
    rest = [one for one in found if one not in training]
    assert max(one.memory for one in rest) <= 4000
    assert max(one.minutes for one in rest) <= 6 * 60


def test_heads_are_split_over_submissions_that_do_not_wait_for_each_other():
    """What one of them loses is no more than half of the heads, and no tree and no figure."""
    found = submissions(*COMPARISON)
    for rule in ("fit_head", "evaluate_head"):
        parts = [one for one in found if rule in one.rules]
        assert len(parts) > 1
        assert all("evaluate_hierarchy" not in one.rules for one in parts)
    fits = {"fit_head", "learn_clusters", "build_taxonomy"}
    assert all(one.rules <= fits for one in found if "fit_head" in one.rules)


def test_each_rule_has_its_group_but_trainings():
    """A rule that the profile doesn't name would be a submission for each of its jobs."""
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text())
    text = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    rules = set(re.findall(r"^ *(?:use rule \w+ as|rule) (\w+)", text, re.MULTILINE))
    assert rules - profile["groups"].keys() == {"finetune_backbone", "quantize_backbone"}
    assert profile["groups"].keys() <= rules
    assert {*profile["groups"].values()} == profile["group-components"].keys()


def test_a_tree_that_is_learned_from_heads_that_are_fitted_to_it_makes_no_circle_of_submissions():
    """Snakemake ends with an error if a group of jobs waits for itself."""
    learned = ("taxonomy=clusters-10", "finetune={objective: flat}", "parent={objective: parent}")
    (one,) = [
        one for one in submissions(*COMPARISON, config=learned) if "learn_clusters" in one.rules
    ]
    assert one.rules == {"fit_head", "learn_clusters", "build_taxonomy"}


def test_shards_run_beside_one_another():
    found = submissions("hierarchy100/metrics.json", config=("embed={shards: 8}",))
    embedding = [one for one in found if "embed" in one.rules]
    assert [one.jobs for one in embedding] == [3] * 8
    assert {one.minutes for one in embedding} == {30}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with slurm.cluster(tmp_path_factory.mktemp("slurm") / "cluster", cores=2) as made:
        yield made


@needs_slurm
def test_what_a_killed_test_left_gives_way(tmp_path: Path):
    """Its link stands in /etc, and its daemons run."""
    script = "import slurm, sys, pathlib\n"
    script += "with slurm.cluster(pathlib.Path(sys.argv[1]), 1): print(flush=True), input()"
    command = [sys.executable, "-c", script, str(tmp_path / "killed")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT / "tests", **pipes) as killed:
        killed.stdout.readline()
        assert "or of a test that runs" in slurm.lacking()
        killed.kill()
    pids = [(tmp_path / f"killed/{name}.pid").read_text() for name in slurm.DAEMONS]
    daemons = [psutil.Process(int(pid)) for pid in pids]
    assert slurm.lacking() == ""
    with slurm.cluster(tmp_path / "next", cores=1) as made:
        assert made.jobs() == {}
        assert psutil.wait_procs(daemons, timeout=10)[1] == []
    slurm.CONFIG.symlink_to(tmp_path / "gone/slurm.conf")
    assert slurm.lacking() == ""
    with slurm.cluster(tmp_path / "last", cores=1) as made:
        assert made.jobs() == {}
    assert not slurm.CONFIG.is_symlink()


def run(project: Project, outside: Path) -> subprocess.CompletedProcess[str]:
    """Make the metrics of the tree on SLURM; `outside` is an empty folder."""
    command = project.command(outside / "layer.json", *PROFILE, "--", METRICS)
    return subprocess.run(
        [sys.executable, slurm.__file__, *command[3:]],
        cwd=project.folder,
        env=apart(str(outside)),
        capture_output=True,
        text=True,
        check=False,
    )


@needs_slurm
@pytest.mark.fault(
    "on SLURM a node's daemon is killed in a training, and then a submission cancelled",
    "what others made stays; the same command ends in the same bytes as without SLURM",
)
def test_through_a_dead_node_and_a_cancelled_job_slurm_gives_the_same_bytes(
    own_dataset: Project, own_run: Project, cluster: Cluster, tmp_path: Path
):
    """The node's daemon is killed while the backbone is trained, and the tree's job cancelled."""
    project = own_dataset.copy(tmp_path / "project")
    with ThreadPoolExecutor() as pool:
        first = pool.submit(run, project, tmp_path)

        def wait(file: str) -> str:
            """Wait until a job writes its log; the number of its submission."""
            while not (project.folder / "results/logs" / file).exists():
                assert not first.done(), first.result().stderr
                time.sleep(0.05)
            (number,) = cluster.running()
            return number

        training = wait("finetune_backbone.log")
        cluster.kill("slurmd")
        time.sleep(1)
        cluster.start("slurmd")
        assert cluster.running() == [training]
        tree = wait("train_parent.log")
        finished = {*cluster.jobs()} - {tree}
        cluster.cancel(tree)
        stopped = first.result()
    assert stopped.returncode == 1
    assert "At least one job did not complete successfully" in stopped.stderr
    states = cluster.jobs()
    assert states[tree] == "CANCELLED"
    assert {states[number] for number in finished} == {"COMPLETED"}
    kept = [project.folder / f"results/{file}" for file in KEPT]
    dates = [file.stat().st_mtime_ns for file in kept]
    done = run(project, tmp_path)
    assert done.returncode == 0, done.stderr
    assert [file.stat().st_mtime_ns for file in kept] == dates
    (again,) = {*cluster.jobs()} - {tree} - finished
    assert cluster.jobs()[again] == "COMPLETED"
    assert made(project.folder) == made(own_run.folder)
    assert project.plan() == {}
