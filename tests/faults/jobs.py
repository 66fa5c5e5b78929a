"""The jobs of a run, each with the job that Snakemake gave it, to be run again under a fault."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from conftest import Project

FOLDER = Path(__file__).parent
# What a job logs when an exception has no sentence, and what the logging module prints.
DEFECTS = ("Traceback", "defect of treehead", "Logging error")


class Ended(NamedTuple):
    """How a job ended: its exit status, below 0 a signal; its stderr; the calls that counted."""

    status: int
    errors: str
    calls: int

    def is_killed(self) -> bool:
        return self.status == -signal.SIGKILL

    def is_sentence(self) -> bool:
        """Whether it ended in one error line, without a traceback."""
        lines = [line for line in self.errors.splitlines() if line.startswith("Error: ")]
        return self.status == 1 and len(lines) == 1 and not any(map(self.errors.count, DEFECTS))


class Job:
    """A job of a project that has run.

    Args:
        project: its folder.
        rule: the name of the rule.
        pickled: the file with the object `snakemake` of the job.
    """

    def __init__(self, project: Project, rule: str, pickled: Path) -> None:
        self.project, self.rule, self.pickled = project, rule, pickled
        told = json.loads(pickled.with_suffix(".json").read_text())
        self.output = [project.folder / name for name in told["output"]]
        self.imported = [
            re.sub(r"(/__init__)?\.py$", "", name).replace("/", ".") for name in told["imported"]
        ]

    def files(self) -> list[Path]:
        """The outputs and their records."""
        records = [path.parent / ".made" / f"{path.name}.json" for path in self.output]
        return [*self.output, *records]

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Put back what it made when the body ends: other jobs read it."""
        before = {path: path.read_bytes() for path in self.files()}
        try:
            yield
        finally:
            for path, content in before.items():
                path.write_bytes(content)

    def clear(self) -> None:
        """Remove the outputs, as Snakemake does before it runs an unfinished job again."""
        for path in self.output:
            path.unlink(missing_ok=True)


def jobs(project: Project) -> list[Job]:
    """One job of each rule that ran."""
    folder = project.folder / ".snakemake/jobs"
    found = {path.stem.rsplit("-", 1)[0]: path for path in sorted(folder.glob("*.pickle"))}
    return [Job(project, rule, path) for rule, path in found.items()]


class Runner:
    """A process that forks for each job, with the library that counts calls loaded."""

    def __init__(self, process: subprocess.Popen, folder: Path) -> None:
        self.process, self.folder = process, folder
        self.count = folder / "count"

    def __call__(self, job: Job, at: int = 0, kind: str = "", memory: int | None = None) -> Ended:
        """Run a job whose `at`-th call goes wrong, or with only so much more memory in bytes."""
        self.count.write_bytes(bytes(8))
        errors = self.folder / "errors"
        request: dict[str, Any] = {
            "script": str(job.project.folder / f"workflow/scripts/{job.rule}.py"),
            "job": str(job.pickled),
            "imported": job.imported,
            "errors": str(errors),
            "memory": memory,
            "environment": {
                "FAULT_AT": str(at),
                "FAULT_KIND": kind,
                "FAULT_COUNT": str(self.count),
            },
        }
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        status = json.loads(self.process.stdout.readline())["status"]
        calls = int.from_bytes(self.count.read_bytes(), sys.byteorder)
        return Ended(status, errors.read_text(errors="replace"), calls)


@contextmanager
def runner(project: Project, counted: Path) -> Iterator[Runner]:
    """Run jobs in a project's folder; calls on files below `counted` count."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "PYTHONPATH": str(project.folder),
            "LD_PRELOAD": str(counting()),
            "FAULT_FOLDER": str(counted.resolve()),
            "OMP_NUM_THREADS": "1",
        }
        with subprocess.Popen(
            [sys.executable, str(FOLDER / "runner.py")],
            cwd=project.folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield Runner(process, Path(folder))
            finally:
                process.stdin.close()


@cache
def counting() -> Path:
    """The library that counts calls and shifts the clock, compiled."""
    library = Path(tempfile.mkdtemp()) / "counting.so"
    source = str(FOLDER / "counting.c")
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", library, source], check=True)
    return library
