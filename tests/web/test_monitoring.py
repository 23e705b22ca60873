"""Health checks, metrics, and responses of an overloaded server."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from nsfw_app.errors import ModelNotFound, Overloaded
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.rules.permissions import Permission
from nsfw_app.store import Store
from nsfw_app.web import monitoring
from nsfw_app.web.http.request_limits import RequestLimits
from tests.support.application import WebApp, add, open_app, served
from tests.support.fakes import LIMITS, FakeClassifier, image_bytes

THREADS = 40  # of anyio's default pool, which runs the routes
CHECKS = ("/healthz", "/readyz")


@pytest.fixture
def web_app(engine: Engine, store: Store, tmp_path: Path) -> Iterator[WebApp]:
    """The application with users."""
    with open_app(engine, store, tmp_path) as web_app:
        yield web_app


def metrics_of(web_app: WebApp) -> dict[tuple[str, ...], float]:
    """All samples of /metrics by name and label values."""
    text = web_app.with_key(Permission.METRICS).get("/metrics").text
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_readiness_needs_the_model(store: Store, tmp_path: Path) -> None:
    """While the model is loading, the server is alive but not ready."""
    may_load = threading.Event()

    def load() -> Loaded:
        assert may_load.wait(10)
        return Loaded(FakeClassifier())

    loader = ModelLoader("fake", load)
    engine = Engine(store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies))
    with open_app(engine, store, tmp_path) as web_app:
        engine.start()
        assert web_app.client.get("/healthz").status_code == 200
        ready = web_app.client.get("/readyz")
        loading = {"ready": False, "model": "loading", "storage": "ok", "message": ""}
        assert (ready.status_code, ready.json()) == (503, loading)
        program = web_app.with_key(Permission.CLASSIFY)
        refused = program.post("/v1/image-classification", content=image_bytes(9))
        assert (refused.status_code, refused.json()["error"]["kind"]) == (503, "model_loading")
        assert int(refused.headers["retry-after"]) > 0
        may_load.set()
        engine.wait()
        assert web_app.client.get("/readyz").status_code == 200
        response = program.post("/v1/image-classification", content=image_bytes(9))
        assert response.status_code == 200


def test_a_model_that_failed_to_load_is_503_with_retry_after(store: Store, tmp_path: Path) -> None:
    """Not ready; classification responds with the kind of the error."""

    def fail() -> Loaded:
        raise ModelNotFound("It is nowhere.")

    loader = ModelLoader("fake", fail)
    engine = Engine(store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies))
    engine.wait()
    with open_app(engine, store, tmp_path) as web_app:
        program = web_app.with_key(Permission.CLASSIFY)
        refused = program.post("/v1/image-classification", content=image_bytes(9))
        assert (refused.status_code, refused.json()["error"]["kind"]) == (503, "model_not_found")
        assert int(refused.headers["retry-after"]) > 0


def test_health_needs_no_thread_of_the_pool(
    engine: Engine, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both checks respond while every thread of the pool is busy."""
    may_end, started = threading.Event(), threading.Semaphore(0)

    def block(*_: object) -> bytes:
        started.release()
        assert may_end.wait(30)
        return b""

    monkeypatch.setattr(engine, "preview_jpeg", block)
    with (
        open_app(engine, store, tmp_path) as web_app,
        served(web_app.client.app) as url,
        httpx.Client(base_url=url, timeout=30) as client,
        ThreadPoolExecutor(THREADS) as pool,
    ):
        client.cookies = dict(web_app.signed_in("ann").cookies)
        path = f"/desk/images/{'a' * 64}/picture"
        blocked = [pool.submit(client.get, path) for _ in range(THREADS)]
        try:
            for _ in blocked:
                assert started.acquire(timeout=10)
            assert [client.get(path).status_code for path in CHECKS] == [200, 200]
        finally:
            may_end.set()
        assert [future.result().status_code for future in blocked] == [200] * THREADS


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_checked_with_head_too(web_app: WebApp, path: str) -> None:
    """As load balancers do."""
    response = web_app.client.head(path)
    assert (response.status_code, response.content) == (200, b"")


