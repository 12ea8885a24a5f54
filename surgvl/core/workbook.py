"""The first sheet of an Excel workbook (.xlsx) as rows of text; ECMA-376, Office Open XML, part 1, 18.3.

Formulas are read as their stored values; formats, dates and further sheets are ignored.
"""

import re
import zipfile
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from surgvl.core.errors import DataError

MAX_BYTES = 1 << 30
_MAX_COLUMNS = 16384
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
# How workbooks spell characters that XML cannot hold.
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")


def read_sheet(path: Path) -> list[list[str]]:
    """The rows of the first sheet that are not empty, each as the texts of its cells; empty cells are empty texts.

    Raises:
        DataError: the file is no workbook, or is larger than 1 GB when unpacked.
    """
    try:
        with zipfile.ZipFile(path) as book:
            if sum(part.file_size for part in book.infolist()) > MAX_BYTES:
                raise DataError(f"{path} has more than {MAX_BYTES >> 30} GB when unpacked: save it as text (.tsv)")
            shared = _shared(book)
            return [row for row in _rows(_xml(book, _first_sheet(book)), shared) if any(row)]
    except (OSError, zipfile.BadZipFile, KeyError, IndexError, ValueError, ElementTree.ParseError) as error:
        raise DataError(f"{path} is no workbook that can be read ({error}): save it as text (.tsv)") from error


def _xml(book: zipfile.ZipFile, part: str) -> ElementTree.Element:
    data = book.read(part)
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise ValueError(f"{part} declares a document type")
    return ElementTree.fromstring(data)


def _first_sheet(book: zipfile.ZipFile) -> str:
    """Name of the part with the first sheet."""
    sheet = _xml(book, "xl/workbook.xml").find("{*}sheets/{*}sheet")
    for each in _xml(book, "xl/_rels/workbook.xml.rels").iterfind("{*}Relationship"):
        if sheet is not None and each.get("Id") == sheet.get(_RELATION):
            target = each.get("Target", "")
            return target.lstrip("/") if target.startswith("/") else str(PurePosixPath("xl") / target)
    raise ValueError("the first sheet is missing")


def _shared(book: zipfile.ZipFile) -> list[str]:
    """The texts that cells refer to by number."""
    if "xl/sharedStrings.xml" not in book.namelist():
        return []
    return [_text(each) for each in _xml(book, "xl/sharedStrings.xml").iterfind("{*}si")]


def _text(element: ElementTree.Element) -> str:
    """The text of a string, which may be in runs of several formats; not how it is pronounced."""
    runs = [*element.iterfind("{*}t"), *element.iterfind("{*}r/{*}t")]
    return _ESCAPED.sub(lambda each: chr(int(each[1], 16)), "".join(run.text or "" for run in runs))


def _rows(sheet: ElementTree.Element, shared: list[str]) -> list[list[str]]:
    found = []
    for row in sheet.iterfind("{*}sheetData/{*}row"):
        cells: list[str] = []
        for cell in row.iterfind("{*}c"):
            column = _column(cell.get("r", "")) if cell.get("r") else len(cells)
            if not len(cells) <= column < _MAX_COLUMNS:
                raise ValueError(f"cell {cell.get('r')} is out of order")
            cells += [""] * (column - len(cells)) + [_value(cell, shared)]
        found.append(cells)
    return found


def _column(reference: str) -> int:
    """Column of a cell such as `AB12`, from 0."""
    number = 0
    for letter in reference.rstrip("0123456789"):
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1


def _value(cell: ElementTree.Element, shared: list[str]) -> str:
    kind, inline = cell.get("t", "n"), cell.find("{*}is")
    if kind == "inlineStr":
        return _text(inline) if inline is not None else ""
    value = cell.findtext("{*}v") or ""
    if kind == "s":
        return shared[int(value)]
    if kind == "e":
        return ""
    return _ESCAPED.sub(lambda each: chr(int(each[1], 16)), value) if kind == "str" else value
