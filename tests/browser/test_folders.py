"""Folders in Chromium: chosen or dropped, walked recursively; what is left out is listed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import open_tab, opened
from tests.support.fakes import image_bytes
from tests.support.server import Server, serving

LIMIT = 5


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A page that takes five files at a time."""
    with serving(tmp_path_factory.mktemp("folders"), NSFW_MAX_FILES=str(LIMIT)) as server:
        yield server


@pytest.fixture
def page(browser: Browser, app: Server) -> Iterator[Page]:
    """Its Gallery tab."""
    with opened(browser, app.url) as page:
        open_tab(page, "Gallery")
        yield page


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images in different depths, a text file, and a hidden file."""
    root = tmp_path / "album"
    (root / "2024" / "summer").mkdir(parents=True)
    (root / "cover.png").write_bytes(image_bytes(10))
    (root / "2024" / "summer" / "beach.png").write_bytes(image_bytes(60))
    (root / "2024" / "notes.txt").write_text("not an image")
    (root / ".hidden.png").write_bytes(image_bytes(90))
    return root


def drop(page: Page, paths: list[Path]) -> None:
    """Drop files or folders on the drop zone, as from the file manager."""
    zone = page.locator("#gallery-upload .drop-zone").bounding_box()
    assert zone is not None
    place = {"x": zone["x"] + 20, "y": zone["y"] + 10}
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    tools = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        tools.send("Input.dispatchDragEvent", {"type": kind, "data": data, **place})


def check_album(page: Page) -> None:
    """The two images of the album are cards; the other files are listed with the reason."""
    expect(page.locator("#gallery-tools")).to_contain_text("Done: 2 of 2", timeout=30_000)
    names = page.locator("#grid .card .name").all_text_contents()
    assert sorted(names) == ["album/2024/summer/beach.png", "album/cover.png"]
    expect(page.locator("#grid .message")).to_have_text("2 of 4 files were added; 2 were left out.")
    page.get_by_text("2 files were left out", exact=True).click()
    left_out = page.get_by_role("list", name="Files that were left out").get_by_role("listitem")
    assert sorted(left_out.all_text_contents()) == [
        "album/.hidden.png: a hidden file",
        "album/2024/notes.txt: not an image",
    ]


def test_a_folder_is_chosen(page: Page, app: Server, folder: Path) -> None:
    """All images below a folder are added, each named with its path, in page and database."""
    page.get_by_label("Add folder").set_input_files(folder)
    check_album(page)
    rows = app.rows("select name from uploads where name like 'album/%' order by name")
    assert [row["name"] for row in rows] == ["album/2024/summer/beach.png", "album/cover.png"]
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator("#grid .left-out-files")).to_be_hidden()


def test_a_folder_is_dropped(page: Page, folder: Path) -> None:
    """A dropped folder is walked as a chosen one."""
    drop(page, [folder])
    check_album(page)


def test_files_over_the_limit_are_listed(page: Page, tmp_path: Path) -> None:
    """The first files up to the limit are added; each of the others is named."""
    paths = [tmp_path / f"many {number}.png" for number in range(LIMIT + 3)]
    for number, path in enumerate(paths):
        path.write_bytes(image_bytes(100 + number))
    drop(page, paths)
    expect(page.locator("#gallery-tools")).to_contain_text(f"Done: {LIMIT} of {LIMIT}")
    expect(page.locator("#grid .message")).to_have_text(
        f"{LIMIT} of {LIMIT + 3} files were added; 3 were left out."
    )
    page.get_by_text("3 files were left out", exact=True).click()
    left_out = page.get_by_role("list", name="Files that were left out").get_by_role("listitem")
    assert left_out.all_text_contents() == [
        f"{path.name}: over the limit of {LIMIT} files at a time" for path in paths[LIMIT:]
    ]
