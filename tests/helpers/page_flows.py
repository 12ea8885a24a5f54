"""What people do on the page, by mouse and by keyboard, for tests at any width and in any colours."""

from typing import TYPE_CHECKING

import cv2
import numpy as np

from tests.helpers.browser import middle_of, seek, shown, until, wait_for

if TYPE_CHECKING:
    from playwright.sync_api import FilePayload, Page

PHASE = "What is the surgical phase shown in the image?"
SENTENCE = "the hook dissects the gallbladder"


def ready(page: "Page") -> None:
    """Wait until the models are loaded and the timeline is read."""
    page.wait_for_selector(".status.ready")
    wait_for(page, "state.timeline")
    page.wait_for_selector("[data-lane=phase] .box")


def put_back(page: "Page") -> None:
    """Let the page show what it shows when it is opened, as long as nobody has changed the archive."""
    page.unroute_all()
    page.evaluate(
        """(() => {
          const { set, state } = window.surgvl;
          for (const each of document.querySelectorAll("dialog")) each.close();
          for (const each of document.querySelectorAll(".menu-of[open]")) each.open = false;
          if (state.isPlaying) document.querySelector("#transport [aria-label='Play or pause']").click();
          document.querySelector("#notes").replaceChildren();
          document.querySelector("#picture:not([hidden]) button")?.click();
          document.querySelector("#field [value=find]").checked = true;
          for (const field of document.querySelectorAll("#text, #cases-filter")) {
            field.value = "";
            field.dispatchEvent(new Event("input"));
          }
          document.activeElement.blur();
          const side = { search: null, hit: null, curve: null, answers: [], side: "results", showsWeak: false };
          set({ ...side, isLooping: false, view: { start_s: 0, end_s: state.timeline?.duration_s ?? 1 } });
          history.pushState(null, "", location.pathname);
          window.dispatchEvent(new PopStateEvent("popstate"));
        })()"""
    )


def view(page: "Page", name: str) -> None:
    """Go to one of the views."""
    page.click(f"#views [data-view={name}]")
    page.wait_for_selector(f"#{name}:visible")


def find(page: "Page", text: str) -> None:
    """Search by a sentence, and wait for what is found."""
    page.click("#field label:has([value=find])")
    page.fill("#text", text)
    page.press("#text", "Enter")
    wait_for(page, f"state.search?.query.text === {text!r} && !state.isSearching")
    page.wait_for_selector(".hit")


def unfold(page: "Page") -> None:
    """Show weak hits as well: a model of a few steps finds little else."""
    if page.locator(".weak").count() and not shown(page, "showsWeak"):
        page.click(".weak summary")
        page.wait_for_selector(".weak .hit")
    page.wait_for_selector(".hit")


def picture() -> "FilePayload":
    """A picture to search by."""
    done, data = cv2.imencode(".png", np.full((32, 32, 3), (40, 60, 160), np.uint8))
    assert done
    return {"name": "frame.png", "mimeType": "image/png", "buffer": bytes(data)}


def drag_an_edge(page: "Page") -> None:
    """Drag the end of the marked range towards its start."""
    before = shown(page, "range")
    page.locator(".tl-scroll").scroll_into_view_if_needed()
    x, _ = middle_of(page.locator(".range .edge[data-edge=end]"))
    _, y = middle_of(page.locator("[data-lane=phase] .track"))
    wide = page.locator(".over").bounding_box()
    assert wide
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 0.05 * wide["width"], y, steps=3)
    page.mouse.up()
    wait_for(page, f"Math.abs(state.range.end_s - {before['end_s'] - 0.05 * 20}) < 0.3")
    assert shown(page, "range")["start_s"] == before["start_s"]


def beside(page: "Page") -> None:
    """Wait until two moments stand side by side."""
    page.wait_for_selector("dialog .beside video >> nth=1")
    until(page, "[...document.querySelectorAll('.beside video')].every((one) => one.readyState >= 2 && !one.seeking)")
    page.evaluate("window.before = [...document.querySelectorAll('.beside video')].map((one) => one.currentTime)")


