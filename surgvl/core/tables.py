"""Tables in Markdown whose columns also stand under one another when they are read as plain text."""

from collections.abc import Collection, Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()) -> list[str]:
    """Lines of a table.

    Args:
        head: heads of the columns, no two alike.
        rows: cells, as many as heads in each row.
        right: heads of the columns that are aligned to the right, such as counts.
    """
    grid = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    widths = [max(3, *(len(row[at]) for row in grid)) for at in range(len(head))]
    to_right = [name in right for name in head]

    def line(cells: Sequence[str]) -> str:
        padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, to_right, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = (("-" * (w - 1) + ":") if r else "-" * w for w, r in zip(widths, to_right, strict=True))
    return [line(grid[0]), f"| {' | '.join(rule)} |", *map(line, grid[1:])]
