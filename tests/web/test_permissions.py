"""Permissions: the status of every route for every kind of caller.

The routes are read from the running application, Gradio's included, so that a new route without
an expectation fails here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from httpx2 import Response
from pydantic import ValidationError
from starlette.routing import Mount, Route

from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.rules.permissions import KEY_SCOPES, Permission
from nsfw_app.store import Store
from nsfw_app.web.page.decisions import BatchBody
from tests.support.application import WebApp, add, answer_to, open_app
from tests.support.fakes import LIMITS, ExplainableClassifier, corner_image, image_bytes

CALLERS = ("anonymous", "viewer", "reviewer", "other reviewer", "admin", "key without scope")
Names = tuple[str, str]  # method and path


def routes_of(routes: Any, prefix: str = "") -> Iterator[Names]:
    """Every method and path of an application, including mounted applications."""
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from routes_of(included.routes, prefix + route.include_context.prefix)
        elif isinstance(route, Mount):
            if route.routes:
                yield from routes_of(route.routes, prefix + route.path)
            else:  # files
                yield "GET", f"{prefix}{route.path}/{{path}}"
        elif isinstance(route, (APIRoute, Route)):
            for method in sorted(route.methods or ()):
                yield method, prefix + route.path


@dataclass(frozen=True)
class Expected:
    """A request to a route, and the expected status of each caller, in the order of `CALLERS`.

    `keys`: the scopes with which an API key may call it.
    """

    statuses: tuple[int, ...]
    send: Callable[[TestClient, "Scene"], Response]
    keys: frozenset[Permission] = frozenset()


@dataclass(frozen=True)
class Scene:
    """Subjects of the requests: ann's image, one in the queue, her decision, a submission."""

    blocked: dict[str, Any]
    waiting: dict[str, Any]
    decision: dict[str, Any]
    submission: str


def get(path: str) -> Callable[[TestClient, Scene], Response]:
    """A GET request; the path may refer to values of the scene."""
    return lambda client, scene: client.get(
        path.format(scene=scene), follow_redirects=False, headers={"accept": "*/*"}
    )


def post(path: str, **body: Any) -> Callable[[TestClient, Scene], Response]:
    """A POST request."""
    return lambda client, scene: client.post(
        path.format(scene=scene), follow_redirects=False, **body
    )


def decide(path: str) -> Callable[[TestClient, Scene], Response]:
    """A decision about the queued image."""
    return lambda client, scene: client.post(
        path, json=answer_to(scene.waiting, nonce=uuid4().hex, label="unsure")
    )


def decide_batch(client: TestClient, scene: Scene) -> Response:
    """A batch with one decision."""
    answers = [answer_to(scene.waiting, nonce=uuid4().hex, label="unsure")]
    return client.post("/desk/batches", json={"answers": answers})


def second_opinion(client: TestClient, scene: Scene) -> Response:
    """Request a second opinion about the queued image."""
    return client.post("/desk/queue/second-opinion", json=prediction_of(scene.waiting))


def withdraw(client: TestClient, scene: Scene) -> Response:
    """Withdraw such a request, that was never made."""
    return client.post("/desk/queue/second-opinion/withdraw", json=prediction_of(scene.waiting))


def prediction_of(card: dict[str, Any]) -> dict[str, str]:
    """JSON that names a card's prediction."""
    names = ("model", "revision", "backend")
    return {"image_sha256": card["sha256"], **{name: card[name] for name in names}}


def sign_in(client: TestClient, scene: Scene) -> Response:
    """A sign-in with an unknown name."""
    return client.post("/login", data={"username": uuid4().hex, "password": "no password"})


def classified(client: TestClient, _: Scene) -> Response:
    """Classify an image like a Hugging Face client."""
    return client.post("/v1/image-classification", content=image_bytes(9))


IMAGE = {"files": [("file", ("a.png", image_bytes(9), "image/png"))]}
PNG = {"content": image_bytes(9)}
UNDO = {"json": {"nonce": "undo"}}

