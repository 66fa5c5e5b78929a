"""Training in several processes of one machine: each takes a part of every batch.

Gradients are averaged by torch's DistributedDataParallel, over gloo on a CPU and nccl on GPUs, and
BatchNorm sees the whole batch, so that the steps are those of one process but for rounding.
"""

import os
import pickle
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from treehead import console
from treehead.artifacts import InputError
from treehead.training.checkpoint import noticing_signals

Result = TypeVar("Result")


def rank() -> int:
    """The number of this process in its group; 0 if there is no group."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def part(n: int) -> slice:
    """This process's part of n rows; the parts of all processes are nearly equal."""
    return slice(n * rank() // size(), n * (rank() + 1) // size())


def total(*values: float) -> list[float]:
    """The sum of each value over all processes, the same in each of them."""
    if size() == 1:
        return list(values)
    sums = torch.tensor(values, dtype=torch.float64)
    if dist.get_backend() == "nccl":
        sums = sums.cuda()
    dist.all_reduce(sums)
    return sums.tolist()


def wait() -> None:
    """Wait until all processes are here."""
    if size() > 1:
        dist.barrier()


def averaging(model: nn.Module) -> nn.Module:
    """The model with gradients that are means over all processes; the model itself if alone."""
    if size() == 1:
        return model
    on_gpu = dist.get_backend() == "nccl"
    return DistributedDataParallel(
        model, device_ids=[rank()] if on_gpu else None, forward_sync_buffers=False
    )


def synchronized(model: nn.Module) -> nn.Module:
    """The model with BatchNorm over the batches of all processes; the model itself if alone."""
    if size() == 1:
        return model
    if dist.get_backend() == "nccl":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _GlooBatchNorm2d
    return model


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes; so is its gradient."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return _Sum.forward(_, gradient)


class _GlooBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm over the batches of all processes; torch's SyncBatchNorm runs on GPUs alone."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        own = x.float()
        (count,) = total(own.numel() / own.shape[1])
        mean = _Sum.apply(own.sum((0, 2, 3))) / count
        centered = own - mean[:, None, None]
        variance = _Sum.apply(centered.square().sum((0, 2, 3))) / count
        self._follow(mean.detach(), variance.detach() * count / (count - 1))
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centered * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


class Group(NamedTuple):
    """Processes that train together, and the folder in which they meet and leave their outcome."""

    processes: int
    threads: int
    device: str
    folder: Path
    lines: mp.Queue


def launch(train: Callable[[], Result], processes: int, device: str) -> Result:
    """Call `train` here, or in each of `processes` new processes that form a group.

    The processes share the threads of this one, which passes SIGTERM and SIGINT on to them.

    Returns:
        What `train` returns; of a group, what it returns in the first process.

    Raises:
        InputError: all of the processes raised it.
        SystemExit: the processes ended with that exit status.
    """
    if processes == 1:
        return train()
    threads = max(1, torch.get_num_threads() // processes)
    lines = mp.get_context("spawn").Queue()
    listener = console.relay(lines)
    listener.start()
    with tempfile.TemporaryDirectory() as folder, noticing_signals() as noticed:
        group = Group(processes, threads, device, Path(folder), lines)
        context = mp.spawn(_member, (group, train), processes, join=False)
        passed_on = 0
        try:
            while not context.join(timeout=0.2):
                if noticed() and not passed_on:
                    passed_on = noticed()
                    for process in context.processes:
                        process.terminate()
        except mp.ProcessExitedException as error:
            raise SystemExit(128 + passed_on if passed_on else error.exit_code) from None
        finally:
            listener.stop()
        outcome = pickle.loads(Path(folder, "outcome").read_bytes())
    if isinstance(outcome, InputError):
        raise outcome
    return outcome


def _member(number: int, group: Group, train: Callable[[], Any]) -> None:
    """One process of the group, from its start to its end."""
    torch.set_num_threads(group.threads)
    if number == 0:
        console.join(group.lines)
    if group.device == "cuda":
        torch.cuda.set_device(number)
    if "lo" in dict(map(reversed, socket.if_nameindex())):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group(
        "nccl" if group.device == "cuda" else "gloo",
        init_method=(group.folder / "store").as_uri(),
        rank=number,
        world_size=group.processes,
    )
    try:
        try:
            outcome = train()
        except InputError as error:
            outcome = error
        if number == 0:
            (group.folder / "outcome").write_bytes(pickle.dumps(outcome))
        wait()
    finally:
        dist.destroy_process_group()
