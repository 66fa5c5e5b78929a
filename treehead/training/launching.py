"""Training in several processes, by torch's elastic launcher, which is what torchrun runs."""

import os
import pickle
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import RendezvousError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from treehead import console
from treehead.artifacts import InputError
from treehead.training import parallel

Result = TypeVar("Result")

# How often all processes are started again because one died.
RESTARTS = 3
# Seconds that a machine waits for the others, and processes have to save after a signal.
PATIENCE = 600

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Group(NamedTuple):
    """Machines with processes that train together.

    `name` is the training's: machines that bring other settings, data or code don't join. A machine
    that is not alone meets the others at `rendezvous`, host:port of one of them.
    """

    name: str
    processes: int
    machines: int
    rendezvous: str | None
    device: str


def launch(train: Callable[[], Result], group: Group) -> Result:
    """Call `train` here, or in each process of a group, of which this machine's are started.

    The processes share the threads of this one, which passes SIGTERM and SIGINT on to them. If one
    dies, all are started again, up to `RESTARTS` times; `train` must resume from what it saved.

    Returns:
        What `train` returns; of a group, what it returns in the first process of this machine.

    Raises:
        InputError: all of the processes raised it, one was killed after the last restart, the
            machines did not meet, or this one has fewer GPUs than processes.
        SystemExit: SIGTERM or SIGINT came; the exit status is 128 + its number.
    """
    if group.processes * group.machines == 1:
        return train()
    if group.device == "cuda" and group.processes > (gpus := torch.cuda.device_count()):
        raise InputError(
            f"finetune.processes is {group.processes}, and each needs a GPU of its own, but torch "
            f"sees {gpus}; set it to {gpus}, or finetune.device to cpu."
        )
    with tempfile.TemporaryDirectory() as folder, _handlers_restored():
        threads = max(1, torch.get_num_threads() // group.processes)
        arguments = (train, group, threads, folder, console.destinations())
        try:
            returned = elastic_launch(_config(group, folder), _member)(*arguments)
        except SignalException as stopped:
            raise SystemExit(128 + stopped.sigval) from None
        except RendezvousError as error:
            raise InputError(
                f"The {group.machines} machines of the training did not meet at {group.rendezvous} "
                f"({type(error).__name__}); run the same command on each within {PATIENCE // 60} "
                "minutes, with the same settings, data and versions; finetune.rendezvous must be a "
                "free port of one of them."
            ) from None
        except ChildFailedError as error:
            _, failure = error.get_first_failure()
            if failure.exitcode < 0:
                raise InputError(
                    f"A process of the training was killed by {failure.signal_name()} after "
                    f"{RESTARTS} restarts; if memory ran out, lower finetune.processes or "
                    "finetune.batch_size; the same command resumes from the last saved state."
                ) from None
            raise RuntimeError(str(error)) from None
    outcome = next(pickle.loads(value) for value in returned.values() if value)
    if isinstance(outcome, InputError):
        raise outcome
    return outcome


def _config(group: Group, folder: str) -> LaunchConfig:
    """The launcher's settings.

    The launcher unpickles what it finds at the rendezvous, and torch's stores listen on all
    addresses of a machine; so a machine that is alone uses files that only this user may read.
    """
    # A store of its own for each start, since in a shared one is what the dead processes left.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    alone = group.machines == 1
    over_files = {"store_type": "file"}
    over_network = {"join_timeout": PATIENCE, "read_timeout": PATIENCE}
    return LaunchConfig(
        min_nodes=group.machines,
        max_nodes=group.machines,
        nproc_per_node=group.processes,
        run_id=group.name,
        rdzv_backend="c10d",
        rdzv_endpoint=f"{folder}/rendezvous" if alone else group.rendezvous,
        rdzv_configs=over_files if alone else over_network,
        local_addr="localhost" if alone else None,
        max_restarts=RESTARTS,
        logs_specs=DefaultLogsSpecs(f"{folder}/errors"),
        signals_to_handle=",".join(number.name for number in _SIGNALS),
        shutdown_timeout=PATIENCE,
    )


@contextmanager
def _handlers_restored() -> Iterator[None]:
    """The launcher sets handlers of signals, and leaves them."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _member(
    train: Callable[[], Any],
    group: Group,
    threads: int,
    folder: str,
    destinations: list[str | None],
) -> bytes | None:
    """A process of the group, from start to end; the first of a machine returns the outcome."""
    torch.set_num_threads(threads)
    first = parallel.first_of_machine()
    if first:
        console.join(destinations)
    if group.device == "cuda":
        torch.cuda.set_device(dist.get_node_local_rank())
    if group.machines == 1 and "lo" in dict(map(reversed, socket.if_nameindex())):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    restarts = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    dist.init_process_group(
        "nccl" if group.device == "cuda" else "gloo",
        init_method=f"file://{folder}/group-{restarts}" if group.machines == 1 else "env://",
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
    )
    if restarts:
        size = parallel.size()
        console.say(f"A process died; all {size} start again, restart {restarts} of {RESTARTS}.")
    try:
        try:
            outcome = train()
        except InputError as error:
            outcome = error
        parallel.wait()
    finally:
        dist.destroy_process_group()
    return pickle.dumps(outcome) if first else None
