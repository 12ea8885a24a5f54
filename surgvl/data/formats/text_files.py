"""Label files as they are in the wild: CRLF, byte order marks, tabs, blanks, commas or semicolons between values.

Reading is tolerant, values are checked strictly: a wrong value is one DataError with file and line. Text in an encoding
that is not stated is refused, because no letter of it is certain.
"""

import codecs
import csv
import io
import re
import reprlib
from collections.abc import Sequence
from pathlib import Path

from surgvl.core import times
from surgvl.core.errors import ConfigError, DataError

# Nothing that is counted in a recording reaches these: frames of a week at 150 frames/s, and a week.
MOST = 10**8
LONGEST_S = 7 * 24 * 3600.0
# The mark of UTF-32 begins as that of UTF-16 does.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEPARATORS = ("\t", ",", ";")
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab"}
_DECIMAL = re.compile(r"-?\d+,\d+")
_SHOW = reprlib.Repr()
_SHOW.maxstring = _SHOW.maxlong = _SHOW.maxother = 80


def short_repr(value: object) -> str:
    """A value as messages show it: a line, however long or deep it is."""
    return _SHOW.repr(value)


def decode_text(path: Path, errors: str = "strict") -> str:
    """Text of a file: UTF-8 with or without a byte order mark, or UTF-16 or UTF-32 with one.

    Args:
        path: the file.
        errors: as Python's `bytes.decode` has it.

    Raises:
        DataError: the file is absent or a folder, is in another encoding, or is binary.
    """
    try:
        raw = path.read_bytes()
    except ValueError as error:
        raise DataError(f"{str(path)!r} is not a path ({error}): correct it") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): check the path") from error
    encoding = next((name for mark, name in _MARKS if raw.startswith(mark)), "utf-8-sig")
    try:
        text = raw.decode(encoding, errors)
    except UnicodeDecodeError as error:
        line, bad = raw.count(b"\n", 0, error.start) + 1, raw[error.start]
        fact = f"line {line}: byte 0x{bad:02x} is not {encoding.removesuffix('-sig').upper()}"
        raise DataError(f"{path}, {fact}, the encoding is another: save the file as UTF-8") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        fact = f"line {line} has a NUL: it is binary, or UTF-16 without a byte order mark"
        raise DataError(f"{path}, {fact}: save it as text in UTF-8")
    return text


def read_text(path: Path, errors: str = "strict") -> str:
    """Text of a file that must hold some; see `decode_text`.

    Raises:
        DataError: the file cannot be decoded, or holds nothing.
    """
    text = decode_text(path, errors)
    if not text.strip():
        raise DataError(f"{path} is empty: copy it again, or delete it")
    return text


def read_fields(path: Path) -> list[tuple[int, list[str]]]:
    """Rows of a text file as (line number from 1, fields), split at tabs, commas, semicolons or blanks as in its first.

    Raises:
        DataError: the file is absent or empty.
    """
    lines = [(number, line.strip()) for number, line in enumerate(read_text(path).splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line]
    separator = next((mark for mark in _SEPARATORS if mark in lines[0][1]), None)
    # split() with no separator also swallows runs of blanks, which is what blank-separated files need.
    return [(number, [field.strip() for field in line.split(separator)]) for number, line in lines]


def read_csv(
    path: Path, required: Sequence[str], optional: Sequence[str] = (), ignore_others: bool = False
) -> dict[str, list[str]]:
    """Columns of a csv file with a header, values stripped of blanks; quoted separators and line breaks are kept.

    Values are separated by commas; by semicolons or tabs where the header is, as spreadsheets write them. Beside
    semicolons a comma is the decimal point.

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
    # What nobody reads may be in any encoding: its bytes are kept as lone surrogates, which no wanted value may have.
    text = read_text(path, "surrogateescape" if ignore_others else "strict")
    head = text.lstrip().partition("\n")[0]
    separator = max(",;\t", key=head.count)
    # Strict: a quote that is not closed would swallow the rest of the file.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
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
                    f"{path}, line {reader.line_num}: {len(fields)} values for {len(header)} columns: correct the row, "
                    f"and put values that hold a {_NAMES[separator]} in quotes"
                )
            if separator == ";":
                fields = [field.replace(",", ".") if _DECIMAL.fullmatch(field) else field for field in fields]
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
        raise DataError(
            f"{path}: columns are {short_repr(', '.join(header))[1:-1]}; wanted {want}: rename or drop them"
        )
    columns = {name: [row[at] for row in rows] for at, name in enumerate(header) if name in (*required, *optional)}
    for name, values in columns.items():
        for value, line in zip(values, lines, strict=True):
            if re.search("[\ud800-\udfff]", value):
                raise DataError(f"{path}, line {line}: {name} is not UTF-8: save the file as UTF-8")
    return {**columns, "line": lines}


def parse_int(text: str, path: Path, line: int | str, what: str, least: int = -MOST) -> int:
    """A whole number of a label file, `least` to `MOST`; `12.0` counts as one.

    Raises:
        DataError: it is not.
    """
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if least <= value <= MOST and value == int(value):
        return int(value)
    allowed = "a whole number" if least < 0 else f"a whole number from {least}"
    if abs(value) > MOST:
        allowed += f" and at most {MOST:,}"
    raise DataError(f"{path}, line {line}: {what} is {short_repr(text)}; it must be {allowed}: correct the row")


def parse_seconds(text: str, path: Path, line: int | str, what: str, most: float = LONGEST_S) -> float:
    """A time of a label file: seconds, m:ss or h:mm:ss, with a comma before its fraction where subtitles have one.

    Raises:
        DataError: it is not a time from 0 to `most`.
    """
    word = text.replace(",", ".") if ":" in text else text
    try:
        value = times.seconds(word) if ":" in word else float(word)
    except (ConfigError, ValueError):
        value = float("nan")
    if not 0 <= value < float("inf"):
        raise DataError(
            f"{path}, line {line}: {what} is {short_repr(text)}; it must be seconds from 0: correct the row"
        )
    if value > most:
        fact = f"{what} is {short_repr(text)} s, more than {most / 86400:g} days"
        raise DataError(f"{path}, line {line}: {fact}: times are seconds from the start of the video, correct the row")
    return value
