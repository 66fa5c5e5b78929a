"""Two machines of one process train as one machine of two does. Both are this one."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from training import Training, digest

from treehead.artifacts import InputError
from treehead.training import launching

Begin = Callable[[Path], subprocess.Popen]

SETTINGS = {"epochs": 8, "batch_size": 7}


@pytest.fixture(scope="module")
def whole() -> str:
    """The digest of a training of two processes on one machine that nothing disturbed."""
    return digest(Training({**SETTINGS, "processes": 2}, images=19).run().model())


@pytest.fixture
def rendezvous() -> str:
    with socket.create_server(("localhost", 0)) as free:
        return f"localhost:{free.getsockname()[1]}"


@pytest.fixture
def begin(rendezvous: str) -> Iterator[Begin]:
    """Start a machine, whose files lie in the folder; none is left behind a test that failed."""
    with ExitStack() as machines:

        def begin(folder: Path) -> subprocess.Popen:
            folder.mkdir(exist_ok=True)
            settings = json.dumps({**SETTINGS, "machines": 2})
            program = Path(__file__).parents[1] / "machine.py"
            machine = subprocess.Popen([sys.executable, program, folder, settings, rendezvous])
            machines.callback(machine.kill)
            return machine

        yield begin


def until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


def answers(rendezvous: str) -> bool:
    host, port = rendezvous.split(":")
    with socket.socket() as client:
        return client.connect_ex((host, int(port))) == 0


def begun(folders: list[Path], rendezvous: str, begin: Begin) -> list[subprocess.Popen]:
    """Two machines that have saved a state; the first one is host of the rendezvous."""
    host = begin(folders[0])
    until(lambda: answers(rendezvous))
    machines = [host, begin(folders[1])]
    until(lambda: all((folder / "state.pt").exists() for folder in folders))
    return machines


def stop(machine: subprocess.Popen) -> None:
    """As its user would; it saves its state."""
    machine.send_signal(signal.SIGTERM)
    assert machine.wait(timeout=60) == 128 + signal.SIGTERM


def digests(folders: list[Path]) -> list[str]:
    return [(folder / "digest").read_text() for folder in folders]


@pytest.mark.fault(
    "SIGKILL of a process of one of two machines that train together",
    "the processes of both start again; the same bytes as on one machine",
)
def test_a_killed_process_starts_again_on_all_machines_to_the_same_bytes(
    whole: str, tmp_path: Path, rendezvous: str, begin: Begin
):
    folders = [tmp_path / "host", tmp_path / "guest"]
    machines = begun(folders, rendezvous, begin)
    (process,) = (
        child
        for child in psutil.Process(machines[1].pid).children()
        if any("spawn_main" in part for part in child.cmdline())
    )
    process.kill()
    assert [machine.wait(timeout=60) for machine in machines] == [0, 0]
    assert digests(folders) == [whole, whole]
    log = (folders[1] / "log").read_text()
    assert log.count("A process died; all 2 start again, restart 1 of 3.") == 1
    assert log.count("Resumed in epoch") == 1


@pytest.mark.fault(
    "one of two machines that train together is stopped, and its state is lost",
    "after the same command there, both go on from the state of the other; the same bytes",
)
def test_a_machine_that_is_stopped_and_comes_back_takes_the_state_of_the_other(
    whole: str, tmp_path: Path, rendezvous: str, begin: Begin
):
    folders = [tmp_path / "host", tmp_path / "guest"]
    host, guest = begun(folders, rendezvous, begin)
    stop(guest)
    (folders[1] / "state.pt").unlink()
    (folders[1] / "state.pt.older").unlink(missing_ok=True)
    guest = begin(folders[1])
    assert [machine.wait(timeout=60) for machine in (host, guest)] == [0, 0]
    assert digests(folders) == [whole, whole]
    assert "Resumed in epoch" in (folders[1] / "log").read_text()


@pytest.mark.fault(
    "the machine of the rendezvous is stopped",
    "the other ends in one sentence; after the same command on both, the same bytes",
)
def test_without_the_host_the_other_machine_ends_in_a_sentence_and_both_resume(
    whole: str, tmp_path: Path, rendezvous: str, begin: Begin
):
    folders = [tmp_path / "host", tmp_path / "guest"]
    host, guest = begun(folders, rendezvous, begin)
    stop(host)
    assert guest.wait(timeout=60) == 1
    last = (folders[1] / "log").read_text().splitlines()[-1]
    assert last.startswith(f"Error: The 2 machines of the training did not meet at {rendezvous} (")
    machines = [begin(folder) for folder in folders]
    assert [machine.wait(timeout=60) for machine in machines] == [0, 0]
    assert digests(folders) == [whole, whole]


@pytest.mark.fault("the other machine never comes", "one sentence")
def test_a_machine_that_stays_alone_says_so(monkeypatch: pytest.MonkeyPatch, rendezvous: str):
    monkeypatch.setattr(launching, "PATIENCE", 2)
    group = launching.Group("training", 1, 2, rendezvous, "cpu")
    with pytest.raises(
        InputError, match=rf"2 machines of the training did not meet at {rendezvous}"
    ):
        launching.launch(print, group)
