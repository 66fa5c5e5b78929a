"""Training in several processes, by torch's elastic launcher, which is what torchrun runs."""

import os
import pickle
import signal
import socket
import tempfile
import time
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from treehead import console
from treehead.artifacts import InputError
from treehead.training import parallel

Result = TypeVar("Result")

# How often all processes are started again because one died.
RESTARTS = 3


def launch(train: Callable[[], Result], processes: int, device: str) -> Result:
    """Call `train` here, or in each of `processes` new processes that form a group.

    The processes share the threads of this one, which passes SIGTERM and SIGINT on to them. If one
    dies, all are started again, up to `RESTARTS` times; `train` must resume from what it saved.

    Returns:
        What `train` returns; of a group, what it returns in the first process.

    Raises:
        InputError: all of the processes raised it, or one was killed after the last restart.
        SystemExit: SIGTERM or SIGINT came; the exit status is 128 + its number.
    """
    if processes == 1:
        return train()
    signals = "SIGTERM,SIGINT"
    before = {name: signal.getsignal(signal.Signals[name]) for name in signals.split(",")}
    # The processes meet through files that only this user reads: torch's store for this listens on
    # all of the machine's addresses, and the launcher unpickles what it finds there.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id="training",
            rdzv_backend="c10d",
            rdzv_endpoint=f"{folder}/rendezvous",
            rdzv_configs={"store_type": "file"},
            local_addr="localhost",
            max_restarts=RESTARTS,
            logs_specs=DefaultLogsSpecs(f"{folder}/errors"),
            signals_to_handle=signals,
            # A step and its state need this long at most; then the processes are killed.
            shutdown_timeout=600,
        )
        threads = max(1, torch.get_num_threads() // processes)
        arguments = (train, device, threads, folder, console.destinations())
        try:
            outcome = pickle.loads(elastic_launch(config, _member)(*arguments)[0])
        except SignalException as stopped:
            raise SystemExit(128 + stopped.sigval) from None
        except ChildFailedError as error:
            _, failure = error.get_first_failure()
            if failure.exitcode < 0:
                raise InputError(
                    f"A process of the training was killed by {failure.signal_name()} after "
                    f"{RESTARTS} restarts; if memory ran out, lower finetune.processes or "
                    "finetune.batch_size; the same command resumes from the last saved state."
                ) from None
            raise RuntimeError(str(error)) from None
        finally:
            for name, handler in before.items():
                signal.signal(signal.Signals[name], handler)
    if isinstance(outcome, InputError):
        raise outcome
    return outcome


def _member(
    train: Callable[[], Any],
    device: str,
    threads: int,
    folder: str,
    destinations: list[str | None],
) -> bytes | None:
    """One process of the group, from its start to its end; the first returns the outcome."""
    number, restarts = (int(os.environ[key]) for key in ("RANK", "TORCHELASTIC_RESTART_COUNT"))
    torch.set_num_threads(threads)
    if number == 0:
        console.join(destinations)
    if device == "cuda":
        torch.cuda.set_device(number)
    if "lo" in dict(map(reversed, socket.if_nameindex())):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group(
        "nccl" if device == "cuda" else "gloo",
        init_method=f"file://{folder}/group-{restarts}",
        rank=number,
        world_size=int(os.environ["WORLD_SIZE"]),
    )
    if restarts:
        console.say(
            f"A process died; all {parallel.size()} start again, restart {restarts} of {RESTARTS}."
        )
    try:
        try:
            outcome = train()
        except InputError as error:
            outcome = error
        except Exception:
            # The launcher names the first process that it finds dead: not one that lost another.
            time.sleep(1)
            raise
        parallel.wait()
    finally:
        dist.destroy_process_group()
    return pickle.dumps(outcome) if number == 0 else None
