"""Comma-separated values, one row an interval; the files of several videos can be joined."""

import csv
import io

from surgvl.export.base import Format
from surgvl.export.interval_table import IntervalTable


class Csv(Format):
    """RFC 4180, with a line of column names, in UTF-8."""

    name = "csv"
    title = "CSV"
    purpose = "spreadsheets, pandas, R"
    suffix = ".csv"
    content_type = "text/csv"

    def encode(self, table: IntervalTable) -> bytes:
        """The whole file."""
        rows, text = table.to_arrow(), io.StringIO(newline="")
        writer = csv.DictWriter(text, rows.column_names)
        writer.writeheader()
        writer.writerows(rows.to_pylist())
        return text.getvalue().encode()
