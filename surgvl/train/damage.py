"""Damaged recordings in training: unreadable clips are replaced, reported, and remembered when a run resumes.

What replaces a sample follows from the sample's number alone, so that a run resumes to the same weights, whichever
process loads the sample and whatever was found before. Findings travel with the batch, because they may come from a
data loading process.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch.utils.data import Dataset

from surgvl.core.errors import DataError, Unreadable
from surgvl.train.distributed import gather_objects

# Sample i is replaced by samples i + k * FAR: far beyond any run, and at the same place in a group of samples that
# share a clip (`repeats`), as long as such a group has 16 samples at most.
FAR = math.lcm(*range(1, 17)) << 20
MAX_TRIES = 100
KEY = "problems"
LoadedSample = tuple[dict[str, Any] | None, dict[str, str]]


class Replacing(Dataset[LoadedSample]):
    """A data set whose unreadable samples are replaced by others of it.

    Args:
        data: map-style, endless; sample i, a mapping, is a pure function of i.
    """

    def __init__(self, data: Dataset[Any]):
        self.data = data

    def __getitem__(self, index: int) -> LoadedSample:
        """Sample `index` or its replacement (None if nothing can be read), and a line for each damaged video.

        The line is returned rather than raised: an exception in a data loading process arrives as a page of text.
        """
        problems: dict[str, str] = {}
        for number in range(MAX_TRIES):
            try:
                return self.data[index + number * FAR], problems
            except Unreadable as error:
                problems.setdefault(error.video_id, f"{error} (clips there were replaced by others)")
        return None, problems


class Collate:
    """Batches of `Replacing`: those of another collate function, with the problems of all samples.

    Args:
        collate: list of samples -> batch.
    """

    def __init__(self, collate: Callable[[list[Any]], dict[str, Any]]):
        self.collate = collate

    def __call__(self, found: Sequence[LoadedSample]) -> dict[str, Any]:
        """The batch; it holds problems alone if a sample could not be replaced."""
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
            DataError: one of its samples could not be replaced.
        """
        new = batch[KEY]
        self.found = _merged([self.found, new])
        if len(batch) == 1:
            raise DataError(
                f"{MAX_TRIES} clips drawn one after another cannot be read; the first: {next(iter(new.values()))}"
            )
        return {key: value for key, value in batch.items() if key != KEY}

    def state_dict(self) -> dict[str, str]:
        """For the checkpoint: of all ranks, which all call this."""
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
