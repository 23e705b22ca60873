"""The page of a visitor of a Space, who may try the Review tab."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import opened
from tests.support.server import Server, serving
from tests.web.test_space import SPACE


@pytest.fixture(scope="module")
def served_space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The real page as a Space, with the embedded model."""
    environment = {**SPACE, "SYSTEM": "spaces", "NSFW_HUB_ROLES": "ann=admin"}
    with serving(tmp_path_factory.mktemp("space"), **environment) as server:
        yield server


def test_a_visitors_page(browser: Browser, served_space: Server) -> None:
    """One tab, a sign-in link, no decision buttons; a sample is classified, blurred, revealed."""
    with opened(browser, served_space.url) as page:
        expect(page.get_by_role("tab", name="Gallery")).to_be_hidden()
        tabs = page.get_by_role("tab").all_inner_texts()
        assert [name for name in tabs if name] == ["Review"]
        expect(page.get_by_role("link", name="Sign in")).to_be_visible()
        page.get_by_role("button", name="A cat").click()
        expect(page.locator("#verdict")).to_contain_text("The model calls it")
        expect(page.locator("#agree")).to_be_hidden()
        image = page.locator("#review-preview .preview")
        expect(image.locator(".placeholder")).to_be_visible()
        expect(image.locator(".real")).to_have_count(0)
        page.keyboard.down("v")
        page.wait_for_function(
            "() => document.querySelector('#review-preview .real')?.naturalWidth > 100"
        )
        page.keyboard.up("v")
        expect(image.locator(".real")).to_have_count(0)
        page.keyboard.press("a")
        expect(page.locator("#review-decision .saved")).to_contain_text("can view images")
        page.get_by_role("link", name="Sign in").click()
        expect(page.get_by_role("link", name="Sign in with Hugging Face")).to_be_visible()
    assert served_space.rows("select * from images") == []
