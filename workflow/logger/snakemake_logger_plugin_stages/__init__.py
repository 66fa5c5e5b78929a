"""The progress of a run for people: one line a stage, and errors. Snakemake's log has the rest.

Snakemake finds a logger by the name of its package: `snakemake --logger stages`.
"""

import ast
import logging
import sys
from collections import Counter
from pathlib import Path

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent


class LogHandler(LogHandlerBase):
    """Prints the first job of each rule, as its script's docstring says it, and what fails."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        self.jobs: dict[str, int] = {}
        self.started: Counter[str] = Counter()
        self.failed: set[int] = set()

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "event", None)
        if event == LogEvent.RUN_INFO:
            self.jobs = record.stats
        elif event == LogEvent.JOB_INFO:
            self._start(record)
        elif event == LogEvent.JOB_ERROR:
            self._fail(record)
        elif record.levelno >= logging.WARNING and not self.failed:
            _print(record.getMessage())

    def _start(self, record: logging.LogRecord) -> None:
        self.started[record.rule_name] += 1
        scripts = [file for file in record.input if file.startswith("workflow/scripts/")]
        if scripts and self.started[record.rule_name] == 1:
            script = ast.parse(Path(scripts[0]).read_text(encoding="utf-8"))
            stage = ast.get_docstring(script).partition("\n")[0].removesuffix(".")
            count = self.jobs[record.rule_name]
            several = f", {count} jobs" if count > 1 else ""
            _print(f"[{self.started.total()} of {self.jobs['total']}] {stage}{several}")

    def _fail(self, record: logging.LogRecord) -> None:
        """A job's own error is on the terminal already; Snakemake reports a failure twice."""
        if record.jobid not in self.failed:
            self.failed.add(record.jobid)
            _print(f"The job {record.rule_name} failed; see {', '.join(record.log)}.")


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
