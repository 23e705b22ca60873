"""Error pages: HTML for browsers that navigate or submit a form."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from nsfw_app.errors import NotSignedIn, Overloaded, TooManyRequests
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.store import Store
from tests.support.application import PASSWORDS, WebApp, open_app
from tests.support.fakes import LIMITS, FakeClassifier

HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
RIGHT = {"username": "ann", "password": PASSWORDS["ann"]}


@pytest.fixture(scope="module")
def web_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    """The application with users, shared by tests that do not change it."""
    folder = tmp_path_factory.mktemp("pages")
    store = Store(folder / "review.db", previews_dir=folder / "images", journal_mode="wal")
    loader = ModelLoader("fake", lambda: Loaded(FakeClassifier()))
    engine = Engine(store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies))
    with open_app(engine, store, folder) as web_app:
        yield web_app


def is_page(response: Response) -> bool:
    """Whether a response is an HTML error page."""
    html = response.headers["content-type"].startswith("text/html")
    return html and "login.css" in response.text and '{"' not in response.text


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/nothing", {}, 404),
        ("GET", "/login/hub", {}, 404),
        ("GET", "/login/callback?state=x&code=y", {}, 404),
        ("GET", "/logout", {}, 404),
        ("PUT", "/login", {}, 404),
        ("POST", "/login", {"data": {"username": "ann"}}, 422),
        ("POST", "/login", {"data": {**RIGHT, "password": "wrong"}}, 401),
        ("POST", "/login", {"data": RIGHT, "headers": {"origin": "http://["}}, 403),
        ("POST", "/login", {"data": RIGHT, "headers": {"origin": "https://review.test"}}, 403),
        ("POST", "/logout", {"headers": {"sec-fetch-site": "cross-site"}}, 403),
        ("GET", "/gradio_api/nothing", {"json": True}, 404),
        ("GET", "/v1/corrections", {"json": True}, 401),
    ],
)
def test_browsers_get_pages_programs_get_json(
    web_app: WebApp, method: str, path: str, options: dict, status: int
) -> None:
    """The status is the same; routes of the API always respond with JSON."""
    options = dict(options)
    always_json = options.pop("json", False)
    headers = options.pop("headers", {})
    program = web_app.anonymous().request(method, path, headers=headers, **options)
    person = web_app.anonymous().request(method, path, headers={**headers, **HTML}, **options)
    assert (program.status_code, person.status_code) == (status, status)
    sentence = program.json()["error"]["message"]
    assert is_page(person) is not always_json
    if not always_json:
        assert sentence.partition("'")[0] in person.text
        assert "no-store" in person.headers.get("cache-control", "no-store")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Overloaded("Too much to do.", retry_after_s=3), 503),
        (TooManyRequests("Too often.", retry_after_s=3), 429),
        (NotSignedIn("Not you."), 401),
        (RuntimeError("a secret"), 500),
    ],
)
def test_a_sign_in_that_fails_shows_a_page(
    web_app: WebApp, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    """Also for overload and internal errors; Retry-After is kept."""

    def fail(*args: object, **kwargs: object) -> str:
        raise error

    monkeypatch.setattr(web_app.accounts, "sign_in", fail)
    client = TestClient(
        web_app.client.app, base_url="http://review.test", raise_server_exceptions=False
    )
    page = client.post("/login", data=RIGHT, headers=HTML)
    assert page.status_code == status
    assert is_page(page)
    assert "a secret" not in page.text
    assert page.headers.get("retry-after") == ("3" if status in {429, 503} else None)


def test_an_error_page_is_escaped(web_app: WebApp) -> None:
    """Values in messages are escaped."""
    hostile = {**HTML, "origin": "http://<script>alert(1)</script>"}
    page = web_app.client.post("/login", data=RIGHT, headers=hostile)
    assert page.status_code == 403
    assert "<script" not in page.text
    assert "&lt;script&gt;" in page.text
