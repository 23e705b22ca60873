"""Names and notes are text everywhere: on the page, in the log, in CSV, in JSON.

Hostile ones are sent through every endpoint and checked in every output.
"""

import csv
import io
import json
from collections.abc import Iterator
from urllib.parse import quote, urlencode

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import open_tab, opened
from tests.support.fakes import image_bytes
from tests.support.server import Server, serving

HOSTILE = {
    "script": "<script>window.hacked = 1</script>.png",
    "image": '"><img src=x onerror="window.hacked = 1">.png',
    "braces": "{{ 7 * 7 }} ${window.hacked = 1} #{7*7} {0.__class__} %s.png",
    "formula": "=cmd|' /C calc'!A0.png",
    "formula behind a tab": "\t=1+1.png",
    "right to left": "\u202egnp.exe\u202c \u2066x\u2069.png",
    "long": "n" * 3_996 + ".png",
    "nul": "before\0after.png",
    "path": "../../etc/passwd\\..\\a.png",
    "lines": "one\r\nContent-Type: text/html\r\n\r\n<b>two</b>.png",
    "quotes": "'; drop table decisions; --.png",
}
EVERYTHING_WAITS = {"NSFW_REVIEW_FROM": "0", "NSFW_REVIEW_TO": "1", "NSFW_ANSWERS": "review=9"}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A page with an image of each hostile name, and a decision with the same text as its note."""
    with serving(tmp_path_factory.mktemp("hostile"), **EVERYTHING_WAITS) as server:
        with httpx.Client(base_url=server.url, timeout=30) as client:
            while client.get("/readyz").status_code != 200:
                pass
            for number, text in enumerate(HOSTILE.values()):
                submit(client, number, text)
        yield server


def submit(client: httpx.Client, number: int, text: str) -> None:
    """Upload an image with this name, and record a decision with this note."""
    query = urlencode({"name": text, "source": "review"})
    card = client.post(f"/desk/images?{query}", content=image_bytes(number)).json()
    assert card["error"] is None
    assert card["name"] == text
    decision = {key: card[key] for key in ("model", "revision", "backend", "name")}
    decision |= {"image_sha256": card["sha256"], "nonce": f"n{number}", "label": "unsure"}
    response = client.post("/desk/decisions", json={**decision, "threshold": 0.5, "note": text})
    assert response.json()["note"] == text


# Innermost elements whose whole text is a name, and that are not in the direction of its script.
UNDIRECTED = """name => [...document.querySelectorAll('.gradio-container *')]
  .filter((node) => node.checkVisibility() && node.textContent === name)
  .filter((node) => ![...node.children].some((child) => child.textContent === name))
  .filter((node) => node.closest('[dir]')?.dir !== 'auto')
  .map((node) => node.outerHTML)"""


def is_unharmed(page: Page) -> bool:
    """Whether no text was executed or became an element."""
    return bool(
        page.evaluate(
            "() => window.hacked === undefined && "
            "!document.querySelector('img[src=x], #log-table script, #log-table b > b')"
        )
    )


def test_the_log_shows_them_as_text(browser: Browser, app: Server) -> None:
    """The table contains every name and note verbatim, and none is executed."""
    with opened(browser, app.url) as page:
        open_tab(page, "Log")
        expect(page.locator("#log-table tbody tr")).to_have_count(len(HOSTILE))
        shown = page.locator("#log-table").evaluate("element => element.textContent")
        for text in HOSTILE.values():
            assert text in shown
        assert "49" not in page.locator("#log-table td").all_inner_texts()
        assert is_unharmed(page)


def test_the_gallery_shows_them_as_text(browser: Browser, app: Server) -> None:
    """The name on a card is the file's name."""
    names = [text for kind, text in HOSTILE.items() if kind not in {"nul", "path", "long", "lines"}]
    with opened(browser, app.url) as page:
        open_tab(page, "Gallery")
        files = [
            {"name": name, "mimeType": "image/png", "buffer": image_bytes(100 + number)}
            for number, name in enumerate(names)
        ]
        page.locator("#gallery-upload input[type=file]").set_input_files(files)
        expect(page.locator("#grid .card")).to_have_count(len(names))
        expect(page.locator("#gallery-tools")).to_contain_text("Done")
        shown = page.locator("#grid .card .name").evaluate_all("all => all.map(e => e.textContent)")
        assert sorted(shown) == sorted(names)
        assert is_unharmed(page)


