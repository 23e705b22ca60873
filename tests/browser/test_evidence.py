"""Evidence in Insights: from no evidence to a certificate, a policy by "Use it", and drift."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from nsfw_app.records import ModelIdentity
from nsfw_app.store import Store
from tests.browser.test_accessibility import findings
from tests.browser.test_layout import FITS, OVERLAPS
from tests.support.arrivals import SETTINGS, arrive_all, generate, review_drawn
from tests.support.browser import open_tab, opened, requests_of, resize
from tests.support.screenshots import SIZES
from tests.support.server import Server, serving

IMAGES, DRIFTED = 3_000, 400
SHIFT = 0.5  # the square root of a score is higher
PATIENCE_MS = 30_000  # scientific libraries are imported first
OPEN_ALL = """open => {
  for (const details of document.querySelectorAll('#evidence .chart details')) details.open = open
}"""
BROKEN_DATES = """() => [...document.querySelectorAll('.date')]
  .filter((cell) => {
    const range = document.createRange()
    range.selectNodeContents(cell)
    return range.getClientRects().length > 1
  })
  .map((cell) => cell.textContent)"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose database is empty, and which draws 30 % outside of the band."""
    with serving(tmp_path_factory.mktemp("evidence"), **SETTINGS) as server:
        yield server


def test_from_no_evidence_to_a_policy_to_drift(browser: Browser, app: Server) -> None:
    """A lead sees what is missing, then a certificate; adopts its numbers; is warned of drift."""
    directory: Path = app.data
    store = Store(directory / "review.db", previews_dir=directory / "images", journal_mode="wal")
    rng = np.random.default_rng(1)
    with opened(browser, app.url) as page:
        headline, result = page.locator("#evidence-headline"), page.locator("#finder-result")
        alarm, use = page.locator("#evidence-alarm"), page.locator("#finder-use")
        open_tab(page, "Insights")
        expect(headline).to_contain_text("No image arrived in the last 30", timeout=PATIENCE_MS)
        expect(result).to_be_hidden()

        running = ModelIdentity(**httpx.get(f"{app.url}/desk/status").json()["model"])
        truth = generate(rng, IMAGES)
        arrive_all(store, truth, running)
        page.locator("#evidence-days").select_option("7")
        expect(headline).to_contain_text("Of 3,000 images in the last 7 days nothing is known")
        expect(result).to_contain_text("Not yet: no image that was drawn for review")
        expect(use).to_be_disabled()

        review_drawn(store, truth, running)
        page.locator("#evidence-days").select_option("90")
        expect(headline).to_contain_text("Of 3,000 images in the last 90 days about ")
        expect(headline).to_contain_text(f"from {truth.drawn.sum():,} sampled reviews.")
        curve = httpx.get(f"{app.url}/desk/insights?days=90").json()["curve"]
        certified = sum(bound >= 0.95 for bound in curve["bounds"][1:]) / 100
        assert certified > 0.25
        statement = f"certified up to {certified:.2f} with 90 % confidence"
        expect(result).to_contain_text(f"Recall of at least 95 % is {statement}.")
        expect(alarm).to_be_hidden()
        page.get_by_text("Disagreements", exact=True).click()
        worst = page.locator(".disagreements li")
        expect(worst.first).to_contain_text("Reviewers: nsfw, model: normalScore 0.")
        page.get_by_role("button", name=re.compile(r"False alarms \(\d+\)")).click()
        expect(worst).to_have_count(24)
        expect(worst.first).to_contain_text("Reviewers: normal, model: nsfw")
        page.get_by_role("button", name="Show more").click()
        expect(worst.nth(24)).to_be_focused()
        api = page.locator("#evidence-errors").get_by_role("row", name="api")
        expect(api).to_contain_text(re.compile(rf"^api3,000{truth.drawn.sum():,}\d+\.\d % \("))
        counts = page.locator("#decision-counts")
        expect(counts).to_contain_text(f"Decisions: {truth.drawn.sum():,}, unweighted.")
        assert findings(page, "Insights, with evidence") == []
        check_layout(page)

        page.get_by_text("Audit plan", exact=True).click()
        expect(page.locator("#audit-plan")).to_contain_text("NSFW_AUDIT_PLAN=0-0.05=")
        sent = requests_of(page)
        page.locator("#finder-recall").fill("99")
        expect(result).to_contain_text(re.compile(r"Not yet: about \d,\d00 more sampled reviews"))
        page.locator("#finder-recall").fill("0.95")
        expect(page.locator("#finder-wrong")).to_contain_text("a percentage from 50 to 99.9")
        expect(result).to_have_text("Correct the targets to see what is certified.")
        expect(use).to_be_disabled()
        page.locator("#finder-recall").fill("95")
        handle = page.get_by_role("slider", name="Review from", exact=True)
        handle.focus()
        too_high = certified + 0.02
        for _ in range(round(100 * (too_high - 0.2))):
            page.keyboard.press("ArrowRight")
        expect(handle).to_have_value(f"{too_high:g}")
        expect(handle).to_have_attribute("aria-valuetext", f"{too_high:.2f}, not certified")
        expect(result).to_contain_text(f"{statement}, but not at {too_high:.2f}")
        use.click()
        dialog = page.get_by_role("dialog", name="The target is not certified at these numbers")
        dialog.get_by_role("button", name="Cancel").click()
        page.locator("#finder-reviews").fill("1")
        page.locator("#finder-propose").click()
        expect(page.locator("#finder-unmet")).to_contain_text("At most 1 reviews a day cannot")
        expect(handle).to_have_value(f"{too_high:g}")
        page.locator("#finder-reviews").fill("")
        page.locator("#finder-propose").click()
        expect(handle).to_have_value(f"{certified:g}")
        drag_line(page, certified, certified - 0.1)
        expect(handle).to_have_value(f"{certified - 0.1:g}")
        drag_line(page, certified - 0.1, certified)
        expect(handle).to_have_value(f"{certified:g}")
        page.get_by_text("Table", exact=True).first.click()
        table = page.get_by_role("region", name="Recall and precision by threshold")
        expect(table.get_by_role("row")).to_have_count(102)
        assert sent == []

        use.click()
        form = page.locator("#policy-form")
        expect(form.get_by_label("Review from")).to_have_value(f"{certified:g}")
        expect(form.get_by_label("Review to")).to_have_value("0.8")
        expect(form.get_by_label("Why")).to_have_value(
            re.compile(
                rf"^Recall of at least 95 % {statement}, from {truth.drawn.sum():,} sampled "
                r"reviews; estimated 9\d\.\d % \(.* to .*\) in the last 90 days, from \d+ reviewed "
                r"unsafe images; about [\d,]+ reviews a day\.$"
            )
        )
        effect = page.locator("#policy-effect")
        expect(effect).to_contain_text("move from review to allow")
        page.locator("#save-policy").click()
        expect(effect).to_contain_text("Saved as version 2.")

        arrive_all(store, generate(rng, DRIFTED, shift=SHIFT), running)
        open_tab(page, "Insights")
        page.locator("#evidence-days").select_option("365")
        expect(alarm).to_contain_text("The scores of recent images differ", timeout=PATIENCE_MS)
        for tab in ("Queue", "Model"):
            open_tab(page, tab)
            line = page.locator(".alarm-notice:visible")
            expect(line).to_contain_text(
                "no longer holds. The scores of recent", timeout=PATIENCE_MS
            )
        line.get_by_role("button", name="Open Insights").click()
        page.get_by_role("button", name="Refit calibration").click()
        expect(page.locator("#evidence")).to_contain_text(
            "by version 1, of 1,251 reviews, ", timeout=PATIENCE_MS
        )
        take = page.get_by_role("button", name="Take the images so far as the reference")
        take.click()
        question = page.get_by_role("dialog", name="Take the images so far as the reference?")
        page.keyboard.press("Enter")
        expect(question.get_by_label("Why")).to_be_focused()
        question.get_by_label("Why").fill("Uploads from a new app.")
        assert findings(page, "Insights, reference") == []
        page.keyboard.press("Enter")
        expect(alarm).to_be_hidden()
        expect(headline).to_be_focused()
        expect(page.locator(".drift")).to_contain_text("UTC: Uploads from a new app.")


