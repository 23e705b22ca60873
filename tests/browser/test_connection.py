"""Outages in Chromium: the connection state, unsaved decisions, uploads that are not sent."""

import contextlib
import json
import re
import signal
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import intercept, open_policy_form, open_tab, opened
from tests.support.fakes import image_bytes
from tests.support.server import Server, free_port, serving

SETTINGS = {
    "NSFW_REVIEW_FROM": "0",
    "NSFW_REVIEW_TO": "1",
    "NSFW_ANSWERS": "review=1,disagreement=1",
    "NSFW_REQUIRE_SEEN": "none",  # in an outage no image can be revealed
}
MAX_AHEAD = 5  # unsaved decisions, then the desk stops advancing
STORED = "localStorage.getItem('nsfw-review:unsaved:reviewer')"
WARNS = """() => {
  const event = new Event('beforeunload', { cancelable: true })
  window.dispatchEvent(event)
  return event.defaultPrevented
}"""


class Desk:
    """A server that can be killed, and started again at the same address with the same data."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = free_port()
        self._running = contextlib.ExitStack()
        self.server = self.start()

    def start(self) -> Server:
        """Run it."""
        self.server = self._running.enter_context(
            serving(self._directory, port=self._port, **SETTINGS)
        )
        return self.server

    def kill(self) -> None:
        """End it without notice."""
        self.server.process.send_signal(signal.SIGKILL)
        self.server.process.wait()

    def close(self) -> None:
        """End what runs."""
        self._running.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A server on which every image enters the queue."""
    running = Desk(tmp_path)
    yield running
    running.close()


def fill_queue(server: Server, count: int) -> None:
    """Submit different images."""
    done = 0
    while done < count:
        query = urllib.parse.urlencode({"name": f"image {done}.png", "source": "test"})
        content = image_bytes(done, size=(40 + done, 30))
        request = urllib.request.Request(f"{server.url}/desk/images?{query}", data=content)
        with urllib.request.urlopen(request, timeout=30) as response:
            done += json.load(response)["error"] is None


def decide(page: Page, *, ahead: int = 0) -> str:
    """Decide about the image on the Queue's stage and go on to the next; the image's name."""
    stage = page.locator("#queue-stage figcaption .name")
    name = stage.get_attribute("title") or ""
    page.keyboard.press("1")
    if ahead >= MAX_AHEAD:
        expect(page.locator("#queue-decision .saved")).to_contain_text(f"Not saved yet: {name}")
        expect(stage).to_have_attribute("title", name)
        page.keyboard.press("ArrowRight")
    expect(stage).not_to_have_attribute("title", name)
    return name


def test_an_outage_loses_no_decision(browser: Browser, desk: Desk) -> None:
    """Offline within 5 s; 10 decisions wait, and are sent in order before 10 more."""
    fill_queue(desk.server, 25)
    with opened(browser, desk.server.url, outage=True) as page:
        open_tab(page, "Queue")
        page.evaluate("document.activeElement.blur()")  # the arrow keys of a tab are its own
        expect(page.locator("#queue-decision .decision-buttons button").first).to_be_enabled()
        connection, unsaved = page.locator("#connection"), page.locator("#unsaved")
        expect(connection).to_have_attribute("data-state", "online")
        expect(unsaved).to_be_hidden()
        assert page.evaluate(WARNS) is False

        desk.kill()
        expect(connection).to_have_attribute("data-state", "offline", timeout=5_000)
        expect(page.locator("#model-state")).not_to_contain_text("ready")
        names = [decide(page, ahead=ahead) for ahead in range(10)]
        expect(unsaved).to_have_attribute("data-count", "10")
        expect(page.locator("#queue-decision .recent-decisions li").first).to_contain_text(
            f"{names[0]}: normal"
        )
        unsaved.click()
        expect(page.get_by_role("dialog").get_by_role("listitem")).to_have_count(10)
        page.keyboard.press("Escape")
        stored = page.evaluate(STORED)
        assert [item["answers"][0]["name"] for item in json.loads(stored)] == names
        assert "data:" not in stored
        assert page.evaluate(WARNS) is True

        desk.start()
        expect(connection).to_have_attribute("data-state", "online", timeout=30_000)
        expect(unsaved).to_be_hidden()
        page.wait_for_function(f"{STORED} === null")
        names += [decide(page) for _ in range(10)]
        expect(page.locator("#queue-decision .recent-list li").first).to_contain_text(names[-1])
        rows = desk.server.rows("select name from correction_log order by decision_id")
        assert [row["name"] for row in rows] == names


