"""Health checks and Prometheus metrics.

- `/healthz` runs on the event loop, without a thread and without the database.
- `/readyz` includes a write to the data directory, at most one a second.
- Metrics have labels for routes, error kinds, models and sizes of batches, never for images.
  `gauges` has those that are read at each scrape.
"""

import logging
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nsfw_app import __version__
from nsfw_app.errors import StorageError, StorageErrorKind
from nsfw_app.models.loader import ModelState
from nsfw_app.records import Detail, Review, utc
from nsfw_app.review.detail import DetailModel
from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import Permission
from nsfw_app.sync_status import SyncStatus
from nsfw_app.web.gauges import Gauges, HubSyncGauges, SnapshotGauges
from nsfw_app.web.http.forwarding import proxy_of
from nsfw_app.web.http.request_state import caller_of
from nsfw_app.web.request_log import log_request

if TYPE_CHECKING:
    from nsfw_app.hub_sync.schedule import HubSync  # imports pyarrow

log = logging.getLogger(__name__)

PROBE_VALID_S = 1.0
PROBE_LIMIT_S = 1.0  # a write that takes longer fails the check
SCORE_BUCKETS = tuple(edge / 20 for edge in range(1, 20))
DURATION_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
OTHER_ROUTE = "page"  # label of Gradio's own routes and of requests rejected before routing


class Monitor:
    """Prometheus metrics of one application.

    Args:
        engine: What is measured.
        hub_sync: What saves in a dataset repository; None where nothing does.
        snapshot_status: The state of snapshots; None where none are written.
    """

    def __init__(
        self,
        engine: Engine,
        hub_sync: "HubSync | None" = None,
        *,
        snapshot_status: Callable[[], SyncStatus] | None = None,
    ) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "nsfw_http_requests",
            "HTTP requests by method, route and status.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "nsfw_http_request_seconds",
            "Seconds from a request to the end of its response.",
            ("route",),
            buckets=DURATION_BUCKETS_S,
            registry=self.registry,
        )
        self.scores = Histogram(
            "nsfw_scores",
            "Scores of classified images.",
            ("model",),
            buckets=SCORE_BUCKETS,
            registry=self.registry,
        )
        self.errors = Counter(
            "nsfw_errors",
            "Error responses, and images that could not be classified.",
            ("kind",),
            registry=self.registry,
        )
        self.batch_seconds = Histogram(
            "nsfw_model_batch_seconds",
            "Seconds in which the model computed a batch, by its number of images.",
            ("images",),
            buckets=DURATION_BUCKETS_S,
            registry=self.registry,
        )
        self._detail = DetailMetrics(self.registry, engine.detail) if engine.detail else None
        self.registry.register(Gauges(engine))
        if hub_sync is not None:
            self.registry.register(HubSyncGauges(hub_sync))
        if snapshot_status is not None:
            self.registry.register(SnapshotGauges(snapshot_status))
        engine.observe_batches(self._record_batch)

    def record(self, review: Review) -> None:
        """Count a classified image by its score, or an unavailable one by its error."""
        if review.prediction is not None:
            model = review.prediction.identity.model
            self.scores.labels(model).observe(review.prediction.nsfw_score)
        if review.problem is not None:
            self.errors.labels(review.problem.kind).inc()
        if self._detail is not None and review.detail is not None:
            self._detail.record(review.detail)

    def _record_batch(self, images: int, seconds: float) -> None:
        self.batch_seconds.labels(batch_range(images)).observe(seconds)


class DetailMetrics:
    """Metrics of the detail model.

    Args:
        registry: Of the application.
        model: The detail model.
    """

    def __init__(self, registry: CollectorRegistry, model: DetailModel) -> None:
        self._images = Counter(
            "nsfw_detail_images",
            "Images that the detail model was asked about, by the kind of its error, or ok.",
            ("result",),
            registry=registry,
        )
        self._batch_seconds = Histogram(
            "nsfw_detail_batch_seconds",
            "Seconds in which the detail model computed a batch, by its number of images.",
            ("images",),
            buckets=DURATION_BUCKETS_S,
            registry=registry,
        )
        model.loader.observe_batches(self._record_batch)

    def record(self, detail: Detail) -> None:
        """Count an image that it was asked about."""
        self._images.labels(detail.problem.kind if detail.problem else "ok").inc()

    def _record_batch(self, images: int, seconds: float) -> None:
        self._batch_seconds.labels(batch_range(images)).observe(seconds)


def batch_range(images: int) -> str:
    """The label of a batch: its number of images up to 2, else a range that ends in a power of 2.

    That bounds the number of label values.
    """
    if images <= 2:
        return str(images)
    upper = 1 << (images - 1).bit_length()
    return f"{upper // 2 + 1}-{upper}"


