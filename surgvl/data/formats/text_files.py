"""Read label files as found in practice: CRLF, byte order marks, values separated by tabs, blanks, commas, semicolons.

The format is read leniently, the values are checked strictly: a wrong value is a DataError with file and line. Text in
an unknown encoding is refused.
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

# Upper bounds for any recording: the frames of a week at 150 frames/s, and a week.
MAX_COUNT = 10**8
MAX_S = 7 * 24 * 3600.0
# UTF-32 first, because its mark begins like that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SEPARATORS = ("\t", ",", ";")
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab"}
_HALF = re.compile("[\ud800-\udfff]")
_DECIMAL = re.compile(r"-?\d+,\d+")
_SHOW = reprlib.Repr()
_SHOW.maxstring = _SHOW.maxlong = _SHOW.maxother = 80


def is_whole(text: str) -> bool:
    """Whether a text has no half of a surrogate pair, which JSON may hold and no other file can."""
    return not _HALF.search(text)


def short_repr(value: object) -> str:
    """A value for an error message: one line, however long or deep the value is."""
    return _SHOW.repr(value)


def no_rows(path: Path) -> DataError:
    """The error for a table that has a header only."""
    return DataError(f"{path} has a header but no rows: copy it again, or delete it")


def decode_text(path: Path, errors: str = "strict") -> str:
    """Decode a file: UTF-8 with or without a byte order mark, or UTF-16 or UTF-32 with one.

    Args:
        path: the file.
        errors: as for Python's `bytes.decode`.

    Raises:
        DataError: the file is absent, a folder, binary, or in another encoding.
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
        fact = f"line {line}: byte 0x{bad:02x} is not valid {encoding.removesuffix('-sig').upper()}"
        raise DataError(f"{path}, {fact}: save the file as UTF-8") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        fact = f"line {line} has a NUL byte: the file is binary, or UTF-16 without a byte order mark"
        raise DataError(f"{path}, {fact}: save it as UTF-8 text")
    return text


def mark_note(path: Path) -> list[str]:
    """A remark on a file's byte order mark, if it has one."""
    with path.open("rb") as file:
        head = file.read(4)
    marked = head.startswith((codecs.BOM_UTF8, *(mark for mark, _ in _MARKS)))
    return ["begins with a byte order mark, which is not a part of the first value: skipped"] if marked else []


def read_text(path: Path, errors: str = "strict") -> str:
    """Decode a file that must not be empty; see `decode_text`.

    Raises:
        DataError: the file cannot be decoded, or is empty.
    """
    text = decode_text(path, errors)
    if not text.strip():
        raise DataError(f"{path} is empty: copy it again, or delete it")
    return text


def read_fields(path: Path) -> list[tuple[int, list[str]]]:
    """Rows of a text file as (line number from 1, fields), split at tabs, commas, semicolons or blanks.

    Raises:
        DataError: the file is absent or empty.
    """
    lines = [(number, line.strip()) for number, line in enumerate(read_text(path).splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line]
    separator = next((mark for mark in _SEPARATORS if mark in lines[0][1]), None)
    # split(None) also collapses runs of blanks.
    return [(number, [field.strip() for field in line.split(separator)]) for number, line in lines]


def read_csv(
    path: Path, required: Sequence[str], optional: Sequence[str] = (), ignore_others: bool = False
) -> dict[str, list[str]]:
    """Columns of a CSV file with a header, values stripped of blanks; quoted separators and line breaks are kept.

    The separator is that of the header: comma, semicolon or tab. With semicolons, a comma is the decimal point, as
    spreadsheets write it.

    Args:
        path: the file.
        required: columns that must be present.
        optional: columns that may be present; absent ones are not in the result.
        ignore_others: whether to skip further columns.

    Returns:
        Column name -> values, and `line` -> line numbers as text.

    Raises:
        DataError: the file is absent or empty, columns are missing, unknown or repeated, or a row is not as long as the
            header.
    """
    # Skipped columns may be in any encoding: undecodable bytes become lone surrogates, which used columns may not have.
    text = read_text(path, "surrogateescape" if ignore_others else "strict")
    head = text.lstrip().partition("\n")[0]
    separator = max(",;\t", key=head.count)
    # Strict: otherwise an unclosed quote swallows the rest of the file.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    header: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        for row in reader:
            if not "".join(row).strip():
                continue
            if not header:
                header = [field.strip() for field in row]
                continue
            if len(row) != len(header):
                raise DataError(
                    f"{path}, line {reader.line_num}: {len(row)} values for {len(header)} columns: correct the row, "
                    f"and quote values that contain a {_NAMES[separator]}"
                )
            rows.append(row)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num} is not a CSV row ({error}): correct it") from error
    missing = [name for name in required if name not in header]
    # Spreadsheets may leave nameless columns.
    named = [name for name in header if name]
    unknown = [] if ignore_others else [name for name in named if name not in (*required, *optional)]
    if missing or unknown or len(set(named)) != len(named):
        want = ", ".join(required) + (f" and optionally {', '.join(optional)}" if optional else "")
        twice = {name for name in named if named.count(name) > 1}
        do = [f"add {', '.join(missing)}" if missing else "", f"drop {', '.join(sorted(unknown))}" if unknown else ""]
        do += [f"leave one {', '.join(sorted(twice))}" if twice else ""]
        remedy = short_repr(", ".join(filter(None, do)))[1:-1]
        raise DataError(f"{path}: columns are {short_repr(', '.join(header))[1:-1]}; expected {want}: {remedy}")
    used = [(at, name) for at, name in enumerate(header) if name in (*required, *optional)]
    columns = {name: [row[at].strip() for row in rows] for at, name in used}
    if separator == ";":
        for name, values in columns.items():
            columns[name] = [each.replace(",", ".") if _DECIMAL.fullmatch(each) else each for each in values]
    for name, values in columns.items() if not is_whole(text) else ():
        for value, line in zip(values, lines, strict=True):
            if not is_whole(value):
                raise DataError(f"{path}, line {line}: {name} is not valid UTF-8: save the file as UTF-8")
    return {**columns, "line": list(map(str, lines))}


def parse_int(text: str, path: Path, line: int | str, what: str, least: int = -MAX_COUNT) -> int:
    """Parse an integer of a label file, from `least` to `MAX_COUNT`; `12.0` is accepted.

    Raises:
        DataError: the text is not such a number.
    """
    # Most are plain, and there are millions of them: by way of a float it takes twice as long.
    if text.isdecimal() and len(text) < len(str(MAX_COUNT)) and int(text) >= least:
        return int(text)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if least <= value <= MAX_COUNT and value == int(value):
        return int(value)
    allowed = "a whole number" if least < 0 else f"a whole number from {least}"
    if abs(value) > MAX_COUNT:
        allowed += f" and at most {MAX_COUNT:,}"
    raise DataError(f"{path}, line {line}: {what} is {short_repr(text)}; it must be {allowed}: correct the row")


def parse_seconds(text: str, path: Path, line: int | str, what: str, most: float = MAX_S) -> float:
    """Parse a time of a label file: seconds, m:ss or h:mm:ss, also with a decimal comma as in subtitles.

    Raises:
        DataError: the text is not a time from 0 to `most` seconds.
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
        raise DataError(f"{path}, line {line}: {fact}: give seconds from the start of the video")
    return value
