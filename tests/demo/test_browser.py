"""The page in a real browser: every tab is used on a tiny run; nothing fails, is missing or is fetched from outside.

Screenshots go to the folder in SURGVL_SHOTS where it is set.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from surgvl import video
from surgvl.demo import timeline_view, views
from surgvl.demo.schemas import Moment, Timeline
from tests.helpers.patience import patience

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine: apt-get install chromium"),
    pytest.mark.skipif(find_spec("playwright") is None, reason="playwright is not installed: pip install -e '.[dev]'"),
    pytest.mark.skipif(find_spec("gradio") is None, reason="gradio is not installed: pip install -e '.[demo]'"),
]
TABS = ("ask", "search", "timeline", "about")
PHASE = "What is the surgical phase shown in the image?"


@pytest.fixture(scope="module")
def url(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the page, served by the command in a process of its own, which then ends as it should."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("demo") / "log.txt"
    argv = [sys.executable, "-m", "surgvl", "demo", "--run", str(tiny_run), "--port", str(port)]
    begun = time.monotonic()
    with log.open("w") as file:
        server = subprocess.Popen(argv, stdout=file, stderr=subprocess.STDOUT)
    try:
        while "surgvl is running at" not in log.read_text():
            assert server.poll() is None, log.read_text()
            assert time.monotonic() - begun < 600, "the page does not start: " + log.read_text()
            time.sleep(0.1)
        print(f"\nserver is up after {time.monotonic() - begun:.1f} s")
        assert "stop it with Ctrl-C" in log.read_text()
        yield f"http://127.0.0.1:{port}/"
        server.send_signal(signal.SIGINT)
        assert server.wait(300) == 0
        # Gradio logs what it refuses to forged requests; nothing else may fail.
        raised = re.findall(r"^[\w.]+(?:Error|Exception)\b.*$", log.read_text(), re.MULTILINE)
        refused = ("it was not uploaded by a user.", "failed validation")
        assert all(line.endswith(refused) for line in raised), log.read_text()
        assert log.read_text().count("Traceback") == len(raised)
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    """A headless browser."""
    from playwright import sync_api

    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def context(chromium: "Browser") -> Iterator["BrowserContext"]:
    """What pages share: files and their compiled code, which else each would load and compile anew."""
    context = chromium.new_context()
    context.set_default_timeout(300_000)
    yield context
    context.close()


@contextlib.contextmanager
def opened(context: "BrowserContext", url: str, width: int = 1280, height: int = 900) -> Iterator["Page"]:
    """A fresh page; at the end there must be no console error, no failed answer and no request to elsewhere."""
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": height})
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("response", lambda found: faults.append(f"{found.status} {found.url}") if found.status >= 400 else None)
    inside = (url, "data:", "blob:" + url)
    page.on("request", lambda asked: None if asked.url.startswith(inside) else faults.append(f"outside: {asked.url}"))
    page.goto(url)
    yield page
    page.wait_for_timeout(200)
    page.close()
    assert not faults


@pytest.fixture
def page(context: "BrowserContext", url: str) -> Iterator["Page"]:
    """The page with its models loaded."""
    with opened(context, url) as found:
        found.wait_for_selector(".status.ready")
        yield found


@pytest.fixture(scope="module")
def same_page(context: "BrowserContext", url: str) -> Iterator["Page"]:
    """One page with its models loaded, for all tests that only look at it, in any order."""
    with opened(context, url) as found:
        found.wait_for_selector(".status.ready")
        yield found


def go(page: "Page", tab: str) -> None:
    """Open a tab."""
    page.click(f"[role=tab][data-tab-id={tab}]")
    assert page.get_attribute(f"[role=tab][data-tab-id={tab}]", "aria-selected") == "true"


def now(page: "Page") -> float:
    """The player's time."""
    return float(page.evaluate("document.querySelector('.stage video').currentTime"))


def seek(page: "Page", seconds: float) -> None:
    """Move the player and wait for the picture."""
    page.evaluate(f"window.surgvl.seek({seconds})")
    page.wait_for_function("!document.querySelector('.stage video').seeking")


def timed(page: "Page", what: str, click: str, wait: str) -> None:
    """Click, wait for the result, print how long it took, and hold it against the promise."""
    begun = time.monotonic()
    page.click(click)
    page.wait_for_selector(wait)
    took = time.monotonic() - begun
    print(f"\n{what}: {took:.2f} s")
    assert took < patience(1.0)


