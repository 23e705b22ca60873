"""Accessibility of every tab in both themes: axe-core finds nothing, in no component."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from nsfw_app.store import Store
from tests.support.browser import open_tab, opened
from tests.support.decisions import fill
from tests.support.server import Server, serving

SAMPLES = Path(__file__).parents[2] / "nsfw_app/ui/assets/review/samples"
# The line below the tabs is a pseudo-element, which axe-core does not see through.
OPTIONS = {
    "resultTypes": ["violations"],
    "checks": {"color-contrast": {"options": {"ignorePseudo": True}}},
}
# Resolves once two frames in a row have no animation that will end: Svelte starts a transition a
# frame after it inserts an element, and a color halfway through one has no valid contrast.
STILL = """async () => {
  const frame = () => new Promise(requestAnimationFrame)
  const running = () => document.getAnimations()
    .filter((animation) => Number.isFinite(animation.effect?.getComputedTiming().endTime))
    .filter((animation) => animation.playState !== 'finished')
  for (let quiet = 0; quiet < 2; quiet = running().length ? 0 : quiet + 1) {
    await Promise.allSettled(running().map((animation) => animation.finished))
    await frame()
  }
}"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A page with the decisions of two reviewers, so that an image is in the queue."""
    directory = tmp_path_factory.mktemp("access")
    data = directory / "data"
    store = Store(data / "review.db", previews_dir=data / "images", journal_mode="wal")
    fill(store, {"bob": "xnnn.n", "ann": "xxnnx."})
    with serving(directory) as server:
        yield server


def findings(page: Page, where: str) -> list[str]:
    """The findings of axe-core once no animation runs: state of the page, rule, element."""
    page.evaluate(STILL)
    return [
        f"{where}: {violation['id']} ({violation['impact']}): {node['html'][:160]}"
        for violation in Axe().run(page, options=OPTIONS).response["violations"]
        for node in violation["nodes"]
    ]


def walk(page: Page) -> Iterator[str]:
    """Bring the page into each state; yields the name of the state once it is reached."""
    yield "Review, empty"
    page.locator("#image-input input[type=file]").set_input_files(SAMPLES / "astronaut.jpg")
    expect(page.locator("#probabilities meter").first).to_be_visible()
    yield "Review, classified"
    page.locator("#disagree").click()
    expect(page.get_by_role("button", name="Save decision")).to_be_visible()
    page.get_by_text("Partial exposure").click()
    yield "Review, disagreeing"
    page.get_by_role("button", name="Save decision").click()
    expect(page.get_by_text("Saved: nsfw")).to_be_visible()
    yield "Review, decided"
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    yield "Keys"
    page.keyboard.press("?")
    open_tab(page, "Gallery")
    yield "Gallery, empty"
    broken: Any = {"name": "broken.png", "mimeType": "image/png", "buffer": b"no image"}
    upload = page.locator("#gallery-upload input[type=file]")
    upload.set_input_files([SAMPLES / "cat.jpg", SAMPLES / "coffee.jpg"])
    expect(page.locator("#grid .card")).to_have_count(2)
    upload.set_input_files([broken])
    expect(page.locator("#grid .card")).to_have_count(3)
    card = page.locator('#grid .card[data-action="allow"]').first
    card.focus()
    page.keyboard.press("a")
    expect(card).to_have_attribute("data-decision", "agree")
    yield "Gallery, with cards"
    open_tab(page, "Queue")
    expect(page.locator("#queue-stage .preview")).to_be_visible()
    yield "Queue, with an image"
    open_tab(page, "Relabel")
    expect(page.locator("#relabel .card").first).to_be_visible()
    page.locator("#relabel .card").first.focus()
    page.keyboard.press("Shift+ArrowRight")
    yield "Relabel, with a selection"
    open_tab(page, "Insights")
    expect(page.locator("#decision-counts")).to_contain_text("Agreement between reviewers")
    page.locator(".unweighted summary").first.click()
    yield "Insights"
    open_tab(page, "Log")
    expect(page.locator("#log-table tbody tr").first).to_be_visible()
    yield "Log"
    page.locator("#log-table tbody .link").first.click()
    expect(page.locator("dialog.log-image")).to_be_visible()
    yield "Log, an image"
    page.keyboard.press("Escape")
    open_tab(page, "Model")
    expect(page.locator("#model-facts")).to_contain_text("BSD-2-Clause")
    yield "Model"
    page.get_by_role("button", name="Change the policy").click()
    expect(page.locator("#save-policy")).to_be_visible()
    yield "Model, with the policy's form"
    page.get_by_role("button", name="Viewing").click()
    expect(page.get_by_role("heading", name="Viewing")).to_be_visible()
    yield "Viewing"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_tab_in_both_themes(browser: Browser, app: Server, scheme: str) -> None:
    """No finding of any impact, in any state."""
    with opened(browser, app.url, color_scheme=scheme) as page:
        found = [finding for where in walk(page) for finding in findings(page, where)]
    assert found == []


def test_planted_faults_are_found(page: Page) -> None:
    """Low contrast and a button without a name are found, below our elements or not."""
    page.evaluate(
        """() => {
          for (const place of [document.querySelector('#topbar .region'), document.body]) {
            const button = document.createElement('button')
            const text = document.createElement('p')
            text.textContent = 'pale'
            text.style.cssText = 'color: #999; background: #aaa'
            place.append(button, text)
          }
        }"""
    )
    found = findings(page, "planted")
    for rule in ("color-contrast", "button-name"):
        assert len([finding for finding in found if rule in finding]) == 2
