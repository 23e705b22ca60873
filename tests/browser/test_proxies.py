"""The page behind a real nginx, with the configurations of docs/deploy.md, in a real browser."""

import csv
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from gradio_client import Client, handle_file
from playwright.sync_api import Browser, BrowserContext, Page, expect

from nsfw_app.accounts import Accounts
from nsfw_app.rules.permissions import KEY_SCOPES, UserRole
from nsfw_app.store import Store
from tests.support.browser import open_tab, sign_out
from tests.support.fakes import image_bytes
from tests.support.nginx import Nginx, configurations, nginx
from tests.support.server import Server, serving

# What a script or a Gradio handler has drawn once a tab works.
TABS = {
    "Gallery": "#gallery-upload :text('Drop images')",
    "Queue": "#queue-bar :text('images waiting')",
    "Insights": "#insights :text('No decisions yet')",
    "Log": "#log-table :text('No decisions match')",
    "Model": "#model-facts :text('Open-NSFW')",
    "Review": "#image-input :text('Drop an image')",
}
PASSWORD = "a password"
SAMPLE = Path(__file__).parents[2] / "nsfw_app/ui/assets/review/samples/astronaut.jpg"
HTML = {"accept": "text/html,application/xhtml+xml"}
TRUSTED = {"FORWARDED_ALLOW_IPS": "127.0.0.1"}
# Name in docs/deploy.md: scheme, prefix, settings that it says.
DEPLOYMENTS = {
    "root": ("http", "/", {}),
    "prefix": ("http", "/review/", TRUSTED),
    "root-path": ("http", "/review/", {"NSFW_ROOT_PATH": "/review"}),
    "https": ("https", "/", TRUSTED),
}


@dataclass(frozen=True)
class Deployment:
    """A page behind nginx. `url` is its public address."""

    url: str
    nginx: Nginx
    server: Server
    key: str

    @property
    def prefix(self) -> str:
        """The path of the public address."""
        return urlsplit(self.url).path

    def client(self, **headers: str) -> httpx.Client:
        """A program that follows no redirect."""
        return httpx.Client(base_url=self.url, verify=False, headers=headers, timeout=30)


@pytest.fixture(params=DEPLOYMENTS)
def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    """The real page with an administrator and an API key, behind nginx."""
    scheme, prefix, settings = DEPLOYMENTS[request.param]
    data = tmp_path / "data"
    accounts = Accounts(Store(data / "review.db", previews_dir=data / "images", journal_mode="wal"))
    accounts.add_user("root", PASSWORD, UserRole.ADMIN, actor="test")
    key = accounts.add_key("program", KEY_SCOPES, per_minute=1_000, actor="test").key
    with ExitStack() as stack:
        server = stack.enter_context(serving(tmp_path, **settings))
        running = stack.enter_context(nginx(tmp_path, {request.param: server.url}))
        # Not 127.0.0.1, so that the host that the visitor sees is not the one behind nginx.
        url = f"{scheme}://localhost:{running.ports[request.param]}{prefix}"
        yield Deployment(url, running, server, key)


def test_every_configuration_in_the_docs_is_tested() -> None:
    """Every documented configuration is covered by these tests."""
    assert set(configurations()) == set(DEPLOYMENTS)


def test_the_page_works_behind_nginx(deployment: Deployment, browser: Browser) -> None:
    """Sign-in, tabs, slider, upload, decision, export, API and sign-out, all below the prefix."""
    context = browser.new_context(ignore_https_errors=True)
    context.set_default_timeout(15_000)
    page = context.new_page()
    requested: list[str] = []
    context.on("request", lambda request: requested.append(request.url))
    sign_in(page, deployment)
    page.goto("about:blank")  # a page that is left says that its requests were cut
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.goto(deployment.url)
    review_and_export(page, deployment)
    check_cookie(context, deployment)
    assert errors == []
    sign_out(page)
    expect(page.get_by_label("Password")).to_be_visible()
    # What the page had just asked for may be refused: the session has ended.
    assert [text for text in errors if "401 (Unauthorized)" not in text] == []
    context.close()
    outside = [
        url
        for url in requested
        if not url.startswith((deployment.url, "data:", "blob:")) and url != deployment.url
    ]
    assert outside == []
    check_programs(deployment)
    check_pages_for_people(deployment)
    # Also what a browser's own features ask for, such as icons, reached nginx below the prefix.
    assert [
        path for path in deployment.nginx.paths() if not path.startswith(deployment.prefix)
    ] == []


