"""A headless browser for tests of the page, and the page in it."""

import base64
import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import pytest

from tests.helpers.patience import MARGIN, patience

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, CDPSession, Locator, Page

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
# The browser computes so many times slower than it could: what is only true later shows then.
SLOWDOWN = float(os.environ.get("SURGVL_BROWSER_SLOWDOWN", "1"))
# What a page does takes no longer than this on a quiet machine, loading of models included.
WAIT_S = 15.0 * max(1.0, SLOWDOWN / 4)
NEEDS_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no chromium on this machine: apt-get install chromium"),
    pytest.mark.skipif(find_spec("playwright") is None, reason="playwright is not installed: pip install -e '.[dev]'"),
    pytest.mark.skipif(find_spec("gradio") is None, reason="gradio is not installed: pip install -e '.[demo]'"),
]


@contextlib.contextmanager
def browsing(browser: "Browser", is_calm: bool = True) -> Iterator["BrowserContext"]:
    """What pages share: files and their compiled code, which else each would load and compile anew.

    Args:
        browser: the browser.
        is_calm: whether animations are unwanted.
    """
    context = browser.new_context(reduced_motion="reduce" if is_calm else "no-preference")
    context.set_default_timeout(1000 * patience(WAIT_S))
    try:
        yield context
    finally:
        context.close()


@contextlib.contextmanager
def opened(
    context: "BrowserContext",
    url: str,
    width: int = 1280,
    height: int = 900,
    scheme: str = "light",
    refused: str = "",
    prepare: Callable[["Page"], None] | None = None,
) -> Iterator["Page"]:
    """The page, loaded anew.

    A tab is used again where it can be: a new one costs the processor more than twice as much as loading the page.

    Args:
        context: of the browser.
        url: address of the page, perhaps with what it shows.
        width: of the window, pixels.
        height: of the window, pixels.
        scheme: `light` or `dark`.
        refused: part of the addresses that the server is expected to refuse.
        prepare: what is done to the page before it opens the address; it adds no scripts, which a tab would keep.
    """
    spare = _SPARE.setdefault(context, [])
    page = spare.pop() if spare else _tab(context)
    is_spare = False
    try:
        with in_front(page, width, height, scheme, refused):
            if prepare:
                prepare(page)
            page.goto(url)
            yield page
            page.wait_for_timeout(100)
            page.goto("about:blank")
        page.unroute_all()
        for session in _ANSWERING.pop(page, []):
            session.detach()
        is_spare = True
    finally:
        if is_spare:
            spare.append(page)
        else:
            page.close()


@contextlib.contextmanager
def in_front(
    page: "Page", width: int = 1280, height: int = 900, scheme: str = "light", refused: str = ""
) -> Iterator[None]:
    """A tab in front of others, as wide and as dark as wanted; at the end there must have been no error in its console.

    The browser writes there what a server refuses, and what the page's policy forbids: each request to elsewhere.

    Args:
        page: in the tab.
        width: of the window, pixels.
        height: of the window, pixels.
        scheme: `light` or `dark`.
        refused: part of the addresses that the server is expected to refuse.
    """
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", forced_colors="none")
    page.set_viewport_size({"width": width, "height": height})
    # Others are drawn once a second, and a click waits for two frames.
    page.bring_to_front()
    try:
        yield
        faults = [fault for fault in _FAULTS[page] if not (refused and refused in fault)]
        assert not faults, faults
    finally:
        _FAULTS[page].clear()


def answer(page: "Page", address: str, reply: Callable[[str], bytes | None]) -> None:
    """Answer some requests in the server's place until the tab is used again.

    Playwright's `route` lets all others wait for it as well, and the browser forget the files of the page that it has,
    so that loading the page costs the processor twice as much.

    Args:
        page: whose requests.
        address: of the requests, where `*` stands for anything.
        reply: of an address: what is answered, or None for nothing, ever.
    """
    session = page.context.new_cdp_session(page)
    _ANSWERING.setdefault(page, []).append(session)

    def take(asked: dict[str, Any]) -> None:
        if (body := reply(asked["request"]["url"])) is not None:
            found = {"requestId": asked["requestId"], "responseCode": 200, "body": base64.b64encode(body).decode()}
            session.send("Fetch.fulfillRequest", found)

    session.on("Fetch.requestPaused", take)
    session.send("Fetch.enable", {"patterns": [{"urlPattern": address}]})


