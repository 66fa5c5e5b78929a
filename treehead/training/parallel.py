"""What processes that train together do as one: each takes a part of every batch.

DistributedDataParallel averages gradients, over gloo on a CPU and nccl on GPUs, and BatchNorm sees
the whole batch, so that the steps are those of one process but for rounding.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from treehead.training.checkpoint import State


def rank() -> int:
    """The number of this process in its group; 0 if there is no group."""
    return dist.get_rank() if grouped() else 0


def first_of_machine() -> bool:
    """Whether this process is the first of its machine, which tells and saves."""
    return dist.get_node_local_rank(fallback_rank=0) == 0


def grouped() -> bool:
    """Whether this process is one of a group, be it the only one."""
    return dist.is_initialized()


def size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if grouped() else 1


def part(n: int) -> slice:
    """This process's part of n rows; the parts of all processes are nearly equal."""
    return slice(n * rank() // size(), n * (rank() + 1) // size())


def total(*values: float) -> list[float]:
    """The sum of each value over all processes, the same in each of them."""
    if not grouped():
        return list(values)
    sums = torch.tensor(values, dtype=torch.float64)
    if dist.get_backend() == "nccl":
        sums = sums.cuda()
    dist.all_reduce(sums)
    return sums.tolist()


def newest(state: State | None) -> State | None:
    """The newest state that a process has, for all of them: a machine has what it saved itself."""
    if not grouped():
        return state
    places = [None] * size()
    dist.all_gather_object(places, (state["epoch"], state["step"]) if state else (0, 0))
    found = [state]
    dist.broadcast_object_list(found, places.index(max(places)))
    return found[0]


def wait() -> None:
    """Wait until all processes are here."""
    if grouped():
        dist.barrier()


def averaging(model: nn.Module) -> nn.Module:
    """The model with gradients that are means over all processes; the model itself in no group."""
    if not grouped():
        return model
    on_gpu = dist.get_backend() == "nccl"
    return DistributedDataParallel(
        model,
        device_ids=[torch.cuda.current_device()] if on_gpu else None,
        forward_sync_buffers=False,
    )


def synchronized(model: nn.Module) -> nn.Module:
    """The model with BatchNorm over the batches of all processes; the model itself in no group."""
    if not grouped():
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
