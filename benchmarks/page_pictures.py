"""Takes the pictures of the documentation from the page that `surgvl demo` serves: rendered operations alone."""

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

DOCS = Path(__file__).resolve().parent.parent / "docs"
SENTENCE = "a clip is placed on the cystic duct"
QUESTION = "What is the surgical phase shown in the image?"
SIZE_PX = (1440, 900)


def shoot(page: Page, name: str) -> None:
    """Write a picture, once what is shown is loaded and drawn."""
    page.wait_for_timeout(3000)
    Image.open(io.BytesIO(page.screenshot())).save(DOCS / f"{name}.webp", quality=80, method=6)
    print(f"{name}.webp")


def take(page: Page) -> None:
    """Go through the page as a person would, and leave it as it was."""
    page.wait_for_selector(".status.ready")
    page.fill("#text", SENTENCE)
    page.press("#text", "Enter")
    page.locator(".hit .opener").first.click()
    page.wait_for_selector("[data-lane=phase] .box")
    shoot(page, "page")
    for key in ("Enter", "Enter"):
        labels = page.locator("[data-lane=mine] .box").count()
        page.keyboard.press(key)
        page.locator("[data-lane=mine] .box").nth(labels).wait_for()
    page.locator("[data-lane=mine] .box").first.dblclick()
    page.keyboard.press("s")
    page.wait_for_selector("#clips .clip")
    page.wait_for_selector("#notes .note", state="detached")
    shoot(page, "page-labels")
    page.keyboard.press("Escape")
    page.fill("#text", QUESTION)
    page.press("#text", "Enter")
    page.wait_for_selector(".answer .said")
    shoot(page, "page-answer")
    page.click("#side-tabs button:has-text('Moments')")
    page.locator(".hit [aria-label^='Show beside']").nth(1).click()
    page.wait_for_selector("dialog .beside video >> nth=1")
    shoot(page, "page-beside")
    page.keyboard.press("Escape")
    # The clip and the two labels.
    for _ in range(3):
        page.keyboard.press("Control+z")
        page.wait_for_selector("#notes .note:has-text('Undone')")
        page.click("#notes [aria-label='Close this note']")


def main() -> None:
    """Take all pictures."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--url", default="http://127.0.0.1:7860/", help="address of the page")
    url = asked.parse_args().url
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": SIZE_PX[0], "height": SIZE_PX[1]}, color_scheme="dark", reduced_motion="reduce"
        )
        page.set_default_timeout(60_000)
        page.goto(url)
        take(page)
        browser.close()


if __name__ == "__main__":
    main()
