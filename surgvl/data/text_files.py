"""Label files as they are in the wild: CRLF, byte order marks, tabs or blanks or commas, foreign encodings.

Reading is tolerant, values are checked strictly: a wrong value is one DataError with file and line.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from surgvl.errors import DataError


def read_text(path: Path) -> str:
    """Text of a file: UTF-8, with or without a byte order mark; other bytes are replaced (no value has any).

    Raises:
        DataError: the file is absent, a folder, or holds nothing.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check the path") from error
    text = raw.decode("utf-8-sig", errors="replace")
    if not text.strip():
        raise DataError(f"{path} is empty: copy it again, or delete it")
    return text


def read_fields(path: Path) -> list[tuple[int, list[str]]]:
    """Rows of a text file as (line number from 1, fields), split at tabs, commas or blanks as the first line is.

    Raises:
        DataError: the file is absent or empty.
    """
    lines = [(number, line.strip()) for number, line in enumerate(read_text(path).splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line]
    separator = "\t" if "\t" in lines[0][1] else "," if "," in lines[0][1] else None
    # split() with no separator also swallows runs of blanks, which is what blank-separated files need.
    return [(number, [field.strip() for field in line.split(separator)]) for number, line in lines]


def read_csv(
    path: Path, required: Sequence[str], optional: Sequence[str] = (), ignore_others: bool = False
) -> dict[str, list[str]]:
    """Columns of a csv file with a header, values stripped of blanks; quoted commas and line breaks are kept.

    Args:
        path: the file.
        required: columns that must be there.
        optional: columns that may be; absent ones are not in the result.
        ignore_others: let further columns pass, unread.

    Returns:
        Column name -> values, and `line` -> line numbers as text.

    Raises:
        DataError: absent or empty file, missing, unknown or repeated columns, or a row of another length than the
            header.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""))
    header: list[str] = []
    rows: list[list[str]] = []
    lines: list[str] = []
    try:
        for row in reader:
            fields = [field.strip() for field in row]
            if not any(fields):
                continue
            if not header:
                header = fields
                continue
            if len(fields) != len(header):
                raise DataError(
                    f"{path}, line {reader.line_num}: {len(fields)} values for {len(header)} columns: correct the row"
                )
            rows.append(fields)
            lines.append(str(reader.line_num))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not a csv row ({error}): correct it") from error
    missing = [name for name in required if name not in header]
    # Spreadsheets leave nameless columns behind.
    named = [name for name in header if name]
    unknown = [] if ignore_others else [name for name in named if name not in (*required, *optional)]
    if missing or unknown or len(set(named)) != len(named):
        want = ", ".join(required) + (f" and perhaps {', '.join(optional)}" if optional else "")
        raise DataError(f"{path}: columns are {', '.join(header)}; wanted {want}: rename or drop them")
    columns = {name: [row[at] for row in rows] for at, name in enumerate(header) if name in (*required, *optional)}
    return {**columns, "line": lines}


def parse_int(text: str, path: Path, line: int | str, what: str) -> int:
    """A whole number of a label file; `12.0` counts as one.

    Raises:
        DataError: it is not.
    """
    try:
        value = float(text)
        if value == int(value):
            return int(value)
    except (ValueError, OverflowError):
        pass
    raise DataError(f"{path}, line {line}: {what} is {text!r}; it must be a whole number: correct the row")


def parse_seconds(text: str, path: Path, line: int | str, what: str) -> float:
    """A time in seconds of a label file.

    Raises:
        DataError: it is not a finite number from 0.
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value < float("inf"):
        raise DataError(f"{path}, line {line}: {what} is {text!r}; it must be seconds from 0: correct the row")
    return value
