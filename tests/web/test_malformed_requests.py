"""Malformed requests to every route: never a server error, always the error shape."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.routing import Mount

from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.store import Store
from tests.support.application import WebApp, open_app
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes
from tests.web.test_paths import gradio_routes, run, status_of

NAMES = """nonce image_sha256 label threshold model revision backend reasons note batch_id name
    elapsed_ms count holding order first entries answers input inputs parameters session_hash
    fn_index data event_id""".split()
VALUES = [
    *('"\\ud800"', '"\\u0000"', "1e999", "-1", '[["\\udfff"]]', '{"\\ud83d": "\\udc00"}', "null"),
    *("9" * 400, '"%s"' % ("x" * 9_000), "[]", "true"),
]
ANSWER = {
    "nonce": "n",
    "image_sha256": "0" * 64,
    "label": "nsfw",
    "threshold": 0.5,
    "model": "m",
    "revision": "r",
    "backend": "b",
    "note": "",
    "name": "",
    "batch_id": "",
}
JSON_BODIES = [
    *(b"", b"[]", b"null", b"NaN", b'"\\ud800"', b"\xff", b'"\xed\xa0\x80"', b"\xef\xbb\xbf{}"),
    *('{"a": "b"}'.encode(encoding) for encoding in ("utf-16", "utf-32")),
    *(b"{" + ", ".join(f'"{name}": {v}' for name in NAMES).encode() + b"}" for v in VALUES),
    *(json.dumps({**ANSWER, name: "\ud83d"}).encode() for name in ANSWER),
    *(json.dumps({"answers": [{**ANSWER, name: "\udc00"}]}).encode() for name in ANSWER),
    *(b'{"input": [{"type": "\\ud800"}]}', b'{"input": [{"type": "image_url"}]}'),
    b'{"input": [{"type": "image_url", "image_url": {"url": "\\ud800"}}]}',
]
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n\r\n%s\r\n'
    b"--b\r\nContent-Disposition: form-data; name=username\r\n\r\n\\ud800\r\n"
    b"--b\r\nContent-Disposition: form-data; name=password\r\n\r\n\\udfff\r\n--b--\r\n"
)
FORMS = [
    (FORM % (name, file, image_bytes(9)), f"multipart/form-data; boundary=b; charset={charset}")
    for charset in ("unicode_escape", "utf-16", "utf-7", "zlib", "idna", "\xff", "utf-8")
    for name, file in ((b"file", b"\\ud800.png"), (b"\\ud800", b"a\0b"), (b"file", b"\xff"))
]
OTHER_BODIES = [
    (b"x", "multipart/form-data"),
    (b"x", "multipart/form-data; boundary=" + "b" * 300),
    (b"username=%ed%a0%80&password=%ff", "application/x-www-form-urlencoded"),
    (b"\xed\xa0\x80=1", "application/x-www-form-urlencoded; charset=utf-16"),
    (b"{}", "application/json; charset=\xff"),
    (b"{}", ";;;=\xff"),
]
QUERIES = [
    *(b"name=%ed%a0%80&source=review", b"name=%00&source=%00&batch_id=%ff&frame=9" + b"9" * 30),
    *(b"session_hash=%ed%a0%80", b"session_hash=a&session_hash=b", b"format=csv&all=%ff", b"\xff"),
    *(b"since=%ed%a0%80&until=x&reviewer=%00&label=x", b"since=9999-12-31T23:59:59-23:59", b"%"),
    *(
        b"since=0001-01-01T00:00:00%2B23:59",
        b"page=x&deep_link=%00../x",
        b"queue=%ed",
        b"a=b&" * 999,
    ),
]
HEADERS = [
    *({"origin": "null"}, {"origin": "http://["}, {"cookie": "nsfw_review=\xff; =;;"}, {}),
    *({"authorization": "Bearer \xff"}, {"x-api-key": "\xed\xa0\x80"}, {"x-request-id": "\xff"}),
    *({"host": "x:\xff"}, {"range": "bytes=0-" + "9" * 30}, {"accept-encoding": "\xff"}),
    *({"x-forwarded-proto": "[", "x-forwarded-host": "["}, {"content-length": "9" * 30}),
    *({"content-length": "-1"}, {"if-modified-since": "\xff"}, {"accept": "text/html\xff"}),
]


@pytest.fixture(scope="module")
def web_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    """The application with users, over a fake model."""
    path = tmp_path_factory.mktemp("malformed")
    store = Store(path / "review.db", previews_dir=path / "images", journal_mode="wal")
    loader = ModelLoader("fake", lambda: Loaded(FakeClassifier()))
    loader.wait()
    engine = Engine(store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies))
    with open_app(engine, store, path) as web_app:
        yield web_app


def all_routes(app: Any) -> set[tuple[str, str]]:
    """Every method and path of the applications, and Gradio's routes that are open."""
    found = {("POST", "/gradio_api/queue/join"), ("POST", "/gradio_api/cancel")}
    found |= {("GET", "/gradio_api/queue/data"), ("POST", "/gradio_api/reset"), ("GET", "/")}
    for route in app.routes:
        if isinstance(route, Mount) and route.path in {"/desk", "/v1"}:
            found |= {(m, route.path + path) for m, path in gradio_routes(route.app.routes)}
        elif not isinstance(route, Mount):
            found |= set(gradio_routes([route]))
    return found


def malformed(method: str) -> Iterator[tuple[dict[str, str], dict[str, bytes]]]:
    """Headers and query or body of each malformed request."""
    yield from ((headers, {}) for headers in HEADERS)
    yield from (({}, {"query": query}) for query in QUERIES)
    if method == "POST":
        yield from (({}, {"body": body}) for body in JSON_BODIES)
        for body, content_type in (*FORMS, *OTHER_BODIES):
            yield {"content-type": content_type}, {"body": body}


def test_no_malformed_request_is_a_server_error(web_app: WebApp) -> None:
    """Each route with each body, query and header, as an administrator."""
    app: Any = web_app.client.app
    routes = all_routes(app)
    assert {("POST", "/desk/batches"), ("POST", "/v1/moderations"), ("POST", "/login")} <= routes
    faults: list[str] = []

    async def ask(method: str, path: str, headers: dict[str, str], sent: dict[str, bytes]) -> None:
        try:
            status = await status_of(app, method, path, headers, **sent)
            wrong = status >= 500 and status != 503
        except Exception as error:  # noqa: BLE001  # unexpected errors are what is tested
            status, wrong = repr(error), True
        if wrong:
            faults.append(f"{method} {path} {headers} {sent}"[:300] + f": {status}")

    async def ask_all() -> None:
        for method, path in sorted(routes):
            (token,) = web_app.signed_in(
                "root"
            ).cookies.values()  # one of the routes ends a session
            for headers, sent in malformed(method):
                await ask(method, path, {"cookie": f"nsfw_review={token}", **headers}, sent)

    run(ask_all)
    assert faults == []
