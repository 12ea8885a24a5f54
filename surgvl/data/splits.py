"""Official splits of a data set: protocol -> split -> video ids, and the split of each video."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import read_json

Splits = Mapping[str, Mapping[str, Sequence[str]]]


def split_of_each(splits: Mapping[str, Sequence[str]], where: str) -> dict[str, Any]:
    """Video id -> split.

    Raises:
        ConfigError: an id is in two splits or twice in one.
    """
    split_of: dict[str, str] = {}
    for split, ids in splits.items():
        for video_id in ids:
            if video_id in split_of:
                raise ConfigError(
                    f"{where}: {video_id} is in {split_of[video_id]} and in {split}: each video has one split"
                )
            split_of[video_id] = split
    return split_of


def read_splits(path: Path) -> dict[str, tuple[str, ...]]:
    """Read `splits.json`: split -> video ids.

    Raises:
        DataError: other content.
    """
    record = read_json(path)
    whole = isinstance(record, dict) and record.keys() <= {"train", "val", "test"}
    if not whole or not all(isinstance(ids, list) and all(isinstance(i, str) for i in ids) for ids in record.values()):
        raise DataError(f'{path} is not {{"train": [ids], "val": [ids], "test": [ids]}}: correct the file')
    return {split: tuple(ids) for split, ids in record.items()}


def id_range(pattern: str, *ranges: tuple[int, int]) -> tuple[str, ...]:
    """Ids of number ranges, both ends included: `id_range("video{:02d}", (1, 40))`."""
    return tuple(pattern.format(number) for first, last in ranges for number in range(first, last + 1))
