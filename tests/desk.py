"""A served page and a browser for the tests: the real `app.py` in a process of its own."""

import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

ROOT = Path(__file__).parent.parent
if str(ROOT) not in sys.path:  # pytest has put it there; the scripts in this folder have not
    sys.path.insert(0, str(ROOT))
START_SECONDS = 60
CHROMIUM_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@dataclass(frozen=True)
class Server:
    """A running page. `data` holds its database and pictures."""

    url: str
    data: Path
    process: subprocess.Popen[bytes]
    log: Path

    def rows(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        """What its database answers."""
        with contextlib.closing(sqlite3.connect(self.data / "review.db")) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(sql, values)]


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def serving(directory: Path, **environment: str) -> Iterator[Server]:
    """Run `app.py` with its data in a directory, until the block ends."""
    port = free_port()
    foreign = ("NSFW_", "SPACE", "HF_", "OAUTH_", "FORWARDED_")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    settings = {
        "NSFW_DATA_DIR": str(directory / "data"),
        "NSFW_PORT": str(port),
        "NSFW_MODEL": "open-nsfw",
        "NSFW_BACKEND": "torch",  # nothing to verify at each start
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(directory / "hub"),
        **environment,
    }
    log = directory / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "app.py")],
            env={**clean, **settings},
            cwd=directory,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(f"http://127.0.0.1:{port}", directory / "data", process, log)
    try:
        wait_until_served(server)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_served(server: Server) -> None:
    """Until the page answers; the server's own words when it does not."""
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{server.url}/healthz", timeout=5):
                return
        except OSError:
            if server.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(server.log.read_text()) from None
            time.sleep(0.05)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The page with the embedded model; tests share it and its database."""
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium as Debian packages it."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=CHROMIUM_FLAGS
        )
        yield chromium
        chromium.close()


@contextlib.contextmanager
def opened(
    browser: Browser, url: str, *, clock: bool = False, **context_options: Any
) -> Iterator[Page]:
    """The page in a fresh browser context, its model ready. Fails on console errors.

    With `clock`, the test may move the page's time.
    """
    context = browser.new_context(viewport={"width": 1440, "height": 900}, **context_options)
    context.set_default_timeout(15_000)

    def only_here(route: Any) -> None:
        here = route.request.url.startswith((url, "data:", "blob:"))
        route.continue_() if here else route.abort()

    context.route("**/*", only_here)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    if clock:
        page.clock.install()
    page.goto(url)
    expect(page.locator("#model-banner")).to_contain_text("Running", timeout=30_000)
    # The sliders follow the policy a moment after the banner; before, a test would be overtaken.
    expect(page.locator("#review-threshold input[type=number]")).not_to_have_value("0.5")
    yield page
    context.close()
    assert errors == []


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    """The shared server's page in a browser of its own."""
    with opened(browser, server.url) as opened_page:
        yield opened_page


def open_tab(page: Page, name: str) -> None:
    """Click a tab."""
    page.get_by_role("tab", name=name, exact=True).click()


def requests_of(page: Page) -> list[Request]:
    """Every request that leaves the page from now on."""
    seen: list[Request] = []
    page.on("request", lambda request: seen.append(request))
    return seen
