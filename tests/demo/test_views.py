"""From plain data to HTML: words, answers, moments, timeline, colours, the page about the model."""

import dataclasses
import math
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from surgvl.core.results import Result
from surgvl.demo import app, formatting, model_card, timeline_view, views
from surgvl.demo.schemas import AnswerCard, ModelCard, Moment, Timeline, TrainingStage, TripletRow, Video
from surgvl.export.base import formats
from tests.helpers.parsed_html import NASTY, Parsed

# ---- words


@pytest.mark.parametrize(
    ("seconds", "short", "long"),
    [
        (0, "00:00", "00:00.0"),
        (59.97, "00:59", "00:59.9"),
        (61.25, "01:01", "01:01.2"),
        (3725.5, "1:02:05", "1:02:05.5"),
    ],
)
def test_clock_cuts_as_a_player_does(seconds: float, short: str, long: str) -> None:
    assert formatting.clock(seconds) == short
    assert formatting.clock(seconds, tenths=True) == long


def test_class_names_as_people_say_them() -> None:
    assert formatting.phase("CalotTriangleDissection") == "Calot triangle dissection"
    assert formatting.phase("ClippingCutting") == formatting.phase("clipping-and-cutting") == "Clipping and cutting"
    assert formatting.triplet("hook,dissect,cystic_duct") == "hook · dissect · cystic duct"
    assert formatting.triplet("grasper,null_verb,null_target") == "grasper · idle"
    assert formatting.answer("cystic_duct") == "cystic duct"
    assert formatting.answer("the cystic_duct is cut") == "the cystic_duct is cut"
    assert formatting.score(math.nan) == "–"
    assert (formatting.score(0.12349), formatting.score(3, "median_rank")) == ("0.123", "3.0")


def test_messages_to_a_browser_name_files_without_folders() -> None:
    assert (
        formatting.without_folders("/srv/run/index/a.mp4: broken (see /srv/log.txt)") == "a.mp4: broken (see log.txt)"
    )
    assert formatting.without_folders("a half/half b 1/2 cut") == "a half/half b 1/2 cut"


# ---- views


def an_answer(closed: bool = True, text: str = "hook", truth: str = "") -> AnswerCard:
    frames = np.zeros((3, 16, 16, 3), np.uint8)
    probabilities = [(text, 0.75), ("grasper", 0.25)] if closed else []
    return AnswerCard(
        "Which?", text, closed, 9, probabilities, truth, "video05", "video05", 61.0, frames, [60.5, 61.0, 61.5], 0.02
    )


def test_a_closed_answer_says_so_and_shows_what_the_model_saw() -> None:
    page = Parsed(views.answer(an_answer(truth="hook")))
    assert "Chosen from 9 known answers" in page.text
    assert "agrees" in page.text
    assert "75 %" in page.text
    assert [button["data-at"] for button in page.all("button")] == ["60.50", "61.00", "61.50"]
    assert {button["data-open"] for button in page.all("button")} == {"video05"}
    assert page.all("article")[0]["data-of"] == "video05"
    assert not page.all("span", kind="doubt")
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.all("img"))


def test_frames_that_are_no_squares_are_told_by_width_and_height() -> None:
    wide = dataclasses.replace(an_answer(), frames=np.zeros((3, 9, 16, 3), np.uint8))
    assert "3 frames of 16 × 9 pixels" in Parsed(views.answer(wide)).text


def test_why_there_is_no_answer_is_told_without_folders() -> None:
    late = dataclasses.replace(an_answer(closed=False, text=""), problem="late, 'no reply of /srv/run/a.mp4 in time'")
    assert "(the model gave no answer: late, 'no reply of a.mp4 in time')" in Parsed(views.answer(late)).text


def test_damaged_frames_are_told() -> None:
    damaged = dataclasses.replace(an_answer(), damage="3 of 16 decoded frames are marked damaged by the decoder")
    assert "3 of 16 decoded frames are marked damaged" in Parsed(views.answer(damaged)).text


def test_an_open_answer_says_so_and_a_wrong_one_too() -> None:
    page = Parsed(views.answer(an_answer(closed=False, text="", truth="hook")))
    assert "Free text" in page.text
    assert "gave no answer" in page.text
    assert "differs" in page.text
    assert "free" in page.all("article")[0]["class"].split()
    assert "Uncertain" in page.text
    assert not page.all("ol", kind="bars")


def test_a_choice_without_half_of_the_probability_and_an_upload_are_doubted() -> None:
    likely = an_answer()
    torn = dataclasses.replace(likely, probabilities=[("hook", 0.4), ("grasper", 0.3)])
    assert "Uncertain" in Parsed(views.answer(torn)).text
    assert "Uncertain" not in Parsed(views.answer(likely)).text
    foreign = Parsed(views.answer(dataclasses.replace(likely, is_upload=True))).text
    assert "differ from the training videos" in foreign


