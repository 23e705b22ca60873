"""Screenshots of every tab in both themes, at the sizes that the page is designed for.

    python -m tests.support.screenshots DIRECTORY [--full]
    python -m tests.support.screenshots --readme

The first form writes TAB-THEME-SIZE.png: what is on the screen, or with --full the whole page. The
second one writes the two screenshots of the README.
"""

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from playwright.sync_api import Page, ViewportSize, expect, sync_playwright

from tests.support.browser import launched, opened, resize
from tests.support.sample_page import sample_page, walk
from tests.support.server import ROOT

SIZES: dict[str, ViewportSize] = {
    "1440x900": {"width": 1440, "height": 900},
    "390x844": {"width": 390, "height": 844},
    "720x450": {"width": 720, "height": 450},  # 1440x900 at 200 % zoom
}


README = {"Gallery": "light", "Queue": "dark"}


@contextlib.contextmanager
def pages(*schemes: Literal["light", "dark"]) -> Iterator[Iterator[tuple[str, str, Page]]]:
    """Each tab in each color scheme, with content: scheme, tab, page."""
    with (
        tempfile.TemporaryDirectory() as data,
        sample_page(Path(data)) as server,
        sync_playwright() as playwright,
        launched(playwright) as browser,
    ):

        def each() -> Iterator[tuple[str, str, Page]]:
            for scheme in schemes:
                with opened(browser, server.url, color_scheme=scheme) as page:
                    for tab in walk(page):
                        yield scheme, tab, page

        yield each()


def take(directory: Path, *, full: bool) -> None:
    """Write screenshots of all tabs into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    with pages("light", "dark") as each:
        for scheme, tab, page in each:
            for size, viewport in SIZES.items():
                resize(page, **viewport)
                page.wait_for_timeout(300)  # Gradio's tabs measure themselves
                path = directory / f"{tab.lower()}-{scheme}-{size}.png"
                page.screenshot(path=path, full_page=full)


def take_for_readme(directory: Path) -> None:
    """Write the gallery after a few decisions, and an image of the queue while it is revealed."""
    with pages("light", "dark") as each:
        for scheme, tab, page in each:
            if README.get(tab) != scheme:
                continue
            resize(page, **SIZES["1440x900"])
            if tab == "Gallery":
                for key in ("1", "1", "2", "ArrowRight"):
                    page.keyboard.press(key)
                expect(page.locator("#grid .card .decision", has_text="saving")).to_have_count(0)
            page.keyboard.down("v")
            expect(page.locator("img.real")).to_have_js_property("complete", True)
            page.wait_for_timeout(300)  # the fonts of Gradio
            page.screenshot(path=directory / f"{tab.lower()}-{scheme}.png")
            page.keyboard.up("v")


if __name__ == "__main__":
    if "--readme" in sys.argv:
        take_for_readme(ROOT / "docs")
    else:
        take(Path(sys.argv[1]), full="--full" in sys.argv)
