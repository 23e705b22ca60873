"""Health checks and Prometheus metrics.

- `/healthz` is answered on the event loop, without a thread and without the database.
- `/readyz` includes a write to the data directory, at most one a second.
- Metrics name routes, kinds of errors and models, never images.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Annotated, Any

import anyio
import anyio.to_thread
from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse, Response
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nsfw_app import __version__
from nsfw_app.errors import StorageError, StorageErrorKind
from nsfw_app.models.loader import ModelState
from nsfw_app.records import Review
from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import Caller, Permission
from nsfw_app.web.auth.callers import needs
from nsfw_app.web.middleware.forwarding import proxy_of

log = logging.getLogger(__name__)

PROBE_VALID_S = 1.0
PROBE_LIMIT_S = 1.0  # a write that takes longer fails the check
SCORE_EDGES = tuple(edge / 20 for edge in range(1, 20))
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
ELSEWHERE = "page"  # Gradio's own routes, and what was refused before it came to any


class Monitor:
    """The counters of one application."""

    def __init__(self, engine: Engine) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "nsfw_http_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "nsfw_http_request_seconds",
            "From a request to the end of its response.",
            ("route",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.scores = Histogram(
            "nsfw_scores",
            "Scores of judged images.",
            ("model",),
            buckets=SCORE_EDGES,
            registry=self.registry,
        )
        self.errors = Counter(
            "nsfw_errors",
            "Errors answered and images that could not be judged.",
            ("kind",),
            registry=self.registry,
        )
        self.registry.register(_Depths(engine))

    def record(self, review: Review) -> None:
        """Count an image that was judged, or could not be."""
        if review.prediction is not None:
            model = review.prediction.identity.model
            self.scores.labels(model).observe(review.prediction.nsfw_score)
        if review.problem is not None:
            self.errors.labels(review.problem.kind).inc()


class WriteProbe:
    """Checks that the data directory can be written, in a thread of its own.

    Args:
        check: Writes something; raises `StorageError` where that fails.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._one_request = anyio.Lock()  # others wait for its result
        self._thread = anyio.CapacityLimiter(1)
        self._is_writing = False  # also after the request gave up waiting
        self._checked_at = -math.inf
        self._error: StorageError | None = None

    async def error(self) -> StorageError | None:
        """Why writes fail now, or None. A result is valid for `PROBE_VALID_S` seconds."""
        async with self._one_request:
            if time.monotonic() - self._checked_at > PROBE_VALID_S:
                self._error = StorageError(StorageErrorKind.BUSY)  # unless it ends in time
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


class _Depths(Collector):
    """What waits, looked up when it is asked for. What cannot be read is left out."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        with suppress(StorageError):  # which /readyz reports
            waiting = self._engine.queue.open_entries()
            yield GaugeMetricFamily("nsfw_queue_images", "Images that wait for a person.", waiting)
        yield GaugeMetricFamily(
            "nsfw_model_waiting", "Images that wait for the model.", self._engine.waiting
        )


class Measured:
    """ASGI middleware that counts and times requests.

    Args:
        app: What it measures.
        monitor: Where it counts.
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
        begun = time.perf_counter()

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        finally:
            route = _route(scope)
            self._monitor.requests.labels(scope["method"], route, status).inc()
            self._monitor.seconds.labels(route).observe(time.perf_counter() - begun)


def _route(scope: Scope) -> str:
    """The pattern of the route that answered, so that there are only so many of them."""
    route = scope.get("route")
    mounted_at = str(scope.get("root_path", "")).removeprefix(proxy_of(scope).root_path)
    return mounted_at + route.path if route else ELSEWHERE


def monitor_of(connection: HTTPConnection) -> Monitor:
    """The counters of the application that serves a request."""
    monitor: Monitor = connection.scope["state"]["monitor"]
    return monitor


def health_routes(engine: Engine, monitor: Monitor) -> APIRouter:
    """Whether the process runs, whether it can classify and save, and its metrics."""
    router = APIRouter(include_in_schema=False)
    probe = WriteProbe(engine.check_writable)

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
        headers = {"Retry-After": str(error.retry_after_s)} if error else {}
        return JSONResponse(body, 200 if ready else 503, headers)

    @router.get("/metrics")
    def metrics(_: Annotated[Caller, Depends(needs(Permission.METRICS))]) -> Response:
        return Response(generate_latest(monitor.registry), media_type=CONTENT_TYPE_LATEST)

    return router
