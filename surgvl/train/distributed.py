"""Several processes that train one model: which of them speaks, what they agree on, and how a model is split over them.

Fully sharded data parallelism is torch's second one (`fully_shard`; ZeRO-3, arXiv 1910.02054).
"""

import atexit
import gc
import os
from collections.abc import Callable
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor


def main_process() -> bool:
    """Whether this process is the first of a run, which alone reports; from the environment, before a group exists.

    torchrun sets RANK, Slurm SLURM_PROCID, Lightning's own launcher LOCAL_RANK and NODE_RANK.
    """
    if "RANK" in os.environ:
        return os.environ["RANK"] == "0"
    if "LOCAL_RANK" in os.environ or "NODE_RANK" in os.environ:
        return {os.environ.get("LOCAL_RANK", "0"), os.environ.get("NODE_RANK", "0")} == {"0"}
    return os.environ.get("SLURM_PROCID", "0") == "0"


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def mean_over_ranks(value: Tensor) -> Tensor:
    """Mean of a float tensor over all processes, on each of them; the tensor itself where there is one."""
    if _several():
        value = value.clone()
        dist.all_reduce(value)
        value /= dist.get_world_size()
    return value


def least_over_ranks(value: Tensor) -> Tensor:
    """Smallest of an int tensor over all processes, element by element, on each of them."""
    if _several():
        value = value.clone()
        dist.all_reduce(value, dist.ReduceOp.MIN)
    return value


def gather_objects(value: Any) -> list[Any]:
    """A small Python value of every process, in the order of ranks, on each of them."""
    if not _several():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


@atexit.register
def leave_group() -> None:
    """Leave the processes' group, where there is one.

    Its threads may wait for Python's lock. An interpreter that ends stops whoever does, and a thread of C++ that is
    stopped there ends the process by `terminate`, though all was done. Lightning leaves none but groups of NCCL.
    """
    if dist.is_available() and dist.is_initialized():
        # What still holds the group, such as a wrapped model in a cycle of references, keeps its threads alive.
        gc.collect()
        dist.destroy_process_group()


def local(value: Tensor) -> Tensor:
    """This process's part of a tensor that is split over several, or the tensor itself."""
    return value.to_local() if isinstance(value, DTensor) else value


def whole(value: Tensor) -> Tensor:
    """All of a tensor that is split over several processes, on each of them, or the tensor itself."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def agree_on_stops(trainer: Any, when: Callable[[int], bool]) -> None:
    """Let the processes of a Lightning trainer agree at some steps only whether one was told to stop.

    Lightning does at every step, which waits for the device.

    Args:
        trainer: before it trains.
        when: whether they agree at this step.
    """
    loop: Any = trainer.fit_loop.epoch_loop
    if hasattr(loop, "_broadcast_sigterm_tensor"):
        ask = loop._broadcast_sigterm_tensor
        loop._broadcast_sigterm_tensor = lambda: ask() if when(trainer.global_step) else None


def blocks(module: nn.Module) -> list[nn.Module]:
    """The members of all stacks (`nn.ModuleList`) in a module."""
    return [block for stack in module.modules() if isinstance(stack, nn.ModuleList) for block in stack]


def shard(module: nn.Module, mesh: DeviceMesh, methods: tuple[str, ...] = ()) -> None:
    """Split a module's parameters over the processes of a mesh, block by block of its stacks, in place.

    Args:
        module: its `nn.ModuleList`s are gathered one member at a time, all else together.
        mesh: one-dimensional.
        methods: those beside `forward` that use parameters.
    """
    stacks = [part for part in module.modules() if isinstance(part, nn.ModuleList)]
    # Inner stacks first, so that an outer one takes only what they left.
    for stack in reversed(stacks):
        for block in stack:
            if any(True for _ in block.parameters()):
                fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh)
    for method in methods:
        register_fsdp_forward_method(module, method)


def unshard(module: nn.Module) -> None:
    """Give a module whole parameters again, on every process, in place; it is not for training any more."""
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            if isinstance(parameter, DTensor):
                part.register_parameter(name, nn.Parameter(parameter.full_tensor(), parameter.requires_grad))