def test_a_write_that_hangs_is_not_ready(web_app: WebApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check fails after its timeout and starts no further thread."""
    may_end, calls = threading.Event(), []

    def hang() -> None:
        calls.append(threading.current_thread())
        may_end.wait(30)

    monkeypatch.setattr(monitoring, "PROBE_LIMIT_S", 0.1)
    monkeypatch.setattr(monitoring, "PROBE_VALID_S", 0)
    monkeypatch.setattr("nsfw_app.store.Store.check_writable", lambda _: hang())
    for _ in range(3):
        response = web_app.client.get("/readyz")
        assert (response.status_code, response.json()["storage"]) == (503, "storage_busy")
    assert len(calls) == 1
    may_end.set()
    until_ready = (web_app.client.get("/readyz").status_code for _ in range(100))
    assert 200 in until_ready


def test_readiness_checks_share_one_write(web_app: WebApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any number of checks within a second write once."""
    calls: list[int] = []
    monkeypatch.setattr(monitoring, "PROBE_VALID_S", 60)
    monkeypatch.setattr("nsfw_app.store.Store.check_writable", lambda _: calls.append(1))
    assert {web_app.client.get("/readyz").status_code for _ in range(5)} == {200}
    assert calls == [1]


def test_requests_scores_and_errors_are_counted(web_app: WebApp) -> None:
    """By route pattern and status, by model, by kind; no label has the hash of an image."""
    ann = web_app.signed_in("ann")
    card = add(ann, red=150)
    ann.get(f"/desk/images/{card['sha256']}/picture")
    program = web_app.with_key(Permission.CLASSIFY)
    program.post("/v1/image-classification", content=image_bytes(240))
    program.post("/v1/image-classification", content=b"no image")
    web_app.anonymous().get("/desk/status")
    samples = metrics_of(web_app)
    requests = "nsfw_http_requests_total"
    assert samples[requests, "/desk/images", "200", "POST"] == 1
    assert samples[requests, "/desk/images/{sha256}/picture", "200", "GET"] == 1
    assert samples[requests, "/v1/image-classification", "200", "POST"] == 1
    assert samples[requests, "/v1/image-classification", "415", "POST"] == 1
    assert samples["nsfw_http_request_seconds_count", "/v1/image-classification"] == 2
    assert samples["nsfw_scores_count", "fake"] == 2
    assert samples["nsfw_scores_sum", "fake"] == pytest.approx((150 + 240) / 255)
    assert samples["nsfw_errors_total", "not_an_image"] == 2  # the image, and the response
    assert samples["nsfw_errors_total", "not_signed_in"] == 1
    assert samples["nsfw_queue_images",] == 1
    assert samples["nsfw_model_waiting",] == 0
    assert not any(card["sha256"] in part for key in samples for part in key)


class Stuck(FakeClassifier):
    """Blocks until `may_return` is set; raises `Overloaded` if `full`."""

    def __init__(self) -> None:
        super().__init__()
        self.may_return = threading.Event()
        self.called = threading.Semaphore(0)
        self.full = False

    def predict(self, images: Sequence[Image.Image]) -> list[dict[str, float]]:
        """Wait, then predict."""
        if self.full:
            raise Overloaded("Full.", retry_after_s=7)
        self.called.release()
        assert self.may_return.wait(10)
        return super().predict(images)


@pytest.fixture
def stuck() -> Stuck:
    """A classifier that the test controls."""
    return Stuck()


@pytest.fixture
def small(store: Store, stuck: Stuck, tmp_path: Path) -> Iterator[WebApp]:
    """An application with three request slots."""
    loader = ModelLoader("fake", lambda: Loaded(stuck))
    loader.wait()
    engine = Engine(store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies))
    with open_app(engine, store, tmp_path, max_waiting=3) as web_app:
        yield web_app


