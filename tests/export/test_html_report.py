"""The report is one file that says what it is given, and runs and fetches nothing."""

import re

from surgvl.core.times import clock
from surgvl.export.html_report import RecordingReport, Stretch, html_report, totals
from tests.helpers.made_media import picture
from tests.helpers.parsed_html import NASTY, Parsed

PHASES = (
    Stretch("Preparation", 0, 30, 0.9, picture(kind="JPEG")),
    Stretch("Dissection", 30, 90, 0.5),
    Stretch("Preparation", 90, 100, 0.7),
)


def made(**changes: object) -> RecordingReport:
    given = {
        "title": "Case 7", "facts": {"Date": "2024-05-03", "Surgeon": ""}, "notes": "first line\nsecond line",
        "duration_s": 120.0, "phases": PHASES, "labels": (Stretch("Clipping", 20, 40, note="by AB"),),
        "others": (Stretch("bleeding", 25, 30, note="tag by AB"),),
        "actions": (Stretch("hook · dissect", 31, 35, 0.4),), "clips": (Stretch("Teaching", 50, 55, None, b"", "why"),),
        "origin": ("Model: phantom (0123)",), "warning": "Unlike the others.",
    }  # fmt: skip
    return RecordingReport(**{**given, **changes})  # type: ignore[arg-type]


class Page(Parsed):
    """A whole page: tags that are never closed are known."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        super().handle_starttag(tag, attrs)
        if tag in ("meta", "rect") and self.open[-1:] == [tag] and tag == "meta":
            self.open.pop()


def test_durations_are_those_of_the_phases() -> None:
    assert totals(PHASES) == {"Preparation": 40, "Dissection": 60}
    text = Page(html_report(made())).text
    assert f"Preparation{clock(40)}33 %" in text
    assert f"Dissection{clock(60)}50 %" in text
    for said in ("Case 7", "2024-05-03", "second line", "by AB", "tag by AB", "hook · dissect", "Teaching", "why",
                 "Model: phantom", "bleeding", "Unlike the others.", "Not for clinical use"):  # fmt: skip
        assert said in text
    assert "Surgeon" not in text


def test_the_ribbon_has_the_phases_at_their_times() -> None:
    page = Page(html_report(made()))
    bars = [(float(at["x"]), float(at["width"])) for tag, at in page.tags if tag == "rect" and "x" in at]
    wanted = [(0, 250), (250, 500), (750, 83.33), (166.67, 166.67)]
    assert [tuple(round(value, 2) for value in bar) for bar in bars] == wanted


def test_phases_have_the_colours_of_their_places_among_all_phases() -> None:
    page = Page(html_report(made(classes=("Clipping", "Cleaning", "Dissection", "Preparation"))))
    colours = [at["class"] for tag, at in page.tags if tag == "rect" and "x" in at]
    assert colours == ["c3", "c2", "c3", "c0"]


def test_it_fetches_and_runs_nothing() -> None:
    text = html_report(made())
    page = Page(text)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    addresses = [value for _, at in page.tags for name, value in at.items() if name in ("src", "href", "action")]
    assert len(addresses) == 1
    assert addresses[0].startswith("data:image/jpeg;base64,")
    assert not re.search(r"url\(|@import", text)


def test_what_people_wrote_is_text() -> None:
    nasty = Stretch(NASTY, 0, 1, 0.5, b"", NASTY)
    given = made(
        title=NASTY, facts={NASTY: NASTY}, notes=NASTY, phases=(nasty,), labels=(nasty,), others=(nasty,),
        actions=(nasty,), clips=(nasty,), origin=(NASTY,), warning=NASTY,
    )  # fmt: skip
    page = Page(html_report(given))
    assert not [tag for tag, _ in page.tags if tag in ("script", "img")]
    assert not [at for _, at in page.tags if any(name.startswith("on") for name in at)]
    assert "49" not in page.text


def test_a_recording_without_vectors_has_a_report_too() -> None:
    empty = {name: () for name in ("phases", "labels", "others", "actions", "clips", "origin")}
    bare = made(**empty, warning="", notes="", duration_s=0.0)
    page = Page(html_report(bare))
    assert "Not for clinical use" in page.text
    assert "table" not in {tag for tag, _ in page.tags}
