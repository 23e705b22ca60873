"""Team defaults for viewing: set by an admin, in force for others, overruled by a choice."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import opened
from tests.support.server import serving

BLUR = "() => getComputedStyle(document.documentElement).getPropertyValue('--preview-blur')"


def open_dialog(page: Page) -> None:
    """Open the Viewing dialog."""
    page.get_by_role("button", name="Viewing").click()
    expect(page.get_by_role("heading", name="Viewing")).to_be_visible()


def test_defaults_of_the_team(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Another reviewer gets them, keeps an own choice, and returns to them; the audit has a row."""
    admin, reviewer = (tmp_path_factory.mktemp(name) for name in ("ann", "bob"))
    with (
        serving(admin, NSFW_REVIEWER="ann") as ann,
        serving(reviewer, NSFW_REVIEWER="bob", NSFW_DATA_DIR=str(ann.data)) as bob,
        opened(browser, bob.url) as other,
    ):
        with opened(browser, ann.url) as page:
            open_dialog(page)
            page.get_by_label("Blur strength").fill("30")
            page.get_by_label("Gray when revealed too").check()
            page.get_by_label("Suggest a pause").fill("25")
            page.get_by_role("button", name="Save these settings for the team").click()
            expect(page.get_by_text("Saved for the team.")).to_be_visible()
        (row,) = ann.rows("select actor, action from audit where action = 'viewing_defaults'")
        assert row["actor"] == "ann"
        assert other.evaluate(BLUR) == "14px"
        other.reload()
        other.wait_for_function(f"({BLUR})() === '30px'")
        open_dialog(other)
        dialog = other.get_by_role("dialog", name="Viewing")
        expect(dialog).to_contain_text("blur 30 px, gray while blurred, gray when revealed")
        expect(dialog).to_contain_text("a pause suggested after 25 images")
        expect(other.get_by_label("Gray when revealed too")).to_be_checked()
        other.get_by_label("Blur strength").fill("20")
        other.reload()
        other.wait_for_function(f"({BLUR})() === '20px'")
        open_dialog(other)
        expect(other.get_by_label("Gray when revealed too")).to_be_checked()
        other.get_by_role("button", name="Reset to defaults").click()
        other.wait_for_function(f"({BLUR})() === '30px'")
