"""Files dropped or pasted anywhere on the page, with the browser's own drag and drop."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import open_tab, opened
from tests.support.fakes import image_bytes
from tests.support.server import Server, serving

TABS = ("Review", "Gallery", "Queue", "Relabel", "Insights", "Log", "Model")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose queue is empty."""
    with serving(tmp_path_factory.mktemp("desk")) as running:
        yield running


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """One file for each tab."""
    paths = [tmp_path / f"dropped on {name}.png" for name in TABS]
    for red, path in enumerate(paths, 60):
        path.write_bytes(image_bytes(red))
    return paths


def drop(page: Page, paths: list[Path], x: float, y: float) -> None:
    """Drag files from outside over a point of the page and drop them there."""
    tools = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        tools.send("Input.dispatchDragEvent", {"type": kind, "x": x, "y": y, "data": data})
    tools.detach()


def test_a_file_dropped_anywhere_never_opens_in_the_browser(
    browser: Browser, desk: Server, files: list[Path]
) -> None:
    """On Review it goes to Review, on each other tab to the Gallery; both show it blurred."""
    with opened(browser, desk.url) as page:
        for number, (tab, path) in enumerate(zip(TABS, files, strict=True)):
            open_tab(page, tab)
            for x, y in ((700, 12), (720, 880)):  # on the top bar, at the lower edge
                drop(page, [path], x, y)
            if tab == "Review":
                expect(page.locator("#review-preview")).to_contain_text(path.name)
                continue
            expect(page.locator(f"#grid .card[data-id]:has-text('{path.name}')")).to_have_count(1)
            expect(page.locator("#grid .card")).to_have_count(number)
            if tab != "Gallery":
                notice = page.locator(".notice[data-subject=drop]")
                expect(notice).to_contain_text(f"{path.name} was added to the Gallery")
        page.get_by_role("button", name="Open the Gallery").click()
        expect(page.locator("#grid .card .placeholder")).to_have_count(number)
        expect(page.locator(".real")).to_have_count(0)
        assert page.url.startswith(desk.url)


def test_a_drop_on_a_dialog_is_taken_too(browser: Browser, desk: Server, files: list[Path]) -> None:
    """Also while a modal dialog covers the page."""
    with opened(browser, desk.url) as page:
        page.get_by_role("button", name="Viewing").click()
        drop(page, files[:1], 1300, 60)
        expect(page.locator("#review-preview")).to_contain_text(files[0].name)
        assert page.url.startswith(desk.url)


def test_pasted_files_go_where_dropped_ones_go(browser: Browser, desk: Server) -> None:
    """On Review to Review, on the Log to the Gallery; a paste into a field stays there."""
    paste = """(name) => {
      const data = new DataTransfer()
      const canvas = document.createElement('canvas')
      canvas.width = canvas.height = name.length * 4
      return new Promise((done) => canvas.toBlob((blob) => {
        data.items.add(new File([blob], name, { type: 'image/png' }))
        const target = document.activeElement ?? document.body
        target.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }))
        done()
      }))
    }"""
    with opened(browser, desk.url) as page:
        page.evaluate(paste, "one.png")
        expect(page.locator("#review-preview")).to_contain_text("one.png")
        open_tab(page, "Log")
        page.evaluate(paste, "second.png")
        expect(page.locator(".notice")).to_contain_text("second.png was added to the Gallery")


def test_a_drop_that_cannot_be_taken_is_answered(
    browser: Browser, tmp_path: Path, files: list[Path]
) -> None:
    """Without a model a sentence says why nothing was added, and the browser opens nothing."""
    with serving(tmp_path, NSFW_MODEL=str(tmp_path / "absent")) as broken:
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.goto(broken.url)
        expect(page.locator("#model-banner")).to_contain_text("No model is running")
        open_tab(page, "Gallery")
        drop(page, files[:2], 720, 500)
        expect(page.locator(".notice")).to_contain_text(
            "No model is running. 2 files were not added."
        )
        assert page.url.startswith(broken.url)
        context.close()