EVERYONE = (200,) * 6
PEOPLE = (401, 200, 200, 200, 200, 403)
REVIEWERS = (401, 403, 200, 200, 200, 403)
ADMINS = (401, 403, 403, 403, 200, 403)
OWN = (401, 404, 200, 404, 200, 403)  # visible to its owner ann, and to admins
QUEUED = (401, 404, 200, 200, 200, 403)  # also to every reviewer while it is queued
C, Q, E, M = ({scope} for scope in KEY_SCOPES)

# With a provider only.
HUB = {("GET", f"/login/{name}") for name in ("hub", "provider", "callback")}
APP_ROUTES: dict[Names, Expected] = {
    ("GET", "/healthz"): Expected(EVERYONE, get("/healthz")),
    ("GET", "/readyz"): Expected(EVERYONE, get("/readyz")),
    ("GET", "/metrics"): Expected(ADMINS, get("/metrics"), frozenset(M)),
    ("GET", "/login"): Expected(EVERYONE, get("/login")),
    ("GET", "/favicon.ico"): Expected(EVERYONE, get("/favicon.ico")),
    ("GET", "/robots.txt"): Expected(EVERYONE, get("/robots.txt")),
    ("POST", "/login"): Expected((401,) * 6, sign_in),
    ("POST", "/logout"): Expected((401, 303, 303, 303, 303, 303), post("/logout")),
    ("GET", "/desk/assets/{path}"): Expected(EVERYONE, get("/desk/assets/gallery/grid.js")),
    ("GET", "/desk/status"): Expected(PEOPLE, get("/desk/status")),
    ("GET", "/desk/heartbeat"): Expected(PEOPLE, get("/desk/heartbeat")),
    ("POST", "/desk/images"): Expected(
        PEOPLE, post("/desk/images?name=a.png&source=review", **PNG)
    ),
    ("POST", "/desk/pictures"): Expected(PEOPLE, post("/desk/pictures?name=a.png", **PNG)),
    ("GET", "/desk/images/{sha256}/picture"): Expected(
        OWN, get("/desk/images/{scene.blocked[sha256]}/picture")
    ),
    ("GET", "/desk/images/{sha256}/thumbnail"): Expected(
        QUEUED, get("/desk/images/{scene.waiting[sha256]}/thumbnail")
    ),
    ("POST", "/desk/images/{sha256}/explanation"): Expected(
        QUEUED,
        lambda client, scene: client.post(
            f"/desk/images/{scene.waiting['sha256']}/explanation", json=prediction_of(scene.waiting)
        ),
    ),
    ("GET", "/desk/explanations/{request_id}"): Expected(
        (401, 404, 404, 404, 404, 403), get("/desk/explanations/none")
    ),
    ("DELETE", "/desk/explanations/{request_id}"): Expected(
        (401, 404, 404, 404, 404, 403),
        lambda client, _: client.delete("/desk/explanations/none"),
    ),
    ("POST", "/desk/images/{sha256}/unrestrict"): Expected(
        (401, 403, 403, 403, 404, 403), post("/desk/images/{scene.waiting[sha256]}/unrestrict")
    ),
    ("GET", "/desk/gallery/batches"): Expected(PEOPLE, get("/desk/gallery/batches")),
    ("GET", "/desk/gallery/batches/{batch_id}"): Expected(
        (401, 404, 404, 404, 404, 403), get("/desk/gallery/batches/none")
    ),
    ("GET", "/desk/recent"): Expected(REVIEWERS, get("/desk/recent")),
    ("POST", "/desk/decisions"): Expected(REVIEWERS, decide("/desk/decisions")),
    ("POST", "/desk/decisions/{decision_id}/undo"): Expected(
        (401, 403, 200, 404, 404, 403),
        post("/desk/decisions/{scene.decision[decision_id]}/undo", **UNDO),
    ),
    ("GET", "/desk/log"): Expected(PEOPLE, get("/desk/log")),
    ("GET", "/desk/log/choices"): Expected(PEOPLE, get("/desk/log/choices")),
    ("GET", "/desk/calibrations"): Expected(PEOPLE, get("/desk/calibrations")),
    ("POST", "/desk/calibrations"): Expected(
        (401, 403, 403, 403, 409, 403), post("/desk/calibrations")
    ),
    ("GET", "/desk/insights"): Expected(PEOPLE, get("/desk/insights")),
    ("GET", "/desk/insights/alarms"): Expected(PEOPLE, get("/desk/insights/alarms")),
    ("POST", "/desk/insights/reference"): Expected(
        (401, 403, 403, 403, 409, 403), post("/desk/insights/reference", json={"reason": "test"})
    ),
    ("GET", "/desk/insights/decisions"): Expected(PEOPLE, get("/desk/insights/decisions")),
    ("GET", "/desk/insights/disagreements"): Expected(PEOPLE, get("/desk/insights/disagreements")),
    ("GET", "/desk/insights/audit-plan"): Expected(PEOPLE, get("/desk/insights/audit-plan")),
    ("POST", "/desk/viewing-defaults"): Expected(ADMINS, post("/desk/viewing-defaults", json={})),
    ("POST", "/desk/reviewing"): Expected(ADMINS, post("/desk/reviewing", json={"reviews": True})),
    ("GET", "/desk/sessions"): Expected(PEOPLE, get("/desk/sessions")),
    ("POST", "/desk/sessions/revoke"): Expected(  # of a session that there is not
        (401, 400, 400, 400, 400, 403), post("/desk/sessions/revoke", json={"id": "none"})
    ),
    ("GET", "/desk/keys"): Expected(ADMINS, get("/desk/keys")),
    ("POST", "/desk/keys/revoke"): Expected(  # of a key that there is not
        (401, 403, 403, 403, 400, 403), post("/desk/keys/revoke", json={"name": "none"})
    ),
    ("GET", "/desk/log.{file_format}"): Expected(REVIEWERS, get("/desk/log.jsonl"), frozenset(E)),
    ("GET", "/desk/queue"): Expected(REVIEWERS, get("/desk/queue")),
    ("POST", "/desk/queue/claim"): Expected(REVIEWERS, post("/desk/queue/claim", json={})),
    ("POST", "/desk/queue/renew"): Expected(
        REVIEWERS, post("/desk/queue/renew", json={"entries": []})
    ),
    ("POST", "/desk/queue/release"): Expected(
        REVIEWERS, post("/desk/queue/release", json={"entries": [1, 2]})
    ),
    ("POST", "/desk/queue/{entry_id}/skip"): Expected(
        REVIEWERS, post("/desk/queue/99999/skip", json={})
    ),
    ("POST", "/desk/queue/entries/{entry_id}/unskip"): Expected(
        (401, 403, 404, 404, 404, 403), post("/desk/queue/entries/99999/unskip", json={})
    ),
    ("GET", "/desk/queue/summary"): Expected(REVIEWERS, get("/desk/queue/summary")),
    ("GET", "/desk/queue/leases"): Expected(ADMINS, get("/desk/queue/leases")),
    ("POST", "/desk/queue/leases/{entry_id}/release"): Expected(
        (401, 403, 403, 403, 404, 403), post("/desk/queue/leases/99999/release", json={})
    ),
    ("POST", "/desk/queue/second-opinion"): Expected(REVIEWERS, second_opinion),
    ("POST", "/desk/queue/second-opinion/withdraw"): Expected(
        (401, 403, 404, 404, 404, 403), withdraw
    ),
    ("POST", "/desk/batches"): Expected(REVIEWERS, decide_batch),
    ("POST", "/desk/batches/{batch_id}/undo"): Expected(
        (401, 403, 404, 404, 404, 403), post("/desk/batches/none/undo", **UNDO)
    ),
    ("GET", "/desk/training"): Expected(REVIEWERS, get("/desk/training")),
    ("GET", "/desk/training/left-out"): Expected(
        REVIEWERS, get("/desk/training/left-out"), frozenset(E)
    ),
    ("POST", "/desk/training/{prediction_id}"): Expected(
        (401, 403, 404, 404, 404, 403),
        post("/desk/training/999", json={"label": None}),
    ),
    ("POST", "/desk/training/{prediction_id}/withdraw"): Expected(
        (401, 403, 404, 404, 404, 403), post("/desk/training/999/withdraw")
    ),
    ("GET", "/desk/training/labels.jsonl"): Expected(
        REVIEWERS, get("/desk/training/labels.jsonl"), frozenset(E)
    ),
    ("GET", "/v1/openapi.json"): Expected((401, 200, 200, 200, 200, 200), get("/v1/openapi.json")),
    ("POST", "/v1/moderations"): Expected(
        (401, 400, 400, 400, 400, 403),
        post("/v1/moderations", json={"input": "a text"}),
        frozenset(C),
    ),
    ("POST", "/v1/image-classification"): Expected(PEOPLE, classified, frozenset(C)),
    ("POST", "/v1/explain"): Expected(
        PEOPLE, post("/v1/explain", content=corner_image()), frozenset(C)
    ),
    ("POST", "/v1/gate"): Expected(
        (401, 204, 204, 204, 204, 403), post("/v1/gate", **PNG), frozenset(C | Q)
    ),
    ("POST", "/v1/images"): Expected(PEOPLE, post("/v1/images", **IMAGE), frozenset(C)),
    ("GET", "/v1/images/{submission_id}"): Expected(
        (401, 403, 404, 404, 200, 403), get("/v1/images/{scene.submission}"), frozenset(Q)
    ),
    ("GET", "/v1/corrections"): Expected(REVIEWERS, get("/v1/corrections"), frozenset(E)),
    ("GET", "/v1/insights"): Expected(REVIEWERS, get("/v1/insights"), frozenset(E)),
    ("POST", "/gradio_api/upload"): Expected(
        PEOPLE, post("/gradio_api/upload", **IMAGE), frozenset(C)
    ),
}