def test_a_recording_without_a_split_leaves_no_gap() -> None:
    assert views.label(Video("v", Path("v.mp4"), "my film", "", 32.0)) == "my film · 00:32"
    assert views.label(Video("v", Path("v.mp4"), "v", "test", 32.0)) == "v · test · 00:32"


def test_names_that_buttons_speak_begin_with_what_they_show() -> None:
    """WCAG 2.5.3, label in name."""
    found = [Moment("v", "a.mp4", 1.0, 2.0, 0.5, "p", "s")]
    for text in (views.moments(found, "x", 0.1), views.answer(an_answer())):
        buttons = re.findall(r'<button[^>]*aria-label="([^"]*)"[^>]*>(.*?)</button>', text, re.DOTALL)
        assert buttons
        for name, shown in buttons:
            assert name.startswith(Parsed(shown).text), name


def test_search_results_do_not_claim_to_show_what_was_asked() -> None:
    text = Parsed(views.moments([Moment("v", "a.mp4", 1.0, 2.0, 0.5, "p", "s")], "x", 0.1)).text
    assert "whether or not any of them shows it" in text
    assert "cosine similarity" in text


def test_a_query_that_separates_nothing_is_remarked_above_its_results() -> None:
    found = [Moment("v", "a.mp4", 1.0, 2.0, 0.5, "p", "s")]
    text = views.moments(found, "x", 0.1, f"the query hardly separates {NASTY}")
    assert text.index("hardly separates") < text.index("hits")
    assert not [attrs for _, attrs in Parsed(text).tags if "onerror" in attrs]
    assert not Parsed(views.moments(found, "x", 0.1)).all("p", kind="doubt")


def nasty_pages() -> dict[str, str]:
    """Every view by its template: markup, quotes and template signs in each field that comes from outside."""
    chosen, free = (
        dataclasses.replace(
            an_answer(closed, text=NASTY, truth=NASTY), question=NASTY, video_id=NASTY, title=NASTY, damage=NASTY
        )
        for closed in (True, False)
    )
    row = dataclasses.replace(a_result("accuracy", 0.5), task=NASTY, encoder=NASTY, warning=NASTY, data=NASTY)
    # Metrics that are not among the first are folded away: both places are filled.
    rows = [row, dataclasses.replace(row, metric=NASTY)]
    stage = TrainingStage(NASTY, NASTY, {NASTY: NASTY})
    card = ModelCard(
        NASTY, {"": (1, 1)}, [(NASTY, NASTY)], [stage], rows, rows, num_rendered=1, num_unreadable=1, trained_on=NASTY
    )
    read = dataclasses.replace(
        a_timeline(),
        video_id=NASTY,
        title=NASTY,
        phases=[NASTY] * 3,
        phase_set=NASTY,
        triplet_set=NASTY,
        triplets=[TripletRow(f"{NASTY},{NASTY},{NASTY}", np.ones(6), [(1.0, 2.0)])],
    )
    return {
        "answer": views.answer(chosen),
        "free answer": views.answer(free),
        "moments": views.moments([Moment(NASTY, "/secret/a.mp4", 1.0, 2.0, 0.5, NASTY, NASTY)], NASTY, 0.1, NASTY),
        "player": views.player(Video(NASTY, Path("/secret/a.mp4"), NASTY, NASTY, 5.0, NASTY, NASTY)),
        "stills": views.player(Video(NASTY, Path("/secret/a"), NASTY, NASTY, 5.0, NASTY, NASTY)),
        "chips": views.chips([NASTY], NASTY),
        "message": views.message(NASTY),
        "status": views.status(NASTY, "failed"),
        "progress": views.progress(NASTY, 0.5),
        "tab_heading": views.tab_heading(NASTY, NASTY),
        "placeholder": views.placeholder(NASTY),
        "header": views.header(NASTY, NASTY),
        "model_card": model_card.model_card(card),
        "timeline": timeline_view.timeline(read),
    }


def test_what_people_and_models_write_is_never_markup() -> None:
    for name, text in nasty_pages().items():
        page = Parsed(text)
        assert not page.all("script"), name
        assert not [attrs for _, attrs in page.tags if {"onerror", "onload"} & set(attrs)], name
        assert "/secret" not in text, name
        # It is shown as it was written.
        assert "{{ 7 * 7 }}" in page.text, name


def test_the_test_of_markup_knows_every_template() -> None:
    there = {path.stem for path in (app.HERE / "templates").glob("*.html")}
    # Icons are parts of others and are given nothing.
    assert there - {"icons"} <= set(nasty_pages())


