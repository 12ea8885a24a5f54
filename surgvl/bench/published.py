"""Numbers of papers that a score can be set against, and whether both were measured by the same protocol.

`published.csv` holds facts: each number with the system, data set, kind of label, metric in our names (fractions in
0 ... 1; errors in their own unit), split, what it was selected on, and the place that it was read in. Where a paper
does not state a fact, the table says `not stated`, and no score is called comparable to it.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from surgvl.core.results import Result
from surgvl.core.tables import markdown_table

TABLE = Path(__file__).with_name("published.csv")
UNSTATED = "not stated"


@dataclass(frozen=True)
class Published:
    """A number of a paper.

    Attributes:
        system: the model.
        paper: its arXiv number.
        data: data set, in our names where there is a reader.
        kind: kind of label: `phase`, `triplet`, `clip`, `vqa`, `mask`, ...
        metric: in our names.
        value: a fraction, or an error in its own unit.
        encoder: `frozen`, `fine-tuned`, `zero-shot` or `not stated`.
        split: split protocol, in our names where we have it.
        selected_on: videos by which the model or its training was chosen: `validation`, `test`, `none` or `not stated`.
        where: the place in which the number was read.
        note: what else is known about it.
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


@cache
def published() -> tuple[Published, ...]:
    """All numbers, in the order of the file."""
    with open(TABLE, encoding="utf-8", newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    return tuple(Published(**{**row, "value": float(row["value"])}) for row in rows)


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


def against(results: Sequence[tuple[Setting, str, Result]]) -> str:
    """A table of scores beside all published numbers about the same data, labels and metric; empty if there are none.

    Args:
        results: setting, name and score of each of ours.
    """
    rows = []
    for ours, name, result in results:
        metric = result.metric
        for number in about(ours.data, ours.kind):
            if number.metric != metric:
                continue
            # Videos left out, or seen in training.
            reasons = differences(number, ours) + ([f"ours: {result.warning}"] if result.warning else [])
            verdict = f"no: {'; '.join(reasons)}" if reasons else "yes"
            source = f"{number.paper}; {number.where}" if number.paper not in number.where else number.where
            rows.append(
                [
                    f"{ours.data} {ours.kind} {metric}",
                    name,
                    f"{result.value:.4g}",
                    number.system,
                    f"{number.value:.4g}",
                    verdict,
                    source,
                ]
            )
    if not rows:
        return ""
    head = ["score", "ours", "value", "published", "its value", "same protocol", "read in"]
    return "\n".join(markdown_table(head, rows, {"value", "its value"})) + "\n"