OUR_PREFIXES = ("/desk/", "/v1/", "/healthz", "/readyz", "/metrics")
# Gradio's routes that the page or gradio_client needs, with the path of the test request.
NEEDED: dict[Names, str] = {
    **{
        ("GET", path): path
        for path in ("/", "/config", "/config/", "/theme.css", "/manifest.json", "/pwa_icon",
                     "/gradio_api/info", "/gradio_api/info/",
                     "/gradio_api/startup-events", "/gradio_api/theme.css", "/gradio_api/app_id",
                     "/gradio_api/app_id/")
    },
    ("GET", "/pwa_icon/{size}"): "/pwa_icon/512",
    ("GET", "/assets/{path:path}"): "/assets/none.js",
    ("GET", "/static/{path:path}"): "/static/none.js",
    ("GET", "/svelte/{path:path}"): "/svelte/none.js",
    ("POST", "/gradio_api/queue/join"): "/gradio_api/queue/join",
    ("POST", "/gradio_api/cancel"): "/gradio_api/cancel",
    ("POST", "/gradio_api/reset"): "/gradio_api/reset",
    ("POST", "/gradio_api/reset/"): "/gradio_api/reset/",
}  # fmt: skip
STREAM = ("GET", "/gradio_api/queue/data")
SILENCED = "/gradio_api/heartbeat/"  # the response is empty and immediate


