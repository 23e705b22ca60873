"""The Log tab in Chromium: images, search, corrections, exports, and what is left out."""

import json
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from nsfw_app.store import Store
from tests.support.browser import open_tab, opened
from tests.support.decisions import fill
from tests.support.fakes import image_bytes
from tests.support.server import Server, serving

LEFT_OUT = "2 decisions about 2 images are hidden until you have decided them."


@pytest.fixture
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A page with two decisions of Ann, who uses it, and two hidden ones of Bob."""
    directory = tmp_path_factory.mktemp("log")
    with serving(directory, NSFW_REVIEWER="ann", NSFW_KEEP_IMAGES="all") as server:
        with httpx.Client(base_url=server.url, timeout=30) as client:
            while client.get("/readyz").status_code != 200:
                pass
            for number, (name, note) in enumerate([("beach.png", ""), ("museum.png", "a statue")]):
                decide(client, number, name, note)
        data = server.data
        store = Store(data / "review.db", previews_dir=data / "images", journal_mode="wal")
        fill(store, {"bob": "nn"})
        yield server


def decide(client: httpx.Client, number: int, name: str, note: str, *, reason: str = "art") -> None:
    """Upload an image and record a decision about it."""
    content = image_bytes(100 + number)
    card = client.post(f"/desk/images?name={name}&source=review", content=content).json()
    assert client.get(f"/desk/images/{card['sha256']}/picture").status_code == 200
    decision = {key: card[key] for key in ("model", "revision", "backend", "name")}
    decision |= {"image_sha256": card["sha256"], "nonce": f"n{number}", "label": "nsfw"}
    decision |= {"threshold": 0.5, "note": note, "reasons": [reason] if note else []}
    assert client.post("/desk/decisions", json=decision).status_code == 200


def shown(page: Page) -> list[str]:
    """The names in the table, from the top."""
    return page.locator("#log-table tbody .link").all_inner_texts()


def exported(page: Page) -> list[str]:
    """The names in the export of what is shown."""
    with page.expect_download() as download:
        page.locator("#export-jsonl").click()
    return [json.loads(line)["name"] for line in download.value.path().read_text().splitlines()]


def test_the_log_from_search_to_correction(browser: Browser, app: Server) -> None:
    """What is hidden is said; a row is found, exported, opened blurred, and corrected."""
    with opened(browser, app.url) as page:
        open_tab(page, "Log")
        table = page.locator("#log-table")
        expect(table.locator(".left-out")).to_have_text(LEFT_OUT)
        expect(table.locator("tbody tr")).to_have_count(2)
        assert shown(page) == ["museum.png", "beach.png"]
        expect(table.locator("tbody .placeholder")).to_have_count(2)
        expect(table.locator("tbody .real")).to_have_count(0)

        name, status = page.get_by_label("Name or note"), table.locator(".log-head [role=status]")
        name.fill("STATUE")  # the export does not wait for the table
        assert exported(page) == ["museum.png"]
        expect(status).to_have_text("1 found")
        name.fill("")
        page.get_by_label("Reason").select_option("Art")
        expect(status).to_have_text("1 found")
        page.get_by_role("button", name="Clear filter").click()
        expect(status).to_have_text("Rows 1 to 2 of 2")
        page.get_by_label("Image hash").fill("abc")
        expect(table).to_contain_text("write at least 4")
        assert len(exported(page)) == 2
        page.get_by_label("Image hash").fill("")
        page.get_by_label("To (UTC)").press_sequentially("01312001")
        expect(status).to_have_text("No decisions match")
        expect(page.locator("#export-csv")).to_be_visible()
        page.get_by_role("button", name="Clear filter").click()

        page.get_by_role("button", name="beach.png").click()
        dialog = page.locator("dialog.log-image")
        expect(dialog.locator(".placeholder")).to_be_visible()
        expect(dialog.locator(".real")).to_have_count(0)
        reveal = dialog.locator("button.reveal")
        reveal.focus()
        page.keyboard.press("Enter")
        expect(dialog.locator("img.real")).not_to_have_js_property("naturalWidth", 0)
        dialog.get_by_text("Normal", exact=True).click()
        dialog.get_by_label("Note").fill("a mistake")
        dialog.get_by_role("button", name="Save decision").click()
        expect(dialog).to_have_count(0)
        expect(status).to_have_text("Rows 1 to 3 of 3")
        rows = app.rows(
            "select reviewer, name, reviewer_label, note, undone, seen from correction_log "
            "where reviewer = 'ann' order by decision_id desc"
        )
        assert [tuple(row.values()) for row in rows] == [
            ("ann", "beach.png", "normal", "a mistake", 0, 1),
            ("ann", "museum.png", "nsfw", "a statue", 0, 0),
            ("ann", "beach.png", "nsfw", "", 1, 0),
        ]
        expect(table.locator("tbody tr.undone")).to_have_count(1)
        page.get_by_role("button", name="beach.png").last.click()
        expect(dialog).to_be_visible()
        expect(dialog.get_by_role("button", name="Save decision")).to_have_count(0)
        dialog.get_by_role("button", name="All decisions about this image").click()
        expect(status).to_have_text("2 found")

        page.get_by_role("button", name="Clear filter").click()
        page.get_by_label("I do not review").check()
        expect(status).to_have_text("Rows 1 to 5 of 5")
        expect(table.locator(".left-out")).to_be_empty()
        page.get_by_label("I do not review").uncheck()
        expect(table.locator(".left-out")).to_have_text(LEFT_OUT)
        open_tab(page, "Insights")
        expect(page.locator("#insights .left-out")).to_have_text(LEFT_OUT)


def test_an_admin_lifts_a_restriction(browser: Browser, app: Server) -> None:
    """The row says that its image is restricted; lifting asks first, and is audited."""
    with httpx.Client(base_url=app.url, timeout=30) as client:
        decide(client, 9, "pool.png", "a child", reason="minor_present")
    lifted = "select actor, subject from audit where action = 'restrict' and details like '%lift%'"
    with opened(browser, app.url) as page:
        open_tab(page, "Log")
        row = page.locator("#log-table tbody tr", has_text="pool.png")
        expect(row).to_contain_text("Restricted")
        expect(page.locator("#log-table .restricted")).to_have_count(1)
        row.get_by_role("button", name="pool.png").click()
        dialog = page.locator("dialog.log-image")
        dialog.get_by_role("button", name="Lift the restriction").click()
        page.keyboard.press("Escape")
        expect(dialog).to_be_visible()
        assert app.rows(lifted) == []
        dialog.get_by_role("button", name="Lift the restriction").click()
        page.keyboard.press("Enter")
        expect(dialog).to_have_count(0)
        expect(row).not_to_contain_text("Restricted")
        expect(row.locator(".placeholder")).to_be_visible()
        assert [entry["actor"] for entry in app.rows(lifted)] == ["ann"]
        row.get_by_role("button", name="pool.png").click()
        expect(dialog).to_be_visible()
        expect(dialog.get_by_role("button", name="Lift the restriction")).to_have_count(0)
