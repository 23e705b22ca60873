"""Health, counters, and what a server with too much to do answers."""

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
from nsfw_app.review.engine import Engine, PolicyDefaults
from nsfw_app.rules.permissions import Permission
from nsfw_app.store import Store
from nsfw_app.web import monitoring
from nsfw_app.web.http.request_limits import RequestLimits
from tests.support.application import WebApp, add, open_app, served
from tests.support.fakes import LIMITS, FakeClassifier, picture_bytes

THREADS = 40  # of anyio's own pool, in which routes run
CHECKS = ("/healthz", "/readyz")


@pytest.fixture
def web_app(engine: Engine, store: Store, tmp_path: Path) -> Iterator[WebApp]:
    """The application with users."""
    with open_app(engine, store, tmp_path) as web_app:
        yield web_app


def counted(web_app: WebApp) -> dict[tuple[str, ...], float]:
    """Every sample of /metrics, by its name and the values of its labels."""
    text = web_app.with_key(Permission.METRICS).get("/metrics").text
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_ready_is_more_than_alive(store: Store, tmp_path: Path) -> None:
    """A process whose model is still loading lives, and is ready only afterwards."""
    may_load = threading.Event()

    def load() -> Loaded:
        assert may_load.wait(10)
        return Loaded(FakeClassifier())

    loader = ModelLoader("fake", load)
    engine = Engine(store=store, loader=loader, limits=LIMITS, defaults=PolicyDefaults())
    with open_app(engine, store, tmp_path) as web_app:
        engine.start()
        assert web_app.client.get("/healthz").status_code == 200
        ready = web_app.client.get("/readyz")
        loading = {"ready": False, "model": "loading", "storage": "ok", "message": ""}
        assert (ready.status_code, ready.json()) == (503, loading)
        program = web_app.with_key(Permission.CLASSIFY)
        refused = program.post("/v1/image-classification", content=picture_bytes(9))
        assert (refused.status_code, refused.json()["error"]["kind"]) == (503, "model_loading")
        assert int(refused.headers["retry-after"]) > 0
        may_load.set()
        engine.wait()
        assert web_app.client.get("/readyz").status_code == 200
        answer = program.post("/v1/image-classification", content=picture_bytes(9))
        assert answer.status_code == 200


def test_a_model_that_failed_is_told_with_when_to_ask_again(store: Store, tmp_path: Path) -> None:
    """Every 503 says when to come back."""

    def fail() -> Loaded:
        raise ModelNotFound("It is nowhere.")

    loader = ModelLoader("fake", fail)
    engine = Engine(store=store, loader=loader, limits=LIMITS, defaults=PolicyDefaults())
    engine.wait()
    with open_app(engine, store, tmp_path) as web_app:
        program = web_app.with_key(Permission.CLASSIFY)
        refused = program.post("/v1/image-classification", content=picture_bytes(9))
        assert (refused.status_code, refused.json()["error"]["kind"]) == (503, "model_not_found")
        assert int(refused.headers["retry-after"]) > 0