@pytest.fixture(scope="module")
def web_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    """The application with users and a fake model."""
    folder = tmp_path_factory.mktemp("routes")
    store = Store(folder / "review.db", previews_dir=folder / "images", journal_mode="wal")
    loader = ModelLoader("fake", lambda: Loaded(ExplainableClassifier()))
    loader.wait()
    engine = Engine(store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies))
    with open_app(engine, store, folder) as web_app:
        yield web_app


@pytest.fixture
def callers(web_app: WebApp) -> dict[str, TestClient]:
    """A caller of each kind, and one per scope of API keys."""
    people = {"viewer": "vera", "reviewer": "ann", "other reviewer": "bob", "admin": "root"}
    return {
        "anonymous": web_app.anonymous(),
        **{kind: web_app.signed_in(name) for kind, name in people.items()},
        "key without scope": web_app.with_key(Permission.METRICS),
        **{f"key {scope}": web_app.with_key(scope) for scope in KEY_SCOPES},
    }


@pytest.fixture(scope="module")
def names(web_app: WebApp) -> set[Names]:
    """Every route of the application as it is served."""
    return set(routes_of(web_app.client.app.routes))


numbers = count(1)


@pytest.fixture
def scene(web_app: WebApp) -> Scene:
    """Ann has uploaded a blocked image and one to review, and decided about a third."""
    ann = web_app.signed_in("ann")
    size = (40, next(numbers))  # other bytes each time
    decided = add(ann, 251, size=size)
    body = answer_to(decided, label="normal", nonce=f"scene-{size}")
    decision = ann.post("/desk/decisions", json=body).json()
    program = web_app.with_key(Permission.QUEUE)
    files = {"file": ("b.png", image_bytes(151, size=size), "image/png")}
    submitted = program.post("/v1/images", params={"queue": "true"}, files=files).json()
    return Scene(
        blocked=add(ann, 250, size=size),
        waiting=add(ann, 150, size=size),
        decision=decision,
        submission=submitted["images"][0]["id"],
    )


