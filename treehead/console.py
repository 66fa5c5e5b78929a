"""The log of a job: each line goes to its file and to the terminal, progress included."""

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from treehead.artifacts import InputError, refused

_logger = logging.getLogger("treehead")


def say(line: str) -> None:
    """Log one line."""
    _logger.info(line)


@contextmanager
def shown() -> Iterator[None]:
    """Run the body with its lines on stderr, where there is no job and so no log."""
    handler = logging.StreamHandler(sys.stderr)
    _logger.addHandler(handler)
    _logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        _logger.removeHandler(handler)


@contextmanager
def job(log: str | Path) -> Iterator[None]:
    """Run the body with its lines in `log` and on stderr; an InputError ends it in one sentence."""
    # A full disk has no room for the log either; a traceback for each line helps nobody.
    logging.raiseExceptions = False
    join([None])
    try:
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        # Emptied, and then only appended to, since processes that train together share it.
        Path(log).write_text("")
        join([str(log)])
        yield
    except InputError as error:
        _logger.error("Error: %s", error)
        sys.exit(1)
    except Exception as error:
        if sentence := refused(error):
            _logger.error("Error: %s", sentence)
            sys.exit(1)
        _logger.exception("This is a defect of treehead, not a mistake of yours; please report it:")
        sys.exit(1)


def destinations() -> list[str | None]:
    """Where the lines of this process go: files, and None for stderr."""
    return [getattr(handler, "baseFilename", None) for handler in _logger.handlers]


def join(places: list[str | None]) -> None:
    """Send the lines of this process to these destinations, after what is there."""
    for path in places:
        handler = logging.FileHandler(path) if path else logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        _logger.addHandler(handler)
    _logger.setLevel(logging.INFO)


class _Lines:
    """A text stream for tqdm that turns its redrawn bar into lines of the log."""

    def write(self, text: str) -> None:
        if line := text.strip("\r\n\x1b[A "):
            say(line)

    def flush(self) -> None:
        pass


def progress(items: Iterable, what: str, total: int, unit: str, step: int = 1) -> Iterator:
    """Yield `items`, and log every 5 s how many units are done, how fast, and the time left.

    Each item stands for `step` units of `total`.
    """
    with tqdm(
        total=total,
        desc=what,
        unit=f" {unit}",
        mininterval=5,
        maxinterval=5,
        delay=5,
        file=_Lines(),
        dynamic_ncols=False,
        bar_format="{desc}: {n_fmt} of {total_fmt}{unit}, {rate_noinv_fmt}, {remaining} left",
    ) as bar:
        for item in items:
            yield item
            bar.update(min(step, total - bar.n))
