"""The Relabel tab in Chromium: keys, corrected labels, undo, what the list leaves out."""

import json
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.browser import open_tab, opened
from tests.support.fakes import image_bytes
from tests.support.server import Server, serving

REDS = (60, 120, 180, 240)


def misclassify(
    client: httpx.Client, red: int, *, name: str = "", reason: str = "art"
) -> dict[str, Any]:
    """Upload a plain image, and settle it as what the model does not say."""
    query = urllib.parse.urlencode({"name": name or f"red {red}.png", "source": "test"})
    card: dict[str, Any] = client.post(f"/desk/images?{query}", content=image_bytes(red)).json()
    assert card["error"] is None
    body = {key: card[key] for key in ("model", "revision", "backend", "name")}
    body |= {"image_sha256": card["sha256"], "nonce": f"n{red}", "threshold": 0.5}
    body |= {"label": "nsfw", "reasons": [reason], "note": f"A painting, {red}."}
    assert client.post("/desk/decisions", json=body).status_code == 200
    return card


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Server]:
    """A page with four misclassifications."""
    with serving(tmp_path, NSFW_ANSWERS="disagreement=1") as server:
        with httpx.Client(base_url=server.url, timeout=30) as client:
            while client.get("/readyz").status_code != 200:
                pass
            for red in REDS:
                misclassify(client, red)
        yield server


def labels(server: Server) -> dict[str, str | None]:
    """The training label in force of each image that has had one, by the image's name."""
    rows = server.rows(
        """
        select d.name, o.confirmed from outcomes o join decisions d
          on d.prediction_id = o.prediction_id
        where o.prediction_id in (select prediction_id from training_labels)
        """
    )
    return {row["name"]: row["confirmed"] for row in rows}


def cards(page: Page) -> Locator:
    """The cards of the open Relabel tab."""
    return page.locator("#relabel .card")


def focused_name(page: Page) -> str:
    """The name of the image whose card has the focus."""
    return page.locator("#relabel .card:focus .name").inner_text()


def see(page: Page) -> None:
    """Reveal the focused image until its pixels are on screen."""
    page.keyboard.down("v")
    expect(page.locator("#relabel .card:focus .real")).to_have_js_property("complete", True)
    page.keyboard.up("v")
    expect(page.locator("#relabel .real")).to_have_count(0)


def test_labels_are_confirmed_corrected_excluded(browser: Browser, app: Server) -> None:
    """Each key labels the focused image; undo restores what each had before; the export follows.

    What the export leaves out is said.
    """
    left_out = "The export: {} misclassifications are left out: {}."
    with opened(browser, app.url) as page:
        open_tab(page, "Relabel")
        expect(cards(page)).to_have_count(4)
        first = cards(page).first
        expect(first).to_contain_text("Settled: nsfw")
        expect(first).to_contain_text("Art")
        expect(page.locator("#relabel .real")).to_have_count(0)
        page.keyboard.press("a")  # focuses, and labels nothing
        expect(first).to_be_focused()
        named = []
        for key in "a1x":
            see(page)
            named.append(focused_name(page))
            page.keyboard.press(key)
            expect(page.locator("#relabel .message")).to_contain_text(f"Saved: {named[-1]}.")
        assert labels(app) == dict(zip(named, ["nsfw", "normal", ""], strict=True))
        kinds = [card.get_attribute("data-training") for card in cards(page).all()]
        assert kinds == ["nsfw", "normal", "excluded", ""]
        sentence = page.locator("#relabel .left-out.export")
        expect(sentence).to_have_text(left_out.format(2, "1 without a training label, 1 excluded"))
        with page.expect_download() as download:
            page.get_by_role("link", name="Export confirmed labels").click()
        lines = download.value.path().read_text().splitlines()
        assert sorted(json.loads(line)["label"] for line in lines) == ["normal", "nsfw"]
        first.focus()
        page.keyboard.press("1")
        expect(first).to_have_attribute("data-training", "normal")
        for expected in ("nsfw", "nsfw", "nsfw", ""):
            page.keyboard.press("Backspace")
            expect(page.locator("#relabel .message")).to_contain_text("Undone")
            expect(first).to_have_attribute("data-training", expected)
        assert set(labels(app).values()) == {None}
        expect(sentence).to_have_text(left_out.format(4, "4 without a training label"))


def test_one_history_of_labels_second_opinions_and_skips(browser: Browser, app: Server) -> None:
    """Backspace takes back what was done last, of any kind, and returns to its card."""
    waiting = "select * from queue where settled_at is null and reason = 'second_opinion'"
    with opened(browser, app.url) as page:
        open_tab(page, "Relabel")
        message = page.locator("#relabel .message")
        cards(page).first.focus()
        see(page)
        page.keyboard.press("a")
        expect(message).to_contain_text("Saved: ")
        page.keyboard.press("f")
        expect(message).to_contain_text("is in the queue for a second opinion.")
        assert len(app.rows(waiting)) == 1
        page.keyboard.press("Space")
        expect(cards(page).nth(3)).to_be_focused()
        page.keyboard.press("Space")  # there is no next image: nothing is skipped
        for at, words in (
            (2, "The skip is undone: "),
            (1, "Undone: the request for a second opinion on "),
            (0, "No training label."),
        ):
            expect(cards(page).first).to_have_attribute("data-training", "nsfw")
            page.keyboard.press("Backspace")
            expect(message).to_contain_text(words)
            expect(cards(page).nth(at)).to_be_focused()
        assert app.rows(waiting) == []
        expect(cards(page).first).to_have_attribute("data-training", "")
        page.keyboard.press("Backspace")
        expect(message).to_have_text("Nothing to undo.")