def test_no_tab_accepts_more_than_five_unsaved_decisions(
    browser: Browser, desk: Desk, tmp_path: Path
) -> None:
    """In an outage labels and decisions wait; the sixth is refused, until they are saved."""
    fill_queue(desk.server, 2)
    files = [tmp_path / f"{number}.png" for number in range(8)]
    for number, path in enumerate(files):
        path.write_bytes(image_bytes(number, size=(30 + number, 40)))
    with opened(browser, desk.server.url, outage=True) as page:
        open_tab(page, "Queue")
        expect(page.locator("#queue-decision .decision-buttons button").first).to_be_enabled()
        for _ in range(2):
            page.keyboard.press("2")
        expect(page.locator("#queue-stage")).to_contain_text("The queue is empty")
        open_tab(page, "Gallery")
        page.locator("#gallery-upload input[type=file]").first.set_input_files(files)
        expect(page.locator("#gallery-tools")).to_contain_text("Done: 8 of 8")
        open_tab(page, "Relabel")
        labels, cards = page.locator("#relabel .card"), page.locator("#grid .card")
        expect(labels).to_have_count(2)
        desk.kill()
        unsaved = page.locator("#unsaved")
        expect(page.locator("#connection")).to_have_attribute("data-state", "offline")
        labels.first.focus()
        page.keyboard.press("a")
        expect(unsaved).to_have_attribute("data-count", "1")
        open_tab(page, "Gallery")
        cards.first.focus()
        for count in range(2, MAX_AHEAD + 1):
            page.keyboard.press("1")
            expect(unsaved).to_have_attribute("data-count", str(count))
        waiting = f"Not recorded: {MAX_AHEAD} decisions wait for the server."
        gallery, relabel = page.locator("#grid .message"), page.locator("#relabel .message")
        for key in ("1", "n"):
            page.keyboard.press(key)
            expect(gallery).to_contain_text(waiting)
            expect(cards.nth(MAX_AHEAD - 1)).to_be_focused()
        expect(page.locator("dialog[open]")).to_have_count(0)
        open_tab(page, "Relabel")
        labels.last.focus()
        page.keyboard.press("1")
        expect(relabel).to_contain_text(waiting)
        open_tab(page, "Review")
        page.locator("#review-decision .recent-labels button[aria-pressed=false]").first.click()
        expect(page.locator("#review-decision .saved")).to_contain_text(waiting)
        expect(unsaved).to_have_attribute("data-count", str(MAX_AHEAD))

        desk.start()
        expect(unsaved).to_be_hidden(timeout=30_000)
        open_tab(page, "Relabel")
        for kind in ("nsfw", ""):  # a reload of the list moves the labeled one to its end
            expect(labels.and_(page.locator(f"[data-training='{kind}']"))).to_have_count(1)
        open_tab(page, "Gallery")
        cards.nth(MAX_AHEAD - 1).focus()
        page.keyboard.press("1")
        expect(gallery).to_contain_text("Saved: ")
    assert len(desk.server.rows("select id from decisions")) == 2 + MAX_AHEAD
    assert len(desk.server.rows("select id from training_labels")) == 1


def test_a_reload_sends_what_was_not_saved(browser: Browser, desk: Desk) -> None:
    """What waits in the browser's storage is recorded by the next visit, once."""
    with opened(browser, desk.server.url, outage=True) as page:
        page.get_by_role("button", name="A cat").click()
        expect(page.locator("#review-decision .decision-buttons button").first).to_be_enabled()
        intercept(page, "**/desk/decisions", lambda route: route.abort())
        page.keyboard.press("2")
        expect(page.locator("#unsaved")).to_have_text("1 not saved")
        page.unroute("**/desk/decisions")
        intercept(page, "**/desk/decisions", lambda route: route.abort(), times=1)
        page.on("dialog", lambda dialog: dialog.accept())
        page.reload()
        expect(page.locator("#unsaved")).to_be_hidden()
        page.wait_for_function(f"{STORED} === null")
    rows = desk.server.rows("select reviewer_label, reviewer from correction_log")
    assert rows == [{"reviewer_label": "nsfw", "reviewer": "reviewer"}]


def test_an_outage_during_an_upload_makes_no_image_unavailable(
    browser: Browser, desk: Desk, tmp_path: Path
) -> None:
    """Each of 80 files is one card at any time: not sent during the outage, an image after it."""
    files = [tmp_path / f"{number:02}.png" for number in range(80)]
    for number, path in enumerate(files):
        path.write_bytes(image_bytes(number, size=(30 + number, 40)))
    with opened(browser, desk.server.url, outage=True) as page:
        open_tab(page, "Gallery")
        page.locator("#gallery-upload input[type=file]").first.set_input_files(files)
        cards = page.locator("#grid .card")
        unsent = page.locator("#grid .card[data-action=not_sent]")
        unavailable = page.locator("#grid .card[data-action=unavailable]")
        expect(cards.first).to_be_visible()
        desk.kill()
        expect(unsent.first).to_be_visible()
        expect(cards).to_have_count(80)
        expect(unavailable).to_have_count(0)
        expect(page.locator("#grid .summary")).to_contain_text("not sent")
        removed = unsent.last.locator("[aria-label^=Remove]")
        removed.click()
        expect(cards).to_have_count(79)
        page.locator("#stop").click()
        expect(page.locator("#gallery-tools")).to_contain_text("Stopped")
        desk.start()
        expect(page.locator("#connection")).to_have_attribute(
            "data-state", "online", timeout=30_000
        )
        unsent.first.locator("[aria-label^=Retry]").click()
        page.locator("#resume").click()
        expect(page.locator("#gallery-tools")).to_contain_text("Done: 79 of 79", timeout=60_000)
        expect(unsent).to_have_count(0)
        expect(unavailable).to_have_count(0)
        expect(cards).to_have_count(79)


