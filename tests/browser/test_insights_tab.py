"""The Insights tab: what it shows before there are decisions, and then."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from nsfw_app.records import Label
from nsfw_app.store import Store
from tests.support.browser import open_tab, opened
from tests.support.decisions import fill
from tests.support.sample_records import FAKE, SHA256, add, add_image, answer
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
        insights = page.locator("#insights")

        def preview() -> None:
            open_tab(page, "Log")
            open_tab(page, "Insights")

        preview()
        expect(insights).to_contain_text("Agree or disagree with an image")
        add_image(store, sha256=SHA256)
        add(store.log, answer("one", Label.NSFW))
        preview()
        expect(insights).to_contain_text("no image has decisions from two reviewers")
        add(store.log, answer("two", Label.NSFW), reviewer="bob")
        preview()
        expect(insights).to_contain_text("all 1 pair of decisions about 1 image use one label")
        fill(store, {"ann": "xxnn", "bob": "xnnn"}, identity=FAKE)
        preview()
        expect(insights.locator(".figure")).to_contain_text(
            re.compile(r"^0\.\d{3}Krippendorff's alpha over 5 pairs of decisions about 5 images")
        )
        expect(insights).to_contain_text("Same label: 80.0 % (4 of 5)")
        row = insights.get_by_role("row", name="ann and bob")
        expect(row).to_contain_text(re.compile(r"0\.\d{3}580\.0 % \(4 of 5\)"))
        expect(insights.get_by_role("row", name="Model: nsfw")).to_contain_text("2agree2differ")
        expect(insights).to_contain_text("50.0 % (2 of 4)")
        expect(insights).to_contain_text("Not counted: 1 image that reviewers are unsure")
