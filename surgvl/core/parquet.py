"""Tables of one Parquet file."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

# Rows from which threads save more time than they take.
_MANY = 100_000


def read_parquet(path: Path | str, columns: Sequence[str] | None = None) -> pa.Table:
    """The table of a file, or some of its columns; `pyarrow.parquet.read_table` looks for a data set in folders first,
    which takes a small file three times as long.

    Raises:
        OSError: there is no such file, or it cannot be read.
        pyarrow.ArrowInvalid: it is not a Parquet file, or damaged.
    """
    with pq.ParquetFile(path) as file:
        return file.read(None if columns is None else list(columns), use_threads=file.metadata.num_rows >= _MANY)
