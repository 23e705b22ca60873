"""Screenshots of every tab in both themes, at the sizes that the page is designed for.

    python -m tests.support.screenshots DIRECTORY [--full]

Writes TAB-THEME-SIZE.png: what is on the screen, or with --full the whole page.
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import ViewportSize, sync_playwright

from tests.support.browser import launched, opened
from tests.support.sample_page import sample_page, walk

SIZES: dict[str, ViewportSize] = {
    "1440x900": {"width": 1440, "height": 900},
    "390x844": {"width": 390, "height": 844},
    "720x450": {"width": 720, "height": 450},  # 1440x900 at 200 % zoom
}
SCHEMES = ("light", "dark")


def take(directory: Path, *, full: bool) -> None:
    """Write all screenshots into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as data,
        sample_page(Path(data)) as server,
        sync_playwright() as playwright,
        launched(playwright) as browser,
    ):
        for scheme in SCHEMES:
            with opened(browser, server.url, color_scheme=scheme) as page:
                for tab in walk(page):
                    for size, viewport in SIZES.items():
                        page.set_viewport_size(viewport)
                        page.wait_for_timeout(300)  # Gradio's tabs measure themselves
                        path = directory / f"{tab.lower()}-{scheme}-{size}.png"
                        page.screenshot(path=path, full_page=full)


if __name__ == "__main__":
    take(Path(sys.argv[1]), full="--full" in sys.argv)