def test_the_queue_shows_them_as_text(browser: Browser, app: Server) -> None:
    """The name of a submitted image is shown to the reviewer verbatim."""
    name = HOSTILE["image"]
    with httpx.Client(base_url=app.url) as client:
        files = {"file": (name, image_bytes(200), "image/png")}
        (image,) = client.post("/v1/images?queue=true", files=files).json()["images"]
        assert image["id"]
    with opened(browser, app.url) as page:
        open_tab(page, "Queue")
        caption = page.locator("#queue-stage figcaption .name")
        expect(caption).to_be_visible()
        seen = []
        while image["name"] not in seen:  # images of other tests may come before it
            seen.append(caption.text_content())
            assert len(seen) == len(set(seen)), "it is not in the queue"
            page.keyboard.press(" ")
            expect(caption).not_to_have_text(seen[-1])
        assert is_unharmed(page)


def test_names_have_the_direction_of_their_script(browser: Browser, app: Server) -> None:
    """A name that runs from right to left does so in every tab that shows it."""
    name = "\u05ea\u05de\u05d5\u05e0\u05d4 1.png"
    file = {"name": name, "mimeType": "image/png", "buffer": image_bytes(250)}
    with opened(browser, app.url) as page:
        shown = page.get_by_text(name, exact=True).filter(visible=True).first
        for tab, zone in (("Review", "#image-input"), ("Gallery", "#gallery-upload")):
            open_tab(page, tab)
            page.locator(f"{zone} input[type=file]").set_input_files(file)
            expect(shown).to_be_visible()
            assert page.evaluate(UNDIRECTED, name) == []
        open_tab(page, "Log")
        expect(page.locator("#log-table tbody tr").first).to_be_visible()
        assert page.evaluate(UNDIRECTED, HOSTILE["right to left"]) == []


def test_csv_neutralizes_formulas(app: Server) -> None:
    """In CSV each text is one cell, and none starts like a formula."""
    text = httpx.get(f"{app.url}/desk/log.csv").content.decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == len(HOSTILE)
    for row in rows:
        assert row["name"] == row["note"]
        assert not row["name"].lstrip().startswith(("=", "+", "-", "@"))
    cells = {row["name"] for row in rows}
    assert all(cells & {text, f"'{text}"} for text in HOSTILE.values())


def test_json_keeps_them_unchanged(app: Server) -> None:
    """JSON Lines have one line per decision, every text unchanged."""
    lines = httpx.get(f"{app.url}/v1/corrections", params={"all": True}).text.splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["note"] for row in rows} == set(HOSTILE.values())


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_headers_and_errors_contain_no_hostile_text(app: Server, text: str) -> None:
    """A hostile path gets a JSON error, and is never copied into a header."""
    with httpx.Client(base_url=app.url) as client:
        for path in ("/v1/images/", "/desk/log."):
            response = client.get(path + quote(text, safe="")[:300])
            assert response.headers["content-type"] == "application/json"
            assert "<script" not in str(response.headers)
        refused = client.get("/desk/status", headers={"x-request-id": "<script>"})
        assert "<" not in refused.headers["x-request-id"]


def test_a_note_has_a_limit(app: Server) -> None:
    """4,000 characters are kept, 4,001 are rejected."""
    with httpx.Client(base_url=app.url) as client:
        query = urlencode({"name": "a.png", "source": "review"})
        card = client.post(f"/desk/images?{query}", content=image_bytes(99)).json()
        decision = {key: card[key] for key in ("model", "revision", "backend")}
        decision |= {"image_sha256": card["sha256"], "label": "unsure", "threshold": 0.5}
        whole = client.post("/desk/decisions", json={**decision, "nonce": "a", "note": "é" * 4_000})
        longer = client.post(
            "/desk/decisions", json={**decision, "nonce": "b", "note": "é" * 4_001}
        )
    assert whole.json()["note"] == "é" * 4_000
    assert (longer.status_code, longer.json()["error"]["kind"]) == (400, "decision")
