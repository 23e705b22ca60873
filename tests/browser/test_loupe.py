"""The loupe in Chromium: size, blur, keys, zoom, rotation, frames of an animation, each tab."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.test_queue_tab import EVERYTHING_WAITS, add, decisions
from tests.support.browser import open_tab, opened
from tests.support.fakes import image_bytes
from tests.support.server import Server, serving

FRAMES = 5


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A large image, a small one, and an animation."""
    large, small, moving = (tmp_path / name for name in ("a large.png", "b small.png", "c.gif"))
    random = np.random.default_rng()
    for path, size in ((large, (1200, 600)), (small, (60, 40))):
        pixels = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(path)
    frames = [
        Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((240, 160))
        for _ in range(FRAMES)
    ]
    frames[0].save(moving, save_all=True, append_images=frames[1:], duration=100)
    return [large, small, moving]


@pytest.fixture
def cards(page: Page, files: list[Path]) -> Locator:
    """The cards of the files, by name."""
    open_tab(page, "Gallery")
    page.locator("#gallery-upload input[type=file]").set_input_files(files)
    expect(page.locator("#gallery-tools")).to_contain_text("Done: 3 of 3", timeout=60_000)
    page.get_by_label("Order").select_option("name")
    return page.locator("#grid .card")


def size_of(locator: Locator) -> tuple[float, float]:
    """Width and height on screen."""
    box = locator.bounding_box()
    assert box is not None
    return round(box["width"]), round(box["height"])


def test_the_loupe_takes_the_keys_of_the_tab(page: Page, server: Server, cards: Locator) -> None:
    """Enter opens it, blurred, at 80 % of the height; the tab's keys decide what it shows."""
    ids = cards.evaluate_all("cards => cards.map(card => card.dataset.id)")
    cards.nth(0).focus()
    page.keyboard.press("Enter")
    loupe = page.get_by_role("dialog", name="Loupe: a large.png")
    expect(loupe).to_be_focused()
    stage = loupe.locator(".loupe-stage")
    assert size_of(stage)[1] == 720
    expect(loupe.locator(".real")).to_have_count(0)
    expect(loupe.locator(".loupe-text")).to_contain_text("not seen, no decision")
    page.keyboard.down("v")
    expect(loupe.locator(".real")).to_have_js_property("complete", True)
    expect(loupe.locator(".loupe-text")).to_contain_text("score 0.000, seen")
    expect(cards.locator(".real")).to_have_count(0)
    page.keyboard.up("v")
    expect(loupe.locator(".real")).to_have_count(0)
    with page.expect_request("**/decisions") as request:
        page.keyboard.press("x")
    assert request.value.post_data_json["seen"] is True
    assert request.value.post_data_json["image_sha256"] == ids[0]
    next_one = page.get_by_role("dialog", name="Loupe: b small.png")
    expect(next_one).to_be_focused()
    expect(next_one).to_contain_text("Saved: a large.png is nsfw.")
    with page.expect_request("**/decisions") as request:
        page.keyboard.press("3")
    assert request.value.post_data_json["seen"] is False
    expect(page.get_by_role("dialog", name="Loupe: c.gif")).to_be_focused()
    expect(cards.nth(1)).to_have_attribute("data-decision", "unsure")
    page.keyboard.press("Backspace")
    expect(page.get_by_role("dialog", name="Loupe: b small.png")).to_be_focused()
    expect(cards.nth(1)).to_have_attribute("data-decision", "")
    page.keyboard.press("ArrowLeft")
    expect(loupe).to_contain_text("your decision nsfw")
    page.keyboard.press("b")
    expect(loupe.locator(".real")).to_have_count(1)
    page.keyboard.press("b")
    expect(loupe.locator(".real")).to_have_count(0)
    page.keyboard.press("n")
    expect(page.get_by_role("dialog", name="Decision about a large.png")).to_be_visible()
    page.keyboard.press("Escape")
    expect(loupe).to_be_focused()
    page.keyboard.press("Enter")
    expect(loupe).to_have_count(0)
    expect(cards.nth(0)).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    expect(cards.nth(2)).to_be_focused()
    rows = server.rows("select image_sha256, undone from correction_log order by decision_id")
    assert [tuple(row.values()) for row in rows][-2:] == [(ids[0], 0), (ids[1], 1)]


