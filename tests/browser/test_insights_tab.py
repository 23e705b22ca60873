"""The Insights tab: what it shows before there are decisions, and then."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Route, expect

from nsfw_app.records import Label, ModelIdentity
from nsfw_app.store import Store
from tests.support.browser import intercept, open_tab, opened
from tests.support.decisions import fill
from tests.support.sample_records import SHA256, add, add_image, answer
from tests.support.server import Server, serving


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A page whose database is empty at first."""
    with serving(tmp_path_factory.mktemp("insights"), NSFW_REVIEWER="ann") as server:
        yield server


def test_the_tab_shows_what_is_missing_and_then_the_numbers(browser: Browser, app: Server) -> None:
    """From no decision to two labels: each state shows what there is and what to do next."""
    directory: Path = app.data
    store = Store(directory / "review.db", previews_dir=directory / "images", journal_mode="wal")
    with opened(browser, app.url) as page:
        insights, decisions = page.locator("#insights"), page.locator("#decision-counts")

        def preview() -> None:
            open_tab(page, "Log")
            open_tab(page, "Insights")

        preview()
        expect(insights).to_contain_text("Agree or disagree with an image")
        identity = ModelIdentity(**httpx.get(f"{app.url}/desk/status").json()["model"])
        of = {key: getattr(identity, key) for key in ("model", "revision", "backend")}
        add_image(store, sha256=SHA256, identity=identity)
        add(store.log, answer("one", Label.NSFW, **of))
        preview()
        expect(decisions).to_contain_text("no image has decisions from two reviewers")
        add(store.log, answer("two", Label.NSFW, **of), reviewer="bob")
        preview()
        expect(decisions).to_contain_text("all 1 pair of decisions about 1 image use one label")
        fill(store, {"ann": "xxnnu", "bob": "xnnnu"}, identity=identity)
        preview()
        expect(decisions).to_contain_text("Images that wait for another decision are not in it yet")
        fill(store, {"cy": ".x"}, identity=identity)
        preview()
        expect(decisions.locator(".figure")).to_contain_text(
            re.compile(r"^0\.\d{3}Krippendorff's alpha over 8 pairs of decisions about 6 images")
        )
        expect(decisions).to_contain_text("Same label: 75.0 % (6 of 8)")
        row = decisions.get_by_role("row", name="ann and bob")
        expect(row).to_contain_text(re.compile(r"0\.\d{3}683.3 % \(5 of 6\)"))
        unweighted = insights.get_by_text(f"Decisions as they came, unweighted: {identity.model}")
        expect(insights.get_by_role("row", name="Model: nsfw")).to_be_hidden()
        unweighted.click()
        expect(insights.get_by_role("row", name="Model: nsfw")).to_contain_text("3agree2differ")
        expect(insights).to_contain_text("60.0 % (3 of 5)")
        expect(insights).to_contain_text("Not counted: 1 image that reviewers are unsure")


def test_numbers_of_another_period_are_not_shown(browser: Browser, app: Server) -> None:
    """Until its answer comes nothing is under its name, nothing moves; an error can be retried."""
    held: list[Route] = []
    with opened(browser, app.url, outage=True) as page:
        period, headline = page.locator("#evidence-days"), page.locator("#evidence-headline")
        summary = page.get_by_role("region", name="Summary")
        open_tab(page, "Insights")
        expect(headline).to_contain_text("No image arrived in the last 30 days.", timeout=30_000)
        before = summary.bounding_box()
        intercept(page, "**/desk/insights?days=7*", lambda route: held.append(route))
        period.select_option("7")
        expect(summary).to_have_attribute("aria-busy", "true")
        expect(headline).to_be_hidden()
        expect(summary.get_by_text("Counting the images of this selection")).to_be_visible()
        assert summary.bounding_box() == before
        period.select_option("90")
        expect(headline).to_contain_text("in the last 90 days.")
        with page.expect_response("**/desk/insights?days=7*"):
            held[0].continue_()
        intercept(page, "**/desk/insights?days=365*", lambda route: route.abort(), times=1)
        expect(headline).to_contain_text("in the last 90 days.")
        expect(summary).to_have_attribute("aria-busy", "false")
        period.select_option("365")
        expect(summary).to_contain_text("The server cannot be reached.")
        expect(headline).to_be_hidden()
        summary.get_by_role("button", name="Try again").click()
        expect(headline).to_contain_text("in the last 365 days.")
        expect(headline).to_be_visible()
