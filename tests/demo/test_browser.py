"""The page in a real browser, on a tiny run: each flow by mouse and by keyboard, at two widths, in both schemes.

Screenshots go to the folder in SURGVL_SHOTS where it is set.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from surgvl import video
from surgvl.core.locks import locked
from surgvl.demo.model_loader import ModelLoader
from surgvl.demo.programs import Queue
from tests.core.test_class_names import SPOKEN
from tests.helpers.browser import (
    CHROMIUM,
    NEEDS_BROWSER,
    SLOWDOWN,
    answer,
    browsing,
    follows,
    in_front,
    middle_of,
    opened,
    seek,
    shoot,
    shown,
    still,
    until,
    wait_for,
)
from tests.helpers.forks import PROCESSES, start
from tests.helpers.made_archive import film
from tests.helpers.page_flows import (
    PHASE,
    SENTENCE,
    beside,
    find,
    flow_by_keys,
    flow_by_mouse,
    put_back,
    ready,
    unfold,
    view,
)
from tests.helpers.patience import patience
from tests.helpers.ports import free_port

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

    from playwright.sync_api import Browser, BrowserContext, Page, Request, Route

pytestmark = NEEDS_BROWSER
VIEWS = ("watch", "library", "scores", "model")


@pytest.fixture(scope="module")
def run(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run whose page is served; its archive is written into it, and other tests use that of the original."""
    copy = tmp_path_factory.mktemp("page") / "run"
    shutil.copytree(tiny_run, copy, ignore=shutil.ignore_patterns("archive"))
    return copy


class Server(NamedTuple):
    """The page, as it is served.

    Attributes:
        url: its address.
        opening: set when a browser opens it, from when on loading of models keeps its interpreter busy.
        painted: set when the browser has shown what people want to see at first; models are loaded from then on.
    """

    url: str
    opening: "Event"
    painted: "Event"