def test_the_loupe_zooms_pans_and_rotates(page: Page, cards: Locator) -> None:
    """No image is enlarged more than twice; what is larger than the stage can be moved."""
    cards.nth(0).focus()
    page.keyboard.press("Enter")
    image = page.locator(".loupe-image")
    percent = page.locator(".loupe-percent")
    stage = size_of(page.locator(".loupe-stage"))
    fitting = size_of(image)
    assert fitting[0] == stage[0]
    for _ in range(6):
        page.keyboard.press("+")
    expect(percent).to_have_text("200 %")
    assert size_of(image) == (2400, 1200)
    expect(page.get_by_role("button", name="Zoom in")).to_be_disabled()
    before = image.bounding_box()
    page.keyboard.press("Shift+ArrowRight")
    after = image.bounding_box()
    assert before is not None
    assert after is not None
    assert after["x"] < before["x"]
    page.mouse.move(700, 450)
    page.mouse.down()
    page.mouse.move(760, 480, steps=3)
    page.mouse.up()
    dragged = image.bounding_box()
    assert dragged is not None
    assert (dragged["x"] - after["x"], dragged["y"] - after["y"]) == pytest.approx((60, 30), abs=1)
    for _ in range(30):
        page.keyboard.press("Shift+ArrowLeft")
    edge = image.bounding_box()
    left = page.locator(".loupe-stage").bounding_box()
    assert edge is not None
    assert left is not None
    assert edge["x"] == pytest.approx(left["x"], abs=1)  # no further than the edge
    page.mouse.wheel(0, 500)
    expect(percent).to_have_text("160 %")
    page.keyboard.press("0")
    assert size_of(image) == fitting
    page.keyboard.press("r")
    assert size_of(image) == (360, 720)
    page.keyboard.press("ArrowRight")
    expect(percent).to_have_text("200 %")
    assert size_of(image) == (120, 80)
    expect(page.get_by_role("button", name="Zoom in")).to_be_disabled()
    for name in ("Close Enter", "Hold to see V", "Heat map H", "Fit 0", "Rotate R", "Close Enter"):
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name=name)).to_be_focused()
    page.get_by_role("button", name="Close").click()
    expect(cards.nth(1)).to_be_focused()


def test_the_loupe_shows_frames_of_an_animation(page: Page, cards: Locator) -> None:
    """The judged frame is marked; another one is rendered from the file, blurred as usual."""
    cards.nth(2).focus()
    page.keyboard.press("Enter")
    frames = page.locator(".loupe-frame")
    slider = page.get_by_role("slider", name="Frame")
    expect(frames).to_have_text(re.compile(rf"^Frame \d of {FRAMES}, the judged one$"))
    judged = int(slider.input_value())
    other = judged % FRAMES + 1
    slider.fill(str(other))
    expect(frames).to_have_text(f"Frame {other} of {FRAMES}, judged: {judged}")
    page.locator(".loupe-title").click()
    revealed = page.locator(".loupe .real")
    with page.expect_request(lambda request: "/pictures?" in request.url) as request:
        page.keyboard.down("v")
    assert f"frame={other - 1}&" in request.value.url
    expect(revealed).to_have_attribute("src", re.compile("^blob:"))
    expect(revealed).to_have_js_property("naturalWidth", 240)
    page.keyboard.up("v")
    expect(revealed).to_have_count(0)
    page.get_by_role("button", name="Judged frame").click()
    expect(frames).to_have_text(f"Frame {judged} of {FRAMES}, the judged one")
    page.keyboard.down("v")
    expect(revealed).to_have_attribute("src", re.compile("/picture$"))
    page.keyboard.press("]" if judged < FRAMES else "[")
    expect(frames).to_contain_text(f"judged: {judged}")
    expect(revealed).to_have_attribute("src", re.compile("^blob:"))
    page.keyboard.up("v")
    expect(revealed).to_have_count(0)