def test_a_new_policy_reaches_an_open_desk(browser: Browser, desk: Desk) -> None:
    """Within 5 s the page says so and judges by it; a decision has the version on the screen."""
    with opened(browser, desk.server.url) as page, opened(browser, desk.server.url) as admin:
        page.get_by_role("button", name="A cat").click()
        expect(page.locator("#review-decision .decision-buttons button").first).to_be_enabled()
        # The page does not learn of the new policy before the decision.
        beat = page.request.get(f"{desk.server.url}/desk/heartbeat").json()
        intercept(page, "**/desk/heartbeat", lambda route: route.fulfill(json=beat))
        open_policy_form(admin)
        field = admin.get_by_label("Threshold", exact=True).locator("visible=true").last
        expect(field).to_have_value("0.33")
        field.fill("0.44")
        admin.get_by_label("Why").fill("A test")
        admin.locator("#save-policy").click()
        expect(admin.get_by_text("version 2: 0.44").first).to_be_visible(timeout=8_000)
        expect(page.locator("#review-threshold input[type=number]")).to_have_value("0.33")
        page.keyboard.press("2")
        expect(page.locator("#review-decision .saved")).to_contain_text("Saved: nsfw")
        circumstances = "select policy_version, threshold, model_label from correction_log"
        (row,) = desk.server.rows(circumstances)
        assert row == {"policy_version": 1, "threshold": 0.33, "model_label": "normal"}
        page.unroute("**/desk/heartbeat")
        notice = page.locator(".notice[data-subject=policy]")
        expect(notice).to_contain_text("version 2: 0.44", timeout=8_000)
        expect(page.locator("#review-threshold input[type=number]")).to_have_value("0.44")
        expect(page.locator("#review-verdict .score-bar")).to_have_attribute(
            "aria-label", re.compile("threshold 0.44")
        )
        page.keyboard.press("1")
        expect(page.locator("#review-decision .saved")).to_contain_text("Saved: normal")
        rows = desk.server.rows(f"{circumstances} order by decision_id")
        assert [(made["policy_version"], made["threshold"]) for made in rows] == [
            (1, 0.33),
            (2, 0.44),
        ]


def test_a_reload_keeps_decisions_and_galleries(
    browser: Browser, desk: Desk, tmp_path: Path
) -> None:
    """The latest decisions and the uploads come from the server; both are opened again blurred."""
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(files):
        path.write_bytes(image_bytes(number, size=(30 + number, 40)))
    with opened(browser, desk.server.url) as page:
        open_tab(page, "Gallery")
        page.locator("#gallery-upload input[type=file]").first.set_input_files(files)
        expect(page.locator("#gallery-tools")).to_contain_text("Done: 3 of 3")
        page.locator("#grid .card").first.focus()
        page.keyboard.down("v")
        expect(page.locator("#grid .seen", has_text="Not seen")).to_have_count(2)
        page.keyboard.up("v")
        open_tab(page, "Review")
        page.get_by_role("button", name="A cat").click()
        expect(page.locator("#review-decision .decision-buttons button").first).to_be_enabled()
        page.keyboard.press("2")
        line = page.locator("#review-decision .recent-list li")
        expect(line).to_contain_text("cat.jpg")
        page.reload()
        expect(line).to_contain_text("cat.jpg")
        expect(line.locator("img.placeholder")).to_be_visible()
        assert "blur" in line.locator("img").evaluate("e => getComputedStyle(e).filter")
        line.get_by_role("button", name="Open cat.jpg").click()
        expect(page.locator("#review-preview")).to_contain_text("cat.jpg")
        expect(page.locator("#review-preview .placeholder")).to_be_visible()
        open_tab(page, "Gallery")
        page.get_by_role("button", name="Earlier").click()
        page.get_by_role("dialog").get_by_role("button", name="3 images").click()
        expect(page.locator("#grid .card")).to_have_count(3)
        expect(page.get_by_text("3 images are shown again.")).to_be_visible()
        expect(page.locator(".real")).to_have_count(0)
        expect(page.locator("#grid .seen", has_text="Not seen")).to_have_count(2)
        expect(page.locator("#agree-rest")).to_have_text("Agree with 3 images, 2 unseen")