def test_a_selection_is_labeled_at_once(browser: Browser, app: Server) -> None:
    """A range of cards gets one label, and one undo takes it back."""
    with opened(browser, app.url) as page:
        open_tab(page, "Relabel")
        cards(page).first.focus()
        for _ in range(2):
            see(page)
            page.keyboard.press("ArrowRight")
        see(page)
        page.keyboard.press("Home")
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("Shift+ArrowRight")
        bar = page.get_by_role("group", name="Label several images")
        expect(bar).to_contain_text("3 selected")
        bar.get_by_role("button", name="NSFW").click()
        expect(page.locator("#relabel .message")).to_contain_text("Saved: 3 images")
        assert list(labels(app).values()) == ["nsfw"] * 3
        page.keyboard.press("Backspace")
        expect(page.locator("#relabel .message")).to_contain_text("of 3 images")
        assert list(labels(app).values()) == [None] * 3


def test_keys_are_about_the_open_tab(browser: Browser, app: Server) -> None:
    """V and A never touch the image of another tab, in either direction."""
    with opened(browser, app.url) as page:
        page.locator("#image-input input[type=file]").set_input_files(
            {"name": "other.png", "mimeType": "image/png", "buffer": image_bytes(7)}
        )
        expect(page.locator("#agree")).to_be_enabled()
        decided = len(app.rows("select id from decisions"))
        open_tab(page, "Relabel")
        cards(page).nth(1).focus()
        page.keyboard.down("v")
        expect(cards(page).nth(1).locator(".real")).to_have_js_property("complete", True)
        expect(page.locator(".real")).to_have_count(1)
        page.keyboard.up("v")
        name = focused_name(page)
        page.keyboard.press("a")
        expect(page.locator("#relabel .message")).to_contain_text(f"Saved: {name}.")
        assert len(app.rows("select id from decisions")) == decided
        open_tab(page, "Review")
        page.keyboard.press("a")
        expect(page.locator("#review-decision .saved")).to_contain_text("Saved: normal")
        assert len(app.rows("select id from training_labels")) == 1


def test_the_loupe_has_the_same_keys(browser: Browser, app: Server) -> None:
    """Enter enlarges the focused image, blurred; V and the labels work there; Enter closes it."""
    with opened(browser, app.url) as page:
        open_tab(page, "Relabel")
        cards(page).first.focus()
        name = focused_name(page)
        page.keyboard.press("Enter")
        loupe = page.locator(".loupe")
        expect(loupe).to_contain_text(name)
        expect(loupe).to_contain_text("Settled: nsfw")
        expect(page.locator(".real")).to_have_count(0)
        page.keyboard.down("v")
        expect(loupe.locator(".real")).to_have_js_property("complete", True)
        expect(page.locator("#relabel .real")).to_have_count(0)
        page.keyboard.up("v")
        expect(page.locator(".real")).to_have_count(0)
        page.keyboard.press("1")
        expect(page.locator("#relabel .message")).to_contain_text(f"Saved: {name}.")
        expect(loupe).not_to_contain_text(name)
        assert labels(app) == {name: "normal"}
        page.keyboard.press("Enter")
        expect(loupe).to_have_count(0)
        expect(cards(page).nth(1)).to_be_focused()


def test_a_long_name_keeps_its_end(browser: Browser, app: Server) -> None:
    """A name that is cut shows its number and extension, in the direction of its script."""
    name = "\u05ea\u05de\u05d5\u05e0\u05d4" * 40 + " 0042.png"
    with httpx.Client(base_url=app.url, timeout=30) as client:
        card = misclassify(client, 30, name=name)
    inside = """(end, box) => {
      const [inner, outer] = [end, end.closest(box)].map((e) => e.getBoundingClientRect())
      return outer.left <= inner.left && inner.right <= outer.right
    }"""
    with opened(browser, app.url) as page:
        for tab, box, shown in (
            ("Review", ".recent-list li", page.locator("#review-decision .recent-name .name")),
            ("Relabel", ".card", page.locator(f"#relabel .card[data-id='{card['sha256']}'] .name")),
        ):
            open_tab(page, tab)
            expect(shown.first).to_have_text(name)
            expect(shown.first).to_have_attribute("dir", "auto")
            expect(shown.first.locator(".name-end")).to_contain_text("0042.png")
            assert shown.first.locator(".name-end").evaluate(inside, box)


def test_what_the_list_leaves_out_is_said(browser: Browser, app: Server) -> None:
    """Images without a preview, and restricted ones, are counted in sentences."""
    with httpx.Client(base_url=app.url, timeout=30) as client:
        misclassify(client, 20, reason="minor_present")
    with httpx.Client(base_url=app.url, timeout=30) as client:
        listed = client.get("/desk/training").json()["groups"][0][0]["sha256"]
    for path in (app.data / "images").rglob(f"{listed}*"):
        path.unlink()
    with opened(browser, app.url) as page:
        open_tab(page, "Relabel")
        expect(cards(page)).to_have_count(4)
        expect(page.locator("#relabel .left-out:not(.export)")).to_have_text(
            "One image has no preview any more and cannot be revealed. "
            "One image is hidden because a minor may be present."
        )
