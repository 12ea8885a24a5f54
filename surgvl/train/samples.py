"""The samples of a step and its random numbers: functions of the step alone, so that a run resumes at any step.

A batch is split into equal micro-batches over devices and, on each device, over time: the micro-batches and their
random numbers are the same either way. Unreadable clips are replaced and reported, also after a run resumes: the
replacement of a sample depends on the sample's number alone, whichever process loads the sample and whatever was found
before. Problems travel with the batch, because a data loading process may find them.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Dataset, Sampler

from surgvl.core.errors import DataError, Unreadable
from surgvl.train.distributed import gather_objects

# Sample i is replaced by samples i + k * FAR: far beyond any run, and at the same place in a group of samples that
# share a clip (`repeats`), as long as such a group has 16 samples at most.
FAR = math.lcm(*range(1, 17)) << 20
MAX_TRIES = 100
KEY = "problems"
LoadedSample = tuple[dict[str, Any] | None, dict[str, str]]


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


# ---- what cannot be read


class Replacing(Dataset[LoadedSample]):
    """A data set whose unreadable samples are replaced by other samples.

    Args:
        data: map-style, endless; sample i, a mapping, is a pure function of i.
    """

    def __init__(self, data: Dataset[Any]):
        self.data = data

    def __getitem__(self, index: int) -> LoadedSample:
        """Sample `index` or its replacement (None if nothing can be read), and a line for each damaged video.

        The line is returned, because an exception in a data loading process arrives as a page of traceback.
        """
        problems: dict[str, str] = {}
        for number in range(MAX_TRIES):
            try:
                return self.data[index + number * FAR], problems
            except Unreadable as error:
                problems.setdefault(error.video_id, f"{error} (clips there were replaced by others)")
        return None, problems


class Collate:
    """Collates the samples of `Replacing` by another collate function, and adds the problems of all samples.

    Args:
        collate: list of samples -> batch.
    """

    def __init__(self, collate: Callable[[list[Any]], dict[str, Any]]):
        self.collate = collate

    def __call__(self, found: Sequence[LoadedSample]) -> dict[str, Any]:
        """The batch; only the problems if a sample could not be replaced."""
        samples = [sample for sample, _ in found if sample is not None]
        problems = _merged([each for _, each in found])
        return {**(self.collate(samples) if len(samples) == len(found) else {}), KEY: problems}


class Problems:
    """The damaged videos that a run found: video id -> the first line about it."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def take(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return the batch without its problems, and keep the problems here.

        Raises:
            DataError: a sample of the batch could not be replaced.
        """
        new = batch[KEY]
        self.found = _merged([self.found, new])
        if len(batch) == 1:
            raise DataError(f"{MAX_TRIES} clips in a row cannot be read; the first: {next(iter(new.values()))}")
        return {key: value for key, value in batch.items() if key != KEY}

    def state_dict(self) -> dict[str, str]:
        """The problems of all ranks, for the checkpoint; all ranks must call this."""
        self.found = _merged(gather_objects(self.found))
        return dict(self.found)

    def load_state_dict(self, state: dict[str, str]) -> None:
        """Restore the problems from a checkpoint."""
        self.found = dict(state)


def _merged(all_found: Sequence[dict[str, str]]) -> dict[str, str]:
    """The first line about each video."""
    merged: dict[str, str] = {}
    for found in all_found:
        merged = {**found, **merged}
    return merged
