"""What is installed, which library a job imports, and what a run prints."""

import functools
import importlib
import importlib.metadata
import logging
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import grimp
import pytest
from conftest import ROOT, Project
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
USERS = PROJECT["project"]["dependencies"]
# Tests run what is optional for users.
OPTIONAL = [one for group in PROJECT["project"]["optional-dependencies"].values() for one in group]
DEVELOPERS = PROJECT["dependency-groups"]["dev"] + OPTIONAL
LINUX = {"platform_system": "Linux", "sys_platform": "linux"}
PLATFORMS = {
    "Linux x86-64": LINUX | {"platform_machine": "x86_64"},
    "Linux aarch64": LINUX | {"platform_machine": "aarch64"},
    "macOS arm64": {
        "platform_system": "Darwin",
        "sys_platform": "darwin",
        "platform_machine": "arm64",
    },
}

requires = functools.cache(importlib.metadata.requires)


def pins(file: str, platform: dict[str, str]) -> dict[str, str]:
    """The versions that a lock file installs on a platform."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    locked = [Requirement(line) for line in lines if not line.startswith("#")]
    found = {
        canonicalize_name(one.name): str(one.specifier).removeprefix("==")
        for one in locked
        if one.marker is None or one.marker.evaluate(platform)
    }
    assert not [one for one in locked if not re.fullmatch(r"==[\w.]+", str(one.specifier))]
    return found


def needed(roots: Iterable[str], platform: dict[str, str]) -> dict[str, list[Requirement]]:
    """All that the roots require on a platform, directly or through others."""
    found: dict[str, list[Requirement]] = {}
    seen = set()
    ahead = [Requirement(root) for root in roots]
    while ahead:
        one = ahead.pop()
        name = canonicalize_name(one.name)
        found.setdefault(name, []).append(one)
        for extra in {"", *one.extras} - {extra for at, extra in seen if at == name}:
            seen.add((name, extra))
            others = map(Requirement, requires(name) or [])
            here = platform | {"extra": extra}
            ahead += [one for one in others if one.marker is None or one.marker.evaluate(here)]
    return found


@pytest.mark.parametrize("platform", PLATFORMS.values(), ids=PLATFORMS)
def test_the_lock_files_pin_all_that_is_needed(platform: dict[str, str]):
    users, developers = (
        pins(file, platform) for file in ("requirements.lock", "requirements-dev.lock")
    )
    assert not users.keys() & developers.keys()
    for roots, locked in ((USERS, users), (USERS + DEVELOPERS, users | developers)):
        for name, wishes in needed(roots, platform).items():
            assert name in locked, f"{name} is not pinned"
            for wish in wishes:
                assert wish.specifier.contains(locked[name], prereleases=True), wish


def test_users_install_nothing_that_only_developers_need():
    here = PLATFORMS["Linux x86-64"]
    assert pins("requirements.lock", here).keys() == needed(USERS, here).keys()
    every = needed(USERS + DEVELOPERS, here).keys()
    assert pins("requirements-dev.lock", here).keys() == every - needed(USERS, here).keys()


def test_what_the_library_imports_is_a_dependency():
    graph = grimp.build_graph("treehead", include_external_packages=True, cache_dir=None)
    imported = {name for name in graph.modules if not name.startswith("treehead")}
    of_module = importlib.metadata.packages_distributions()
    wanted = {of_module[name][0] for name in imported - sys.stdlib_module_names}
    listed = {canonicalize_name(Requirement(one).name) for one in USERS + OPTIONAL}
    assert {canonicalize_name(name) for name in wanted} <= listed


def test_jobs_run_the_library_of_their_own_checkout(fresh: Project, tmp_path: Path):
    """Another checkout's library, which comes first on the path, is not imported."""
    foreign = tmp_path / "foreign" / "treehead"
    foreign.mkdir(parents=True)
    (foreign / "__init__.py").write_text("raise ImportError('the library of another checkout')")
    project = fresh.copy(tmp_path / "project")
    project.run("results/config.yaml", PYTHONPATH=str(foreign.parent))
    assert (project.folder / "results" / "config.yaml").is_file()


@pytest.fixture
def logger(monkeypatch: pytest.MonkeyPatch):
    """The logger of `make run`, which is given records as Snakemake makes them."""
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(ROOT / "workflow" / "logger")
    stages = importlib.import_module("snakemake_logger_plugin_stages")
    handler = stages.LogHandler(SimpleNamespace(), None)

    def tell(text: str | None, level: int = logging.INFO, **extra: object) -> None:
        handler.emit(logging.makeLogRecord({"msg": text, "levelno": level} | extra))

    return tell


def start(logger, rule: str, script: str) -> None:
    logger(
        None, event="job_info", rule_name=rule, input=["some/file", f"workflow/scripts/{script}"]
    )


def test_a_run_tells_each_stage_once(logger, capsys: pytest.CaptureFixture):
    stats = {"train_child": 20, "make_demo_dataset": 1, "all": 1, "total": 22}
    logger("Building DAG of jobs...")
    logger("Job stats:\n", event="run_info", stats=stats)
    start(logger, "make_demo_dataset", "make_demo_dataset.py")
    logger("Execute 20 jobs...", event="job_started")
    for _ in range(20):
        start(logger, "train_child", "train_child.py")
        logger(None, event="progress", done=1, total=22)
    logger(None, event="job_info", rule_name="all", input=["results/metrics.json"])
    first, second = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"\[1 of 22\] Draw the images of demo100", first)
    assert re.fullmatch(r"\[2 of 22\] Train the head of a parent's children, 20 jobs", second)


def test_a_failure_is_told_once_and_names_its_log(logger, capsys: pytest.CaptureFixture):
    for _ in range(2):
        logger("Error in rule", 40, event="job_error", jobid=3, rule_name="embed", log=["a.log"])
    logger("WorkflowError:\nAt least one job did not complete successfully.", 40, event="error")
    assert capsys.readouterr().err == "The job embed failed; see a.log.\n"


def test_an_error_before_any_job_is_told_in_full(fresh: Project, tmp_path: Path):
    """Snakemake itself finds the logger, and keeps its own log."""
    project = fresh.copy(tmp_path / "project").having({"dataset.name": "mine"})
    arguments = ["--cores=1", "--logger", "stages"]
    done = project.snakemake(*arguments, PYTHONPATH="workflow/logger")
    assert done.returncode == 1
    assert "dataset.name" in done.stderr
    assert "Assuming unrestricted" not in done.stderr
    logs = list((project.folder / ".snakemake" / "log").iterdir())
    assert "dataset.name" in logs[0].read_text()
