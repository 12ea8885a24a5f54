"""Damaged recordings in training: clips that cannot be read are replaced, named, and remembered over a stop.

What stands in for a sample follows from the sample's number alone, so that a run resumes to the same weights, whichever
process loads it and whatever was found before. What was found travels with the batch, because it may come from a data
loading process.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch.utils.data import Dataset

from surgvl.core.errors import DataError, Unreadable
from surgvl.train.distributed import gather_objects

# Samples in place of number i are i + k * FAR: far beyond any run, and in the same place of a group of samples that
# share a clip (`repeats`), as long as these are at most 16.
FAR = math.lcm(*range(1, 17)) << 20
MOST_TRIES = 100
KEY = "problems"
Found = tuple[dict[str, Any] | None, dict[str, str]]


class Replacing(Dataset[Found]):
    """A data set whose unreadable samples are replaced by others of it.

    Args:
        data: map-style, endless; sample i, a mapping, is a pure function of i.
    """

    def __init__(self, data: Dataset[Any]):
        self.data = data

    def __getitem__(self, index: int) -> Found:
        """Sample `index` or what stands in for it (None where nothing can be read), and a line for each damaged video.

        An exception is no way to tell of it: one from a data loading process arrives as a page of text.
        """
        problems: dict[str, str] = {}
        for number in range(MOST_TRIES):
            try:
                return self.data[index + number * FAR], problems
            except Unreadable as error:
                problems.setdefault(error.video_id, f"{error} (other clips stood in for those that meet it)")
        return None, problems


class Collate:
    """Batches of `Replacing`: those of another collate function, with the problems of all samples.

    Args:
        collate: list of samples -> batch.
    """

    def __init__(self, collate: Callable[[list[Any]], dict[str, Any]]):
        self.collate = collate

    def __call__(self, found: Sequence[Found]) -> dict[str, Any]:
        """The batch; it is empty but for the problems where a sample has nothing that could stand in for it."""
        samples = [sample for sample, _ in found if sample is not None]
        problems = _merged([each for _, each in found])
        return {**(self.collate(samples) if len(samples) == len(found) else {}), KEY: problems}


class Problems:
    """What a run found damaged: video id -> the first line about it."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def take(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch without its problems, which are kept here.

        Raises:
            DataError: nothing could stand in for one of its samples.
        """
        new = batch[KEY]
        self.found = _merged([self.found, new])
        if len(batch) == 1:
            raise DataError(
                f"{MOST_TRIES} clips drawn one after another cannot be read; the first: {next(iter(new.values()))}"
            )
        return {key: value for key, value in batch.items() if key != KEY}

    def state_dict(self) -> dict[str, str]:
        """For the checkpoint: of all processes, which all call this."""
        self.found = _merged(gather_objects(self.found))
        return dict(self.found)

    def load_state_dict(self, state: dict[str, str]) -> None:
        """From the checkpoint."""
        self.found = dict(state)


def _merged(all_found: Sequence[dict[str, str]]) -> dict[str, str]:
    """The first line about each video."""
    merged: dict[str, str] = {}
    for found in all_found:
        merged = {**found, **merged}
    return merged
