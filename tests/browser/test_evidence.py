"""Evidence in Insights: from no evidence to a certificate, a policy by "Use it", and drift."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from nsfw_app.records import ModelIdentity
from nsfw_app.store import Store
from tests.browser.test_accessibility import findings
from tests.support.browser import open_tab, opened, requests_of
from tests.support.evidence_data import SETTINGS, arrive, generate, review
from tests.support.server import Server, serving

IMAGES, DRIFTED = 3_000, 400
SHIFT = 0.5  # the square root of a score is higher
PATIENCE_MS = 30_000  # scientific libraries are imported first


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
        arrive(store, truth, running)
        page.locator("#evidence-days").select_option("7")
        expect(headline).to_contain_text("Of 3,000 images in the last 7 days nothing is known")
        expect(result).to_contain_text("Not yet: no image that was drawn for review")
        expect(use).to_be_disabled()

        review(store, truth, running)
        page.locator("#evidence-days").select_option("90")
        expect(headline).to_contain_text("Of 3,000 images in the last 90 days about ")
        expect(headline).to_contain_text(f"from {truth.drawn.sum():,} sampled reviews.")
        expect(result).to_contain_text("Recall of at least 95 % is certified up to 0.33")
        expect(alarm).to_be_hidden()
        assert findings(page, "Insights, with evidence") == []

        sent = requests_of(page)
        page.locator("#finder-recall").fill("0.99")
        expect(result).to_contain_text("Not yet: about 2,500 more sampled reviews certify")
        page.locator("#finder-recall").fill("0.95")
        handle = page.locator("#finder-review-from")
        handle.focus()
        for _ in range(15):
            page.keyboard.press("ArrowRight")
        expect(handle).to_have_value("0.35")
        expect(page.locator("#finder-threshold")).to_have_value("0.35")
        expect(result).to_contain_text("certified up to 0.33 with 90 % confidence, but not at 0.35")
        page.locator("#finder-propose").click()
        expect(handle).to_have_value("0.33")
        page.get_by_text("Table", exact=True).first.click()
        table = page.get_by_role("region", name="Recall and precision by threshold")
        expect(table.get_by_role("row")).to_have_count(102)
        assert sent == []

        use.click()
        form = page.locator("#policy-form")
        expect(form.get_by_label("Review from")).to_have_value("0.33")
        expect(form.get_by_label("Review to")).to_have_value("0.8")
        expect(form.get_by_label("Why")).to_have_value(
            "Recall of at least 95 % certified up to 0.33 with 90 % confidence, from "
            f"{truth.drawn.sum():,} sampled reviews; estimated 98.0 % (96.6 to 98.9) in the last "
            "90 days, from 388 reviewed unsafe images; about 1,149 reviews a day."
        )
        effect = page.locator("#policy-effect")
        expect(effect).to_contain_text("move from review to allow")
        page.locator("#save-policy").click()
        expect(effect).to_contain_text("Saved as version 2.")

        arrive(store, generate(rng, DRIFTED, shift=SHIFT), running)
        open_tab(page, "Insights")
        page.locator("#evidence-days").select_option("365")
        expect(alarm).to_contain_text("The scores of recent images differ")
        page.get_by_role("button", name="Refit calibration").click()
        expect(page.locator("#evidence")).to_contain_text(
            "by version 1, of 1,251 reviews, ", timeout=PATIENCE_MS
        )
