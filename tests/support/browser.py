"""Chromium for the tests, and the page opened in it."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Playwright, Request, Route, expect, sync_playwright

from tests.support.server import Server

# Other sites have no address. To intercept requests would cost half a second for each page.
LOCAL_ONLY = "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    f"--host-resolver-rules={LOCAL_ONLY}",
]
TIMEOUT_MS = 15_000  # of expectations and actions: other tests use the second core
PROBE = "/desk/heartbeat?intercepted"
IS_INTERCEPTED = f"fetch('{PROBE}').then((r) => r.text()).then((text) => text === 'intercepted')"
# Once the page has this width, and observers of sizes, which run in a frame, have done their work.
RESIZED = """width => innerWidth === width &&
  new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"""
FAILED_REQUEST = "Failed to load resource"  # what the console reports in an outage

expect.set_options(timeout=TIMEOUT_MS)


@contextlib.contextmanager
def launched(playwright: Playwright) -> Iterator[Browser]:
    """Chromium as Debian packages it, without the browser's own windows, until the block ends.

    With them each context costs a second of CPU time.
    """
    chromium = playwright.chromium.launch(
        executable_path=shutil.which("chromium-headless-shell"), args=CHROMIUM_FLAGS
    )
    yield chromium
    chromium.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, for all tests."""
    with sync_playwright() as playwright, launched(playwright) as chromium:
        yield chromium


@contextlib.contextmanager
def opened(
    browser: Browser,
    url: str,
    *,
    clock: bool = False,
    outage: bool = False,
    script: str = "",
    **context_options: Any,
) -> Iterator[Page]:
    """The page in a fresh browser context, its model ready. Fails on console errors.

    With `clock`, the test controls the page's time. With `outage`, requests may fail. `script`
    runs before the page's own.
    """
    context = browser.new_context(viewport={"width": 1440, "height": 900}, **context_options)
    context.set_default_timeout(TIMEOUT_MS)
    if script:
        context.add_init_script(script)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    if clock:
        page.clock.install()
    page.goto(url)
    expect(page.locator("#model-state")).to_have_attribute("data-state", "ready", timeout=30_000)
    # The sliders follow the policy a moment after the banner.
    expect(page.locator("#review-threshold input[type=number]")).not_to_have_value("0.5")
    yield page
    context.close()
    assert [text for text in errors if not (outage and FAILED_REQUEST in text)] == []


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    """The shared server's page in its own browser context."""
    with opened(browser, server.url) as opened_page:
        yield opened_page


def open_tab(page: Page, name: str) -> None:
    """Click a tab."""
    page.get_by_role("tab", name=name, exact=True).click()


def open_policy_form(page: Page) -> None:
    """Open the Model tab, and the form in it, which moves down when the facts above it arrive."""
    open_tab(page, "Model")
    expect(page.locator("#model-facts")).to_contain_text("Policy versions")
    page.get_by_role("button", name="Change the policy").click()


def resize(page: Page, width: int, height: int) -> None:
    """Change the size of the viewport, and wait until the page has followed."""
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_function(RESIZED, arg=width)


def sign_out(page: Page) -> None:
    """Press the button of the top bar, which is in a menu where the bar is narrow."""
    button = page.locator(".auth-action button")
    expect(button).to_be_attached()
    if not button.is_visible():
        page.get_by_role("button", name="Menu").click()
    button.click()


def intercept(page: Page, pattern: str, handler: Callable[[Route], object], **options: Any) -> None:
    """Let the handler answer requests of the loaded page, from its very next request on.

    `page.route` returns before Chromium's renderer knows, whose next requests may still pass.
    """
    page.route(pattern, handler, **options)
    page.route(f"**{PROBE}", lambda route: route.fulfill(body="intercepted"))
    page.wait_for_function(IS_INTERCEPTED)


def requests_of(page: Page) -> list[Request]:
    """The requests of the page from now on, except its heartbeat."""
    seen: list[Request] = []

    def add(request: Request) -> None:
        if not request.url.endswith("/desk/heartbeat"):
            seen.append(request)

    page.on("request", add)
    return seen