def test_every_own_route_has_an_expectation(names: set[Names]) -> None:
    """And every expectation has a route."""
    ours = {name for name in names if name[1].startswith(OUR_PREFIXES) and name[0] != "HEAD"}
    assert ours == {name for name in APP_ROUTES if name[1].startswith(OUR_PREFIXES)}
    assert set(APP_ROUTES) <= names


@pytest.mark.parametrize("name", APP_ROUTES, ids=" ".join)
def test_own_routes(callers: dict[str, TestClient], scene: Scene, name: Names) -> None:
    """Each kind of caller gets the expected status."""
    expected = APP_ROUTES[name]
    got = {caller: expected.send(callers[caller], scene).status_code for caller in CALLERS}
    wanted = dict(zip(CALLERS, expected.statuses, strict=True))
    if Permission.METRICS in expected.keys:
        wanted["key without scope"] = 200
    assert got == wanted


@pytest.mark.parametrize("name", APP_ROUTES, ids=" ".join)
def test_own_routes_by_scope(callers: dict[str, TestClient], scene: Scene, name: Names) -> None:
    """A key may call the routes of its scopes only."""
    expected = APP_ROUTES[name]
    for scope in KEY_SCOPES:
        status = expected.send(callers[f"key {scope}"], scene).status_code
        refused = status == 403
        public = expected.statuses[0] != 401 or name == ("POST", "/login")
        signed_in = name in {("POST", "/logout"), ("GET", "/v1/openapi.json")}
        assert refused is not (scope in expected.keys or public or signed_in), (scope, status)


def test_gradios_routes(callers: dict[str, TestClient], names: set[Names]) -> None:
    """Routes that the page needs are open to users and `classify` keys; all others are 404."""
    allowed = {*CALLERS[1:5], f"key {Permission.CLASSIFY}"}
    checked = set()
    for method, path in sorted(names - set(APP_ROUTES) - {STREAM}):
        if method in {"HEAD", "OPTIONS"}:
            continue
        checked.add((method, path))
        target = NEEDED.get((method, path), path).replace("{", "").replace("}", "")
        for caller, client in callers.items():
            status = client.request(method, target, follow_redirects=False).status_code
            where = (method, path, caller, status)
            if path.startswith(SILENCED):
                assert status == 204, where
            elif (method, path) not in NEEDED:
                assert status == 404, where
            elif caller == "anonymous":
                assert status == 401, where
            else:
                assert (status != 403) is (caller in allowed), where
    assert set(NEEDED) <= checked


