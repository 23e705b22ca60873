"""A page without users serves this machine only, and no reverse proxy opens it to others."""

import http.client
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.requests import HTTPConnection

from nsfw_app import settings
from nsfw_app.accounts import Accounts
from nsfw_app.errors import Forbidden
from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import Permission, UserRole
from nsfw_app.store import Store
from nsfw_app.web.auth.callers import Callers
from nsfw_app.web.http.forwarding import ProxyInfo
from tests.support.application import PASSWORDS, WebApp, open_app, open_app_in, served
from tests.support.fakes import image_bytes
from tests.support.nginx import nginx

HTML = {"accept": "text/html"}
ADVICE = "python -m nsfw_app users add NAME --role admin"
PASSED_ON = frozenset({"host", "accept", "user-agent", "origin", "referer", "sec-fetch-site"})


@pytest.fixture
def web_app(engine: Engine, store: Store, tmp_path: Path) -> Iterator[WebApp]:
    """The application without users."""
    with open_app(engine, store, tmp_path, roles={}) as web_app:
        yield web_app


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    """The same for tests that change nothing."""
    with open_app_in(tmp_path_factory.mktemp("local"), roles={}) as (web_app, _):
        web_app.client.base_url = "http://127.0.0.1"
        yield web_app


def test_keys_are_listed_and_no_sessions(web_app: WebApp) -> None:
    """There is no sign-in, so there is no session; programs may have keys."""
    web_app.with_key(Permission.METRICS)
    assert web_app.client.get("/desk/sessions").json() == []
    assert [key["name"] for key in web_app.client.get("/desk/keys").json()] == ["key0"]


@pytest.fixture
def callers(store: Store) -> Callers:
    """Callers without users."""
    return Callers(settings.load(), Accounts(store))


@pytest.mark.parametrize(
    ("headers", "sign"),
    [
        ({"x-forwarded-for": "127.0.0.1"}, "header X-Forwarded-For"),
        ({"x-forwarded-proto": "https"}, "header X-Forwarded-Proto"),
        ({"x-forwarded-host": "review.test"}, "header X-Forwarded-Host"),
        ({"x-forwarded-prefix": "/review"}, "header X-Forwarded-Prefix"),
        ({"x-forwarded-server": "proxy"}, "header X-Forwarded-Server"),
        ({"x-real-ip": "127.0.0.1"}, "header X-Real-Ip"),
        ({"forwarded": "for=127.0.0.1"}, "header Forwarded"),
        ({"via": "1.1 proxy"}, "header Via"),
        ({"cf-connecting-ip": "203.0.113.9"}, "header Cf-Connecting-Ip"),
        ({"referer": "http://review.test/"}, "Referer names review.test"),
        (
            {"referer": "https://review.test/x", "sec-fetch-site": "same-origin"},
            "Referer names review.test",
        ),
        (
            {"origin": "https://review.test", "sec-fetch-site": "same-origin"},
            "Origin names review.test",
        ),
    ],
)
def test_a_request_through_a_proxy_is_rejected(
    callers: Callers, headers: dict[str, str], sign: str
) -> None:
    """The message has the sign of the proxy and what to do."""
    with pytest.raises(Forbidden, match="has no users") as refused:
        callers.identify(connection(headers))
    assert f"({sign})" in str(refused.value)
    assert ADVICE in str(refused.value)


@pytest.mark.parametrize(
    "name",
    """CF-Ray CF-Connecting-IP X-Envoy-External-Address X-Azure-ClientIP X-Forwarded Forwarded Via
    X-Forwarded-Port X-Amzn-Trace-Id Fly-Client-IP X-AppEngine-User-IP True-Client-IP
    X-Real-IP""".split(),
)
def test_every_common_proxy_header_is_rejected(local: WebApp, name: str) -> None:
    """Over HTTP/1.1 a single header is enough to recognize a proxy or a platform."""
    assert local.client.get("/desk/status").status_code == 200
    refused = local.client.get("/desk/status", headers={name: "203.0.113.9"})
    assert (refused.status_code, refused.json()["error"]["kind"]) == (403, "forbidden")
    assert f"header {name.title()}" in refused.json()["error"]["message"]


