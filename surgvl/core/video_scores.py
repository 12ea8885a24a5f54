"""The scores of a run for each video and each draw of videos, in `videos.parquet`, so that runs can be compared later.

One row for each score: `task`, `metric`, `data`, `video_ids` and `values` (a score for each video alone, NaN where it
is undefined), and `drawn` (its values over the draws of videos, which runs on the same videos and seed share).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from surgvl.core.arrays import Float64Array
from surgvl.core.errors import DataError
from surgvl.core.files import atomic
from surgvl.core.parquet import read_parquet
from surgvl.core.results import Result

FILE = "videos.parquet"
Score = tuple[str, str, str]
"""Task, metric and data of a score."""


@dataclass(frozen=True)
class VideoScores:
    """One score for each video.

    Attributes:
        values: by video id; NaN where undefined.
        drawn: float64 [R], over draws of videos.
    """

    values: dict[str, float]
    drawn: Float64Array


def write_video_scores(folder: Path, results: Sequence[Result]) -> None:
    """Write those of all results that have them, atomically."""
    rows = [result for result in results if result.by_video]
    texts, numbers = pa.list_(pa.string()), pa.list_(pa.float64())
    table = pa.table(
        {
            **{name: pa.array([vars(row)[name] for row in rows], pa.string()) for name in ("task", "metric", "data")},
            "video_ids": pa.array([list(row.by_video) for row in rows], texts),
            "values": pa.array([list(row.by_video.values()) for row in rows], numbers),
            "drawn": pa.array([list(row.drawn) for row in rows], numbers),
        }
    )
    with atomic(folder / FILE) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_video_scores(folder: Path) -> dict[Score, VideoScores]:
    """Read a run's scores by video.

    Raises:
        DataError: the run has none.
    """
    try:
        rows = read_parquet(folder / FILE).to_pylist()
        return {
            (row["task"], row["metric"], row["data"]): VideoScores(
                dict(zip(row["video_ids"], row["values"], strict=True)), np.array(row["drawn"], np.float64)
            )
            for row in rows
        }
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise DataError(f"{folder / FILE} cannot be read ({error}): run `surgvl eval` again") from error