def test_the_event_stream_needs_permission_for_the_page(web_app: WebApp) -> None:
    """Results of the page's handlers are not sent to other callers."""
    stream = STREAM[1]
    assert web_app.anonymous().get(stream).status_code == 401
    assert web_app.with_key(Permission.EXPORT).get(stream).status_code == 403


# Statuses for an anonymous visitor of a Space; all other routes are 401.
VISITOR_STATUSES: dict[Names, int] = {
    **{name: 200 for name, expected in APP_ROUTES.items() if expected.statuses == EVERYONE},
    ("POST", "/login"): 404,
    ("POST", "/logout"): 303,
    ("GET", "/desk/status"): 200,
    ("GET", "/desk/heartbeat"): 200,
    ("POST", "/desk/images"): 200,
    ("POST", "/desk/pictures"): 200,
    ("GET", "/v1/openapi.json"): 200,
    # Visible to owners only, and a visitor owns nothing.
    ("GET", "/desk/images/{sha256}/picture"): 404,
    ("GET", "/desk/images/{sha256}/thumbnail"): 404,
    ("POST", "/desk/images/{sha256}/explanation"): 404,
    ("GET", "/desk/explanations/{request_id}"): 404,
    ("DELETE", "/desk/explanations/{request_id}"): 404,
}


@pytest.fixture(scope="module")
def space(web_app: WebApp, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebApp]:
    """The application as a Space."""
    folder = tmp_path_factory.mktemp("space")
    store = Store(folder / "review.db", previews_dir=folder / "images", journal_mode="wal")
    loader = ModelLoader("fake", lambda: Loaded(ExplainableClassifier()))
    loader.wait()
    engine = Engine(store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies))
    chosen = {
        "SPACE_ID": "me/review",
        "SPACE_HOST": "me.hf.space",
        "OAUTH_CLIENT_ID": "id",
        "OAUTH_CLIENT_SECRET": "secret",
        "OPENID_PROVIDER_URL": "https://huggingface.co",
    }
    with open_app(engine, store, folder, roles={}, **chosen) as running:
        running.client.base_url = "https://me.hf.space"
        yield running


@pytest.mark.parametrize("name", APP_ROUTES, ids=" ".join)
def test_a_visitor_of_a_space(space: WebApp, scene: Scene, name: Names) -> None:
    """An anonymous visitor of a Space may try the Review tab only."""
    assert APP_ROUTES[name].send(space.anonymous(), scene).status_code == VISITOR_STATUSES.get(
        name, 401
    )


def test_gradios_routes_for_a_visitor_of_a_space(space: WebApp, names: set[Names]) -> None:
    """Routes that the page needs are open; all others are 404."""
    client = space.anonymous()
    for method, path in sorted(names - set(APP_ROUTES) - HUB - {STREAM}):
        if method in {"HEAD", "OPTIONS"} or path.startswith(SILENCED):
            continue
        target = NEEDED.get((method, path), path).replace("{", "").replace("}", "")
        status = client.request(method, target, follow_redirects=False).status_code
        if (method, path) in NEEDED:
            assert status not in {401, 403}, (method, path, status)
        else:
            assert status == 404, (method, path, status)


def test_validation_of_a_batch_stops_at_the_first_error() -> None:
    """A thousand invalid decisions are not all validated to report one."""
    with pytest.raises(ValidationError) as wrong:
        BatchBody.model_validate({"answers": [{"reasons": ["x"] * 9}] * 1_000})
    assert wrong.value.error_count() < 10
