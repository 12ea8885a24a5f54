"""Which samples and random numbers a step takes: functions of its number alone, so that a run resumes at any step.

A batch is cut into equal parts, over devices and, on a device, one after another in time: the same parts with the same
random numbers, whichever of the two does it.
"""

from collections.abc import Iterator

from torch.utils.data import Sampler


class StepSampler(Sampler[list[int]]):
    """Sample numbers of a rank's parts, from a step on. As long as the whole run.

    Args:
        steps: of the run.
        batch: samples a step.
        start: first step.
        rank: of this process.
        world: number of processes.
        accumulate: parts of a batch on each process; part m of rank r is part r * accumulate + m of all.
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


def part_seed(seed: int, step: int, part: int) -> int:
    """Seed of a part of a step's batch; parts are below 4096."""
    return (seed * 1_000_003 + step) * 4096 + part
