"""A real SLURM on this machine: one controller and one node, in a folder of its own.

Debian's slurm-wlm and munge are needed, and root. As a command it is snakemake, but asks for the
states of the jobs each second: SLURM's plugin waits ten seconds more after each answer without
news, and tests would wait for that most of the time.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import snakemake.cli
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

# Where SLURM looks; the plugin passes no other place on to the steps of a job.
CONFIG = Path("/etc/slurm/slurm.conf")
DAEMONS = ("slurmd", "slurmctld", "munge")
NEEDS = ("munged", "slurmctld", "slurmd", "squeue", "scancel")

_CONFIG = """\
ClusterName=treehead
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
MinJobAge=3600
SlurmdTimeout=20
KillWait=5
ReturnToService=2
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def lacking() -> str:
    """What a test of SLURM lacks here; empty if nothing."""
    missing = [name for name in NEEDS if shutil.which(name) is None]
    if missing:
        return f"no {missing[0]}, of Debian's slurm-wlm and munge"
    if CONFIG.exists() and not _left():
        return f"{CONFIG} is of a SLURM of this machine's own, or of a test that runs"
    return "" if os.geteuid() == 0 else "it needs root"


def _left() -> bool:
    """Whether the configuration is that of a test that was killed."""
    test = CONFIG.resolve().parent / "test.pid"
    return test.exists() and not psutil.pid_exists(int(test.read_text()))


class Cluster:
    """The daemons, and what they know of jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, daemon: str) -> None:
        """Start `slurmctld` or `slurmd`, and wait until the node is ready."""
        self._call(daemon)
        for _ in range(300):
            if self._call("sinfo", "--noheader", "--format=%T").strip() in ("idle", "mixed"):
                return
            time.sleep(0.1)
        raise TimeoutError((self.folder / f"{daemon}.log").read_text()[-2000:])

    def kill(self, daemon: str) -> None:
        """SIGKILL."""
        file = self.folder / f"{daemon}.pid"
        os.kill(int(file.read_text()), 9)
        file.unlink()

    def jobs(self) -> dict[str, str]:
        """The state of each job that was ever submitted, by its number."""
        told = self._call("squeue", "--states=all", "--noheader", "--format=%i %T")
        return dict(line.split() for line in told.splitlines())

    def running(self) -> list[str]:
        """The numbers of the jobs that run."""
        return [number for number, state in self.jobs().items() if state == "RUNNING"]

    def cancel(self, number: str) -> None:
        """Cancel a job, as its user would."""
        self._call("scancel", number)

    def _call(self, *command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@contextmanager
def cluster(folder: Path, cores: int) -> Iterator[Cluster]:
    """A cluster that is ready; it stops with the body. What a killed test has left goes first."""
    if CONFIG.is_symlink():
        _stop(CONFIG.resolve().parent)
    for part in ("state", "spool"):
        (folder / part).mkdir(parents=True)
    folder.chmod(0o700)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid"}
    files |= {"log-file": "log", "seed-file": "seed"}
    options = [f"--{option}={folder}/munge.{suffix}" for option, suffix in files.items()]
    subprocess.run(["munged", "--force", *options], check=True, capture_output=True)
    host = socket.gethostname().partition(".")[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    told = {"host": host, "folder": folder, "cores": cores, "memory": memory}
    (folder / "slurm.conf").write_text(_CONFIG.format(**told, ports=_free_ports(2)))
    (folder / "test.pid").write_text(str(os.getpid()))
    made = Cluster(folder)
    CONFIG.parent.mkdir(exist_ok=True)
    CONFIG.symlink_to(folder / "slurm.conf")
    try:
        made._call("slurmctld")
        made.start("slurmd")
        yield made
    finally:
        _stop(folder)


def _stop(folder: Path) -> None:
    """Stop the daemons of a cluster that still run, and take its configuration away."""
    CONFIG.unlink()
    for daemon in DAEMONS:
        with suppress(FileNotFoundError, psutil.NoSuchProcess):
            process = psutil.Process(int((folder / f"{daemon}.pid").read_text()))
            # A number may be another process's by now.
            if process.name().startswith(daemon):
                process.kill()


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


if __name__ == "__main__":
    RemoteExecutor.next_seconds_between_status_checks = property(lambda _: 1, lambda *_: None)
    snakemake.cli.main(sys.argv[1:])
