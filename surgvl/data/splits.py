"""Official splits of a data set: protocol -> split -> video ids, and the split of each video."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import read_json
from surgvl.data.formats.text_files import short_repr

_FORM = '{"train": [ids], "val": [ids], "test": [ids]}, ids in quotes'
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
    if not isinstance(record, dict):
        raise DataError(f"{path} is {short_repr(record)}; it must be {_FORM}: correct the file")
    for split, ids in record.items():
        if split not in ("train", "val", "test"):
            raise DataError(f"{path} has a split {short_repr(split)}; it must be {_FORM}: rename or drop it")
        wrong = [each for each in ids if not isinstance(each, str)] if isinstance(ids, list) else [ids]
        if wrong:
            raise DataError(f"{path}: {split} holds {short_repr(wrong[0])}; it must be {_FORM}: correct it")
    return {split: tuple(ids) for split, ids in record.items()}


def unsplit_note(root: Path, ids: Sequence[str]) -> str:
    """What to write where neither a data set nor its folder says which videos are for training.

    Args:
        root: the data set's folder.
        ids: its videos, for the example.
    """
    train, val, test = [*ids, "ID", "ID", "ID"][:3]
    example = f'{{"train": ["{train}"], "val": ["{val}"], "test": ["{test}"]}}'
    fact = "no video has a split, which training and scoring need, and none is published"
    return f"{fact}: write {root / 'splits.json'}, such as {example}, with all {len(ids)} ids in the three lists"


def id_range(pattern: str, *ranges: tuple[int, int]) -> tuple[str, ...]:
    """Ids of number ranges, both ends included: `id_range("video{:02d}", (1, 40))`."""
    return tuple(pattern.format(number) for first, last in ranges for number in range(first, last + 1))
