"""The stages of the whole graph, and a run that has come to one of them."""

import json
import os
import time
from pathlib import Path

import psutil
from conftest import JOBS, Project

STAGES = (
    "fetch_dataset",
    "build_taxonomy",
    "fetch_weights",
    "record_config",
    "finetune_backbone",
    "export_backbone",
    "embed",
    "train_parent",
    "train_child",
    "reduce_child",
    "fit_head",
    "evaluate_hierarchy",
)


def outputs(project: Project) -> dict[str, list[Path]]:
    """What the jobs of each rule made in a project that has run."""
    found: dict[str, list[Path]] = {}
    for path in (project.folder / JOBS).glob("*.json"):
        told = json.loads(path.read_text())
        found.setdefault(told["rule"], []).extend(map(Path, told["output"]))
    return found


def lacking(whole: Project, folder: Path, *rules: str) -> tuple[Project, list[str]]:
    """A copy of a whole run without what jobs of these rules made; that, and the figures behind it.

    Snakemake does not make an intermediate file again if the figures alone are asked for.
    """
    project, made = whole.copy(folder), outputs(whole)
    lost = [path for rule in dict.fromkeys([*rules, STAGES[-1]]) for path in made[rule]]
    for path in lost:
        (folder / path).unlink()
        (folder / path.parent / ".made" / f"{path.name}.json").unlink()
    return project, list(map(str, lost))


def scripts(run: psutil.Popen, rule: str = "") -> list[psutil.Process]:
    """The processes of a run in which scripts run now, of a rule or of all."""
    found = []
    for process in descendants(run):
        try:
            if any(
                f".{rule}" in Path(part).name for part in process.cmdline() if "/scripts/" in part
            ):
                found.append(process)
        except psutil.Error:  # it has just ended
            pass
    return found


def descendants(run: psutil.Popen) -> list[psutil.Process]:
    try:
        return run.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def wait_for(run: psutil.Popen, rule: str) -> None:
    """Wait until a job of the rule runs."""
    while not scripts(run, rule):
        assert run.poll() is None, f"the run ended before {rule}"
        time.sleep(0.01)


def stop(run: psutil.Popen, number: int, whom: str) -> list[psutil.Process]:
    """Send a signal to the "job", to "Snakemake" or to the "group"; what may run on is returned."""
    while whom == "job" and not scripts(run) and run.poll() is None:
        time.sleep(0.01)
    left = descendants(run)
    if run.poll() is None and whom == "group":
        os.killpg(run.pid, number)
    elif run.poll() is None:
        for process in scripts(run) if whom == "job" else [run]:
            process.send_signal(number)
    run.wait()
    return left


def completed(project: Project, targets: list[str]) -> None:
    """Run to the end as a user does whose run was stopped in any way."""
    if any((project.folder / ".snakemake/locks").glob("*")):
        project.snakemake("--unlock")
    project.run(*targets)
