"""What processes that train together do as one: each takes a part of every batch.

DistributedDataParallel averages gradients, over gloo on a CPU and nccl on GPUs, and BatchNorm sees
the whole batch, so that the steps are those of one process but for rounding and dropout's draws.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from treehead.artifacts import InputError
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
    """The model with gradients that are means over all processes; the model itself in no group.

    Raises:
        InputError: a layer does not run in several processes on a CPU.
    """
    if not grouped():
        return model
    on_gpu = dist.get_backend() == "nccl"
    for name, module in model.named_modules():
        if isinstance(module, nn.SyncBatchNorm) and not on_gpu:
            raise InputError(
                f"{name} is SyncBatchNorm, which torch runs on GPUs alone; make it BatchNorm, "
                "which sees the whole batch in several processes too, or set finetune.processes "
                "and finetune.machines to 1."
            )
    return DistributedDataParallel(
        model,
        device_ids=[torch.cuda.current_device()] if on_gpu else None,
        forward_sync_buffers=False,
        # So a layer may go unused, as it may in one process.
        static_graph=True,
    )


@contextmanager
def over_whole_batches() -> Iterator[None]:
    """In the body BatchNorm sees the batches of all processes; nothing changes in no group.

    What else a module does, as an activation, stays, since the function is replaced that BatchNorm
    of any kind calls, and not the module.
    """
    F.batch_norm = _batch_norm if grouped() else _ONE_BATCH
    try:
        yield
    finally:
        F.batch_norm = _ONE_BATCH


_ONE_BATCH = F.batch_norm


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`F.batch_norm` of x (n, channels, ...) over the batches of all processes."""
    if not training:
        return _ONE_BATCH(x, running_mean, running_var, weight, bias, eps=eps)
    own = x.float()
    others, shape = [0, *range(2, x.ndim)], (-1, *[1] * (x.ndim - 2))
    rows = own.new_full((1,), own.numel() // own.shape[1])
    sums = _Sum.apply(torch.cat((own.sum(others), rows)))
    count = sums[-1].detach()
    mean = sums[:-1] / count
    centered = own - mean.view(shape)
    variance = _Sum.apply(centered.square().sum(others)) / count
    if running_mean is not None:
        running_mean.lerp_(mean.detach(), momentum)
        running_var.lerp_((variance * count / (count - 1)).detach(), momentum)
    scale = (variance + eps).rsqrt()
    scale = scale if weight is None else weight * scale
    y = centered * scale.view(shape)
    return (y if bias is None else y + bias.view(shape)).to(x.dtype)


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
