"""A server with ordinary photographs in every tab, and a walk that brings each tab on screen."""

import contextlib
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page, expect

from tests.support.browser import open_tab
from tests.support.server import ROOT, Server, serving

PHOTOGRAPHS = sorted((ROOT / "nsfw_app/models/calibration").glob("*.jpg"))
GALLERY, QUEUE, SETTLED = PHOTOGRAPHS[:18], PHOTOGRAPHS[18:40], PHOTOGRAPHS[40:52]
# Scores of ordinary photographs are low: this band puts some of them into the queue.
SETTINGS = {
    "NSFW_ANSWERS": "review=1,disagreement=1",
    "NSFW_REVIEW_FROM": "0.01",
    "NSFW_REVIEW_TO": "0.5",
    "NSFW_REVIEWER": "ann",
}


@contextlib.contextmanager
def sample_page(directory: Path) -> Iterator[Server]:
    """A running server, whose queue, log and list of misclassifications have photographs."""
    with serving(directory, **SETTINGS) as server:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            while client.get("/readyz").status_code != 200:
                pass
            for file in QUEUE:
                _send(client, file)
            for number, file in enumerate(SETTLED):
                _misclassify(client, number, file)
        yield server


def _send(client: httpx.Client, file: Path) -> dict[str, Any]:
    query = urllib.parse.urlencode({"name": file.name, "source": "gallery"})
    card: dict[str, Any] = client.post(f"/desk/images?{query}", content=file.read_bytes()).json()
    assert card["error"] is None
    return card


def _misclassify(client: httpx.Client, number: int, file: Path) -> None:
    card = _send(client, file)
    body = {key: card[key] for key in ("model", "revision", "backend", "name")}
    body |= {"image_sha256": card["sha256"], "nonce": f"n{number}", "threshold": 0.33}
    body |= {"elapsed_ms": 1_000 + 300 * number, "reasons": ["art"] if number % 2 else []}
    body |= {"label": "nsfw" if card["label"] == "normal" else "normal"}
    body |= {"note": "" if number % 3 else "Painted, not photographed."}
    response = client.post("/desk/decisions", json=body)
    assert response.status_code == 200, response.text


def walk(page: Page) -> Iterator[str]:
    """Open each tab with content in it; yields the name of the tab once it is on screen."""
    page.locator("#image-input input[type=file]").set_input_files(PHOTOGRAPHS[52])
    expect(page.locator("#probabilities meter").first).to_be_attached()
    yield "Review"
    open_tab(page, "Gallery")
    page.locator("#gallery-upload input[type=file]").set_input_files(GALLERY)
    expect(page.locator("#grid .card")).to_have_count(len(GALLERY), timeout=60_000)
    page.locator("#grid .card").first.focus()
    yield "Gallery"
    open_tab(page, "Queue")
    expect(page.locator("#queue-stage .preview")).to_be_visible()
    yield "Queue"
    open_tab(page, "Relabel")
    expect(page.locator("#relabel .card").first).to_be_visible()
    page.locator("#relabel .card").first.focus()
    yield "Relabel"
    open_tab(page, "Insights")
    expect(page.locator("#insights .insight").first).to_be_visible()
    yield "Insights"
    open_tab(page, "Log")
    expect(page.locator("#log-table tbody tr").first).to_be_visible()
    yield "Log"
    open_tab(page, "Model")
    expect(page.locator("#model-facts")).to_contain_text("BSD-2-Clause")
    yield "Model"
