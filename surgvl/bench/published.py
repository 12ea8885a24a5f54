"""Numbers of papers that a score can be set against, and whether both were measured by the same protocol.

`published.csv` holds facts: each number with the system, data set, kind of label, metric in our names (fractions in
0 ... 1; errors in their own unit), split, what it was selected on, and the place that it was read in. Where a paper
does not state a fact, the table says `not stated`, and no score is called comparable to it. Users add numbers by a file
of the same columns.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from surgvl.core.checks import did_you_mean
from surgvl.core.errors import DataError
from surgvl.core.results import Result
from surgvl.core.tables import markdown_table

TABLE = Path(__file__).with_name("published.csv")
UNSTATED = "not stated"
# Metrics in a unit of their own; all others are fractions.
ERRORS = ("mae", "rmse", "abs_rel", "sq_rel")
_WORDS = {
    "encoder": ("frozen", "fine-tuned", "zero-shot", UNSTATED),
    "selected_on": ("validation", "test", "none", UNSTATED),
}
# What a row may leave empty.
_OPTIONAL = ("paper", "note")


@dataclass(frozen=True)
class Published:
    """A number of a paper; its attributes are the columns of a table of such numbers.

    Attributes:
        system: the model.
        paper: its arXiv number, or another name of it; may be empty.
        data: data set, in our names where there is a reader.
        kind: kind of label: `phase`, `triplet`, `clip`, `vqa`, `mask`, ...
        metric: in our names.
        value: a fraction, or an error in its own unit.
        encoder: `frozen`, `fine-tuned`, `zero-shot` or `not stated`.
        split: split protocol, in our names where we have it.
        selected_on: videos by which the model or its training was chosen: `validation`, `test`, `none` or `not stated`.
        where: the place in which the number was read.
        note: what else is known about it, which makes it not comparable; may be empty.
    """

    system: str
    paper: str
    data: str
    kind: str
    metric: str
    value: float
    encoder: str
    split: str
    selected_on: str
    where: str
    note: str


@dataclass(frozen=True)
class Setting:
    """How our score was measured.

    Attributes:
        data: data set.
        kind: kind of label.
        split: split protocol; empty if unknown.
        encoder: `frozen`, `fine-tuned`, `zero-shot` or `not stated`.
        part: why not the whole training or test data was used; empty if it was.
    """

    data: str
    kind: str
    split: str
    encoder: str
    part: str = ""


COLUMNS = tuple(field.name for field in fields(Published))


@cache
def published() -> tuple[Published, ...]:
    """The numbers that ship, in the order of the file."""
    return read_published(TABLE)


def read_published(path: Path) -> tuple[Published, ...]:
    """The numbers of a CSV file with the columns of `Published`, in its order.

    Raises:
        DataError: the file cannot be read, a column is missing or unknown, or a row is wrong; with its line.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV ({error}): write it in UTF-8, with commas") from error
    (line, head), *rest = rows or [(1, [])]
    if missing := [name for name in COLUMNS if name not in head]:
        raise DataError(f"{path}:{line}: no column {missing[0]!r}; the first line must be {','.join(COLUMNS)}")
    if len(head) != len(COLUMNS):
        raise DataError(f"{path}:{line}: {len(head)} columns; the first line must be {','.join(COLUMNS)}")
    return tuple(_number(f"{path}:{line}", head, cells) for line, cells in rest)