def test_review_and_queue_have_the_loupe_too(browser: Browser, tmp_path: Path) -> None:
    """Enter opens the image on the stage, hidden until revealed; the tab's keys decide in it."""
    with serving(tmp_path, **EVERYTHING_WAITS) as server, opened(browser, server.url) as page:
        loupe, revealed = page.locator(".loupe"), page.locator(".loupe .real")
        file = {"name": "own.png", "mimeType": "image/png", "buffer": image_bytes(5)}
        page.locator("#image-input input[type=file]").set_input_files(file)
        expect(page.locator("#agree")).to_be_enabled()
        page.locator("#review-preview [role=group]").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog", name="Loupe: own.png")).to_be_focused()
        expect(loupe.locator(".placeholder")).to_be_visible()
        expect(revealed).to_have_count(0)
        page.keyboard.press("1")
        expect(page.locator("#review-decision .saved")).to_contain_text("Saved: normal")
        page.keyboard.press("Enter")
        expect(loupe).to_have_count(0)
        expect(page.locator("#review-preview [role=group]")).to_be_focused()
        assert [row["seen"] for row in decisions(server, "own.png")] == [0]

        for red in (60, 70):
            add(server, red)
        open_tab(page, "Queue")
        name = page.locator("#queue-stage figcaption .name")
        first = name.get_attribute("title")
        page.locator("#queue-stage [role=group]").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog", name=f"Loupe: {first}")).to_be_focused()
        expect(loupe.locator(".loupe-text")).to_have_text("")  # a verdict is hidden here
        page.keyboard.press("1")
        expect(page.locator("#queue-decision .saved")).to_contain_text("still hidden")
        expect(revealed).to_have_count(0)
        page.keyboard.down("v")
        expect(revealed).to_have_js_property("complete", value=True)
        expect(page.locator("#queue-stage .real")).to_have_count(0)
        page.keyboard.up("v")
        expect(revealed).to_have_count(0)
        page.keyboard.press("2")
        expect(page.locator("#queue-decision .saved")).to_contain_text(f"Saved: {first} is nsfw")
        expect(name).not_to_have_attribute("title", str(first))
        second = name.get_attribute("title")
        expect(page.get_by_role("dialog", name=f"Loupe: {second}")).to_be_focused()
        expect(revealed).to_have_count(0)
        page.keyboard.press("Escape")
        expect(page.locator("#queue-stage [role=group]")).to_be_focused()


def test_notices_lie_above_the_loupe(browser: Browser, tmp_path: Path) -> None:
    """The suggestion to pause is read and dismissed while an image is enlarged."""
    with (
        serving(tmp_path, NSFW_PAUSE_AFTER="1") as server,
        opened(browser, server.url) as page,
    ):
        file = {"name": "own.png", "mimeType": "image/png", "buffer": image_bytes(5)}
        page.locator("#image-input input[type=file]").set_input_files(file)
        expect(page.locator("#agree")).to_be_enabled()
        page.locator("#review-preview [role=group]").focus()
        page.keyboard.press("Enter")
        page.keyboard.down("v")
        expect(page.locator(".loupe .real")).to_have_js_property("complete", value=True)
        page.keyboard.up("v")
        notice = page.locator(".notice[data-subject=pause]")
        expect(notice).to_be_visible()
        notice.get_by_role("button", name="Dismiss").click()
        expect(notice).to_have_count(0)
        expect(page.locator(".loupe")).to_be_visible()