def connection(headers: dict[str, str]) -> HTTPConnection:
    """A request after `Forwarding` that received these headers."""
    forwarding = tuple(name for name in headers if name not in PASSED_ON)
    return HTTPConnection(
        {
            "type": "http",
            "scheme": "http",
            "http_version": "1.1",
            "path": "/",
            "headers": [
                (name.encode(), value.encode())
                for name, value in {"host": "127.0.0.1:7860", **headers}.items()
            ],
            "state": {"proxy": ProxyInfo(headers=forwarding)},
        }
    )


def test_a_trusted_proxy_is_rejected_too(engine: Engine, store: Store, tmp_path: Path) -> None:
    """Requests through a trusted proxy are not the local reviewer's."""
    chosen = {"FORWARDED_ALLOW_IPS": "*"}
    with open_app(engine, store, tmp_path, roles={}, **chosen) as web_app:
        sent = {"x-forwarded-for": "127.0.0.1", "x-forwarded-host": "127.0.0.1"}
        assert web_app.client.get("/desk/status").status_code == 200
        refused = web_app.client.get("/desk/status", headers=sent)
        assert refused.status_code == 403
        assert ADVICE in refused.json()["error"]["message"]
        page = web_app.client.get("/", headers={**sent, **HTML})
        assert page.headers["content-type"].startswith("text/html")
        assert ADVICE in page.text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "localhost:7860"},
        {"accept": "*/*", "user-agent": "curl/8.0"},
        {"origin": "http://127.0.0.1:7860", "sec-fetch-site": "same-origin"},
        {"referer": "http://localhost:7860/?__theme=dark", "sec-fetch-site": "same-origin"},
        {"origin": "http://localhost:5173", "sec-fetch-site": "same-origin"},
        {"referer": "https://docs.test/start", "sec-fetch-site": "cross-site"},
    ],
)
def test_this_machine_is_served(callers: Callers, headers: dict[str, str]) -> None:
    """Browsers, curl, local development servers, and links from other sites work."""
    assert callers.identify(connection(headers)).may(Permission.MANAGE)


def test_http_1_0_is_what_a_default_nginx_speaks(web_app: WebApp) -> None:
    """Without other signs, HTTP/1.0 is the sign of a proxy."""
    with served(web_app.client.app) as url:
        statuses = []
        for version in (11, 10):
            connection = http.client.HTTPConnection(url.removeprefix("http://"))
            connection._http_vsn = version
            connection._http_vsn_str = f"HTTP/{version // 10}.{version % 10}"
            connection.request("GET", "/desk/status")
            statuses.append(connection.getresponse().status)
            connection.close()
    assert statuses == [200, 403]


def test_behind_nginx_a_user_is_required(web_app: WebApp, tmp_path: Path) -> None:
    """With nginx's defaults requests are rejected; with a user, a sign-in is required."""
    with (
        served(web_app.client.app) as url,
        nginx(tmp_path, {"root": url}) as running,
        httpx.Client(base_url=f"http://127.0.0.1:{running.ports['root']}") as client,
    ):
        for path in ("/", "/desk/status", "/config", "/desk/log.csv"):
            assert client.get(path).status_code == 403
        refused = client.get("/", headers=HTML)
        assert refused.headers["content-type"].startswith("text/html")
        assert ADVICE in refused.text
        assert httpx.get(f"{url}/desk/status").status_code == 200
        web_app.accounts.add_user("ann", PASSWORDS["ann"], UserRole.ADMIN, actor="test")
        assert client.get("/", headers=HTML).headers["location"] == "/login"
        right = {"username": "ann", "password": PASSWORDS["ann"]}
        assert client.post("/login", data=right).json() == {"success": True}
        assert client.get("/desk/status").status_code == 200


def test_a_key_needs_no_user(web_app: WebApp) -> None:
    """An API key authenticates a program also through a proxy."""
    program = web_app.with_key(Permission.CLASSIFY)
    program.headers["x-forwarded-for"] = "203.0.113.9"
    sent = program.post("/v1/image-classification", content=image_bytes(9))
    assert sent.status_code == 200


def test_another_host_name_is_rejected(web_app: WebApp) -> None:
    """Another host name gets 400 with what to do."""
    refused = web_app.client.get("/desk/status", headers={"host": "review.test"})
    assert refused.status_code == 400
    message = refused.json()["error"]["message"]
    assert "Host 'review.test' is not allowed" in message
    assert ADVICE in message
