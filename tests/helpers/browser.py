"""A headless browser for tests of the page, and the page in it."""

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
    from playwright.sync_api import Browser, BrowserContext, Locator, Page

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
    """The page, loaded anew; at the end there must be no console error, no failed answer and no request to elsewhere.

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
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", forced_colors="none")
    page.set_viewport_size({"width": width, "height": height})
    # Others are drawn once a second, and a click waits for two frames.
    page.bring_to_front()
    faults: list[str] = []

    def hear(message: Any) -> None:
        if message.type == "error" and not (refused and refused in message.location["url"]):
            faults.append(message.text)

    def check(found: Any) -> None:
        if found.status >= 400 and not (refused and refused in found.url):
            faults.append(f"{found.status} {found.url}")

    top = url.partition("?")[0]
    inside = (top, "data:", "blob:" + top)
    listeners: dict[Any, Any] = {
        "console": hear,
        "pageerror": lambda error: faults.append(str(error)),
        "response": check,
        "request": lambda asked: None if asked.url.startswith(inside) else faults.append(f"outside: {asked.url}"),
    }
    for event, call in listeners.items():
        page.on(event, call)
    is_spare = False
    try:
        if prepare:
            prepare(page)
        page.goto(url)
        yield page
        page.wait_for_timeout(100)
        page.goto("about:blank")
        page.unroute_all()
        is_spare = True
    finally:
        for event, call in listeners.items():
            page.remove_listener(event, call)
        if is_spare:
            spare.append(page)
        else:
            page.close()
    assert not faults, faults


# Tabs of each context that nobody uses.
_SPARE: "WeakKeyDictionary[BrowserContext, list[Page]]" = WeakKeyDictionary()


def _tab(context: "BrowserContext") -> "Page":
    page = context.new_page()
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
