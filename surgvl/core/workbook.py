"""The first sheet of an Excel workbook (.xlsx) as rows of text; formulas are read as their stored values."""

import zipfile
import zlib
from pathlib import Path

from surgvl.core.errors import ConfigError, DataError

MAX_BYTES = 1 << 30
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