def _number(where: str, head: Sequence[str], cells: Sequence[str]) -> Published:
    """The number of a row.

    Raises:
        DataError: a cell is wrong.
    """
    if len(cells) != len(head):
        raise DataError(f"{where}: {len(cells)} cells for {len(head)} columns: put texts with commas in quotes")
    row = dict(zip(head, cells, strict=True))
    for name in COLUMNS:
        if not row[name] and name not in _OPTIONAL:
            raise DataError(f"{where}: {name} is empty: fill it in, with {UNSTATED!r} where the paper does not say")
    for name, words in _WORDS.items():
        if row[name] not in words:
            hint = did_you_mean(row[name], words, "choose one of them")
            raise DataError(f"{where}: {name} must be one of {', '.join(words)}, got {row[name]!r}: {hint}")
    try:
        value = float(row.pop("value"))
    except ValueError:
        value = math.nan
    fraction = row["metric"] not in ERRORS
    if not (0 <= value <= (1 if fraction else math.inf)) or math.isinf(value):
        allowed = "a fraction in 0 ... 1, such as 0.912 for 91.2 %" if fraction else "a number >= 0"
        given = cells[list(head).index("value")]
        raise DataError(f"{where}: value of {row['metric']} must be {allowed}, got {given!r}: correct it")
    return Published(value=value, **row)


def about(data: str, kind: str) -> list[Published]:
    """The numbers about a kind of label of a data set."""
    return [each for each in published() if (each.data, each.kind) == (data, kind)]


def differences(number: Published, ours: Setting) -> list[str]:
    """Why our score and a published number were not, or may not have been, measured by the same protocol.

    Only the facts in the table are compared: rate of frames, look-ahead and preprocessing are in its words.
    """
    reasons = []
    for what, theirs, mine in (("split", number.split, ours.split), ("encoder", number.encoder, ours.encoder)):
        if theirs == UNSTATED or mine in ("", UNSTATED):
            reasons.append(f"{what} {'theirs' if theirs == UNSTATED else 'ours'} not stated")
        elif theirs != mine:
            reasons.append(f"{what} {theirs}, ours {mine}")
    if number.selected_on in ("test", UNSTATED):
        known = number.selected_on == "test"
        reasons.append("selected on the test videos" if known else "what it was selected on is not stated")
    return reasons + [fact for fact in (number.note, ours.part) if fact]


def against(results: Sequence[tuple[Setting, str, Result]], more: Sequence[Published] = ()) -> str:
    """A table of all published numbers about the scores' data, labels and metric, with the scores side by side.

    Args:
        results: setting, name of the run and score of each of ours.
        more: numbers beside those that ship.

    Returns:
        Markdown; empty if there is no such number.
    """
    names = list(dict.fromkeys(name for _, name, _ in results))
    scores: dict[tuple[str, str, str], dict[str, tuple[Setting, Result]]] = {}
    for ours, name, result in results:
        scores.setdefault((ours.data, ours.kind, result.metric), {})[name] = ours, result
    rows = []
    for (data, kind, metric), own in scores.items():
        added = [each for each in more if (each.data, each.kind) == (data, kind)]
        for number in (*about(data, kind), *added):
            if number.metric == metric:
                values = [f"{own[name][1].value:.4g}" if name in own else "–" for name in names]
                source = number.where if number.paper in number.where else f"{number.paper}; {number.where}"
                cells = [f"{data} {kind} {metric}", number.system, f"{number.value:.4g}", *values]
                rows.append([*cells, _verdict({name: _reasons(number, *each) for name, each in own.items()}), source])
    if not rows:
        return ""
    head = ["score", "published", "its value", *names, "same protocol", "read in"]
    return "\n".join(markdown_table(head, rows, {"its value", *names})) + "\n"


def _reasons(number: Published, ours: Setting, result: Result) -> list[str]:
    """Why a score is not comparable with a number; videos left out, or seen in training, are reasons, too."""
    return differences(number, ours) + ([f"ours: {result.warning}"] if result.warning else [])


def _verdict(reasons: Mapping[str, Sequence[str]]) -> str:
    """Whether each run and the number have the same protocol, and why not; once, if it is the same for all runs."""
    told = {name: f"no: {'; '.join(each)}" if each else "yes" for name, each in reasons.items()}
    if len(set(told.values())) == 1:
        return next(iter(told.values()))
    return " · ".join(f"{name}: {text}" for name, text in told.items())
