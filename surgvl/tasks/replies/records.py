"""Files of replies as rows: JSON, JSON lines, comma- or tab-separated text with a header, or a workbook."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from surgvl.core.errors import DataError
from surgvl.core.files import read_json
from surgvl.core.workbook import read_sheet

SUFFIXES = (".json", ".jsonl", ".tsv", ".csv", ".xlsx")


def read_records(path: Path) -> list[dict[str, Any]]:
    """The rows of a file: of JSON a list of objects, or an object of them; of a table a text for each column.

    Raises:
        DataError: the file cannot be read, or is not of such a form.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        found = read_json(path)
        rows: list[Any] = list(found.values()) if isinstance(found, dict) else found
    elif suffix == ".jsonl":
        rows = [_object(path, number, line) for number, line in enumerate(_lines(path), 1) if line.strip()]
    elif suffix in (".tsv", ".csv", ".xlsx"):
        rows = _table(path, read_sheet(path) if suffix == ".xlsx" else _cells(path, suffix))
    else:
        raise DataError(
            f"{path} is not a file of replies: give {', '.join(SUFFIXES)}; pickles may run code, and are not opened"
        )
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path} must hold a row for each reply, with its columns by name: write it again")
    return rows


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}): save it as UTF-8") from error


def _lines(path: Path) -> list[str]:
    # Not splitlines: JSON may hold the line separators of Unicode as they are.
    return _text(path).split("\n")


def _object(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}, line {number} is not JSON ({error}): write it again") from error


def _cells(path: Path, suffix: str) -> list[list[str]]:
    try:
        return [row for row in csv.reader(io.StringIO(_text(path)), delimiter="\t" if suffix == ".tsv" else ",") if row]
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as a table ({error}): write it again") from error


def _table(path: Path, cells: list[list[str]]) -> list[dict[str, Any]]:
    head = cells[0] if cells else []
    if repeated := sorted({name for name in head if name and head.count(name) > 1}):
        raise DataError(f"{path}: column {repeated[0]!r} occurs twice: rename one")
    for number, row in enumerate(cells[1:], 2):
        if any(row[len(head) :]):
            raise DataError(f"{path}, row {number}: {len(row)} cells for {len(head)} columns: quote the texts")
    return [dict(zip(head, [*row, *[""] * (len(head) - len(row))], strict=False)) for row in cells[1:]]
