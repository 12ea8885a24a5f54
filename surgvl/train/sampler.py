"""Samples and random seeds of a step: functions of its number alone, so that a run resumes at any step.

A batch is split into equal micro-batches over devices and, on each device, over time: the micro-batches and their
random numbers are the same either way.
"""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler


class StepSampler(Sampler[list[int]]):
    """Sample numbers of a rank's micro-batches, from a step on. Its length is that of the whole run.

    Args:
        steps: of the run.
        batch: samples a step.
        start: first step.
        rank: of this process.
        world: number of processes.
        accumulate: micro-batches of a step on each rank; number m of rank r is number r * accumulate + m of all.
    """

    def __init__(self, steps: int, batch: int, start: int, rank: int, world: int, accumulate: int = 1):
        self.steps, self.batch, self.start, self.accumulate = steps, batch, start, accumulate
        parts = world * accumulate
        mine = range(rank * accumulate, (rank + 1) * accumulate)
        self.mine = [range(batch * part // parts, batch * (part + 1) // parts) for part in mine]

    def __len__(self) -> int:
        return self.steps * self.accumulate

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.steps):
            for part in self.mine:
                yield [step * self.batch + slot for slot in part]


def seed_generators(seed: int, device: torch.device) -> None:
    """Start the random numbers of the host and of a device, as `torch.manual_seed` does.

    That also asks for every kind of device, and formats the whole stack for each that is not there, to tell later where
    it was asked for: in a step of a small model on a CPU, it takes a tenth of the time.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


def micro_batch_seed(seed: int, step: int, number: int) -> int:
    """Seed of a micro-batch of a step; `number` is below 4096."""
    return (seed * 1_000_003 + step) * 4096 + number