class WriteProbe:
    """Checks that the data directory can be written, in a dedicated thread.

    Args:
        check: Writes to the data directory, or raises `StorageError`.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._one_request = anyio.Lock()  # concurrent requests share one result
        self._thread = anyio.CapacityLimiter(1)
        self._is_writing = False  # remains true after a timeout
        self._checked_at = -math.inf
        self._error: StorageError | None = None

    async def error(self) -> StorageError | None:
        """The error of the last write, or None. A result is valid for `PROBE_VALID_S` seconds."""
        async with self._one_request:
            if time.monotonic() - self._checked_at > PROBE_VALID_S:
                self._error = StorageError(StorageErrorKind.BUSY)  # if the write times out
                if not self._is_writing:
                    with anyio.move_on_after(PROBE_LIMIT_S):
                        self._error = await anyio.to_thread.run_sync(
                            self._attempt, limiter=self._thread, abandon_on_cancel=True
                        )
                self._checked_at = time.monotonic()
            return self._error

    def _attempt(self) -> StorageError | None:
        self._is_writing = True
        try:
            self._check()
        except StorageError as error:
            log.warning("The readiness check failed: %s (%s)", error.kind, error.__cause__)
            return error
        finally:
            self._is_writing = False
        return None


class Measured:
    """ASGI middleware that counts, times and logs requests.

    Args:
        app: The application to measure.
        monitor: Receives the measurements.
    """

    def __init__(self, app: ASGIApp, *, monitor: Monitor) -> None:
        self._app = app
        self._monitor = monitor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})["monitor"] = self._monitor
        status, path = 500, scope["path"]
        started = time.perf_counter()

        async def send_recorded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_recorded)
        finally:
            route, seconds = _route(scope), time.perf_counter() - started
            self._monitor.requests.labels(scope["method"], route, status).inc()
            self._monitor.seconds.labels(route).observe(seconds)
            log_request(scope, path=path, route=route, status=status, seconds=seconds)


def _route(scope: Scope) -> str:
    """The path pattern of the matched route, which bounds the number of label values."""
    route = scope.get("route")
    mounted_at = str(scope.get("root_path", "")).removeprefix(proxy_of(scope).root_path)
    return mounted_at + route.path if route else OTHER_ROUTE


def monitor_of(connection: HTTPConnection) -> Monitor:
    """The metrics of the application that serves a request."""
    monitor: Monitor = connection.scope["state"]["monitor"]
    return monitor


def sync_json(status: SyncStatus) -> dict[str, Any]:
    """The state of copies as JSON, without messages, which may name what only users may know."""
    return {
        "last_success_at": status.last_success_at and utc(status.last_success_at.isoformat()),
        "failing": status.error is not None,
        "pending": status.pending,
    }


def health_routes(
    engine: Engine,
    monitor: Monitor,
    *,
    snapshot_status: Callable[[], SyncStatus] | None = None,
    hub_sync: "HubSync | None" = None,
) -> APIRouter:
    """`/healthz` (alive), `/readyz` (can classify and save) and `/metrics`.

    A failed copy of the data is reported, and does not make the server unready.
    """
    router = APIRouter(include_in_schema=False)
    probe = WriteProbe(engine.check_writable)
    one_thread = anyio.CapacityLimiter(1)  # counting pending rows reads the database

    @router.api_route("/healthz", methods=["GET", "HEAD"])
    async def healthz() -> dict[str, bool | str]:
        return {"alive": True, "version": __version__}

    @router.api_route("/readyz", methods=["GET", "HEAD"])
    async def readyz() -> JSONResponse:
        status, detail = engine.status, engine.detail.status if engine.detail else None
        error = await probe.error()
        is_loaded = status.state is ModelState.READY and (
            detail is None or detail.state is not ModelState.LOADING
        )
        ready = is_loaded and error is None
        body: dict[str, Any] = {
            "ready": ready,
            "model": status.state,
            "storage": error.kind if error else "ok",
            "message": str(error) if error else "",
        }
        if status.error is not None:  # the model could not be loaded
            body["error"] = {"kind": status.error.kind, "message": status.message}
        if detail is not None:  # the first model goes on without it
            body["detail_model"] = detail.state
            if detail.error is not None:
                body["detail_error"] = {"kind": detail.error.kind, "message": detail.message}
        if snapshot_status is not None:
            body["snapshots"] = sync_json(snapshot_status())
        if hub_sync is not None:  # for information: the server can save decisions without it
            saved = await anyio.to_thread.run_sync(lambda: hub_sync.status, limiter=one_thread)
            is_maintained = saved.maintenance_error is None
            body["hub_sync"] = {**sync_json(saved), "maintenance_failing": not is_maintained}
        headers = {"Retry-After": str(error.retry_after_s)} if error else {}
        return JSONResponse(body, 200 if ready else 503, headers)

    @router.get("/metrics")
    def metrics(request: Request) -> Response:
        caller_of(request).require(Permission.METRICS)
        return Response(generate_latest(monitor.registry), media_type=CONTENT_TYPE_LATEST)

    return router
