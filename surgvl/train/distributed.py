"""Distributed training: the reporting process, collective operations, SIGTERM, and sharding of a model.

Fully sharded data parallelism is torch's FSDP2 (`fully_shard`; ZeRO-3, arXiv 1910.02054).
"""

import atexit
import gc
import os
import signal
import threading
from collections.abc import Sequence
from functools import cache
from types import FrameType
from typing import Any, Self

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from surgvl.core.errors import Terminated


def main_process() -> bool:
    """Whether this is the run's first process, the only one that reports; known before a process group exists.

    torchrun sets RANK, Slurm SLURM_PROCID, Lightning's own launcher LOCAL_RANK and NODE_RANK.
    """
    if "RANK" in os.environ:
        return os.environ["RANK"] == "0"
    if "LOCAL_RANK" in os.environ or "NODE_RANK" in os.environ:
        return {os.environ.get("LOCAL_RANK", "0"), os.environ.get("NODE_RANK", "0")} == {"0"}
    return os.environ.get("SLURM_PROCID", "0") == "0"


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """Number of this process among all of a run."""
    return dist.get_rank() if _is_distributed() else 0


def all_reduce_mean(value: Tensor) -> Tensor:
    """Mean of a float tensor over all ranks, on each rank; the tensor itself if there is only one."""
    if _is_distributed():
        value = value.clone()
        dist.all_reduce(value)
        value /= dist.get_world_size()
    return value


def all_reduce_min(value: Tensor) -> Tensor:
    """Elementwise minimum of an int tensor over all ranks, on each rank."""
    if _is_distributed():
        value = value.clone()
        dist.all_reduce(value, dist.ReduceOp.MIN)
    return value


@cache
def _host_group() -> dist.ProcessGroup | None:
    """The ranks, connected by their hosts: over NCCL, a Python value would be read from the device."""
    return None if dist.get_backend() == "gloo" else dist.new_group(backend="gloo")


def gather_objects(value: Any) -> list[Any]:
    """A small Python value of every rank, in the order of ranks, on each rank."""
    if not _is_distributed():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value, _host_group())
    return values


def gather_rows(rows: Tensor, counts: Sequence[int]) -> list[Tensor]:
    """Rows of every rank, in the order of ranks, on each of them; without gradients.

    Args:
        rows: this rank's, [n, E].
        counts: n of every rank.
    """
    if not _is_distributed():
        return [rows]
    padded = rows.new_zeros(max(counts), *rows.shape[1:])
    padded[: len(rows)] = rows
    found = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(found, padded)
    return [each[:count] for each, count in zip(found, counts, strict=True)]


class SigtermFlag:
    """Context manager that records SIGTERM, which schedulers send, until the loop has finished its step."""

    def __enter__(self) -> Self:
        self.received = False
        # Only the main thread may set handlers; in other threads SIGTERM keeps its handler.
        self._main_thread = threading.current_thread() is threading.main_thread()
        if self._main_thread:
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = True

    def __exit__(self, *exception: object) -> None:
        if self._main_thread:
            signal.signal(signal.SIGTERM, self._before)

    def exit_if_received(self, fabric: Any, step: int) -> None:
        """End the run on all ranks together if any of them has received SIGTERM; the last checkpoint is kept.

        Args:
            fabric: Lightning's Fabric.
            step: steps that are done.

        Raises:
            Terminated: it has.
        """
        if fabric.strategy.reduce_boolean_decision(self.received, all=False):
            raise Terminated(f"after {step} steps")


@atexit.register
def leave_group() -> None:
    """Destroy the process group, if there is one.

    Its threads may wait for Python's global lock. An exiting interpreter stops such threads, and a C++ thread that is
    stopped there calls `terminate`, although all work is done. Lightning destroys NCCL groups only.
    """
    if dist.is_available() and dist.is_initialized():
        # Any reference to the group, such as from a wrapped model in a reference cycle, keeps its threads alive.
        gc.collect()
        _host_group.cache_clear()
        dist.destroy_process_group()


def local_tensor(value: Tensor) -> Tensor:
    """This rank's shard of a sharded tensor; any other tensor unchanged."""
    return value.to_local() if isinstance(value, DTensor) else value


def full_tensor(value: Tensor) -> Tensor:
    """The whole of a sharded tensor, on each rank; any other tensor unchanged."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def blocks(module: nn.Module) -> list[nn.Module]:
    """The members of all stacks (`nn.ModuleList`) in a module."""
    return [block for stack in module.modules() if isinstance(stack, nn.ModuleList) for block in stack]


def shard(module: nn.Module, mesh: DeviceMesh) -> None:
    """Shard a module's parameters over the ranks of a mesh, block by block of its stacks, in place.

    Args:
        module: members of its `nn.ModuleList`s are gathered one at a time, all other parameters together.
        mesh: one-dimensional.
    """
    stacks = [part for part in module.modules() if isinstance(part, nn.ModuleList)]
    # Inner stacks first, so that an outer one takes only the rest.
    for stack in reversed(stacks):
        for block in stack:
            if any(True for _ in block.parameters()):
                fully_shard(block, mesh=mesh)
    fully_shard(module, mesh=mesh)


def unshard(module: nn.Module) -> None:
    """Replace sharded parameters by whole ones on the CPU, on every rank and in place; training cannot continue."""
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            full = full_tensor(parameter.detach()).cpu()
            part.register_parameter(name, nn.Parameter(full, parameter.requires_grad))
        for name, buffer in part.named_buffers(recurse=False):
            setattr(part, name, buffer.cpu())
