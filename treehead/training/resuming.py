"""Run a training from where it stopped, and keep its state on the way."""

import signal

from treehead.artifacts import InputError
from treehead.console import say
from treehead.training import parallel
from treehead.training.checkpoint import Checkpoint, noticing_signals
from treehead.training.epochs import Training


def run(training: Training, checkpoint: Checkpoint | None) -> None:
    """Train to the end, from the checkpoint's state if there is one.

    Raises:
        InputError: the training diverged; the message names the last good state.
        SystemExit: SIGTERM or SIGINT came; the state is kept in the checkpoint.
    """
    with noticing_signals() as noticed:
        if checkpoint and (state := parallel.newest(checkpoint.load())):
            training.load_state_dict(state)
            say(f"Resumed in epoch {training.epoch}, after its step {training.step}.")
        try:
            for _ in training.run():
                _keep(training, checkpoint, noticed())
        except InputError as error:
            kept = checkpoint and checkpoint.path.is_file()
            where = f" The last good state is kept in {checkpoint.path}." if kept else ""
            raise InputError(f"{error}{where}") from None


def _keep(training: Training, checkpoint: Checkpoint | None, noticed: int) -> None:
    """Between two steps: save the state if it is time to, and stop if a signal asks for it."""
    due = checkpoint is not None and checkpoint.due()
    asked, save = parallel.total(noticed > 0, due and parallel.rank() == 0)
    if checkpoint and (asked or save):
        training.check_finite()
        if parallel.first_of_machine():
            checkpoint.save(training.state_dict())
    if asked:
        parallel.wait()
        by = f"by {signal.Signals(noticed).name}" if noticed else "with another process"
        resumes = "; the state is saved, and the same command resumes there" if checkpoint else ""
        say(f"Stopped {by} in epoch {training.epoch}{resumes}.")
        raise SystemExit(128 + (noticed or signal.SIGTERM))