@pytest.fixture(scope="module")
def server(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The page, served by the command in a process of its own, which then ends as it should."""
    port = free_port()
    opening, painted = PROCESSES.Event(), PROCESSES.Event()
    load = ModelLoader._load_video_text

    def load_late(models: ModelLoader) -> object:
        opening.wait()
        while not painted.is_set():
            # As imports do.
            sum(range(1000))
        return load(models)

    log = tmp_path_factory.mktemp("demo") / "log.txt"
    log.touch()
    begun = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ModelLoader, "_load_video_text", load_late)
        # Gradio takes seconds to import, and no browser asks it: `test_command` does.
        patch.setattr(Queue, "make_later", lambda queue: None)
        process = start(["demo", "--run", str(run), "--port", str(port)], log)
    try:
        limit_s = patience(30)
        while "surgvl is running at" not in log.read_text():
            assert process.is_alive(), log.read_text()
            assert time.monotonic() - begun < limit_s, "the page does not start: " + log.read_text()
            time.sleep(0.05)
        assert "stop it with Ctrl-C" in log.read_text()
        yield Server(f"http://127.0.0.1:{port}/", opening, painted)
        assert process.pid
        os.kill(process.pid, signal.SIGINT)
        process.join(patience(15))
        assert process.exitcode == 0
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        process.kill()
        process.join()


@pytest.fixture(scope="module")
def chromium(server: Server) -> Iterator["Browser"]:
    """A headless browser; the server, a fork of this process, is started before and has nothing of it."""
    from playwright import sync_api

    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def context(chromium: "Browser") -> Iterator["BrowserContext"]:
    """What pages share."""
    with browsing(chromium) as found:
        yield found


class Visit(NamedTuple):
    """The first visit of the page.

    Attributes:
        page: with its models loaded.
        painted_s: seconds until it showed what people want to see at first.
        limit_s: seconds within which it should.
        title: of the page then.
        places: of its main parts as soon as recordings were listed.
    """

    page: "Page"
    painted_s: float
    limit_s: float
    title: str
    places: list[Any]


@pytest.fixture(scope="module")
def first_visit(context: "BrowserContext", server: Server) -> Iterator[Visit]:
    """One page that is opened before models are loaded, and stays."""
    begun = time.monotonic()
    server.opening.set()
    with opened(context, server.url) as found:
        found.wait_for_selector(".case")
        places = places_in(found)
        found.wait_for_selector("#stage video")
        found.wait_for_selector("[data-lane=phase] .box")
        visit = Visit(found, time.monotonic() - begun, patience(3.0 * SLOWDOWN), found.title(), places)
        assert shown(found, "archive.models_state") == "loading"
        server.painted.set()
        ready(found)
        yield visit


@pytest.fixture(scope="module")
def lasting_page(first_visit: Visit) -> "Page":
    """One page with its models loaded."""
    return first_visit.page


@pytest.fixture(scope="module")
def url(server: Server, first_visit: Visit) -> str:
    """Address of the page, whose server has loaded its models."""
    return server.url


@pytest.fixture
def page(lasting_page: "Page") -> Iterator["Page"]:
    """The same page for all tests, in any order, as if it were opened for each: to load it takes much longer."""
    with again(lasting_page):
        yield lasting_page


def places_in(page: "Page") -> list[Any]:
    """Where the parts of the page stand, in pixels."""
    return [page.locator(part).bounding_box() for part in ("#stage", "#timeline", "#side")]


@contextlib.contextmanager
def again(
    page: "Page", width: int = 1280, height: int = 900, scheme: str = "light", refused: str = ""
) -> Iterator[None]:
    """The page in front of others, in some size and colours, until it is put back to what it shows at first."""
    with in_front(page, width, height, scheme, refused):
        ready(page)
        try:
            yield
        finally:
            put_back(page)


def test_a_foreign_name_gets_nothing(url: str) -> None:
    port = url.rstrip("/").rpartition(":")[2]
    for path in ("", "api/archive", "static/main.js"):
        for name, status in ((f"localhost:{port}", 200), (f"evil.example:{port}", 400), ("evil.example", 400)):
            asked = urllib.request.Request(url + path, headers={"Host": name})
            try:
                with urllib.request.urlopen(asked, timeout=120) as answer:
                    found = answer.status
            except urllib.error.HTTPError as error:
                with error:
                    found = error.code
            assert found == status


def test_the_first_useful_paint_does_not_wait_for_models(first_visit: Visit) -> None:
    print(f"\nfirst useful paint: {first_visit.painted_s:.2f} s")
    assert first_visit.painted_s < first_visit.limit_s
    assert first_visit.title == "video04 · surgvl"
    assert first_visit.page.inner_text("#title") == "video04"
    until(first_visit.page, "document.querySelector('#stage video').readyState >= 1")


def test_models_that_are_ready_before_the_page_listens_are_heard_of(context: "BrowserContext", url: str) -> None:
    order: list[str] = []

    def ask_early(page: "Page") -> None:
        def early(address: str) -> bytes:
            with urllib.request.urlopen(address) as found:
                facts = json.load(found)
            # What the page asks for meanwhile is heard of first.
            page.wait_for_timeout(100)
            order.append("counted")
            if order.count("counted") > 1:
                return json.dumps(facts).encode()
            # The models were loaded, and all were told, before this page listens.
            return json.dumps({**facts, "models_state": "loading", "num_events": facts["num_events"] - 1}).encode()

        answer(page, "*/api/archive", early)
        page.on("request", note)

    def note(asked: "Request") -> None:
        if asked.url.endswith(("/api/recordings", "/api/jobs")):
            order.append("asked")

    with opened(context, url, prepare=ask_early) as page:
        page.wait_for_selector(".status.ready")
        page.remove_listener("request", note)
    # What was asked for before the events were counted could be older than they are.
    assert order[:3] == ["counted", "asked", "asked"]


def test_every_view_says_that_it_is_not_for_clinical_use(page: "Page") -> None:
    for name in VIEWS:
        view(page, name)
        banner = page.locator("#banner")
        assert banner.is_visible()
        assert banner.inner_text() == "Research prototype. Trained on rendered videos. Not for clinical use."
    view(page, "watch")


# ---- flows


@pytest.mark.parametrize(
    ("flow", "width", "scheme"),
    [
        (flow_by_mouse, 1440, "light"),
        (flow_by_mouse, 390, "dark"),
        (flow_by_keys, 1440, "dark"),
        (flow_by_keys, 390, "light"),
    ],
)
def test_a_flow(lasting_page: "Page", flow: Callable[["Page"], None], width: int, scheme: str) -> None:
    page = lasting_page
    with again(page, width, 900, scheme):
        assert page.get_attribute("html", "data-theme") == scheme
        flow(page)
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width
        shoot(page, f"{flow.__name__}_{width}_{scheme}")


# ---- what is found and answered


def test_an_answer_shows_what_it_rests_on(page: "Page") -> None:
    seek(page, 7.3)
    page.click("#field label:has([value=ask])")
    begun = time.monotonic()
    page.fill("#text", PHASE)
    page.press("#text", "Enter")
    page.wait_for_selector(".answer .said")
    assert time.monotonic() - begun < patience(1.0 * SLOWDOWN)
    text = page.inner_text(".answer")
    assert page.inner_text(".answer .eyebrow").startswith("video04 at 00:07.3")
    assert re.search(r"Chosen from \d+ known answers", text)
    assert "Ground truth" in text
    assert "without the video" in text.lower()
    assert page.locator(".frames button").count() == 8
    assert page.locator(".frames .nearest").count() == 1
    follows(page, lambda: page.inner_text("#voice"), f"Answer: {page.inner_text('.answer .said')}")
    page.locator(".frames button").first.click()
    until(page, "Math.abs(document.querySelector('#stage video').currentTime - 6.3) < 0.11")
    page.click(".examples summary")
    page.click(".examples .chip:has-text('What is happening in this clip?')")
    page.wait_for_selector(".answer .asked:has-text('What is happening in this clip?')")
    page.wait_for_selector(".answer:first-child .said")
    assert "Free text" in page.inner_text(".answer:first-child")
    assert page.locator(".answer").count() == 2


def test_nothing_asked_is_one_friendly_line(page: "Page") -> None:
    page.click("#field label:has([value=ask])")
    page.fill("#text", "")
    page.click("#go")
    page.wait_for_selector("#notes .note")
    assert page.inner_text("#notes .note span") == "Write a question, or choose one of the examples"
    page.click("#field label:has([value=find])")


def test_an_answer_about_another_recording_opens_that_one(page: "Page") -> None:
    seek(page, 7.3)
    page.click("#field label:has([value=ask])")
    page.fill("#text", PHASE)
    page.press("#text", "Enter")
    page.wait_for_selector(".answer .said")
    page.click(".case[data-id=video02] button")
    wait_for(page, "state.current === 'video02' && state.time_s === 0")
    page.locator(".frames button").first.click()
    wait_for(page, "state.current === 'video04' && Math.abs(state.time_s - 6.3) < 0.11")
    until(page, "Math.abs(document.querySelector('#stage video').currentTime - 6.3) < 0.11")


def test_a_long_text_is_seen_whole(page: "Page") -> None:
    """In lines that hold some words, and beside nothing that is cut; short ones take a line."""
    field = "(({ scrollHeight, clientHeight, clientWidth }) => [scrollHeight, clientHeight, clientWidth])(text)"
    long = "the hook dissects the gallbladder from its bed while the grasper holds the fundus up"
    for width in (1440, 1024, 768, 390):
        page.set_viewport_size({"width": width, "height": 844})
        _, line, _ = page.evaluate(field)
        assert line < 40, width
        page.fill("#text", "the hook dissects")
        assert page.evaluate(field)[:2] == [line, line], width
        page.fill("#text", long[:-3])
        page.locator("#text").press_sequentially(long[-3:])
        needs, has, wide = page.evaluate(field)
        assert needs <= has, width
        assert wide >= 230, width
        # The timeline is drawn anew for the window's width in its own time.
        until(page, f"document.scrollingElement.scrollWidth <= {width}")
        shoot(page, f"long_text_{width}")
        page.click("#clear")
        assert page.input_value("#text") == ""
        assert page.evaluate(field)[1] == line, width
        assert page.locator("#clear").is_hidden()


def test_filters_act_at_once(page: "Page") -> None:
    find(page, SENTENCE)
    page.select_option("#scope", "one")
    wait_for(page, "!state.isSearching && state.search.reply.hits.every((hit) => hit.recording === 'video04')")
    seek(page, 12.0)
    page.click("#field label:has([value=like])")
    page.fill("#text", "")
    page.click("#go")
    page.wait_for_selector(".summary b[title^='video04 at 00:12']")
    page.click(".case[data-id=video02] button")
    wait_for(page, "state.current === 'video02'")
    page.select_option("#scope", "one")
    # The same moment is searched again, wherever the player is by now.
    wait_for(page, "!state.isSearching && state.search.reply.hits.every((hit) => hit.recording === 'video02')")
    assert page.inner_text(".summary b").startswith("video04 at 00:12")
    hits = shown(page, "search.reply.hits")
    assert hits
    assert {hit["word"] for hit in hits} <= {"strong", "maybe", "weak"}
    for mode in ("like", "find"):
        page.click(f"#field label:has([value={mode}])")
        page.select_option("#scope", "all")
        wait_for(page, "!state.isSearching")


def test_hits_are_saved_as_a_table(page: "Page", tmp_path: Path) -> None:
    find(page, SENTENCE)
    with page.expect_download() as saving:
        page.click("text=Save as CSV")
    saving.value.save_as(tmp_path / "hits.csv")
    lines = (tmp_path / "hits.csv").read_text(encoding="utf-8-sig").splitlines()
    assert len(lines) == 1 + len(shown(page, "search.reply.hits"))


def test_a_link_opens_a_moment_and_back_goes_back(context: "BrowserContext", url: str) -> None:
    with opened(context, f"{url}?r=video02&t=7.5&from=4.00&to=9.00&q=the+hook") as page:
        ready(page)
        wait_for(page, "state.search && !state.isSearching")
        assert (shown(page, "current"), shown(page, "time_s")) == ("video02", pytest.approx(7.5))
        assert shown(page, "range") == {"start_s": 4, "end_s": 9}
        assert page.input_value("#text") == "the hook"
        until(page, "Math.abs(document.querySelector('#stage video').currentTime - 7.5) < 0.1")
        page.click(".case[data-id=video04] button")
        wait_for(page, "state.current === 'video04'")
        assert "r=video04" in page.url
        view(page, "library")
        assert "view=library" in page.url
        page.go_back()
        page.wait_for_selector("#watch:visible")
        page.go_back()
        wait_for(page, "state.current === 'video02'")
        page.reload()
        ready(page)
        assert shown(page, "current") == "video02"


# ---- timeline


def test_the_timeline_moves_the_player(page: "Page") -> None:
    for lane, share in (("[data-lane=phase]", 0.75), ("[data-lane='by data set']", 0.25)):
        page.mouse.click(*middle_of(page.locator(f"{lane} .track"), share))
        until(page, f"Math.abs(document.querySelector('#stage video').currentTime - {share * 20}) < 0.2")
    assert page.locator("[data-lane='by data set'] .box").count() >= 3
    page.focus(".overview [role=slider]")
    page.keyboard.press("ArrowRight")
    wait_for(page, "Math.abs(state.time_s - 6) < 0.2")
    page.wait_for_selector(".overview [role=slider][aria-valuenow='6']")
    until(page, "Math.abs(parseFloat(document.querySelector('.over .head').style.left) - 30) < 1")


def test_the_window_zooms_pans_and_follows(page: "Page") -> None:
    track = page.locator(".overview .track")
    page.mouse.move(*middle_of(track, 0.5))
    page.mouse.down()
    page.mouse.move(*middle_of(track, 0.75), steps=4)
    page.mouse.up()
    wait_for(page, "Math.abs(state.view.start_s - 10) < 0.3 && Math.abs(state.view.end_s - 15) < 0.3")
    until(page, "document.querySelector('.window').style.left.startsWith('50')")
    page.mouse.move(*middle_of(track, 0.62))
    page.mouse.down()
    page.mouse.move(*middle_of(track, 0.37), steps=4)
    page.mouse.up()
    wait_for(page, "Math.abs(state.view.start_s - 5) < 0.4")
    page.evaluate("window.surgvl.seek(18)")
    wait_for(page, "state.view.start_s <= 18 && state.view.end_s >= 18")
    page.mouse.move(*middle_of(page.locator("[data-lane=phase] .track")))
    page.keyboard.down("Control")
    page.mouse.wheel(0, 4000)
    page.keyboard.up("Control")
    wait_for(page, "state.view.start_s === 0 && state.view.end_s === state.timeline.duration_s")


def test_two_fingers_zoom_the_timeline(lasting_page: "Page") -> None:
    """What lies under the fingers stays there; what the first one marked before the second came is taken back."""
    page = lasting_page
    with again(page, 390, 844):
        page.locator(".tl-scroll").scroll_into_view_if_needed()
        wide = page.locator(".over").bounding_box()
        _, y = middle_of(page.locator("[data-lane=phase] .track"))
        assert wide
        touch = page.context.new_cdp_session(page)

        def fingers(kind: str, *shares: float) -> None:
            points = [{"x": wide["x"] + share * wide["width"], "y": y, "id": at} for at, share in enumerate(shares)]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        fingers("touchStart", 0.4)
        fingers("touchMove", 0.43)
        fingers("touchStart", 0.4, 0.6)
        for step in range(1, 5):
            fingers("touchMove", 0.4 - 0.05 * step, 0.6 + 0.05 * step)
        fingers("touchEnd")
        wait_for(page, "Math.abs(state.view.start_s - 6.67) < 0.3 && Math.abs(state.view.end_s - 13.33) < 0.3")
        assert shown(page, "range") is None
        assert page.evaluate("visualViewport.scale") == 1
        fingers("touchStart", 0.2, 0.8)
        for step in range(1, 6):
            fingers("touchMove", 0.2 + 0.05 * step, 0.8 - 0.05 * step)
        fingers("touchEnd")
        wait_for(page, "state.view.start_s === 0 && state.view.end_s === 20")
        touch.detach()


def test_play_repeats_the_marked_range(page: "Page") -> None:
    seek(page, 19.2)
    page.evaluate("window.surgvl.set({ range: { start_s: 19.0, end_s: 19.9 } })")
    page.keyboard.press("r")
    wait_for(page, "state.isPlaying")
    # Also where the range ends with the recording.
    page.evaluate("window.rounds = 0, document.querySelector('video').addEventListener('seeking', () => rounds++)")
    until(page, "window.rounds >= 2")
    assert 18.9 <= shown(page, "time_s") <= 20
    wait_for(page, "state.isPlaying")


def test_the_marked_range_is_written_whole(page: "Page") -> None:
    """Beside the buttons of the player, also where a recording has hours."""
    page.evaluate("window.surgvl.set({ range: { start_s: 3723.2, end_s: 3789.7 } })")
    page.evaluate(
        "([now, all]) => { const [one, other] = document.querySelector('#transport .timecode').children;"
        " one.textContent = now; other.textContent = all; }",
        ["1:02:03.2", " / 1:30:00"],
    )
    for width in (861, 1000, 1241, 1280, 1440, 1600):
        page.set_viewport_size({"width": width, "height": 900})
        still(page)
        for part in ("#transport .range-read", "#transport"):
            wide, there = page.evaluate("(part) => [part.scrollWidth, part.clientWidth]", page.query_selector(part))
            assert 0 < wide <= there, (part, width)
        assert page.inner_text("#transport .range-read").split() in (
            ["1:02:03.2–1:03:09.7", "66.5", "s"],
            ["1:02:03.2–1:03:09.7", "·", "66.5", "s"],
        ), width


def test_a_second_of_an_hour_is_seen_on_the_timeline(page: "Page") -> None:
    """Segments of a second keep three pixels and their colour, and none is covered by a long one."""
    page.evaluate(
        """(() => {
          const classes = ['Preparation', 'CalotTriangleDissection', 'ClippingCutting', 'GallbladderDissection'];
          const phases = [];
          for (let k = 0; k < 7; k++) {
            phases.push({name: classes[0], start_s: 501 * k, end_s: 501 * k + 500, confidence: 0.9});
            phases.push({name: classes[3], start_s: 501 * k + 500, end_s: 501 * k + 501, confidence: 0.9});
          }
          const { state } = window.surgvl;
          window.before = { timeline: state.timeline, view: state.view };
          window.surgvl.set({timeline: {...state.timeline, duration_s: 3507, classes, phases, labels: [], actions: []},
                             view: {start_s: 0, end_s: 3507}});
        })()"""
    )
    until(page, "document.querySelectorAll('[data-lane=phase] .box.c3').length === 7")
    own = page.evaluate("getComputedStyle(document.querySelector('button.phase.c3 i')).backgroundColor")
    for box in page.locator("[data-lane=phase] .box.c3").all():
        size = box.bounding_box()
        assert size
        assert size["width"] >= 3
        assert box.evaluate("(part) => getComputedStyle(part).backgroundImage").count(own) == 2
        place = [size["x"] + size["width"] / 2, size["y"] + 8]
        on_top = page.evaluate(
            "([x, y]) => document.elementsFromPoint(x, y).find((e) => e.matches('.box'))?.className", place
        )
        assert "c3" in on_top
    page.evaluate("window.surgvl.set(window.before)")


def test_the_timeline_is_exported(page: "Page", tmp_path: Path) -> None:
    page.click("#take summary")
    links = page.locator("#take a[href*='/timeline.']")
    links.first.wait_for()
    assert links.count() == 9
    shoot(page, "export")
    page.keyboard.press("Escape")
    links.first.wait_for(state="hidden")
    page.click("#take summary")
    with page.expect_download() as saving:
        page.click("#take a:has-text('ELAN')")
    assert saving.value.suggested_filename == "video04.eaf"
    saving.value.save_as(tmp_path / "video04.eaf")
    assert "<ANNOTATION_DOCUMENT" in (tmp_path / "video04.eaf").read_text()
    links.first.wait_for(state="hidden")


def test_a_timeline_that_is_late_never_appears_under_another_recording(page: "Page") -> None:
    held: list[object] = []
    page.route("**/recordings/video02/timeline**", lambda route: held.append(route))
    page.click(".case[data-id=video02] button")
    wait_for(page, "state.current === 'video02' && !state.timeline")
    page.wait_for_selector(".tl-lanes .waiting")
    check_with_axe(page, "#watch", ".foot")
    page.click(".case[data-id=video04] button")
    wait_for(page, "state.current === 'video04' && state.timeline")
    follows(page, lambda: len(held), 1)
    page.wait_for_timeout(200)
    assert shown(page, "timeline.labels.every((label) => label.recording === 'video04')")


def test_a_new_range_leaves_the_label_that_was_marked_before(page: "Page") -> None:
    def drag(lane: str, start: float, end: float) -> None:
        track = page.locator(f"[data-lane={lane}] .track")
        page.mouse.move(*middle_of(track, start))
        page.mouse.down()
        page.mouse.move(*middle_of(track, end), steps=4)
        page.mouse.up()

    drag("phase", 0.1, 0.3)
    page.keyboard.press("2")
    page.wait_for_selector("[data-lane=mine] .box")
    before = shown(page, "timeline.labels.filter((each) => each.is_mine)")
    page.mouse.click(*middle_of(page.locator("[data-lane=mine] .box")))
    wait_for(page, "state.chosen && state.range")
    drag("phase", 0.6, 0.8)
    wait_for(page, "state.range?.start_s > 11")
    assert shown(page, "chosen") is None
    page.wait_for_timeout(200)
    assert shown(page, "timeline.labels.filter((each) => each.is_mine)") == before
    page.keyboard.press("Escape")
    page.keyboard.press("Control+z")
    page.wait_for_selector("[data-lane=mine] .box", state="detached")
    # In the words of the button that set it.
    name = page.locator("button.phase").nth(1).inner_text().removeprefix("2").strip()
    assert name == "Calot triangle dissection"
    page.wait_for_selector(f"#notes .note:has-text(\"Undone: phase '{name}'\")")


def held_first(page: "Page", address: str) -> list[Any]:
    """The first request for something and what the server answers, once there is one; `come` lets the page have it."""
    late: list[Any] = []

    def hold(route: "Route") -> None:
        if route.request.method == "GET" and not late:
            late.append((route, route.fetch()))
        else:
            route.continue_()

    page.route(address, hold)
    return late


def come(page: "Page", late: list[Any]) -> None:
    """Let the page have an answer that was held, and the time to show it."""
    route, answer = late[0]
    route.fulfill(response=answer)
    page.wait_for_timeout(200)
    page.unroute_all()


def test_clips_that_are_late_never_hide_one_that_was_saved_meanwhile(page: "Page") -> None:
    late = held_first(page, "**/api/clips")
    clip = "JSON.stringify({recording: 'video04', start_s: 1, end_s: 2})"
    page.evaluate("fetch('api/clips', {method: 'POST', headers: {'Content-Type': 'application/json'},"
                  f" body: {clip}}})")  # fmt: skip
    follows(page, lambda: len(late), 1)
    page.evaluate("window.surgvl.set({ range: { start_s: 3, end_s: 4 } })")
    page.keyboard.press("s")
    follows(page, page.locator("#clips .clip").count, 2)
    come(page, late)
    assert page.locator("#clips .clip").count() == 2
    for left in (1, 0):
        page.locator("#clips [aria-label^=Remove]").first.click()
        follows(page, page.locator("#clips .clip").count, left)


def test_class_names_are_those_of_reports_and_captions(page: "Page") -> None:
    names = [(track, name) for track, name, _ in SPOKEN]
    module = "new URL('words.js', document.querySelector('script[type=module]').src)"
    read = f"(names) => import({module}).then((words) => names.map((each) => words.className(...each)))"
    assert page.evaluate(read, names) == [spoken for *_, spoken in SPOKEN]


def test_a_range_that_is_too_long_for_an_mp4_is_said(page: "Page") -> None:
    """And none is offered, neither of the range nor of a clip that was saved of it."""
    recording = page.evaluate("window.surgvl.state.current")
    clip = {"recording": recording, "start_s": 0, "title": "", "note": "", "who": "x", "made_s": 0}
    clips = [{**clip, "id": 1, "end_s": 6}, {**clip, "id": 2, "end_s": 4}]

    def shorter(route: "Route") -> None:
        answer = route.fetch()
        facts = answer.json()
        route.fulfill(response=answer, json={**facts, "limits": {**facts["limits"], "cut_s": 5}})

    # Whatever else happens on the server, the page asks for both again.
    page.route("**/api/archive", shorter)
    page.route("**/api/clips", lambda route: route.fulfill(json=clips))
    page.evaluate(
        """(clips) => {
          const { state, set } = window.surgvl;
          window.before = state.archive;
          set({ archive: { ...state.archive, limits: { ...state.archive.limits, cut_s: 5 } },
                range: { start_s: 1, end_s: 6.5 }, clips });
        }""",
        clips,
    )
    page.click("#take summary")
    page.wait_for_selector(
        "#take li:text-is('An mp4 may last 00:05, and the marked range lasts 00:05.5: mark a shorter one.')"
    )
    assert page.locator("#take a[href*='cut.mp4']").count() == 0
    long, short = page.locator("#clips .clip").all()
    assert "longer than 00:05: no mp4" in long.inner_text()
    assert (long.locator("a").count(), short.locator("a").count()) == (0, 1)
    shoot(page, "too_long")
    for pattern in ("**/api/archive", "**/api/clips"):
        page.unroute(pattern)
    page.evaluate("window.surgvl.set({ archive: window.before })")
    page.keyboard.press("Escape")
    page.click("#take summary")
    page.wait_for_selector("#take a[href*='cut.mp4']")
    page.keyboard.press("Escape")
    page.evaluate("window.surgvl.set({ range: null, clips: [] })")


def test_a_search_that_is_refused_leaves_no_skeleton(lasting_page: "Page") -> None:
    page = lasting_page
    with again(page, refused="api/search"):
        page.route("**/api/search", lambda route: route.fulfill(status=400, json={"error": "too long: shorten it"}))
        page.fill("#text", SENTENCE)
        page.press("#text", "Enter")
        page.wait_for_selector(".note.error:has-text('shorten it')")
        page.wait_for_selector("#results .hint")
        assert page.locator("#results .ghosts").count() == 0


# ---- library, scores, model


def test_case_details_are_edited_and_found(page: "Page") -> None:
    view(page, "library")
    follows(page, page.locator(".cards .card").count, 4)
    page.click(".card:has-text('video03') >> text=Details")
    page.fill("dialog [name=title]", "Tuesday, second case")
    page.fill("dialog [name=tags]", "teaching, smoke")
    page.click("dialog button:text-is('Save')")
    page.wait_for_selector(".card:has-text('Tuesday, second case'):has-text('teaching, smoke')")
    page.click(".card:has-text('Tuesday') >> text=Details")
    page.click("dialog .history summary")
    page.wait_for_selector("dialog .history li:has-text('Tuesday, second case')")
    page.fill("dialog [name=title]", "")
    page.fill("dialog [name=tags]", "")
    page.click("dialog button:text-is('Save')")
    page.wait_for_selector("dialog", state="detached")
    view(page, "watch")
    page.fill("#cases-filter", "no such film")
    page.wait_for_selector("#cases-list:has-text('No recording with these words')")
    page.fill("#cases-filter", "VIDEO02")
    follows(page, page.locator(".case").count, 1)


def test_what_another_window_changes_leaves_the_focus(page: "Page") -> None:
    page.evaluate("window.before = window.surgvl.state.recordings")
    page.focus(".case[data-id=video02] button")
    page.evaluate("window.surgvl.set({recordings: [...window.surgvl.state.recordings]})")
    assert page.evaluate("document.activeElement.parentElement.dataset.id") == "video02"
    page.evaluate(
        """(() => {
          const { state, set } = window.surgvl;
          set({recordings: state.recordings.map((row, k) => (k ? row : {...row, num_clips: 9}))});
        })()"""
    )
    # What was made anew has no text before the next frame.
    page.wait_for_selector(".case >> nth=0 >> text=★ 9")
    assert page.evaluate("document.activeElement.parentElement.dataset.id") == "video02"
    # The row that has the focus is made anew itself.
    page.evaluate("""(() => {
      const { state, set } = window.surgvl;
      set({recordings: state.recordings.map((row) => (row.id === 'video02' ? {...row, num_clips: 7} : row))});
    })()""")
    page.wait_for_selector(".case[data-id=video02] >> text=★ 7")
    assert page.evaluate("document.activeElement.parentElement.dataset.id") == "video02"
    page.evaluate("window.surgvl.set({ recordings: window.before })")


def test_scores_are_shown_as_the_server_has_them(context: "BrowserContext", url: str) -> None:
    with opened(context, f"{url}?view=scores", prepare=scored) as page:
        page.wait_for_selector(".scores tbody tr")
        cells = page.locator(".scores tbody tr :is(th, td)").all_inner_texts()
        assert cells == ["accuracy", "", "0.8100.760 to 0.860", "0.4", "0.3"]
        assert page.evaluate("document.querySelector('.plot .dot').style.left") == "81%"
        check_with_axe(page, "#views", "#scores")


def test_the_model_card(page: "Page") -> None:
    view(page, "model")
    page.wait_for_selector("#model h1")
    text = page.inner_text("#model")
    words = ("say nothing about patients", "2 videos", "Shared space", "parameters", "commit", "rendered, no patient")
    assert [each for each in words if each not in text] == []
    shoot(page, "model")


def test_a_bad_upload_is_refused_and_a_good_one_is_read(lasting_page: "Page", tmp_path: Path) -> None:
    page = lasting_page
    with again(page, refused="api/recordings"):
        bad = tmp_path / "notes.mp4"
        bad.write_text("These are notes, not a video.\n" * 100)
        page.click("#add")
        page.set_input_files("dialog input[type=file]", bad)
        page.wait_for_selector("dialog [role=alert]")
        said = page.inner_text("dialog [role=alert]")
        print(f"\nrefused: {said}")
        assert re.match(r"notes[\w-]*\.mp4 ", said)
        assert "/" not in said

        good = tmp_path / "mine.mp4"
        colours = np.random.default_rng(7).integers(0, 255, (40, 6, 8, 3), np.uint8)
        video.write(good, (np.kron(each, np.ones((8, 8, 1), np.uint8)) for each in colours), fps=10)
        page.set_input_files("dialog input[type=file]", good)
        page.wait_for_selector("dialog", state="detached")
        page.wait_for_selector(".case.embedded:has-text('mine')")
        page.click(".case:has-text('mine') button")
        wait_for(page, "state.timeline?.phases.length")
        assert page.locator("[data-lane='by data set']").count() == 0
        view(page, "library")
        page.click(".card:has-text('mine') [aria-label^=Remove]")
        page.click("dialog .danger")
        page.wait_for_selector(".card:has-text('mine')", state="detached")


def test_a_folder_is_added_by_its_path_and_the_job_is_cancelled_and_resumed(
    page: "Page", run: Path, tmp_path: Path
) -> None:
    film(tmp_path / "films" / "by path.mp4", seconds=4)
    page.click("#add")
    page.fill("dialog .path input", str(tmp_path / "films"))
    late = held_first(page, "**/api/jobs")
    # Another process writes, so the job waits until it is let go.
    with locked(run / "archive"):
        page.press("dialog .path input", "Enter")
        follows(page, lambda: len(late), 1)
        page.click("#work:has-text('Add films')")
        job = page.locator("dialog .job:has-text('Add films')")
        job.locator("text=Cancel").click()
        page.wait_for_selector("dialog .job.cancelled:has-text('Add films')")
    come(page, late)
    job.locator("text=Resume").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog .job.done:has-text('Add films')")
    page.keyboard.press("Escape")
    page.wait_for_selector(".case.embedded:has-text('by path')")
    page.evaluate("fetch('api/recordings/by%20path', {method: 'DELETE'})")
    page.wait_for_selector(".case:has-text('by path')", state="detached")


def test_a_failure_is_told_until_it_has_been_seen(lasting_page: "Page", context: "BrowserContext", url: str) -> None:
    jobs = [
        {"id": 1, "kind": "add", "title": "Add a", "state": "failed", "done": 0, "total": 0, "unit": "s",
         "problem": "no room", "remaining_s": None, "begun_s": 5, "ended_s": 10},
    ]  # fmt: skip

    def told(page: "Page") -> None:
        answer(page, "*/api/jobs", lambda address: json.dumps(jobs).encode())

    show = "(jobs) => window.surgvl.set({ jobs })"
    with again(lasting_page):
        before = shown(lasting_page, "jobs")
        lasting_page.evaluate(show, jobs)
        lasting_page.wait_for_selector("#work.failed:has-text('1 failed')")
        lasting_page.click("#work")
        lasting_page.wait_for_selector("dialog .job.failed:has-text('no room')")
        lasting_page.wait_for_selector("#work:not(.failed):text-is('Work')")
        # While the queue is open, it notes which failures there are.
        lasting_page.keyboard.press("Escape")
        lasting_page.wait_for_selector("dialog", state="detached")
        lasting_page.evaluate(show, before)
    with opened(context, url, prepare=told) as page:
        page.wait_for_selector("#work:not(.failed):text-is('Work')")
        # It was tried again, and has failed again.
        page.evaluate(show, [{**jobs[0], "ended_s": 20}])
        page.wait_for_selector("#work.failed:has-text('1 failed')")


def test_another_model_is_chosen_in_the_library(page: "Page") -> None:
    sent: list[str] = []

    def take(route: Any) -> None:
        if route.request.method == "POST":
            sent.append(route.request.post_data)
        route.fulfill(json={"job": 1} if route.request.method == "POST" else [])

    page.route("**/api/jobs", take)
    view(page, "library")
    page.click("text=Another model")
    page.select_option("dialog [name=model]", "phantom")
    page.click("dialog button:text-is('Read again')")
    page.wait_for_selector("dialog", state="detached")
    assert json.loads(sent[0]) == {"kind": "reindex", "model": "phantom"}
    page.unroute("**/api/jobs")


# ---- several windows


def test_two_windows_are_kept_apart_and_hear_of_each_others_changes(
    chromium: "Browser", lasting_page: "Page", url: str
) -> None:
    mine = lasting_page
    with browsing(chromium) as other, again(mine), opened(other, f"{url}?r=video04") as theirs:
        mine.evaluate("window.surgvl.set({ range: { start_s: 4, end_s: 9 } })")
        for page, name in ((mine, "Ann"), (theirs, "Ben")):
            ready(page)
            page.click("#user")
            page.fill("dialog [name=name]", name)
            page.click("dialog button:text-is('Save')")
            page.wait_for_selector(f"#user:has-text('{name}')")
        find(mine, SENTENCE)
        mine.evaluate("document.activeElement.blur()")
        mine.keyboard.press("2")
        mine.wait_for_selector("[data-lane=mine] .box")
        theirs.wait_for_selector("[data-lane='by Ann'] .box")
        assert theirs.locator("[data-lane=mine] .box").count() == 0
        assert shown(theirs, "search") is None
        assert shown(theirs, "range") is None
        # One's own last change is taken back, not that of somebody else.
        theirs.keyboard.press("Control+z")
        theirs.wait_for_selector("#notes .note:has-text('nothing of yours')")
        assert mine.locator("[data-lane=mine] .box").count() == 1
        mine.keyboard.press("Control+z")
        theirs.wait_for_selector("[data-lane='by Ann']", state="detached")
        mine.evaluate("fetch('api/recordings/video03', {method: 'PATCH', body: '{\"title\": \"Third\"}',"
                      " headers: {'Content-Type': 'application/json'}})")  # fmt: skip
        theirs.wait_for_selector(".case:has-text('Third')")
        mine.keyboard.press("Control+z")
        theirs.wait_for_selector(".case:has-text('video03')")


def test_tabs_that_nobody_sees_leave_the_connections_to_others(context: "BrowserContext", url: str) -> None:
    """A browser has six connections to a server; every tab works all the same, and one that is seen again is right."""
    with opened(context, url) as one, opened(context, url) as other:
        for page in (one, other):
            page.wait_for_selector(".case")
            see(page, False)
        # Beside that of `lasting_page`, as if three more tabs were seen: two that kept theirs would leave none.
        one.evaluate("window.streams = [1, 2, 3].map(() => new EventSource('api/events'))")
        until(one, "streams.every((stream) => stream.readyState === EventSource.OPEN)")
        see(one, True)
        one.evaluate("fetch('api/clips', {method: 'POST', headers: {'Content-Type': 'application/json'},"
                     " body: JSON.stringify({recording: 'video04', start_s: 1, end_s: 2})})")  # fmt: skip
        one.wait_for_selector("#clips .clip")
        assert other.locator("#clips .clip").count() == 0
        one.evaluate("for (const stream of streams) stream.close()")
        see(other, True)
        other.wait_for_selector("#clips .clip")
        other.click("#clips .clip [aria-label^=Remove]")
        one.wait_for_selector("#clips .clip", state="detached")


def see(page: "Page", is_seen: bool) -> None:
    """Bring a tab to the front, or leave it: a headless browser shows all of them."""
    page.evaluate(
        "(value) => { Object.defineProperty(document, 'hidden', { configurable: true, value });"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        not is_seen,
    )
    if is_seen:
        page.bring_to_front()


# ---- what everyone can use

PLOT = [{"kind": "whisker", "left": 76.0, "width": 10.0}, {"kind": "dot", "left": 81.0, "width": None}]
ROW = {"name": "accuracy", "warning": "", "value": "0.810", "interval": "0.760 to 0.860", "control": "0.4",
       "blind": "0.3", "plot": PLOT}  # fmt: skip
TASK = {"title": "Phase", "num_videos": 8, "num_clips": 720, "encoder": "frozen", "main": [ROW], "more": []}
# The page is told of a recording that is foreign, one that cannot be read, and a job that has failed.
DOUBTFUL = """(() => {
  const { state, set } = window.surgvl;
  const [first, second, ...rest] = state.recordings;
  set({recordings: [{...first, is_foreign: 'Unlike the training videos.'},
                    {...second, state: 'failed', problem: 'the file ends early', duration_s: 0}, ...rest],
       jobs: [{id: 1, kind: 'add', title: 'Add two.mp4', state: 'failed', problem: 'two.mp4 is damaged', done: 3,
               total: 20, unit: 's', remaining_s: null}]});
})()"""

# Of many moments in the same words, axe would look at each.
FEW_HITS = """(() => {
  const { search } = window.surgvl.state;
  const num = {};
  const hits = search.reply.hits.filter(({ word }) => (num[word] = (num[word] ?? 0) + 1) <= 2);
  window.surgvl.set({ search: { ...search, reply: { ...search.reply, hits } } });
})()"""
# Rules that find nothing serious are left out.
SERIOUS = """(parts) => {
  const isSerious = ({ impact }) => ["serious", "critical"].includes(impact);
  const mild = axe._audit.rules.filter((rule) => !isSerious(rule)).map(({ id }) => [id, { enabled: false }]);
  return axe.run(parts, { rules: Object.fromEntries(mild), resultTypes: ["violations"], preload: false })
    .then(({ violations }) => violations.filter(isSerious))
    .then((found) => found.map(({ id, nodes: [node] }) => [id, node.target, node.failureSummary]));
}"""
HAS_AXE = find_spec("axe_playwright_python") is not None


def emptied(page: "Page") -> None:
    """A page of an archive without recordings."""
    answer(page, "*/api/recordings", lambda address: b"[]")


def scored(page: "Page") -> None:
    """A page of an archive whose model was evaluated."""
    answer(page, "*/api/runs", lambda address: json.dumps([{"name": "quickstart", "tasks": [TASK]}]).encode())


def check_with_axe(page: "Page", *parts: str) -> None:
    """Look at the parts of the page that no state before had, narrow and light, then wide and dark."""
    if not HAS_AXE:
        return
    from axe_playwright_python.sync_playwright import Axe

    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate(Axe().axe_script)
    for width, scheme in ((390, "light"), (1440, "dark")):
        with in_front(page, width, 900, scheme):
            still(page)
            assert page.evaluate(SERIOUS, list(parts)) == [], (parts, width, scheme)


@pytest.mark.skipif(not HAS_AXE, reason="axe-playwright-python is not installed")
def test_no_serious_findings_of_axe(lasting_page: "Page") -> None:
    page = lasting_page
    with again(page):
        page.evaluate("window.surgvl.set({ range: { start_s: 4, end_s: 9 } })")
        find(page, "the hook")
        seek(page, 5)
        page.evaluate(FEW_HITS)
        unfold(page)
        page.keyboard.press("Escape")
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("3")
        page.wait_for_selector("[data-lane=mine] .box")
        page.locator(".hit .opener").first.click()
        page.wait_for_selector("[data-lane=phase] .box")
        check_with_axe(page, "html")
        page.locator(".hit [aria-label^='Show beside']").first.click()
        beside(page)
        check_with_axe(page, "dialog")
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog", state="detached")
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("Control+z")
        page.click("#field label:has([value=ask])")
        page.fill("#text", PHASE)
        page.press("#text", "Enter")
        page.wait_for_selector(".answer .said")
        before = page.evaluate("(({ recordings, jobs }) => ({ recordings, jobs }))(window.surgvl.state)")
        page.evaluate(DOUBTFUL)
        page.click("#take summary")
        check_with_axe(page, "#side", "#take", "#field", "#work", "#cases", ".about")
        page.keyboard.press("Escape")
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("?")
        page.wait_for_selector("dialog.keys")
        check_with_axe(page, "dialog")
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog", state="detached")
        view(page, "library")
        page.click("#library button:text-is('Work')")
        page.wait_for_selector("dialog .job.failed")
        check_with_axe(page, "dialog")
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog", state="detached")
        for name in ("library", "model"):
            view(page, name)
            page.wait_for_selector(f"#{name} h1")
            check_with_axe(page, "#views", f"#{name}")
        page.evaluate("(before) => window.surgvl.set(before)", before)


def test_the_tab_key_stops_at_nothing_without_a_name(page: "Page") -> None:
    page.evaluate("document.activeElement.blur()")
    names = []
    for _ in range(40):
        page.keyboard.press("Tab")
        names.append(
            page.evaluate(
                "(() => { const e = document.activeElement; const box = e.getBoundingClientRect();"
                " return [e.ariaLabel || e.innerText || e.title || e.labels?.[0]?.innerText || e.placeholder || '',"
                " box.width * box.height]; })()"
            )
        )
    assert all(name.strip() and area > 0 for name, area in names), names


def test_keys_can_be_switched_off(page: "Page") -> None:
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    page.uncheck("dialog .check input")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    page.keyboard.press("i")
    assert shown(page, "marked_s") is None
    page.click("#help")
    page.check("dialog .check input")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    page.keyboard.press("i")
    wait_for(page, "state.marked_s !== null")
    page.evaluate("window.surgvl.set({ marked_s: null })")


def test_colours_that_mean_something_stay_where_a_reader_sets_all_others(page: "Page") -> None:
    colour = "getComputedStyle(document.querySelector('.overview .box')).backgroundColor"
    before = page.evaluate(colour)
    page.emulate_media(forced_colors="active")
    assert page.evaluate(colour) == before
    page.emulate_media(forced_colors="none")


@pytest.mark.parametrize("width", [390, 1280])
def test_long_names_leave_room_for_time_and_score(lasting_page: "Page", width: int) -> None:
    page = lasting_page
    names = ("VID05_196_and_VID18_166_b", "x" * 200, "a name of many words " * 6)
    # The made rows have no files behind them.
    with again(page, width, refused="/video04-"):
        page.evaluate(
            """(names) => {
              const { state, set } = window.surgvl;
              window.before = { recordings: state.recordings };
              const row = state.recordings[0];
              set({recordings: names.map((title, k) => ({...row, title, id: k ? `${row.id}-${k}` : row.id}))});
              const hits = names.map((title, k) => ({recording: k ? `${row.id}-${k}` : row.id, title, start_s: 3600,
                end_s: 3725, score: 0.5, word: 'strong', odds: 900}));
              set({search: {query: {text: 'x'}, name: 'x', reply: {hits, remark: '', elapsed_s: 0.1}, body: {}}});
            }""",
            names,
        )
        for card in page.locator(".hit").all():
            outer = card.bounding_box()
            assert outer
            for part in ("time", ".score", ".acts button:last-child"):
                inner = card.locator(part).bounding_box()
                assert inner
                assert inner["width"] > 5, part
                assert inner["x"] >= outer["x"], part
                assert inner["x"] + inner["width"] <= outer["x"] + outer["width"], part
            assert card.locator("time").evaluate("(place) => place.scrollWidth <= place.clientWidth + 1")
        assert page.locator(".groups h3").first.get_attribute("title") == names[0]
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width
        page.evaluate("window.surgvl.set(window.before)")


def test_the_recording_stays_in_sight_on_a_small_screen(lasting_page: "Page") -> None:
    page = lasting_page
    with again(page, 390, 800):
        find(page, SENTENCE)
        unfold(page)
        last = page.locator(".hit .opener").last
        last.scroll_into_view_if_needed()
        page.mouse.wheel(0, 300)
        until(page, "scrollY > 100")
        still(page)
        before = page.evaluate("scrollY")
        until(page, "Math.abs(document.querySelector('#stage').getBoundingClientRect().y) <= 1")
        box = page.locator("#stage").bounding_box()
        assert box
        # Nothing of the page shines through.
        place = [box["x"] + box["width"] / 2, box["y"] + 60]
        assert page.evaluate("([x, y]) => !!document.elementFromPoint(x, y).closest('#stage')", place)
        last.click()
        wait_for(page, "state.hit")
        still(page)
        assert page.evaluate("scrollY") == pytest.approx(before, abs=60)


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_shifts_while_the_page_fills(context: "BrowserContext", url: str, width: int) -> None:
    """Cumulative layout shift, as the browser measures it: half of what web.dev calls good."""

    with opened(context, url, width) as page:
        # Of those before, the browser keeps 150.
        page.evaluate(
            "window.shifts = []; new PerformanceObserver((list) => {"
            " for (const each of list.getEntries()) if (!each.hadRecentInput) window.shifts.push(each);"
            "}).observe({type: 'layout-shift', buffered: true})"
        )
        ready(page)
        find(page, SENTENCE)
        page.click(".case[data-id=video02] button" if width > 860 else ".hit .opener")
        wait_for(page, "state.timeline")
        page.wait_for_selector("[data-lane=phase] .box")
        page.wait_for_timeout(200)
        shifts = page.evaluate(
            "window.shifts.map((each) => [each.value, each.sources.map(({node}) => node?.id || node?.className)])"
        )
        print(f"\nlayout shift at {width} px: {sum(each[0] for each in shifts):.4f}")
        assert sum(each[0] for each in shifts) < 0.05, shifts


def test_nothing_jumps(first_visit: Visit) -> None:
    """The stage and the timeline keep their places from the first paint on, whatever is found or answered."""
    page = first_visit.page
    with again(page):
        find(page, SENTENCE)
        page.keyboard.press("Escape")
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("i")
        wait_for(page, "state.marked_s !== null")
        still(page)
        assert places_in(page) == first_visit.places


# ---- states


def test_an_empty_archive_says_what_to_do(context: "BrowserContext", url: str) -> None:
    with opened(context, url, prepare=emptied) as page:
        page.wait_for_selector("#stage .drop")
        assert "This archive is empty" in page.inner_text("#stage")
        assert page.locator("#timeline").is_hidden()
        shoot(page, "empty")
        check_with_axe(page, "#watch", ".foot")


def test_a_foreign_or_failed_recording_is_said(page: "Page") -> None:
    page.evaluate("(({ recordings, jobs }) => { window.before = { recordings, jobs }; })(window.surgvl.state)")
    page.evaluate(DOUBTFUL)
    follows(page, lambda: page.inner_text("#foreign"), "Unlike the training videos.")
    page.wait_for_selector(".case.failed:has-text('cannot be read: the file ends early')")
    page.wait_for_selector(".case.failed .no-picture")
    page.evaluate("window.surgvl.set(window.before)")


def test_a_server_that_is_gone_is_said_until_it_is_back(lasting_page: "Page", url: str) -> None:
    page = lasting_page
    with again(page, refused=url):
        network = page.context.new_cdp_session(page)
        network.send("Network.enable")
        limits = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        network.send("Network.emulateNetworkConditions", {"offline": True, **limits})
        page.wait_for_selector("#reach:has-text('does not answer')")
        network.send("Network.emulateNetworkConditions", {"offline": False, **limits})
        page.wait_for_selector("#reach", state="hidden")
        network.detach()


def test_a_file_that_no_browser_plays_is_shown_as_stills(context: "BrowserContext", url: str) -> None:
    def with_another_codec(page: "Page") -> None:
        answer(page, "*/recordings/*/video", lambda address: b"no video")

    with opened(context, url, prepare=with_another_codec) as page:
        page.wait_for_selector("#stage .stills img")
        until(page, "document.querySelector('#stage .stills img').naturalWidth > 0")
        page.wait_for_selector("#stage:has-text('still frames')")