def sign_in(page: Page, deployment: Deployment) -> None:
    """Open the sign-in, submit a wrong password, then sign in."""
    page.goto(deployment.url)
    assert page.url == urljoin(deployment.url, "login")
    for password in ("wrong", PASSWORD):
        page.get_by_label("Name").fill("root")
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        if password == "wrong":
            expect(page.get_by_role("alert")).to_have_text("Incorrect username or password.")
    expect(page.locator("#model-state")).to_have_attribute("data-state", "ready", timeout=30_000)
    assert page.url == deployment.url


def review_and_export(page: Page, deployment: Deployment) -> None:
    """Open every tab, classify an image, reveal it, agree, and export the log."""
    expect(page.locator("#model-state")).to_have_attribute("data-state", "ready", timeout=30_000)
    expect(page.locator("#review-threshold input[type=number]")).not_to_have_value("0.5")
    for name, drawn in TABS.items():
        open_tab(page, name)
        expect(page.locator(drawn).first).to_be_visible()
    page.locator("#image-input input[type=file]").set_input_files(SAMPLE)
    expect(page.locator("#probabilities")).to_contain_text("0.0")
    page.keyboard.down("v")
    page.wait_for_function(
        "() => document.querySelector('#review-preview .real')?.naturalWidth > 100"
    )
    page.keyboard.up("v")
    page.locator("#review-threshold input[type=range]").fill("0.01")
    expect(page.locator("#verdict")).to_contain_text("nsfw")
    page.locator("#agree").click()
    expect(page.locator("#review-decision .saved")).to_contain_text("Saved: nsfw")
    open_tab(page, "Log")
    expect(page.locator("#log-table tbody tr").first).to_be_visible()
    with page.expect_download() as download:
        page.locator("#export-csv").click()
    with download.value.path().open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["reviewer"], row["reviewer_label"]) == ("root", "nsfw")


def check_cookie(context: BrowserContext, deployment: Deployment) -> None:
    """The session cookie has the page's path, and Secure over HTTPS."""
    (cookie,) = context.cookies(deployment.url)
    assert cookie["path"] == (deployment.prefix.rstrip("/") or "/")
    assert cookie["secure"] == deployment.url.startswith("https")


def check_programs(deployment: Deployment) -> None:
    """An API key works for the REST API and for gradio_client."""
    with deployment.client(authorization=f"Bearer {deployment.key}") as client:
        scores = client.post("v1/image-classification", content=image_bytes(9)).json()
        assert {score["label"] for score in scores} == {"normal", "nsfw"}
        assert len(client.get("v1/corrections?all=true").text.splitlines()) == 1
        document = client.get("v1/openapi.json").json()
        assert document["servers"] == [{"url": f"{deployment.prefix}v1"}]
    if deployment.url.startswith("https"):
        return  # gradio_client cannot accept the self-signed certificate
    gradio = Client(
        deployment.url, headers={"Authorization": f"Bearer {deployment.key}"}, verbose=False
    )
    assert gradio.predict(handle_file(SAMPLE), api_name="/classify")["error"] is None


def check_pages_for_people(deployment: Deployment) -> None:
    """Redirects stay below the prefix, and errors are pages."""
    elsewhere = {"origin": "https://elsewhere.test"}
    with deployment.client(**HTML) as client:
        form = {"username": "root", "password": PASSWORD}
        for response in (client.get(""), client.post("login", data=form), client.post("logout")):
            assert response.status_code == 303
            target = urljoin(str(response.url), response.headers["location"])
            assert urlsplit(target).path.startswith(deployment.prefix)
        for status, response in (
            (401, client.post("login", data={**form, "password": "wrong"})),
            (403, client.post("login", data=form, headers=elsewhere)),
            (404, client.get("nothing")),
            (404, client.get("login/callback")),
            (422, client.post("login", data={"username": "root"})),
        ):
            assert response.status_code == status
            assert response.headers["content-type"].startswith("text/html")
            assert f'href="{deployment.prefix}desk/assets/shared/login.css"' in response.text