def test_moments_are_clips_of_their_stretch() -> None:
    found = [Moment("video 1", "a.mp4", 12.0, 20.0, 0.83, "p", "s"), Moment("v2", "b.mp4", 0.0, 4.0, -0.2, "p", "s")]
    page = Parsed(views.moments(found, "x", 0.01))
    first, second = page.all("video")
    assert first["src"] == "media/video%201#t=12.00,20.00"
    assert (first["data-start"], first["data-end"]) == ("12.00", "20.00")
    assert first["preload"] == "none"
    assert second["poster"] == "frame/v2?t=2.0&h=240"
    assert [b["style"] for b in page.all("b") if "style" in b] == ["width:83.0%", "width:0.0%"]
    assert "No clip matches" in Parsed(views.moments([], "x", 0.01)).text


def test_a_folder_of_pictures_is_shown_as_stills() -> None:
    page = Parsed(views.player(Video("v", Path("/data/v"), "v", "test", 9.0)))
    assert "hidden" in page.all("video")[0]
    assert "src" not in page.all("video")[0]
    assert "hidden" not in page.all("div", kind="stills")[0]


def test_the_banner_says_what_this_is_not() -> None:
    assert "Research prototype. Not for clinical use." in Parsed(views.header("run")).text
    said = Parsed(views.header("run", "rendered videos")).text
    assert "Research prototype. Trained on rendered videos. Not for clinical use." in said


# ---- timeline


