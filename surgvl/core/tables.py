"""Tables as aligned text: Markdown for files, plain columns for a terminal."""

import re
from collections.abc import Collection, Sequence

_NUMBER = re.compile(r"-?[\d,.:]+")


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()) -> list[str]:
    """Lines of a Markdown table.

    Args:
        head: column headings, all different.
        rows: cells, as many in each row as there are headings.
        right: headings of the columns that are aligned right, such as counts.
    """
    grid = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    to_right = [name in right for name in head]
    widths = [max(3, *map(len, column)) for column in zip(*grid, strict=True)]
    rule = ["-" * (width - 1) + (":" if r else "-") for width, r in zip(widths, to_right, strict=True)]
    lines = [_padded(row, widths, to_right) for row in grid]
    lines.insert(1, rule)
    return [f"| {' | '.join(line)} |" for line in lines]


def plain_table(rows: Sequence[Sequence[object]], indent: str = "  ") -> str:
    """Rows as plain columns; the first row is the heading, and columns of numbers or times are aligned right."""
    grid = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    columns = list(zip(*grid, strict=True))
    to_right = [all(map(_NUMBER.fullmatch, column[1:])) for column in columns]
    widths = [max(map(len, column)) for column in columns]
    return "\n".join((indent + "  ".join(_padded(row, widths, to_right))).rstrip() for row in grid)


def _padded(cells: Sequence[str], widths: Sequence[int], to_right: Sequence[bool]) -> list[str]:
    """Cells filled up to the width of their columns."""
    return [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, to_right, strict=True)]