def test_a_request_over_the_limit_is_503(small: WebApp, stuck: Stuck) -> None:
    """With all slots taken, the next request gets 503 with Retry-After; the page still responds."""
    keys = [small.with_key(Permission.CLASSIFY).headers["authorization"] for _ in range(5)]
    with served(small.client.app) as url, httpx.Client(base_url=url, timeout=20) as client:

        def classify(red: int) -> httpx.Response:
            return client.post(
                "/v1/image-classification",
                content=image_bytes(red),
                headers={"authorization": keys[red - 1]},
            )

        with ThreadPoolExecutor(3) as pool:
            waiting = [pool.submit(classify, red) for red in (1, 2, 3)]
            for _ in waiting:
                assert stuck.called.acquire(timeout=10)
            refused = classify(4)
            assert (refused.status_code, refused.json()["error"]["kind"]) == (503, "overloaded")
            assert int(refused.headers["retry-after"]) > 0
            assert client.get("/healthz").status_code == 200
            assert client.get("/login").status_code == 200
            stuck.may_return.set()
            assert [future.result().status_code for future in waiting] == [200] * 3
        assert classify(5).status_code == 200


def test_a_full_model_queue_is_503(small: WebApp, stuck: Stuck) -> None:
    """On every entry point, and no response reads as a verdict."""
    stuck.full = True
    program, ann = small.with_every_scope(), small.signed_in("ann")
    image = image_bytes(9)
    files = {"file": ("a.png", image, "image/png")}
    for response in (
        program.post("/v1/image-classification", content=image),
        program.post("/v1/images", files=files),
        ann.post("/desk/images?name=a.png&source=review", content=image),
    ):
        assert (response.status_code, response.headers["retry-after"]) == (503, "7")


def test_bodies_over_the_limit_are_413(web_app: WebApp) -> None:
    """On every route that accepts images."""
    program, limits = web_app.with_every_scope(), RequestLimits(LIMITS.max_bytes)
    for path, limit, content_type in (
        ("/v1/image-classification", LIMITS.max_bytes, "image/png"),
        ("/v1/image-classification", limits.json_bytes, "application/json"),
        ("/v1/moderations", limits.json_bytes, "application/json"),
        ("/v1/images", limits.form_bytes, "multipart/form-data; boundary=x"),
        ("/gradio_api/upload", limits.form_bytes, "multipart/form-data; boundary=x"),
    ):
        headers = {"content-type": content_type, "content-length": str(limit + 1)}
        refused = program.post(path, content=b"{}", headers=headers)
        kind = "too_large" if limit == LIMITS.max_bytes else "request_too_large"
        assert (refused.status_code, refused.json()["error"]["kind"]) == (413, kind)
        assert f"{limit / 1e6:.3g} MB" in refused.json()["error"]["message"]


def test_invalid_forms_are_400(web_app: WebApp) -> None:
    """A form without files, another content type, a broken form, an invalid field."""
    program = web_app.with_every_scope()
    broken = {"content-type": "multipart/form-data; boundary=x"}
    for sent in (
        {"data": {"queue": "true"}},
        {"json": {}},
        {"content": b"--y\r\n\r\n", "headers": broken},
        {"files": {"file": ("a.png", b"x", "image/png")}, "data": {"queue": "perhaps"}},
    ):
        refused = program.post("/v1/images", **sent)
        assert (refused.status_code, refused.json()["error"]["kind"]) == (400, "request")


def test_a_request_id_of_the_caller_is_kept(web_app: WebApp) -> None:
    """A valid X-Request-ID is in the response; an invalid one is replaced."""
    given = web_app.client.get("/healthz", headers={"x-request-id": "order-66"})
    assert given.headers["x-request-id"] == "order-66"
    for hostile in ("a b", "x" * 65, "<b>"):
        response = web_app.client.get("/healthz", headers={"x-request-id": hostile})
        assert response.headers["x-request-id"] != hostile
