"""The Queue tab in Chromium: keys, undo, leases, blind second reviewers, stage."""

import contextlib
import json
import re
import sqlite3
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.support.browser import intercept, open_tab, opened, resize
from tests.support.fakes import image_bytes
from tests.support.server import Server, serving

EVERYTHING_WAITS = {"NSFW_REVIEW_FROM": "0", "NSFW_REVIEW_TO": "1", "NSFW_ANSWERS": "review=1"}
UNSEEN = {**EVERYTHING_WAITS, "NSFW_REQUIRE_SEEN": "none"}  # hidden images can be decided
CAPTION = "#queue-stage figcaption .name"
RECENT = "#queue-decision .recent-decisions li"


def add(server: Server, red: int, size: tuple[int, int] = (40, 30)) -> dict:
    """Submit a plain image; its JSON."""
    while True:
        query = urllib.parse.urlencode({"name": f"red {red}.png", "source": "test"})
        request = urllib.request.Request(
            f"{server.url}/desk/images?{query}", data=image_bytes(red, size=size)
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            card = json.load(response)
        if (card["error"] or {}).get("kind") != "model_loading":
            return card


@pytest.fixture(scope="module")
def ann(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A page on which every image enters the queue."""
    with serving(tmp_path_factory.mktemp("ann"), NSFW_REVIEWER="ann", **UNSEEN) as server:
        yield server


@pytest.fixture(scope="module")
def bob(ann: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same data, for another reviewer."""
    with serving(
        tmp_path_factory.mktemp("bob"),
        NSFW_REVIEWER="bob",
        NSFW_DATA_DIR=str(ann.data),
        **UNSEEN,
    ) as server:
        yield server


@contextlib.contextmanager
def at_queue(browser: Browser, server: Server) -> Iterator[Page]:
    """The Queue tab with an image on screen."""
    with opened(browser, server.url) as page:
        open_tab(page, "Queue")
        expect(page.locator(CAPTION)).to_be_visible()
        yield page


def name_of(page: Page) -> str:
    """The name of the image on screen."""
    return str(page.locator(CAPTION).get_attribute("title"))


def decisions(server: Server, name: str) -> list[dict]:
    """The log rows about an image, oldest first."""
    sql = "select * from correction_log where name = ? order by decision_id"
    return server.rows(sql, name)


def press(page: Page, key: str) -> str:
    """Press a key that moves on; the name of the image before, once the next one is shown."""
    left = name_of(page)
    page.keyboard.press(key)
    expect(page.locator(CAPTION)).not_to_have_attribute("title", left)
    return left


@pytest.mark.parametrize(
    ("key", "label"),
    [("a", None), ("x", None), ("1", "normal"), ("2", "nsfw"), ("3", "unsure")],
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
            expect(page.locator(CAPTION)).not_to_have_attribute("title", left)
        else:
            left = press(page, key)
        expect(page.locator("#queue-decision .saved")).to_contain_text(f"Saved: {left}")
    (row,) = decisions(ann, left)
    assert row["agrees"] == {"a": 1, "x": 0, "3": None}.get(key, row["agrees"])
    assert row["reviewer_label"] == (label or row["reviewer_label"])


def test_undo_brings_images_back_last_first(browser: Browser, ann: Server) -> None:
    """Decisions are undone one by one; each image is shown again, unless its preview is gone.

    All stay in the log.
    """
    for red in range(10, 15):
        add(ann, red)
    with at_queue(browser, ann) as page:
        left = [press(page, "1") for _ in range(3)]
        expect(page.locator(f"{RECENT} .recent-name").first).to_have_text(left[-1])
        for name in reversed(left):
            page.keyboard.press("Control+z")
            expect(page.locator(CAPTION)).to_have_attribute("title", name)
        page.keyboard.press("Backspace")
        message = page.locator("#queue-decision .saved")
        expect(message).to_contain_text("Nothing to undo")
        assert [row["undone"] for name in left for row in decisions(ann, name)] == [1, 1, 1]

        lost = press(page, "1")
        expect(message).to_contain_text(f"Saved: {lost}")
        sha256 = decisions(ann, lost)[-1]["image_sha256"]
        (preview,) = (path for path in ann.data.rglob(f"*{sha256}*") if path.is_file())
        preview.unlink()
        page.keyboard.press("Backspace")
        expect(message).to_contain_text(
            f"Undone. The decision stays in the log, marked as undone. {lost} left the queue, "
            "because its preview was deleted."
        )
        expect(page.locator(CAPTION)).not_to_have_attribute("title", lost)


def test_a_late_reply_does_not_replace_a_newer_message(browser: Browser, ann: Server) -> None:
    """A decision that is saved after the next image was skipped leaves "Skipped" on screen."""
    for red in range(110, 113):
        add(ann, red)
    held: list[Route] = []
    with at_queue(browser, ann) as page:
        intercept(page, "**/desk/decisions", lambda route: held.append(route))
        decided, skipped = press(page, "1"), press(page, " ")
        message = page.locator("#queue-decision .saved")
        expect(message).to_contain_text(f"Skipped: {skipped}")
        held[0].continue_()
        expect(page.locator(f"{RECENT} .recent-name").first).to_have_text(decided)
        expect(message).to_contain_text(f"Skipped: {skipped}")
        page.keyboard.press("Backspace")
        expect(message).to_contain_text(f"The skip is undone: {skipped}")


def test_one_undo_takes_back_decisions_skips_and_escalations(browser: Browser, ann: Server) -> None:
    """Backspace takes back what came last, of any kind, and shows its image again."""
    for red in range(100, 105):
        add(ann, red)
    with at_queue(browser, ann) as page:
        left = [press(page, key) for key in (" ", "1", "f", "2", " ")]
        expect(page.locator("#queue-decision .saved")).to_contain_text("Skipped")
        for name in reversed(left):
            page.keyboard.press("Backspace")
            expect(page.locator(CAPTION)).to_have_attribute("title", name)
        page.keyboard.press("Backspace")
        expect(page.locator("#queue-decision .saved")).to_contain_text("Nothing to undo")
    assert {row["undone"] for name in left for row in decisions(ann, name)} == {1}
    assert ann.rows("select * from queue_skips where reviewer = 'ann'") == []
    assert ann.rows("select * from queue where reason = 'second_opinion'") == []


def test_an_unseen_image_is_not_decided(browser: Browser, tmp_path: Path) -> None:
    """A decision about a hidden image is refused; the image stays until it was revealed."""
    with serving(tmp_path, **EVERYTHING_WAITS) as server:
        for red in (10, 20):
            add(server, red)
        with at_queue(browser, server) as page:
            name = name_of(page)
            page.keyboard.press("1")
            message = page.locator("#queue-decision .saved")
            expect(message).to_contain_text("this image is still hidden. Hold V")
            page.locator("#agree").click()
            expect(page.locator(CAPTION)).to_have_attribute("title", name)
            assert server.rows("select * from decisions") == []
            page.keyboard.down("v")
            real = page.locator("#queue-stage .real")
            expect(real).to_have_js_property("complete", value=True)
            expect(real).to_be_visible()
            page.keyboard.up("v")
            press(page, "1")
            expect(message).to_contain_text(f"Saved: {name} is normal")
        (row,) = decisions(server, name)
        assert (row["seen"], row["queue_reason"], row["policy_version"]) == (1, "review", 1)


def test_images_are_revealed_at_once_for_those_who_choose_it(browser: Browser, ann: Server) -> None:
    """With that preference an image is shown when it comes up in the Queue, and nowhere else."""
    for red in (110, 111):
        add(ann, red)
    with opened(browser, ann.url) as page:
        page.get_by_role("button", name="Viewing").click()
        page.get_by_label("at once when an image comes up in the Queue").check()
        page.get_by_role("button", name="Close").click()
        open_tab(page, "Queue")
        expect(page.locator("#queue-stage .real")).to_be_visible()
        press(page, "ArrowRight")
        expect(page.locator("#queue-stage .real")).to_be_visible()
        page.keyboard.press("v")
        expect(page.locator("#queue-stage .real")).to_have_count(0)


def test_scores_of_blind_reasons_are_hidden(browser: Browser, ann: Server, bob: Server) -> None:
    """A second reviewer sees neither score nor verdict before deciding, and both afterwards."""
    for red in (120, 121):
        add(ann, red)
    with at_queue(browser, ann) as page:
        asked = press(page, "f")
        expect(page.locator("#queue-decision .saved")).to_contain_text("second opinion")
    with at_queue(browser, bob) as page:
        page.locator("#queue-bar").get_by_label("Reason").select_option("second_opinion")
        expect(page.locator(CAPTION)).to_have_attribute("title", asked)
        for hidden in ("#agree", "#disagree", "#queue-verdict .score-bar"):
            expect(page.locator(hidden)).to_be_hidden()
        expect(page.locator("#queue-verdict")).to_contain_text("hidden until you decide")
        assert "0." not in page.locator("#queue-decision .probabilities").inner_text()
        page.keyboard.press("a")
        expect(page.locator("#queue-decision .saved")).to_contain_text("Choose Normal, NSFW")
        page.keyboard.press("2")
        expect(page.locator("#queue-decision .saved")).to_contain_text(
            f"Saved: {asked} is nsfw. The model calls it"
        )


def test_the_header_counts_filters_and_releases(browser: Browser, ann: Server) -> None:
    """What waits, for which reason and since when, what was decided here, and who holds what."""
    for red in (130, 131, 132):
        add(ann, red)

    def twenty(route: Route) -> None:
        route.fulfill(json=(route.fetch().json() * 20)[:20])

    with at_queue(browser, ann) as page:
        header = page.locator("#queue-bar")
        expect(header).to_contain_text(re.compile("oldest (under a minute|[0-9]+ min)"))
        expect(header).to_contain_text("decided here: 0")
        press(page, "1")
        expect(header).to_contain_text("decided here: 1")
        reason = header.get_by_label("Reason")
        expect(reason.locator("option", has_text="Review band")).to_have_count(1)
        reason.select_option("review")
        expect(page.locator(CAPTION)).to_be_visible()
        intercept(page, "**/queue/leases", twenty)
        header.get_by_text("Who holds what").click()
        held = header.locator(".lease-list li")
        expect(held).to_have_count(20)
        expect(page.locator("#agree")).to_be_in_viewport(ratio=1)
        page.unroute("**/queue/leases")
        for _ in range(2):  # the list is loaded when it is opened
            header.get_by_text("Who holds what").click()
        expect(held).not_to_have_count(20)
        expect(held.first).to_contain_text("ann")
        expect(held.first.locator(".name")).to_have_attribute("title", re.compile("red .*png"))
        count = held.count()
        held.first.get_by_role("button").click()
        expect(held).to_have_count(count - 1)


def test_the_stage_keeps_its_size_and_place(browser: Browser, ann: Server) -> None:
    """Nothing moves from image to image; small images are at most doubled; little is above."""
    for red, size in ((140, (40, 30)), (141, (3000, 400)), (142, (400, 3000))):
        add(ann, red, size)
    with opened(browser, ann.url) as page:
        open_tab(page, "Queue")
        for width, height, above in ((1440, 900, 120), (390, 844, 90)):
            resize(page, width, height)
            expect(page.locator(CAPTION)).to_be_visible()
            places = set()
            for _ in range(4):
                press(page, "ArrowRight")
                places.add(json.dumps(page.evaluate(PLACES)))
                shown = page.locator("#queue-stage .preview").bounding_box()
                natural = page.evaluate(NATURAL_WIDTH)
                assert shown is not None
                assert shown["width"] <= 2 * natural + 1
                assert shown["y"] <= above
            assert len(places) == 1
            if height == 900:
                page.keyboard.press("x")
                expect(page.locator("#queue-decision .decision-form")).to_be_focused()
                places.add(json.dumps(page.evaluate(PLACES)))
                assert len(places) == 1
                page.keyboard.press("Escape")


PLACES = """() => ['#queue-stage .frame', '#agree', '#disagree', '#queue-stage .reveal'].map(
    (one) => Object.values(document.querySelector(one).getBoundingClientRect().toJSON()))"""
NATURAL_WIDTH = """() => Number(
    document.querySelector('#queue-stage .caption .muted').textContent.match(/(\\d+) ×/)[1])"""


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
        page.locator("#queue-waiting").click()  # away from the tabs, which have arrows too
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


def test_recent_decisions_are_changed_with_one_click(browser: Browser, ann: Server) -> None:
    """A click in the list records the other label, which is then in force."""
    for red in range(30, 33):
        add(ann, red)
    with at_queue(browser, ann) as page:
        left = press(page, "1")
        line = page.locator(RECENT).first
        expect(line.locator(".recent-name")).to_have_text(left)
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
        expect(page.locator("#queue-decision .saved")).to_contain_text("Saved")
    with at_queue(browser, ann) as page:
        for _ in range(400):
            if name_of(page) == asked:
                break
            press(page, " ")
        assert name_of(page) == asked
        assert "bob" not in page.locator("body").inner_text().replace("\n", " ").split()
        assert page.locator(".card[data-decision=disagree]").count() == 0
        assert page.locator(".recent-list li", has_text=asked).count() == 0
        open_tab(page, "Log")
        expect(page.locator("#log-table [role=status]").last).to_be_visible()
        assert "bob" not in page.locator("#log-table").inner_text()
    standing = [row["reviewer"] for row in decisions(ann, asked) if not row["undone"]]
    assert standing == ["bob"]


def test_an_expired_lease_goes_to_another_reviewer(browser: Browser, tmp_path: Path) -> None:
    """An image that Ann leased goes to Bob once her lease has expired, and her page shows that."""
    folders = [tmp_path / "ann", tmp_path / "bob"]
    for folder in folders:
        folder.mkdir()
    data = {"NSFW_DATA_DIR": str(tmp_path / "data"), **UNSEEN}
    with (
        serving(folders[0], NSFW_REVIEWER="ann", **data) as hers,
        serving(folders[1], NSFW_REVIEWER="bob", **data) as his,
        opened(browser, hers.url, clock=True) as page,
    ):
        add(hers, 77)
        open_tab(page, "Queue")
        expect(page.locator(CAPTION)).to_have_attribute("title", "red 77.png")
        with opened(browser, his.url) as other:
            open_tab(other, "Queue")
            expect(other.locator("#queue-waiting")).to_have_text("0 images waiting")
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
    """No lease remains when another tab is opened, also on a phone; ids stay unique."""
    for red in range(80, 84):
        add(ann, red)
    leases = "select count(*) as n from queue where leased_by = 'ann'"
    with opened(browser, ann.url) as page:
        resize(page, 390, 844)
        open_tab(page, "Queue")
        expect(page.locator(CAPTION)).to_be_visible()
        expect(page.locator("#queue-decision .region")).not_to_be_in_viewport()
        expect(page.locator("#agree")).to_have_count(1)
        expect(page.locator("#queue-decision #agree")).to_have_count(1)
        assert ann.rows(leases)[0]["n"] > 0
        open_tab(page, "Log")
        until = time.monotonic() + 10  # a claim that was on its way is released when it comes back
        while ann.rows(leases)[0]["n"] and time.monotonic() < until:
            page.wait_for_timeout(50)
        assert ann.rows(leases)[0]["n"] == 0