def stepped(page: "Page") -> None:
    """Both have gone on by a frame of 0.1 s."""
    videos = "[...document.querySelectorAll('.beside video')]"
    until(page, f"{videos}.every((one, k) => Math.abs(one.currentTime - window.before[k] - 0.1) < 0.02)")


def flow_by_mouse(page: "Page") -> None:
    """Find a moment, mark a range, set its phase, take it back, save a clip, ask, all by pointer."""
    page.click("#field label:has([value=find])")
    page.fill("#text", SENTENCE)
    page.click("#go")
    wait_for(page, "state.search && !state.isSearching")
    unfold(page)
    hit = page.locator(".hit").first
    hit.locator(".opener").click()
    wait_for(
        page, "state.hit && Math.abs(state.time_s - state.hit.start_s) < 0.1 && state.current === state.hit.recording"
    )
    page.wait_for_selector(".hit[aria-current]")
    wait_for(page, "state.timeline")
    page.wait_for_selector("[data-lane=phase] .box")

    page.locator(".tl-scroll").scroll_into_view_if_needed()
    lane = page.locator("[data-lane=phase] .track")
    x, y = middle_of(lane, 0.25)
    page.mouse.click(x, y)
    wait_for(page, "Math.abs(state.time_s - 5) < 0.3")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(*middle_of(lane, 0.4), steps=3)
    page.mouse.move(*middle_of(lane, 0.5), steps=3)
    page.mouse.up()
    wait_for(page, "state.range && Math.abs(state.range.start_s - 5) < 0.3 && Math.abs(state.range.end_s - 10) < 0.3")
    page.locator("button.phase").nth(2).click()
    page.wait_for_selector("[data-lane=mine] .box.c2")
    page.click(".note:has-text('set on') button:has-text('Undo')")
    page.wait_for_selector("[data-lane=mine] .box", state="detached")

    page.mouse.dblclick(*middle_of(page.locator("[data-lane=phase] .box").first))
    wait_for(page, "state.range")
    page.click("#transport >> text=Save clip")
    page.wait_for_selector("#clips .clip")
    page.click("#clips .clip [aria-label^='Title and note']")
    page.fill("dialog [name=note]", "Clear view of both structures")
    page.click("dialog button:text-is('Save')")
    page.wait_for_selector("#clips .clip:has-text('Clear view of both structures')")
    page.locator("#clips .clip button[aria-label^=Remove]").first.click()
    page.wait_for_selector("#clips .clip", state="detached")

    drag_an_edge(page)
    page.click("#transport [aria-label='Repeat the marked range']")
    wait_for(page, "state.isLooping && state.isPlaying")
    page.click("#transport [aria-label='Play or pause']")
    page.click("#palette [aria-label='Clear the marked range']")
    wait_for(page, "!state.isLooping && !state.range")

    page.locator(".hit [aria-label^='Show beside']").first.click()
    beside(page)
    page.click("dialog [aria-label='Next frame of both']")
    stepped(page)
    page.click("dialog [aria-label=Close]")

    page.locator("#field").scroll_into_view_if_needed()
    page.set_input_files("#picture-file", picture())
    wait_for(page, "state.search?.query.image && !state.isSearching")
    page.wait_for_selector(".summary b[title^='frame.png and']")
    page.click("#picture button")
    page.click("#field label:has([value=ask])")
    page.fill("#text", PHASE)
    page.click("#go")
    page.wait_for_selector(".answer .said")
    frame = page.locator(".frames button").first
    at = frame.inner_text()
    frame.click()
    minutes, seconds = at.split(":")
    wait_for(page, f"Math.abs(state.time_s - {60 * int(minutes) + float(seconds)}) < 0.11")


