"""The Queue tab in Chromium: keys, undo, leases, blind second reviewers, relabeling."""

import contextlib
import json
import sqlite3
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import open_tab, opened
from tests.support.fakes import image_bytes
from tests.support.server import Server, serving

EVERYTHING_WAITS = {"NSFW_REVIEW_FROM": "0", "NSFW_REVIEW_TO": "1", "NSFW_ANSWERS": "review=1"}


def add(server: Server, red: int) -> dict:
    """Submit a plain image; its JSON."""
    while True:
        query = urllib.parse.urlencode({"name": f"red {red}.png", "source": "test"})
        request = urllib.request.Request(f"{server.url}/desk/images?{query}", data=image_bytes(red))
        with urllib.request.urlopen(request, timeout=30) as response:
            card = json.load(response)
        if (card["error"] or {}).get("kind") != "model_loading":
            return card


@pytest.fixture(scope="module")
def ann(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A page on which every image enters the queue."""
    with serving(tmp_path_factory.mktemp("ann"), NSFW_REVIEWER="ann", **EVERYTHING_WAITS) as server:
        yield server


@pytest.fixture(scope="module")
def bob(ann: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same data, for another reviewer."""
    with serving(
        tmp_path_factory.mktemp("bob"),
        NSFW_REVIEWER="bob",
        NSFW_DATA_DIR=str(ann.data),
        **EVERYTHING_WAITS,
    ) as server:
        yield server


@contextlib.contextmanager
def at_queue(browser: Browser, server: Server) -> Iterator[Page]:
    """The Queue tab with an image on screen."""
    with opened(browser, server.url) as page:
        open_tab(page, "Queue")
        expect(page.locator("#queue-preview figcaption b")).to_be_visible()
        yield page


def name_of(page: Page) -> str:
    """The name of the image on screen."""
    return page.locator("#queue-preview figcaption b").inner_text()


def decisions(server: Server, name: str) -> list[dict]:
    """The log rows about an image, oldest first."""
    sql = "select * from correction_log where name = ? order by decision_id"
    return server.rows(sql, name)


def press(page: Page, key: str) -> str:
    """Press a key that moves on; the name of the image before, once the next one is shown."""
    left = name_of(page)
    page.keyboard.press(key)
    expect(page.locator("#queue-preview figcaption b")).not_to_have_text(left)
    return left


@pytest.mark.parametrize(
    ("key", "label"), [("a", None), ("x", None), ("1", "normal"), ("2", "nsfw")]
)
def test_keys_decide_and_go_on(browser: Browser, ann: Server, key: str, label: str | None) -> None:
    """Each decision key records its label and shows the next image."""
    first = ord(key)
    for red in range(first, first + 3):
        add(ann, red)
    with at_queue(browser, ann) as page:
        if key == "x":
            left = name_of(page)
            page.keyboard.press("x")
            expect(page.get_by_text("Correct label")).to_be_visible()
            page.keyboard.press("Enter")
            expect(page.locator("#queue-preview figcaption b")).not_to_have_text(left)
        else:
            left = press(page, key)
        expect(page.locator("#queue-decision .saved")).to_contain_text(f"Saved: {left}")
    (row,) = decisions(ann, left)
    assert row["agrees"] == {"a": 1, "x": 0}.get(key, row["agrees"])
    assert row["reviewer_label"] == (label or row["reviewer_label"])


def test_undo_brings_images_back_last_first(browser: Browser, ann: Server) -> None:
    """Three decisions are undone one by one; each image is shown again, all stay in the log."""
    for red in range(10, 15):
        add(ann, red)
    with at_queue(browser, ann) as page:
        left = [press(page, "1") for _ in range(3)]
        lines = page.locator("#queue-decision .recent-list li")
        for line, name in enumerate(reversed(left)):
            expect(lines.nth(line)).to_contain_text(name)
        for name in reversed(left):
            page.keyboard.press("Control+z")
            expect(page.locator("#queue-preview figcaption b")).to_have_text(name)
        page.keyboard.press("Backspace")
        expect(page.locator("#queue-decision .saved")).to_contain_text("Nothing to undo")
    assert [row["undone"] for name in left for row in decisions(ann, name)] == [1, 1, 1]


def test_skip_and_arrows_and_typing_decide_nothing(browser: Browser, ann: Server) -> None:
    """Space moves on without a decision, and keys typed into a note stay in the note."""
    for red in range(20, 24):
        add(ann, red)
    (before,) = ann.rows("select count(*) as n from decisions")
    with at_queue(browser, ann) as page:
        skipped = press(page, " ")
        expect(page.locator("#queue-decision .saved")).to_contain_text(f"Skipped: {skipped}")
        page.keyboard.press("n")
        page.keyboard.type("axe 12 f")
        page.keyboard.press("Escape")
    assert ann.rows("select count(*) as n from decisions") == [before]


def test_arrows_turn_through_the_leased_images(browser: Browser, ann: Server) -> None:
    """Right and left show another image and decide nothing."""
    for red in range(50, 53):
        add(ann, red)
    (before,) = ann.rows("select count(*) as n from decisions")
    with at_queue(browser, ann) as page:
        page.locator("#queue-bar .waiting").click()  # away from the tabs, which have arrows too
        first = press(page, "ArrowRight")
        press(page, "ArrowLeft")
        assert name_of(page) == first
    assert ann.rows("select count(*) as n from decisions") == [before]


def test_second_opinions_are_requested_from_review_and_gallery(
    browser: Browser, tmp_path: Path
) -> None:
    """F queues the image on screen, and the focused card."""
    with serving(tmp_path) as server, opened(browser, server.url) as page:
        files = [
            {"name": f"{n}.png", "mimeType": "image/png", "buffer": image_bytes(n)} for n in (1, 2)
        ]
        page.locator("#image-input input[type=file]").set_input_files(files[0])
        expect(page.locator("#agree")).to_be_enabled()
        page.keyboard.press("f")
        expect(page.locator("#review-decision .saved")).to_contain_text("second opinion")
        open_tab(page, "Gallery")
        page.locator("#gallery-upload input[type=file]").set_input_files(files[1])
        page.locator("#grid .card").focus()
        page.keyboard.press("f")
        expect(page.locator("#grid")).to_contain_text("second opinion")
        rows = server.rows("select reason, answers_wanted from queue")
        assert [tuple(row.values()) for row in rows] == [("second_opinion", 2)] * 2


def test_misclassifications_become_training_labels(browser: Browser, tmp_path: Path) -> None:
    """A settled misclassification is shown blurred, confirmed, and exported."""
    with serving(tmp_path, NSFW_ANSWERS="disagreement=1") as server:
        add(server, 200)
        with opened(browser, server.url) as page:
            page.locator("#image-input input[type=file]").set_input_files(
                {"name": "200.png", "mimeType": "image/png", "buffer": image_bytes(200)}
            )
            expect(page.locator("#agree")).to_be_enabled()
            page.keyboard.press("2")
            expect(page.locator("#review-decision .saved")).to_contain_text("Saved: nsfw")
            open_tab(page, "Queue")
            page.get_by_role("button", name="Relabel").click()
            misclassification = page.locator("#relabel .misclassification")
            expect(misclassification).to_contain_text("Settled as nsfw")
            expect(misclassification.locator(".real")).to_have_count(0)
            misclassification.get_by_role("button", name="Confirm nsfw").click()
            expect(misclassification).to_contain_text("Training label: nsfw")
            with page.expect_download() as download:
                page.get_by_role("link", name="Export confirmed labels").click()
            (line,) = download.value.path().read_text().splitlines()
            assert json.loads(line)["label"] == "nsfw"


def test_recent_decisions_are_changed_with_one_click(browser: Browser, ann: Server) -> None:
    """A click in the list records the other label, which is then in force."""
    for red in range(30, 33):
        add(ann, red)
    with at_queue(browser, ann) as page:
        left = press(page, "1")
        line = page.locator("#queue-decision .recent-list li").first
        line.get_by_role("button", name="nsfw").click()
        expect(line.get_by_role("button", name="nsfw")).to_have_attribute("aria-pressed", "true")
    rows = decisions(ann, left)
    said = [(row["reviewer_label"], row["undone"]) for row in rows]
    assert said[-2:] == [("normal", 1), ("nsfw", 0)]


def test_a_second_reviewer_is_blind(browser: Browser, ann: Server, bob: Server) -> None:
    """Bob leases an image that Ann escalated; neither sees the other's decision anywhere."""
    for red in range(40, 43):
        add(ann, red)
    with at_queue(browser, ann) as page:
        asked = press(page, "f")
        expect(page.locator("#queue-decision .saved")).to_contain_text("second opinion")
    with at_queue(browser, bob) as page:
        assert name_of(page) == asked
        press(page, "2")
    with at_queue(browser, ann) as page:
        for _ in range(400):
            if name_of(page) == asked:
                break
            press(page, " ")
        assert name_of(page) == asked
        assert "bob" not in page.locator("body").inner_text().replace("\n", " ").split()
        assert page.locator(".recent-list li", has_text=asked).count() == 0
        open_tab(page, "Log")
        expect(page.locator("#log-table [role=status]")).to_be_visible()
        assert "bob" not in page.locator("#log-table").inner_text()
    standing = [row["reviewer"] for row in decisions(ann, asked) if not row["undone"]]
    assert standing == ["bob"]


def test_an_expired_lease_goes_to_another_reviewer(browser: Browser, tmp_path: Path) -> None:
    """An image that Ann leased goes to Bob once her lease has expired, and her page shows that."""
    folders = [tmp_path / "ann", tmp_path / "bob"]
    for folder in folders:
        folder.mkdir()
    data = {"NSFW_DATA_DIR": str(tmp_path / "data"), **EVERYTHING_WAITS}
    with (
        serving(folders[0], NSFW_REVIEWER="ann", **data) as hers,
        serving(folders[1], NSFW_REVIEWER="bob", **data) as his,
        opened(browser, hers.url, clock=True) as page,
    ):
        add(hers, 77)
        open_tab(page, "Queue")
        expect(page.locator("#queue-preview figcaption b")).to_have_text("red 77.png")
        with opened(browser, his.url) as other:
            open_tab(other, "Queue")
            expect(other.locator("#queue-bar .waiting")).to_have_text("0 images waiting")
        expire_leases(tmp_path / "data")
        with at_queue(browser, his) as other:
            assert name_of(other) == "red 77.png"
            page.clock.run_for(121_000)
            expect(page.locator("#queue-decision .saved")).to_contain_text(
                "Your lease on this image expired."
            )


def expire_leases(data: Path) -> None:
    """Expire all leases."""
    with contextlib.closing(sqlite3.connect(data / "review.db", timeout=10)) as db:
        db.execute("update queue set leased_until = '2001-01-01' where leased_until is not null")
        db.commit()


def test_leaving_the_tab_releases_leases(browser: Browser, ann: Server) -> None:
    """No lease remains when another tab is opened."""
    for red in range(80, 84):
        add(ann, red)
    leases = "select count(*) as n from queue where leased_by = 'ann'"
    with at_queue(browser, ann) as page:
        assert ann.rows(leases)[0]["n"] > 0
        with page.expect_response("**/queue/release"):
            open_tab(page, "Log")
        assert ann.rows(leases)[0]["n"] == 0