def test_health_needs_no_thread_of_the_pool(
    engine: Engine, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While every thread that serves requests is busy, both checks are answered."""
    may_end, begun = threading.Event(), threading.Semaphore(0)

    def block(*_: object) -> bytes:
        begun.release()
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
                assert begun.acquire(timeout=10)
            assert [client.get(path).status_code for path in CHECKS] == [200, 200]
        finally:
            may_end.set()
        assert [future.result().status_code for future in blocked] == [200] * THREADS


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_checked_with_head_too(web_app: WebApp, path: str) -> None:
    """Load balancers ask so."""
    answer = web_app.client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_write_that_hangs_is_not_ready(web_app: WebApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that does not answer fails the check in time, and no thread is added for it."""
    may_end, calls = threading.Event(), []

    def hang() -> None:
        calls.append(threading.current_thread())
        may_end.wait(30)

    monkeypatch.setattr(monitoring, "PROBE_LIMIT_S", 0.1)
    monkeypatch.setattr(monitoring, "PROBE_VALID_S", 0)
    monkeypatch.setattr("nsfw_app.store.Store.check_writable", lambda _: hang())
    for _ in range(3):
        answer = web_app.client.get("/readyz")
        assert (answer.status_code, answer.json()["storage"]) == (503, "storage_busy")
    assert len(calls) == 1
    may_end.set()
    until_ready = (web_app.client.get("/readyz").status_code for _ in range(100))
    assert 200 in until_ready


def test_the_write_of_a_check_is_shared(web_app: WebApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks within a second write once, however many there are."""
    calls: list[int] = []
    monkeypatch.setattr(monitoring, "PROBE_VALID_S", 60)
    monkeypatch.setattr("nsfw_app.store.Store.check_writable", lambda _: calls.append(1))
    assert {web_app.client.get("/readyz").status_code for _ in range(5)} == {200}
    assert calls == [1]


def test_requests_scores_and_errors_are_counted(web_app: WebApp) -> None:
    """By route and status, by model, by kind; a route's pattern is named and no image's hash."""
    ann = web_app.signed_in("ann")
    card = add(ann, red=150)
    ann.get(f"/desk/images/{card['sha256']}/picture")
    program = web_app.with_key(Permission.CLASSIFY)
    program.post("/v1/image-classification", content=picture_bytes(240))
    program.post("/v1/image-classification", content=b"no image")
    web_app.anonymous().get("/desk/status")
    samples = counted(web_app)
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
    """Answers only when it may, and is full when it is told to be."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = threading.Event()
        self.asked = threading.Semaphore(0)
        self.full = False

    def predict(self, images: Sequence[Image.Image]) -> list[dict[str, float]]:
        """Wait, then answer."""
        if self.full:
            raise Overloaded("Full.", retry_after_s=7)
        self.asked.release()
        assert self.may_answer.wait(10)
        return super().predict(images)


@pytest.fixture
def stuck() -> Stuck:
    """A classifier in the test's hand."""
    return Stuck()


@pytest.fixture
def small(store: Store, stuck: Stuck, tmp_path: Path) -> Iterator[WebApp]:
    """An application that takes three requests at once."""
    loader = ModelLoader("fake", lambda: Loaded(stuck))
    loader.wait()
    engine = Engine(store=store, loader=loader, limits=LIMITS, defaults=PolicyDefaults())
    with open_app(engine, store, tmp_path, max_waiting=3) as web_app:
        yield web_app


def test_one_request_too_many_is_turned_away(small: WebApp, stuck: Stuck) -> None:
    """With three under way the fourth gets 503 and Retry-After at once; the page still lives."""
    keys = [small.with_key(Permission.CLASSIFY).headers["authorization"] for _ in range(5)]
    with served(small.client.app) as url, httpx.Client(base_url=url, timeout=20) as client:

        def classify(red: int) -> httpx.Response:
            return client.post(
                "/v1/image-classification",
                content=picture_bytes(red),
                headers={"authorization": keys[red - 1]},
            )

        with ThreadPoolExecutor(3) as pool:
            waiting = [pool.submit(classify, red) for red in (1, 2, 3)]
            for _ in waiting:
                assert stuck.asked.acquire(timeout=10)
            refused = classify(4)
            assert (refused.status_code, refused.json()["error"]["kind"]) == (503, "overloaded")
            assert int(refused.headers["retry-after"]) > 0
            assert client.get("/healthz").status_code == 200
            assert client.get("/login").status_code == 200
            stuck.may_answer.set()
            assert [future.result().status_code for future in waiting] == [200] * 3
        assert classify(5).status_code == 200


def test_a_full_model_is_not_a_verdict(small: WebApp, stuck: Stuck) -> None:
    """While the model takes no more, every way in says 503, and nothing reads as judged."""
    stuck.full = True
    program, ann = small.with_every_scope(), small.signed_in("ann")
    image = picture_bytes(9)
    files = {"file": ("a.png", image, "image/png")}
    for response in (
        program.post("/v1/image-classification", content=image),
        program.post("/v1/images", files=files),
        ann.post("/desk/images?name=a.png&source=review", content=image),
    ):
        assert (response.status_code, response.headers["retry-after"]) == (503, "7")


def test_bodies_have_limits(web_app: WebApp) -> None:
    """More bytes than the limit are refused with 413 on every route that takes them."""
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


def test_a_request_without_files_is_no_error_of_ours(web_app: WebApp) -> None:
    """An empty form, another content type and a broken form are refused in words."""
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


def test_the_requests_id_is_the_callers(web_app: WebApp) -> None:
    """A caller that names its request finds the name again; one that would not fit is replaced."""
    given = web_app.client.get("/healthz", headers={"x-request-id": "order-66"})
    assert given.headers["x-request-id"] == "order-66"
    for hostile in ("a b", "x" * 65, "<b>"):
        made = web_app.client.get("/healthz", headers={"x-request-id": hostile})
        assert made.headers["x-request-id"] != hostile
