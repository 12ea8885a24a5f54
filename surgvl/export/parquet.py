"""Parquet: the columns of the CSV file with their types; how it was made is in the schema's metadata."""

import io
import json

import pyarrow.parquet as pq

from surgvl.export.base import Format
from surgvl.export.interval_table import IntervalTable
from surgvl.export.json import about


class Parquet(Format):
    """One row group; metadata key `surgvl` holds the JSON file's `notes`, `origin` and `video`."""

    name = "parquet"
    title = "Parquet"
    purpose = "pandas, Polars, DuckDB"
    suffix = ".parquet"
    content_type = "application/vnd.apache.parquet"

    def encode(self, table: IntervalTable) -> bytes:
        """The whole file."""
        out = io.BytesIO()
        pq.write_table(table.to_arrow().replace_schema_metadata({"surgvl": json.dumps(about(table))}), out)
        return out.getvalue()