def flow_by_keys(page: "Page") -> None:
    """The same without a pointer."""
    press = page.keyboard.press
    # Long before it is needed: the browser begins to intercept choosers some time after it is told to.
    page.once("filechooser", lambda chooser: chooser.set_files(picture()))
    press("/")
    # Its letters are shortcuts elsewhere.
    page.keyboard.type("the hook dissects")
    press("Enter")
    wait_for(page, "state.search && !state.isSearching")
    unfold(page)
    page.evaluate("document.activeElement.blur()")
    press("n")
    wait_for(page, "state.hit === state.search.reply.hits[0] && Math.abs(state.time_s - state.hit.start_s) < 0.1")
    press("n")
    wait_for(page, "state.hit === state.search.reply.hits[1]")
    press("p")
    wait_for(page, "state.hit === state.search.reply.hits[0]")
    press("g")
    wait_for(page, "state.search.query.good?.length === 1 && !state.isSearching")
    press("m")
    wait_for(page, "state.search.query.like && !state.isSearching")

    wait_for(page, "state.timeline")
    seek(page, 4)
    press("i")
    press("ArrowRight")
    press(".")
    press("o")
    # A step shows the middle of a frame of 0.1 s.
    wait_for(page, "state.range && Math.abs(state.range.start_s - 4) < 1e-3")
    wait_for(page, "Math.abs(state.range.end_s - 9.15) < 1e-3")
    press("2")
    page.wait_for_selector("[data-lane=mine] .box.c1")
    # The range goes once the label is there.
    wait_for(page, "state.range === null")
    press("Control+z")
    page.wait_for_selector("[data-lane=mine] .box", state="detached")
    seek(page, 0)
    press("Enter")
    page.wait_for_selector("[data-lane=mine] .box")
    first_end_s = shown(page, "timeline.phases[0].end_s")
    # The player moves once the label is there.
    wait_for(page, f"Math.abs(state.time_s - {min(first_end_s + 0.1, 19.95)}) < 1e-3")
    # Without a mark, the label at the playhead.
    seek(page, 0)
    press("Delete")
    page.wait_for_selector("[data-lane=mine] .box", state="detached")
    press("Control+z")
    page.wait_for_selector("[data-lane=mine] .box")
    press("Control+z")
    page.wait_for_selector("[data-lane=mine] .box", state="detached")

    seek(page, 9)
    press("i")
    press("ArrowLeft")
    press("o")
    press("s")
    page.wait_for_selector("#clips .clip")
    page.focus("#clips .clip [aria-label^='Title and note']")
    press("Enter")
    page.keyboard.type("Clear view")
    press("Tab")
    press("Tab")
    press("Enter")
    page.wait_for_selector("#clips .clip:has-text('Clear view')")
    page.evaluate("document.activeElement.blur()")
    # The edge of a range is moved by marking it again.
    marked = shown(page, "range")
    seek(page, marked["start_s"] + 1)
    press("i")
    wait_for(page, f"Math.abs(state.range.start_s - {marked['start_s'] + 1}) < 1e-3")
    assert shown(page, "range.end_s") == marked["end_s"]
    press("r")
    wait_for(page, "state.isLooping && state.isPlaying")
    press("k")
    press("r")
    press("Escape")
    wait_for(page, "state.range === null")
    page.focus("#clips .clip button[aria-label^=Remove]")
    press("Enter")
    page.wait_for_selector("#clips .clip", state="detached")
    page.evaluate("document.activeElement.blur()")

    press(" ")
    wait_for(page, "state.isPlaying")
    press("k")
    wait_for(page, "!state.isPlaying")
    seek(page, 9)
    press("j")
    wait_for(page, "state.isPlaying && state.time_s < 9")
    press("k")
    wait_for(page, "!state.isPlaying")
    press(" ")
    until(page, "!document.querySelector('#stage video').paused")
    press(" ")
    unfold(page)
    page.locator(".hit [aria-label^='Show beside']").first.focus()
    press("Enter")
    beside(page)
    press(".")
    stepped(page)
    press("Escape")
    page.wait_for_selector("dialog", state="detached")
    page.evaluate("document.activeElement.blur()")
    press("+")
    wait_for(page, "state.view.end_s - state.view.start_s < 11")
    press("0")
    wait_for(page, "state.view.end_s - state.view.start_s > 19")
    press("?")
    page.wait_for_selector("dialog.keys")
    press("Escape")
    page.wait_for_selector("dialog", state="detached")
    page.focus("#picture-file")
    press(" ")
    wait_for(page, "state.search?.query.image && !state.isSearching")
    press("/")
    page.keyboard.insert_text(PHASE)
    page.wait_for_selector("#field [value=ask]:checked", state="attached")
    press("Enter")
    page.wait_for_selector(".answer .said")
