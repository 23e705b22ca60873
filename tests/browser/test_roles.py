"""The page for each role, signed in by keyboard, and after the end of a session."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from nsfw_app.accounts import Accounts
from nsfw_app.rules.permissions import UserRole
from nsfw_app.store import Store
from tests.support.application import PASSWORDS
from tests.support.browser import open_tab, sign_out
from tests.support.server import Server, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The real page with a viewer, a reviewer and an admin."""
    directory = tmp_path_factory.mktemp("login")
    data = directory / "data"
    store = Store(data / "review.db", previews_dir=data / "images", journal_mode="wal")
    accounts = Accounts(store)
    for name, role in (
        ("vera", UserRole.VIEWER),
        ("ann", UserRole.REVIEWER),
        ("root", UserRole.ADMIN),
    ):
        accounts.add_user(name, PASSWORDS[name], role, actor="test")
    with serving(directory) as running:
        yield running


def enter(page: Page, server: Server, name: str) -> None:
    """Sign in by keyboard, and wait for the page."""
    page.goto(server.url)
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type(name)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORDS[name])
    page.keyboard.press("Enter")
    expect(page.locator("#model-state")).to_have_attribute("data-state", "ready", timeout=30_000)


@pytest.mark.parametrize(
    ("name", "tabs", "decides", "manages"),
    [
        ("vera", ["Review", "Gallery", "Insights", "Log", "Model"], False, False),
        ("ann", ["Review", "Gallery", "Queue", "Relabel", "Insights", "Log", "Model"], True, False),
        ("root", ["Review", "Gallery", "Queue", "Relabel", "Insights", "Log", "Model"], True, True),
    ],
)
def test_each_role_sees_its_controls(
    browser: Browser, server: Server, name: str, tabs: list[str], decides: bool, manages: bool
) -> None:
    """A viewer sees, a reviewer decides, an admin sets the policy; the bar has the username."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    errors: list[str] = []
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    enter(page, server, name)
    expect(page.locator(".topbar")).to_contain_text(name)
    expect(page.get_by_role("tab", name="Model")).to_be_visible()
    shown = [text for text in page.get_by_role("tab").all_inner_texts() if text]
    assert [text for text in shown if text in tabs] == tabs
    assert set(shown) <= set(tabs)
    if decides:
        page.get_by_role("button", name="A cat").click()
    expect(page.locator("#agree")).to_be_visible(visible=decides)
    open_tab(page, "Model")
    expect(page.locator("#model-facts")).to_contain_text("Open-NSFW")
    expect(page.locator("#policy-form")).to_be_visible(visible=manages)
    assert errors == []
    sign_out(page)
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    page.goto(server.url)
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    context.close()
    # What the page had just asked for may be refused: the session has ended.
    assert [text for text in errors if "401 (Unauthorized)" not in text] == []


def test_an_ended_session_loses_nothing(browser: Browser, server: Server) -> None:
    """After a sign-out elsewhere, a decision is not saved, with a message; the page stays."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    enter(page, server, "ann")
    page.get_by_role("button", name="A cat").click()
    expect(page.locator("#agree")).to_be_enabled()
    data = server.data
    store = Store(data / "review.db", previews_dir=data / "images", journal_mode="wal")
    store.sessions.end_all("ann", actor="test")
    page.keyboard.press("a")
    expect(page.locator("#review-decision .recent-decisions")).to_contain_text(
        "Your session has ended"
    )
    expect(page.locator("#verdict")).to_contain_text("The model calls it")
    context.close()