def check_layout(page: Page) -> None:
    """With all tables open nothing is cut or covered, at any size and in each set of colors."""
    page.evaluate(OPEN_ALL, True)
    for size, viewport in SIZES.items():
        resize(page, **viewport)
        page.wait_for_function(FITS)
        assert page.evaluate(OVERLAPS) == [], size
        assert page.evaluate(BROKEN_DATES) == [], size
    resize(page, **SIZES["390x844"])
    table = page.get_by_role("region", name="Recall and precision by threshold")
    rows = table.get_by_role("row")
    table.focus()
    page.keyboard.press("End")
    expect(rows.last).to_be_in_viewport()
    assert is_in(table.get_by_role("columnheader", name="Threshold"), table)
    assert all(is_in(row, table) for row in rows.all()[-8:])
    resize(page, **SIZES["1440x900"])
    page.evaluate(OPEN_ALL, False)
    page.emulate_media(color_scheme="dark")
    expect(page.locator("body.dark")).to_be_attached()
    assert findings(page, "Insights, dark") == []
    page.emulate_media(color_scheme="light", forced_colors="active")
    assert findings(page, "Insights, forced colors") == []
    page.emulate_media(forced_colors="none")


def is_in(element: Locator, table: Locator) -> bool:
    """Whether a row or cell is whole in the part of its table that is shown."""
    inner, outer = element.bounding_box(), table.bounding_box()
    assert inner is not None
    assert outer is not None
    return outer["y"] <= inner["y"] and inner["y"] + inner["height"] <= outer["y"] + outer["height"]


def drag_line(page: Page, start: float, end: float) -> None:
    """Drag the line of the chart that is at a threshold, from 10 pixels left of it."""
    box = page.locator(".plot.draggable .u-over").bounding_box()
    assert box is not None
    height = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + start * box["width"] - 10, height)
    page.mouse.down()
    page.mouse.move(box["x"] + end * box["width"], height, steps=4)
    page.mouse.up()
