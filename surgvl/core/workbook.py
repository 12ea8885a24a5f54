"""The first sheet of an Excel workbook (.xlsx) as rows of text; formulas are read as their stored values."""

import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from surgvl.core.errors import ConfigError, DataError
from surgvl.core.files import atomic

MAX_BYTES = 1 << 30
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
# A broken workbook fails in many ways; openpyxl has no error of its own for most of them. Of archives, RuntimeError is
# that of encrypted ones and of unknown compression.
_ARCHIVE = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
_BROKEN = (*_ARCHIVE, LookupError, ValueError, TypeError, SyntaxError, AttributeError)


def read_sheet(path: Path) -> list[list[str]]:
    """The rows of the first sheet that are not empty, each as the texts of its cells; empty cells are empty texts.

    Raises:
        ConfigError: openpyxl is not installed.
        DataError: the file is not a workbook, or is larger than 1 GB when unpacked.
    """
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise ConfigError(f"{path} is a workbook, which needs openpyxl: pip install 'surgvl[eval]'") from error
    try:
        with zipfile.ZipFile(path) as parts:
            if sum(part.file_size for part in parts.infolist()) > MAX_BYTES:
                raise DataError(f"{path} has more than {MAX_BYTES >> 30} GB when unpacked: save it as text (.tsv)")
        book = load_workbook(path, read_only=True, data_only=True)
        try:
            rows = book.worksheets[0].iter_rows(values_only=True)
            texts = [["" if value is None else str(value) for value in row] for row in rows]
        finally:
            book.close()
    except _BROKEN as error:
        raise DataError(f"{path} is not a workbook that can be read ({error}): save it as text (.tsv)") from error
    return [row for row in texts if any(row)]


def write_sheet(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write a workbook of one sheet, whose cells are texts, also those that look like formulas, dates or numbers.

    Control characters, which a workbook cannot hold, become spaces. The first row stays in sight.

    Raises:
        ConfigError: openpyxl is not installed.
    """
    try:
        from openpyxl import Workbook
        from openpyxl.cell import WriteOnlyCell
        from openpyxl.styles import Alignment
        from openpyxl.utils import get_column_letter
    except ImportError as error:
        raise ConfigError(f"{path} is a workbook, which needs openpyxl: pip install 'surgvl[eval]'") from error
    book = Workbook(write_only=True)
    sheet = book.create_sheet()
    sheet.freeze_panes = "A2"
    for number, column in enumerate(zip(*rows, strict=True), 1):
        sheet.column_dimensions[get_column_letter(number)].width = min(60, max(map(len, column)) + 2)
    for row in rows:
        cells = []
        for text in row:
            cell = WriteOnlyCell(sheet, _CONTROL.sub(" ", text))
            # Of itself, a text that starts with "=" would be a formula.
            cell.data_type, cell.number_format = "s", "@"
            cell.alignment = Alignment(wrap_text=True, vertical="top")
            cells.append(cell)
        sheet.append(cells)
    with atomic(path) as new:
        book.save(new)
