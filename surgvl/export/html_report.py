"""A report of one recording as a single HTML file: for a folder of cases, a mail, or a printer.

It needs no network and runs no script: pictures are in it, and all that people and models wrote is escaped.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from surgvl.core.times import clock
from surgvl.core.version import __version__

# Of the ribbon; they can be told apart in grey, too.
NUM_COLOURS = 7
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).resolve().parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Stretch:
    """A stretch of a recording, in words for people.

    Attributes:
        name: what is seen in it.
        start_s: when it begins.
        end_s: when it ends.
        confidence: mean probability, for what a model says; None for what a person says.
        picture: a JPEG from it; empty for none.
        note: further words.
    """

    name: str
    start_s: float
    end_s: float
    confidence: float | None = None
    picture: bytes = b""
    note: str = ""

    @property
    def duration_s(self) -> float:
        """How long it lasts."""
        return self.end_s - self.start_s


@dataclass(frozen=True)
class RecordingReport:
    """What a report says.

    Attributes:
        title: of the recording.
        facts: such as the date and procedure, in the order in which they are shown.
        notes: free text about the case.
        duration_s: of the recording.
        phases: what the model says, in order.
        labels: phases that people set, or a data set has, in order.
        others: their steps and tags, in order.
        actions: what instruments do, by the model.
        clips: saved clips.
        origin: how the model's part was made, in lines.
        warning: why it may mean little; empty if nothing is known.
        classes: phases in the order of their colours, which are then those of the page.
    """

    title: str
    facts: dict[str, str]
    notes: str
    duration_s: float
    phases: Sequence[Stretch]
    labels: Sequence[Stretch]
    others: Sequence[Stretch]
    actions: Sequence[Stretch]
    clips: Sequence[Stretch]
    origin: Sequence[str]
    warning: str = ""
    classes: Sequence[str] = ()


def html_report(report: RecordingReport) -> str:
    """The whole file."""
    names = dict.fromkeys([*report.classes, *(row.name for row in (*report.phases, *report.labels))])
    colours = {name: number % NUM_COLOURS for number, name in enumerate(names)}
    return _TEMPLATES.get_template("report.html").render(
        report=report,
        ribbons=[
            (title, each) for title, each in (("By the model", report.phases), ("As labelled", report.labels)) if each
        ],
        totals=totals(report.phases),
        colours=colours,
        whole_s=max(report.duration_s, 1e-9),
        clock=clock,
        picture=lambda data: base64.b64encode(data).decode(),
        version=__version__,
    )


def totals(rows: Sequence[Stretch]) -> dict[str, float]:
    """Seconds of each name, in the order in which they first occur."""
    found: dict[str, float] = {}
    for row in rows:
        found[row.name] = found.get(row.name, 0.0) + row.duration_s
    return found
