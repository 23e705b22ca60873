"""Health checks and Prometheus metrics.

- `/healthz` runs on the event loop, without a thread and without the database.
- `/readyz` includes a write to the data directory, at most one a second.
- Metrics have labels for routes, error kinds and models, never for images.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nsfw_app import __version__
from nsfw_app.errors import StorageError, StorageErrorKind
from nsfw_app.models.loader import ModelState
from nsfw_app.records import Review, utc
from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import Permission
from nsfw_app.sync_status import SyncStatus
from nsfw_app.web.http.forwarding import proxy_of
from nsfw_app.web.http.request_state import caller_of

if TYPE_CHECKING:
    from nsfw_app.hub_sync.schedule import HubSync  # imports pyarrow

log = logging.getLogger(__name__)

PROBE_VALID_S = 1.0
PROBE_LIMIT_S = 1.0  # a write that takes longer fails the check
SCORE_BUCKETS = tuple(edge / 20 for edge in range(1, 20))
DURATION_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
OTHER_ROUTE = "page"  # label of Gradio's own routes and of requests rejected before routing


class Monitor:
    """Prometheus metrics of one application."""

    def __init__(self, engine: Engine, hub_sync: "HubSync | None" = None) -> None:
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
        self.registry.register(_QueueDepths(engine))
        if hub_sync is not None:
            self.registry.register(_HubSyncState(hub_sync))

    def record(self, review: Review) -> None:
        """Count a classified image by its score, or an unavailable one by its error."""
        if review.prediction is not None:
            model = review.prediction.identity.model
            self.scores.labels(model).observe(review.prediction.nsfw_score)
        if review.problem is not None:
            self.errors.labels(review.problem.kind).inc()


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


class _QueueDepths(Collector):
    """Queue lengths, read at each scrape. One that cannot be read is omitted."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        with suppress(StorageError):  # reported by /readyz
            waiting = self._engine.queue.open_entries()
            yield GaugeMetricFamily("nsfw_queue_images", "Open queue entries.", waiting)
        yield GaugeMetricFamily(
            "nsfw_model_waiting", "Images that wait for the model.", self._engine.waiting
        )


class _HubSyncState(Collector):
    """When changes were last saved in the dataset repository, read at each scrape."""

    def __init__(self, hub_sync: "HubSync") -> None:
        self._hub_sync = hub_sync

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        status = self._hub_sync.status
        if status.last_success_at is not None:
            yield GaugeMetricFamily(
                "nsfw_hub_sync_seconds_since_success",
                "Seconds since everything was saved in the dataset repository.",
                (datetime.now(UTC) - status.last_success_at).total_seconds(),
            )
        yield GaugeMetricFamily(
            "nsfw_hub_sync_pending", "Rows that are not saved there yet.", status.pending
        )
        yield CounterMetricFamily(
            "nsfw_hub_sync_failures", "Failed attempts to save there.", self._hub_sync.failures
        )


class Measured:
    """ASGI middleware that counts and times requests.

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
        status = 500
        started = time.perf_counter()

        async def send_recorded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_recorded)
        finally:
            route = _route(scope)
            self._monitor.requests.labels(scope["method"], route, status).inc()
            self._monitor.seconds.labels(route).observe(time.perf_counter() - started)


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
        status = engine.status
        error = await probe.error()
        ready = status.state is ModelState.READY and error is None
        body: dict[str, Any] = {
            "ready": ready,
            "model": status.state,
            "storage": error.kind if error else "ok",
            "message": str(error) if error else "",
        }
        if status.error is not None:  # the model could not be loaded
            body["error"] = {"kind": status.error.kind, "message": status.message}
        if snapshot_status is not None:
            body["snapshots"] = sync_json(snapshot_status())
        if hub_sync is not None:  # for information: the server can save decisions without it
            saved = await anyio.to_thread.run_sync(lambda: hub_sync.status, limiter=one_thread)
            body["hub_sync"] = sync_json(saved)
        headers = {"Retry-After": str(error.retry_after_s)} if error else {}
        return JSONResponse(body, 200 if ready else 503, headers)

    @router.get("/metrics")
    def metrics(request: Request) -> Response:
        caller_of(request).require(Permission.METRICS)
        return Response(generate_latest(monitor.registry), media_type=CONTENT_TYPE_LATEST)

    return router
