"""Tables that are published as a spreadsheet, read from their CSV export."""

from pathlib import Path

from surgvl.core.errors import DataError
from surgvl.core.plurals import shorten


def exported_table(folder: Path, stem: str) -> Path | None:
    """The CSV file `stem.csv`; None if neither it nor a workbook is there.

    Raises:
        DataError: only a workbook is there.
    """
    path = folder / f"{stem}.csv"
    if path.is_file():
        return path
    if books := sorted(folder.glob(f"{stem}.xls*")):
        names = shorten([book.name for book in books])
        raise DataError(f"{folder / names} is a workbook: export its sheet as CSV to {path.name} beside it")
    return None
