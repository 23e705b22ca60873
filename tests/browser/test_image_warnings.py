"""Warnings on the page: on cards, in Review and Queue, and how the threshold affects them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import open_tab, opened
from tests.support.flawed_files import PHOTO_PNG, chunk, differs_on_black, with_chunk
from tests.support.image_files import encoded, sample_photo
from tests.support.server import Server, serving

MARKUP = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that each have a warning."""
    folder = tmp_path_factory.mktemp("files")
    photo = sample_photo((320, 240))
    jpeg = encoded(photo, "JPEG")
    (folder / "cut.jpg").write_bytes(jpeg[: len(jpeg) * 2 // 3])
    (folder / "named.png").write_bytes(jpeg)
    (folder / f"damaged{MARKUP}.jpg").write_bytes(
        with_chunk(PHOTO_PNG, chunk(b"tEXt", b"a\0b", checksum=1))
    )
    other = photo.transpose(Image.Transpose.ROTATE_180)
    (folder / "on-black.png").write_bytes(encoded(differs_on_black(other, photo), "PNG"))
    (folder / "sound.jpg").write_bytes(encoded(photo.rotate(5), "JPEG"))
    return folder


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A page whose queue has only what these tests put there."""
    with serving(tmp_path_factory.mktemp("warnings")) as running:
        yield running


@pytest.fixture(params=["light", "dark"])
def page(browser: Browser, app: Server, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page in each theme."""
    with opened(browser, app.url, color_scheme=request.param) as opened_page:
        yield opened_page


def test_cards_have_their_warnings(page: Page, folder: Path) -> None:
    """As sentences, also for screen readers, readable in both themes; names stay texts."""
    open_tab(page, "Gallery")
    page.locator("#gallery-upload input[type=file]").set_input_files(sorted(folder.iterdir()))
    expect(page.locator("#gallery-tools")).to_contain_text("Done: 5 of 5", timeout=60_000)

    def card(name: str) -> object:
        return page.locator("#grid .card").filter(has_text=name)

    expect(card("cut.jpg").locator(".warnings li")).to_contain_text(["cut short"])
    expect(card("named.png").locator(".warnings li")).to_contain_text(["its name ends in .png"])
    expect(card("on-black.png").locator(".warnings li")).to_contain_text(["on black than on white"])
    expect(card("sound.jpg").locator(".warnings")).to_have_count(0)
    damaged = card("damaged").locator(".warnings li")
    expect(damaged).to_contain_text(["its name ends in .jpg", "metadata was ignored"])
    label = card("cut.jpg").get_attribute("aria-label")
    assert "cut short" in label
    found = Axe().run(page, context="#grid", options={"runOnly": ["color-contrast"]})
    assert found.response["violations"] == []


def test_threshold_never_allows_an_incomplete_image(page: Page, folder: Path) -> None:
    """At any threshold, the action of a truncated image stays 'review'."""
    open_tab(page, "Gallery")
    page.locator("#gallery-upload input[type=file]").set_input_files(
        [folder / "cut.jpg", folder / "sound.jpg"]
    )
    cut = page.locator("#grid .card").filter(has_text="cut.jpg")
    sound = page.locator("#grid .card").filter(has_text="sound.jpg")
    slider = page.locator("#gallery-threshold input[type=range]")
    expect(cut).to_have_attribute("data-action", "review")
    expect(sound).to_have_attribute("data-action", "allow")
    slider.fill("1")
    expect(cut).to_have_attribute("data-action", "review")
    slider.fill("0")
    expect(cut).to_have_attribute("data-label", "nsfw")
    open_tab(page, "Review")
    page.locator("#image-input input[type=file]").set_input_files(folder / "cut.jpg")
    verdict = page.locator("#verdict")
    expect(verdict).to_contain_text("because parts of the image are missing")
    expect(page.locator(".warnings li:visible")).to_contain_text(["cut short"])
    page.locator("#review-threshold input[type=range]").fill("1")
    expect(verdict).to_contain_text("Review")


def test_queue_shows_truncation_warning(page: Page, folder: Path) -> None:
    """A queue entry with missing pixels has its warning on the card."""
    open_tab(page, "Review")
    page.locator("#image-input input[type=file]").set_input_files(folder / "cut.jpg")
    expect(page.locator("#review-decision .warnings li")).to_have_count(1)
    open_tab(page, "Queue")
    verdict = page.locator("#queue-verdict")
    expect(page.locator(".warnings li:visible")).to_contain_text(["cut short"])
    expect(verdict).to_contain_text("because parts of the image are missing")


def test_image_that_differs_on_black_is_shown_on_its_background(page: Page, folder: Path) -> None:
    """The message names the background, and the revealed preview has it."""
    open_tab(page, "Review")
    page.locator("#image-input input[type=file]").set_input_files(folder / "on-black.png")
    warning = page.locator("#review-decision .warnings li")
    expect(warning).to_contain_text(["Both renderings were classified; score and preview use the"])