# Tabs of each context that nobody uses, what was written in the console of a tab, and who answers its requests.
_SPARE: "WeakKeyDictionary[BrowserContext, list[Page]]" = WeakKeyDictionary()
_FAULTS: "WeakKeyDictionary[Page, list[str]]" = WeakKeyDictionary()
_ANSWERING: "WeakKeyDictionary[Page, list[CDPSession]]" = WeakKeyDictionary()


def _tab(context: "BrowserContext") -> "Page":
    page = context.new_page()
    faults = _FAULTS[page] = []

    def hear(message: Any) -> None:
        if message.type == "error":
            faults.append(f"{message.text} {message.location['url']}")

    page.on("console", hear)
    page.on("pageerror", lambda error: faults.append(str(error)))
    if SLOWDOWN > 1:
        context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": SLOWDOWN})
    return page


def shown(page: "Page", part: str) -> Any:
    """A part of what the page knows, such as `current` or `range`."""
    return page.evaluate(f"window.surgvl.state.{part}")


def until(page: "Page", expression: str) -> None:
    """Wait until an expression is true in the page; Playwright's own way would need `eval`, which the page forbids.

    The page looks itself, every few milliseconds: to be asked from here as often costs the processor much more.
    """
    looking = f"""(async () => {{
      for (const end_ms = performance.now() + 1000; performance.now() < end_ms; ) {{
        if ({expression}) return true;
        await new Promise((next) => setTimeout(next, 20));
      }}
      return false;
    }})()"""
    begun, limit_s = time.monotonic(), MARGIN * WAIT_S
    while not page.evaluate(looking):
        took_s = time.monotonic() - begun
        if took_s > limit_s:
            # Only now is it asked how busy the machine is, which takes a while itself.
            limit_s = patience(WAIT_S)
            assert took_s < limit_s, expression


def follows(page: "Page", read: Callable[[], Any], wanted: Any) -> None:
    """Wait until what is read from the page is as wanted; where it never is, both are shown."""
    begun, limit_s = time.monotonic(), MARGIN * WAIT_S
    while (found := read()) != wanted:
        if time.monotonic() - begun > limit_s:
            limit_s = patience(WAIT_S)
            assert found == wanted or time.monotonic() - begun < limit_s, (found, wanted)
        page.wait_for_timeout(30)


def wait_for(page: "Page", condition: str) -> None:
    """Wait until something is true of what the page knows, `state`."""
    until(page, f"(() => {{ const {{ state }} = window.surgvl; return {condition}; }})()")


def still(page: "Page") -> None:
    """Wait until the page has drawn what it knows: two frames from now."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def now(page: "Page") -> float:
    """The player's time, as the picture has it."""
    return float(page.evaluate("document.querySelector('#stage video').currentTime"))


def seek(page: "Page", seconds: float) -> None:
    """Move the player and wait for the picture."""
    until(page, "document.querySelector('#stage video')?.readyState >= 1")
    page.evaluate(f"window.surgvl.seek({seconds})")
    until(page, "!document.querySelector('#stage video').seeking")


def middle_of(part: "Locator", across: float = 0.5) -> tuple[float, float]:
    """A place in an element, in pixels of the window."""
    box = part.bounding_box()
    assert box
    return box["x"] + across * box["width"], box["y"] + box["height"] / 2


def shoot(page: "Page", name: str) -> None:
    """Take a screenshot, where a folder for them is given in SURGVL_SHOTS."""
    if folder := os.environ.get("SURGVL_SHOTS"):
        page.wait_for_timeout(400)
        page.screenshot(path=Path(folder) / f"{name}.png")
