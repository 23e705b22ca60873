"""Recent decisions and earlier uploads in Chromium: opened again in each tab, changed, undone."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.test_queue_tab import (
    CAPTION,
    RECENT,
    UNSEEN,
    add,
    at_queue,
    decisions,
    name_of,
    press,
)
from tests.support.browser import open_tab, opened
from tests.support.fakes import image_bytes
from tests.support.server import ROOT, Server, serving


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on which every image enters the queue."""
    with serving(tmp_path_factory.mktemp("desk"), NSFW_REVIEWER="ann", **UNSEEN) as running:
        yield running


def test_the_queue_opens_a_decided_image_again(browser: Browser, desk: Server) -> None:
    """It comes to the stage with its label, blurred; it is changed, undone, or left as it is."""
    for red in range(10, 15):
        add(desk, red)
    with at_queue(browser, desk) as page:
        stage, message = page.locator("#queue-stage"), page.locator("#queue-decision .saved")
        labels = page.locator("#queue-decision .decision-buttons")
        first, second = press(page, "1"), press(page, "1")
        expect(page.locator(RECENT)).to_have_count(2)
        waiting = name_of(page)
        page.locator("#queue-decision").get_by_role("button", name=f"Open {first}").click()
        expect(page.locator(CAPTION)).to_have_attribute("title", first)
        expect(stage.locator(".placeholder")).to_be_visible()
        expect(stage.locator(".real")).to_have_count(0)
        expect(message).to_contain_text(f"Your decision: {first} is normal.")
        expect(labels.get_by_role("button", name="Normal")).to_have_attribute(
            "aria-pressed", "true"
        )
        page.keyboard.press(" ")
        expect(page.locator(CAPTION)).to_have_attribute("title", waiting)
        assert [row["undone"] for row in decisions(desk, first)] == [0]

        page.locator("#queue-decision").get_by_role("button", name=f"Open {first}").click()
        expect(page.locator(CAPTION)).to_have_attribute("title", first)
        page.keyboard.press("2")
        expect(page.locator(CAPTION)).to_have_attribute("title", waiting)
        expect(message).to_contain_text(f"Saved: {first} is nsfw")
        rows = [(row["reviewer_label"], row["undone"]) for row in decisions(desk, first)]
        assert rows == [("normal", 1), ("nsfw", 0)]

        page.reload()  # what the server lists has no entry of the queue
        open_tab(page, "Queue")
        expect(page.locator(CAPTION)).to_be_visible()
        page.locator("#queue-decision").get_by_role("button", name=f"Open {second}").click()
        expect(page.locator(CAPTION)).to_have_attribute("title", second)
        message.get_by_role("button", name="Undo").click()
        expect(message).to_contain_text("Undone.")
        expect(page.locator(CAPTION)).to_have_attribute("title", second)
        expect(labels.locator("[aria-pressed=true]")).to_have_count(0)
        assert [row["undone"] for row in decisions(desk, second)] == [1]
        page.keyboard.press("3")
        expect(message).to_contain_text(f"Saved: {second} is unsure")
        rows = [(row["reviewer_label"], row["undone"]) for row in decisions(desk, second)]
        assert rows == [("normal", 1), ("unsure", 0)]


def test_an_undo_from_the_list_is_not_repeated(browser: Browser, desk: Server) -> None:
    """Backspace passes over a decision that was undone on the stage, to the one before it."""
    for red in range(20, 24):
        add(desk, red)
    with at_queue(browser, desk) as page:
        message = page.locator("#queue-decision .saved")
        first, second = press(page, "1"), press(page, "1")
        expect(message).to_contain_text(f"Saved: {second}")
        page.locator("#queue-decision").get_by_role("button", name=f"Open {second}").click()
        message.get_by_role("button", name="Undo").click()
        expect(message).to_contain_text("Undone.")
        expect(page.locator(CAPTION)).to_have_attribute("title", second)
        page.keyboard.press("Backspace")
        expect(page.locator(CAPTION)).to_have_attribute("title", first)
        assert {row["undone"] for name in (first, second) for row in decisions(desk, name)} == {1}


def open_earlier(page: Page, name: str) -> None:
    """Open an image from the Gallery's list of recent decisions."""
    page.get_by_role("button", name="Earlier", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name=f"Open {name}").click()


def test_the_gallery_opens_a_decided_image_again(browser: Browser, desk: Server) -> None:
    """Its card gets the focus and the label; where there is none, one is added."""
    files = [
        {"name": f"{red}.png", "mimeType": "image/png", "buffer": image_bytes(red)}
        for red in (200, 201)
    ]
    with opened(browser, desk.url) as page:
        open_tab(page, "Gallery")
        page.locator("#gallery-upload input[type=file]").first.set_input_files(files)
        cards = page.locator("#grid .card")
        expect(cards).to_have_count(2)
        card = page.locator("#grid .card", has_text="200.png")
        card.focus()
        page.keyboard.press("2")
        expect(card.locator(".decision")).to_have_text("You: nsfw")
        open_earlier(page, "200.png")
        expect(card).to_be_focused()
        expect(cards).to_have_count(2)
        page.reload()
        open_tab(page, "Gallery")
        open_earlier(page, "200.png")
        expect(cards).to_have_count(1)
        expect(card).to_be_focused()
        expect(card.locator(".decision")).to_have_text("You: nsfw")
        expect(page.locator(".real")).to_have_count(0)
        page.keyboard.press("1")
        expect(card.locator(".decision")).to_have_text("You: normal")
    said = [(row["reviewer_label"], row["undone"]) for row in decisions(desk, "200.png")]
    assert said == [("nsfw", 1), ("normal", 0)]


def test_a_reopened_upload_says_what_it_leaves_out(
    browser: Browser, desk: Server, tmp_path: Path
) -> None:
    """An image whose preview was deleted is counted, with the reason."""
    paths = [tmp_path / f"{red}.png" for red in (210, 211, 212)]
    for path in paths:
        path.write_bytes(image_bytes(int(path.stem)))
    with opened(browser, desk.url) as page:
        open_tab(page, "Gallery")
        page.locator("#gallery-upload input[type=file]").first.set_input_files(paths)
        cards = page.locator("#grid .card")
        expect(cards).to_have_count(3)
        sha256 = cards.first.get_attribute("data-id") or ""
        command = [sys.executable, "-m", "nsfw_app", "purge", "--image", sha256]
        environment = {**os.environ, "NSFW_DATA_DIR": str(desk.data)}
        subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True)
        page.reload()
        open_tab(page, "Gallery")
        page.get_by_role("button", name="Earlier", exact=True).click()
        page.get_by_role("dialog").get_by_role("button", name="3 images, 2 with a preview").click()
        expect(cards).to_have_count(2)
        expect(page.locator("#grid .message")).to_have_text(
            "2 images are shown again. 1 left out: Retention keeps no preview of 1 image any more."
        )
