"""A file of nested clusters of clips, for sampling that is balanced over visual content.

The file is Parquet with a row for each vector: video_id, start_s, end_s, cluster_0 (coarsest), cluster_1, ... At each
level, ids count from 0 without gaps and each cluster lies in one of the level above. `surgvl.embed.cluster` writes it.
Shapes: N vectors, L levels, Q queries.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike

from surgvl.core.arrays import Float64Array, Int64Array
from surgvl.core.errors import DataError, first_line
from surgvl.core.files import atomic
from surgvl.core.parquet import read_parquet


@dataclass(frozen=True)
class Clusters:
    """The content of such a file.

    Attributes:
        video_ids: [N].
        start_s: float64 [N], seconds.
        end_s: float64 [N].
        groups: cluster ids, int64 [N, L], from coarse to fine.
    """

    video_ids: list[str]
    start_s: Float64Array
    end_s: Float64Array
    groups: Int64Array

    @classmethod
    def load(cls, path: Path | str) -> "Clusters":
        """Read a file that `save` wrote.

        Raises:
            DataError: the file is absent, has no rows, or was not written by `save`.
        """
        try:
            table = read_parquet(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(
                f"{path} is not a file of clusters ({first_line(error)}): write one with `surgvl data cluster`"
            ) from error
        names = table.column_names
        levels = [f"cluster_{level}" for level in range(len(names) - 3)]
        nulls = any(column.null_count for column in table.columns)
        if not levels or names != ["video_id", "start_s", "end_s", *levels] or not len(table) or nulls:
            raise DataError(
                f"{path} has {len(table)} rows of {', '.join(names)}; expected are rows of video_id, start_s, end_s, "
                "cluster_0, ...: write it with `surgvl data cluster`"
            )
        groups = np.stack([table[name].to_numpy() for name in levels], axis=1).astype(np.int64)
        return cls(table["video_id"].to_pylist(), table["start_s"].to_numpy(), table["end_s"].to_numpy(), groups)

    def save(self, path: Path | str, **facts: Any) -> None:
        """Write the file atomically, with `facts` as JSON under the key `surgvl` of the schema's metadata."""
        columns = {"video_id": self.video_ids, "start_s": self.start_s, "end_s": self.end_s}
        levels = {f"cluster_{level}": numbers for level, numbers in enumerate(self.groups.T)}
        table = pa.table(columns | levels).replace_schema_metadata({"surgvl": json.dumps(facts)})
        with atomic(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")

    def at(self, video_ids: Sequence[str], times_s: ArrayLike) -> Int64Array:
        """Cluster ids of the row whose middle is nearest to each time: int64 [Q, L].

        Args:
            video_ids: [Q].
            times_s: seconds, [Q].

        Raises:
            DataError: a video has no row.
        """
        wanted, times = np.asarray(video_ids, np.str_), np.asarray(times_s, np.float64)
        mine, middle = np.asarray(self.video_ids, np.str_), (self.start_s + self.end_s) / 2
        if lost := sorted(set(wanted.tolist()) - set(mine.tolist())):
            more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
            raise DataError(
                f"no clusters for video {lost[0]!r}{more}: embed all videos to train on, then `surgvl data cluster`"
            )
        found = np.empty((len(wanted), self.groups.shape[1]), np.int64)
        rows, queries = np.lexsort((middle, mine)), np.argsort(wanted, kind="stable")
        names = np.unique(wanted)
        of_row, of_query = mine[rows], wanted[queries]
        row_edges = np.stack([np.searchsorted(of_row, names, side) for side in ("left", "right")], 1)
        query_edges = np.stack([np.searchsorted(of_query, names, side) for side in ("left", "right")], 1)
        for (first, end), (begin, stop) in zip(row_edges.tolist(), query_edges.tolist(), strict=True):
            here, asked = rows[first:end], queries[begin:stop]
            between = (middle[here][1:] + middle[here][:-1]) / 2
            found[asked] = self.groups[here[np.searchsorted(between, times[asked])]]
        return found