def a_timeline(num: int = 6, truth: bool = True) -> Timeline:
    predicted = np.array([0, 0, 1, 1, 1, 2] * (num // 6), np.int64)
    right = np.array([0, 1, 1, 1, -1, 2] * (num // 6), np.int64)
    rows = [TripletRow("hook,cut,peritoneum", np.linspace(0, 1, num), [(1.0, 3.0)])]
    phases = ["Preparation", "CalotTriangleDissection", "ClippingCutting"]
    edges = np.arange(num + 1).astype(np.float64)
    return Timeline(
        "v", "v", float(num), edges, phases, predicted, np.full(num, 0.5), right if truth else None, rows, 5.0
    )


def test_stretches_are_runs_and_cover_what_is_known() -> None:
    found = a_timeline()
    assert found.ground_truth is not None
    assert timeline_view.segments(found.predicted, found.edges_s) == [(0, 0.0, 2.0), (1, 2.0, 5.0), (2, 5.0, 6.0)]
    assert timeline_view.segments(found.ground_truth, found.edges_s) == [(0, 0.0, 1.0), (1, 1.0, 4.0), (2, 5.0, 6.0)]
    assert timeline_view.segments(found.predicted[:0], found.edges_s[:1]) == []
    assert found.agreement == pytest.approx(4 / 5)


def test_every_format_can_be_saved_with_the_choices_that_are_shown() -> None:
    assert not Parsed(timeline_view.timeline(a_timeline())).all("details", kind="export")
    found = dataclasses.replace(a_timeline(), video_id="lap/a b", phase_set="my phases", triplet_set="t&u")
    addresses = [
        urlsplit(link["href"]) for link in Parsed(timeline_view.timeline(found)).all("a") if "download" in link
    ]
    assert {address.path for address in addresses} == {"export/lap%2Fa%20b"}
    queries = [parse_qs(address.query) for address in addresses]
    assert [query.pop("format") for query in queries] == [[name] for name in formats()]
    assert all(query == {"phases": ["my phases"], "triplets": ["t&u"], "smooth": ["5"]} for query in queries)


def test_ribbons_fill_their_track_and_can_be_reached_by_keys() -> None:
    page = Parsed(timeline_view.timeline(a_timeline()))
    tracks = [attrs for _, attrs in page.tags if "data-track" in attrs]
    assert len(tracks) == 3
    # One of them is for the keyboard: the others would do the same.
    assert [track["role"] for track in tracks] == ["slider", "img", "img"]
    assert (tracks[0]["tabindex"], tracks[0]["aria-valuemax"]) == ("0", "6")
    assert not [track for track in tracks[1:] if "tabindex" in track]
    widths = [float(re.findall(r"width:([\d.]+)%", attrs["style"])[0]) for attrs in page.all("span", kind="seg")]
    assert sum(widths[:3]) == pytest.approx(100, abs=0.1)
    assert sum(widths[3:]) == pytest.approx(100 * 5 / 6, abs=0.1)
    assert "80% of seconds match" in page.text
    assert all(name in page.text for name in ("Preparation", "Calot triangle dissection", "Clipping and cutting"))
    assert "00:05" in page.text


def test_short_segments_lie_above_long_ones() -> None:
    predicted = np.array([0] * 1000 + [1] + [0] * 1000, np.int64)
    found = dataclasses.replace(
        a_timeline(truth=False),
        predicted=predicted,
        edges_s=np.arange(2002, dtype=np.float64),
        duration_s=2001.0,
        triplets=[],
    )
    segments = Parsed(timeline_view.timeline(found)).all("span", kind="seg")
    assert ["p1" in each["class"].split() for each in segments] == [False, False, True]


def test_the_legend_names_what_is_there() -> None:
    found = dataclasses.replace(a_timeline(truth=False), predicted=np.array([0, 0, 0, 2, 2, 2], np.int64))
    legend = re.findall(r'<ul class="legend".*?</ul>', timeline_view.timeline(found), re.DOTALL)[0]
    assert "Preparation" in legend
    assert "Clipping and cutting" in legend
    assert "Calot" not in legend


def test_what_a_colour_means_holds_in_light_and_dark() -> None:
    assert not re.search("dark|bright|light", Parsed(timeline_view.timeline(a_timeline())).text, re.IGNORECASE)


def test_without_truth_there_is_one_ribbon() -> None:
    page = Parsed(timeline_view.timeline(a_timeline(truth=False)))
    assert len(page.all("div", kind="ribbon")) == 1
    assert "match" not in page.text


def test_long_rows_keep_their_peaks() -> None:
    values = np.zeros(5000)
    values[3333] = 1.0
    edges, cells = timeline_view.max_pool(np.arange(5001).astype(np.float64), values)
    assert len(cells) == len(edges) - 1 <= timeline_view.MAX_CELLS
    assert cells.max() == 1.0
    peak = int(cells.argmax())
    assert edges[peak] <= 3333 <= edges[peak + 1]
    assert (edges[0], edges[-1]) == (0.0, 5000.0)


# ---- colours


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio of WCAG 2.2, 1 to 21."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_text_can_be_read_in_light_and_dark(dark: bool) -> None:
    text = (app.HERE / "style.css").read_text(encoding="utf-8")
    colours: dict[str, str] = {}
    blocks = re.findall(r"(?:^|\n)(?::root|\.dark), [^{]*\{(.*?)\}", text, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks[: 1 + dark]:
        colours |= dict(re.findall(r"--(?:sv-)?([\w-]+): (#[0-9a-f]{6})", block))
    pairs = [("ink", "bg"), ("ink", "card"), ("soft", "bg"), ("soft", "card"), ("soft", "sunk"), ("ink", "sunk")]
    pairs += [("accent-ink", "accent"), ("accent", "accent-wash"), ("accent", "card"), ("warn-ink", "warn-bg")]
    pairs += [("error-ink", "error-bg"), ("good", "good-wash"), ("bad", "bad-wash")]
    for one, other in pairs:
        assert contrast(colours[one], colours[other]) >= 4.5, (one, other)
    assert contrast(colours["line-strong"], colours["card"]) >= 3
    for number in range(timeline_view.NUM_COLOURS):
        label = "#2b1c00" if number == 2 else "#ffffff"
        assert contrast(colours[f"phase-{number}"], label) >= 4.5, number


# ---- about


def a_result(metric: str, value: float, **more: float) -> Result:
    baselines = {"majority": 0.1, "random": math.nan}
    return Result(
        task="phase", metric=metric, value=value, low=more.get("low", math.nan), high=more.get("high", math.nan),
        num_videos=8, num_clips=720, baselines=baselines, protocol="strict",
    )  # fmt: skip


def test_scores_stand_beside_the_control_with_their_interval() -> None:
    found = ModelCard(
        "quick", {"train": (24, 0.6)}, [("phantom", "free")], [],
        [a_result("accuracy", 0.8, low=0.7, high=0.9), a_result("median_rank", 4)], [a_result("accuracy", 0.3)], 24,
    )  # fmt: skip
    page = Parsed(model_card.model_card(found))
    assert "0.800" in page.text
    assert "0.700 to 0.900" in page.text
    assert "0.300" in page.text
    assert "0.100" in page.text
    assert "say nothing about patients" in page.text
    assert "nothing here is for clinical use" in page.text
    assert "24 videos" in page.text
    assert len(page.all("div", kind="plot")) == 1
    assert page.all("i", kind="control")[0]["style"] == "left:30.0%"


def test_scores_that_differ_are_shown_to_differ() -> None:
    found = [Moment("v", "a.mp4", 1.0, 2.0, score, "p", "s") for score in (0.99998, 0.99996)]
    text = views.moments(found, "x", 0.1)
    assert "<em>0.99998</em>" in text
    assert "<em>0.99996</em>" in text