def shoot(page: "Page", name: str) -> None:
    """Take a screenshot of the whole page, where a folder for them is given."""
    if folder := os.environ.get("SURGVL_SHOTS"):
        page.wait_for_timeout(400)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def test_a_foreign_name_gets_nothing(url: str) -> None:
    port = url.rstrip("/").rpartition(":")[2]
    for path in ("", "config", "gradio_api/info"):
        for name, status in ((f"localhost:{port}", 200), (f"evil.example:{port}", 400), ("evil.example", 400)):
            asked = urllib.request.Request(url + path, headers={"Host": name})
            try:
                with urllib.request.urlopen(asked, timeout=120) as answer:
                    found = answer.status
            except urllib.error.HTTPError as error:
                with error:
                    found = error.code
            assert found == status


def test_the_first_useful_paint_does_not_wait_for_models(context: "BrowserContext", url: str) -> None:
    begun = time.monotonic()
    with opened(context, url) as page:
        page.wait_for_selector(".stage video")
        page.wait_for_selector("#video input")
        page.wait_for_selector("#question textarea")
        took = time.monotonic() - begun
        print(f"\nfirst useful paint: {took:.2f} s")
        # Models load meanwhile, on the same cores.
        assert took < patience(3.0)
        assert page.input_value("#video input").startswith("video04 · test")
        assert page.title() == "surgvl"
        page.wait_for_selector(".status.ready")
        page.wait_for_function("document.querySelector('.stage video').readyState >= 1")


def test_every_tab_says_that_it_is_not_for_clinical_use(same_page: "Page") -> None:
    for tab in TABS:
        go(same_page, tab)
        banner = same_page.locator(".banner")
        assert banner.is_visible()
        assert banner.inner_text() == "Research prototype. Trained on rendered videos. Not for clinical use."


def test_ask(page: "Page") -> None:
    assert page.locator("text=the model sees the seconds around the moment").is_visible()
    seek(page, 7.3)
    page.fill("#question textarea", PHASE)
    timed(page, "ask", "#go-ask", ".answer .said")
    assert page.inner_text(".answer .said").strip()
    assert page.inner_text(".answer .eyebrow").startswith("video04 at 00:07.3")
    assert re.search(r"Chosen from \d+ known answers", page.inner_text(".answer"))
    assert "Ground truth" in page.inner_text(".answer")
    frames = page.locator(".strip button")
    assert frames.count() == 8
    frames.nth(0).click()
    assert now(page) == pytest.approx(6.3, abs=0.05)
    shoot(page, "test_ask")


def test_ask_by_example_and_by_enter(page: "Page") -> None:
    page.click("#questions .chip:has-text('What is happening in this clip?')")
    page.wait_for_selector(".answer .asked:has-text('What is happening in this clip?')")
    assert "Free text" in page.inner_text(".answer")
    assert page.input_value("#question textarea") == "What is happening in this clip?"
    page.fill("#question textarea", "How many instruments are present in the image?")
    page.press("#question textarea", "Enter")
    page.wait_for_selector(".answer .asked:has-text('How many instruments')")


def test_no_question_is_one_friendly_line(page: "Page") -> None:
    page.click("#go-ask")
    page.wait_for_selector("#answer [role=alert]")
    assert page.inner_text("#answer [role=alert]") == "the question is empty: write one, or choose an example"


def test_search_by_text_play_and_show(page: "Page") -> None:
    go(page, "search")
    page.fill("#sentence textarea", "the hook dissects the gallbladder")
    timed(page, "search by text", "#go-search", ".hit")
    hits = page.locator(".hit")
    assert 2 <= hits.count() <= 6
    start, end = (
        float(hits.nth(0).locator("video").get_attribute(f"data-{edge}") or "nan") for edge in ("start", "end")
    )
    hits.nth(0).locator("[data-clip]").click()
    page.wait_for_function(f"document.querySelector('.hit video').currentTime > {start + 0.2}")
    assert "playing" in (hits.nth(0).get_attribute("class") or "")
    page.evaluate(f"document.querySelector('.hit video').currentTime = {end - 0.2}")
    page.wait_for_function("document.querySelector('.hit video').paused")
    assert page.evaluate("document.querySelector('.hit video').currentTime") <= end + 0.6
    shoot(page, "test_search")
    other = page.locator(".hit [data-open]:not([data-open=video04])").first
    name, at = other.get_attribute("data-open"), float(other.get_attribute("data-at") or "nan")
    other.click()
    page.wait_for_selector(f".stage[data-video={name}]")
    page.wait_for_function(f"Math.abs(document.querySelector('.stage video').currentTime - {at}) < 0.2")
    assert page.input_value("#video input").startswith(f"{name} ·")


def test_search_like_this_moment_with_a_filter(page: "Page") -> None:
    go(page, "search")
    page.click("#filter-video_id input")
    page.click("[role=option]:has-text('video02')")
    seek(page, 12.0)
    timed(page, "search by moment", "#go-like", ".hit")
    assert set(page.locator(".hit b").filter(has_text="video").all_inner_texts()) == {"video02"}
    assert "like video04 at 00:12" in page.inner_text(".found")


def test_timeline_moves_the_player(page: "Page") -> None:
    seek(page, 1.0)
    timed(page, "timeline", "[role=tab][data-tab-id=timeline]", ".timeline")
    assert page.locator(".ribbon.predicted .seg").count() >= 1
    assert page.locator(".ribbon.truth .seg").count() >= 3
    assert page.locator(".heat").count() == 8
    assert 1 <= page.locator(".legend li").count() <= 7
    for track, share in ((".ribbon.predicted", 0.75), (".ribbon.truth", 0.25), (".heat >> nth=3", 0.5)):
        box = page.locator(track).bounding_box()
        assert box
        page.mouse.click(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
        assert now(page) == pytest.approx(share * 20, abs=0.2)
    page.focus(".ribbon.predicted")
    page.keyboard.press("ArrowRight")
    assert now(page) == pytest.approx(11, abs=0.2)
    assert page.get_attribute(".ribbon.predicted", "aria-valuenow") == "11"
    left = page.evaluate("document.querySelector('.ribbon.predicted .head').style.left")
    assert float(left.rstrip("%")) == pytest.approx(55, abs=1)
    page.click("#smoothing input")
    page.click("[role=option]:has-text('none')")
    page.wait_for_selector(".timeline:has-text('no smoothing')")
    shoot(page, "test_timeline")


def test_the_timeline_is_exported(same_page: "Page", tmp_path: Path) -> None:
    go(same_page, "timeline")
    same_page.click(".export summary")
    links = same_page.locator(".export a")
    assert links.count() == 9
    shoot(same_page, "test_export")
    same_page.keyboard.press("Escape")
    assert not links.nth(0).is_visible()
    same_page.click(".export summary")
    with same_page.expect_download() as saving:
        same_page.click(".export a:has-text('ELAN')")
    assert saving.value.suggested_filename == "video04.eaf"
    saving.value.save_as(tmp_path / "video04.eaf")
    assert "<ANNOTATION_DOCUMENT" in (tmp_path / "video04.eaf").read_text()
    assert not links.nth(0).is_visible()


def test_about(same_page: "Page") -> None:
    go(same_page, "about")
    text = same_page.inner_text("#about")
    for words in (
        "say nothing about patients",
        "2 videos",
        "Shared space",
        "parameters",
        "commit",
        "rendered, no patient",
    ):
        assert words in text, words
    shoot(same_page, "test_about")


def test_a_bad_upload_is_refused_and_a_good_one_is_read(page: "Page", tiny_run: Path, tmp_path: Path) -> None:
    bad = tmp_path / "notes.mp4"
    bad.write_text("These are notes, not a video.\n" * 100)
    page.set_input_files("#left input[type=file]", bad)
    page.wait_for_selector("#left [role=alert]")
    said = page.inner_text("#left [role=alert]")
    print(f"\nrefused: {said}")
    assert said.startswith("notes.mp4")
    assert "/" not in said
    assert page.input_value("#video input").startswith("video04")

    good = tmp_path / "mine.mp4"
    shutil.copy(next((tiny_run / "phantom" / "cholec80" / "videos").glob("video01.mp4")), good)
    go(page, "timeline")
    page.wait_for_selector(".timeline")
    page.set_input_files("#left input[type=file]", good)
    page.wait_for_selector(".stage[data-video^=upload-]")
    page.wait_for_selector(".timeline .eyebrow:has-text('mine.mp4')")
    assert page.locator(".ribbon.truth").count() == 0
    go(page, "ask")
    page.fill("#question textarea", PHASE)
    page.click("#go-ask")
    page.wait_for_selector(".answer .eyebrow:has-text('mine.mp4')")
    go(page, "search")
    page.click("#go-like")
    page.wait_for_selector(".hit")


def test_a_small_screen_needs_no_sideways_scrolling(context: "BrowserContext", url: str) -> None:
    with opened(context, url, 390, 844) as page:
        page.wait_for_selector(".status.ready")
        for tab in TABS:
            go(page, tab)
            if tab == "ask":
                page.locator("#questions .chip").first.click()
                page.wait_for_selector(".answer")
            elif tab == "search":
                page.click("#go-like")
                page.wait_for_selector(".hit")
            elif tab == "timeline":
                page.wait_for_selector(".timeline")
            assert page.evaluate("document.scrollingElement.scrollWidth") <= 390, tab
            assert page.locator(".stage video").is_visible()
            shoot(page, f"test_phone_{tab}")


def pick(page: "Page", title: str) -> None:
    """Pick a recording from the list, as a person does: click, type, Enter."""
    page.click("#video input")
    page.keyboard.type(title)
    page.click(f"[role=option]:has-text('{title}')")


def long_film(path: Path, length_s: int) -> Path:
    """A grey film that takes a while to embed."""
    video.write(path, (np.full((48, 64, 3), at % 256, np.uint8) for at in range(4 * length_s)), fps=4)
    return path


def test_a_reading_of_another_recording_never_ends_under_the_player(page: "Page", tmp_path: Path) -> None:
    page.set_input_files("#left input[type=file]", long_film(tmp_path / "long.mp4", 300))
    page.wait_for_selector(".stage[data-video^=upload-]")
    go(page, "timeline")
    page.wait_for_selector("#timeline .working:has-text('Embedding')")
    pick(page, "video02")
    page.wait_for_selector(".timeline[data-of=video02]")
    # Other work of the server waits for the embedding where it goes on; it is over when the page is idle.
    for _ in range(20):
        page.wait_for_timeout(150)
        assert page.locator("#timeline .working").count() == 0
        assert page.locator(".timeline").get_attribute("data-of") == "video02"


def test_an_answer_about_another_recording_does_not_move_this_one(page: "Page") -> None:
    seek(page, 7.3)
    page.fill("#question textarea", PHASE)
    page.click("#go-ask")
    page.wait_for_selector(".answer[data-of=video04]:not(.stale)")
    pick(page, "video02")
    page.wait_for_selector(".stage[data-video=video02]")
    page.wait_for_selector(".answer.stale")
    page.locator(".strip button").nth(0).click()
    page.wait_for_selector(".stage[data-video=video04]")
    page.wait_for_function("Math.abs(document.querySelector('.stage video').currentTime - 6.3) < 0.1")
    page.wait_for_selector(".answer:not(.stale)")


def test_a_ribbon_of_another_recording_takes_no_clicks(page: "Page") -> None:
    go(page, "timeline")
    page.wait_for_selector(".timeline")
    seek(page, 2.0)
    page.evaluate("document.querySelector('.timeline').dataset.of = 'another'")
    page.locator(".ribbon.predicted").click()
    assert now(page) == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("width", [390, 1280])
def test_long_names_leave_room_for_time_and_score(context: "BrowserContext", url: str, width: int) -> None:
    names = ("VID05_196_and_VID18_166_b", "x" * 200, "a name of many words " * 6)
    found = [Moment(name, "a.mp4", 3600.0, 3725.0, 0.5, "p", "s") for name in names]
    with opened(context, url, width) as page:
        page.wait_for_selector(".status.ready")
        go(page, "search")
        # The pictures are none of this server's.
        text = re.sub(r' (?:src|poster)="[^"]*"', "", views.moments(found, "x", 0.1))
        page.evaluate("(text) => (document.querySelector('#hits').innerHTML = text)", text)
        for card in page.locator(".hit").all():
            outer = card.bounding_box()
            assert outer
            for part in ("time", ".score em", ".rank", ".quiet", "b[title]"):
                inner = card.locator(part).bounding_box()
                assert inner
                assert inner["width"] > 5, part
                assert inner["x"] >= outer["x"], part
                assert inner["x"] + inner["width"] <= outer["x"] + outer["width"], part
            assert card.locator("time").evaluate("(place) => place.scrollWidth <= place.clientWidth + 1")
        assert page.locator(".hit b[title]").nth(0).get_attribute("title") == names[0]


def test_a_second_of_an_hour_is_seen_on_the_ribbon(page: "Page") -> None:
    predicted = np.array(([0] * 500 + [3]) * 7, np.int64)
    edges_s = np.arange(len(predicted) + 1).astype(np.float64)
    phases = ["Preparation", "CalotTriangleDissection", "ClippingCutting", "GallbladderDissection"]
    long = Timeline("video04", "x", edges_s[-1], edges_s, phases, predicted, np.ones(len(predicted)), None, [], 0.0)
    go(page, "timeline")
    page.wait_for_selector(".timeline")
    page.evaluate("(text) => (document.querySelector('#timeline').innerHTML = text)", timeline_view.timeline(long))
    own = page.evaluate("getComputedStyle(document.querySelector('.legend .p3')).backgroundColor")
    for segment in page.locator(".ribbon .seg.p3").all():
        box = segment.bounding_box()
        assert box
        assert box["width"] >= 3
        # What lies on top in its middle is itself, in its own colour, without the line that parts wide ones.
        place = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
        assert page.evaluate("([x, y]) => document.elementFromPoint(x, y).closest('.seg').className", place) == "seg p3"
        assert segment.evaluate("(part) => getComputedStyle(part, '::after').display") == "none"
        assert segment.evaluate("(part) => getComputedStyle(part).backgroundColor") == own


def test_filters_act_at_once(page: "Page") -> None:
    go(page, "search")
    page.fill("#sentence textarea", "the hook dissects the gallbladder")
    page.click("#go-search")
    page.wait_for_selector(".hit")
    page.click("#filter-video_id input")
    page.click("[role=option]:has-text('video02')")
    page.wait_for_function(
        "(() => { const names = [...document.querySelectorAll('.hit b[title]')].map((name) => name.title);"
        " return names.length > 0 && names.every((name) => name === 'video02'); })()"
    )
    assert "the hook dissects the gallbladder" in page.inner_text(".found")
    seek(page, 12.0)
    page.click("#go-like")
    page.wait_for_selector(".found:has-text('like video04 at 00:12')")
    page.click("#filter-video_id input")
    page.click("[role=option]:has-text('video01')")
    page.wait_for_selector(".hit b[title=video01]")
    # The same moment is searched again, wherever the player is by now.
    assert "like video04 at 00:12" in page.inner_text(".found")


@pytest.mark.parametrize(("width", "top"), [(1280, 20), (390, 0)])
def test_the_player_stays_in_sight(context: "BrowserContext", url: str, width: int, top: float) -> None:
    with opened(context, url, width, 800) as page:
        page.wait_for_selector(".status.ready")
        go(page, "search")
        page.click("#go-like")
        page.wait_for_selector(".hit")
        last = page.locator(".hit [data-open]").last
        last.scroll_into_view_if_needed()
        before = page.evaluate("scrollY")
        assert before > 100
        box = page.locator("#player").bounding_box()
        assert box
        assert box["y"] == pytest.approx(top, abs=1)
        # Nothing of the page shines through.
        place = [box["x"] + box["width"] / 2, box["y"] + 60]
        assert page.evaluate("([x, y]) => !!document.elementFromPoint(x, y).closest('#player')", place)
        last.click()
        page.wait_for_timeout(600)
        assert page.evaluate("scrollY") == pytest.approx(before, abs=2)
        assert page.locator(".hit.opened").count() == 1
        assert page.locator(".hit").last.get_attribute("class") == "card hit opened"


def test_typing_replaces_the_picked_recording_and_nothing_found_is_said(same_page: "Page") -> None:
    same_page.click("#video input")
    same_page.keyboard.type("no such film")
    assert same_page.input_value("#video input") == "no such film"
    said = "getComputedStyle(document.querySelector('#video .options'), '::before').content"
    assert same_page.evaluate(said) == '"No recording with this name"'
    same_page.keyboard.press("Escape")
    same_page.locator("h1").click()
    assert same_page.input_value("#video input").startswith("video04 · test")


def test_tabs_are_one_stop_and_arrows_go_on(same_page: "Page") -> None:
    stops = same_page.locator("#tabs [role=tab][tabindex='0']")
    same_page.focus("[role=tab][data-tab-id=ask]")
    for key, tab in (("ArrowRight", "search"), ("End", "about"), ("ArrowRight", "ask"), ("ArrowLeft", "about")):
        same_page.keyboard.press(key)
        assert same_page.evaluate("document.activeElement.dataset.tabId") == tab
        assert same_page.get_attribute(f"[role=tab][data-tab-id={tab}]", "aria-selected") == "true"
        same_page.wait_for_function("document.querySelectorAll(\"#tabs [role=tab][tabindex='0']\").length === 1")
        assert stops.get_attribute("data-tab-id") == tab
    same_page.keyboard.press("Tab")
    assert not same_page.evaluate("document.activeElement.closest('[role=tablist]')")


def test_the_tab_key_stops_at_nothing_empty(same_page: "Page") -> None:
    same_page.focus(".stage [data-full]")
    same_page.keyboard.press("Tab")
    assert same_page.evaluate("document.activeElement.getAttribute('aria-label')") == "Recording"
    same_page.keyboard.press("Tab")
    assert same_page.evaluate("document.activeElement.id") == "upload"


def test_what_arrives_is_said_to_who_listens(page: "Page") -> None:
    page.fill("#question textarea", PHASE)
    page.click("#go-ask")
    page.wait_for_selector(".answer")
    assert page.inner_text("#voice") == f"Answer: {page.inner_text('.answer .said')}"
    assert page.get_attribute("#voice", "role") == "status"
    go(page, "search")
    page.click("#go-like")
    page.wait_for_selector(".hit")
    assert page.inner_text("#voice") == page.inner_text(".found span >> nth=0")


def test_the_ribbon_keeps_its_colours_where_a_reader_sets_all_others(page: "Page") -> None:
    go(page, "timeline")
    page.wait_for_selector(".timeline")
    colour = "getComputedStyle(document.querySelector('.ribbon .seg')).backgroundColor"
    before = page.evaluate(colour)
    page.emulate_media(forced_colors="active")
    assert page.evaluate(colour) == before


def test_a_server_that_is_gone_is_said_until_it_is_back(chromium: "Browser", url: str) -> None:
    context = chromium.new_context()
    context.set_default_timeout(300_000)
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector(".status.ready")
    context.set_offline(True)
    page.wait_for_selector(".status.failed:has-text('not responding')")
    context.set_offline(False)
    page.wait_for_selector(".status.ready")
    context.close()


def test_nothing_jumps(page: "Page", context: "BrowserContext", url: str, tmp_path: Path) -> None:
    """The stage is as high for every picture, and the answer's place stays when the models are loaded."""
    before = page.locator(".stage video").bounding_box()
    wide = tmp_path / "wide.mp4"
    video.write(wide, (np.full((36, 128, 3), at, np.uint8) for at in range(20)), fps=10)
    page.set_input_files("#left input[type=file]", wide)
    page.wait_for_selector(".stage[data-video^=upload-]")
    page.wait_for_function("document.querySelector('.stage video').videoWidth === 128")
    assert page.locator(".stage video").bounding_box() == before
    with opened(context, url) as early:
        early.wait_for_selector("#questions .chip")
        assert early.locator("#question textarea").get_attribute("placeholder") == PHASE
        first = early.locator("#answer").bounding_box()
        early.wait_for_selector(".status.ready")
        assert early.locator("#answer").bounding_box() == first


@pytest.mark.parametrize("path", ["/etc/passwd", "manifest/manifest.json", "http://127.0.0.1:9/a.mp4"])
def test_a_path_from_a_client_opens_nothing(url: str, tiny_run: Path, path: str) -> None:
    if path.startswith("manifest"):
        path = str(tiny_run / path)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{url}gradio_api/file={path}", timeout=120)
    assert caught.value.code in (403, 404)

    config = json.load(urllib.request.urlopen(f"{url}config", timeout=120))
    target = next(part["id"] for part in config["components"] if part["type"] == "uploadbutton")
    event = next(each for each in config["dependencies"] if each["inputs"][:1] == [target])
    forged = {"path": path, "orig_name": "a.mp4", "meta": {"_type": "gradio.FileData"}}
    body = {"data": [forged, None], "fn_index": event["id"], "session_hash": "forged", "trigger_id": target}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}gradio_api/queue/join", json.dumps(body).encode(), headers)
    urllib.request.urlopen(request, timeout=120).read()
    with urllib.request.urlopen(f"{url}gradio_api/queue/data?session_hash=forged", timeout=120) as stream:
        text = stream.read().decode()
    last = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    done = next(each for each in last if each["msg"] == "process_completed")
    assert not done["success"]
    assert "root:" not in text
