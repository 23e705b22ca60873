"""How the server fares: whether it lives, whether its model is loaded, and its counters.

The counters are Prometheus's; they name routes, kinds of errors and models, and nobody's images.
"""

import time
from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse, Response
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nsfw_app.access import Caller, Permission
from nsfw_app.classifiers.loading import ModelState
from nsfw_app.engine import Engine
from nsfw_app.records import Review
from nsfw_app.web.callers import needs
from nsfw_app.web.forwarding import proxy_of

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

    def judged(self, review: Review) -> None:
        """Count an image that was judged, or could not be."""
        if review.prediction is not None:
            model = review.prediction.identity.model
            self.scores.labels(model).observe(review.prediction.nsfw_score)
        if review.problem is not None:
            self.errors.labels(review.problem.kind).inc()


class _Depths(Collector):
    """What waits, looked up when it is asked for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        yield GaugeMetricFamily(
            "nsfw_queue_images", "Images that wait for a person.", self._engine.desk.open_entries()
        )
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
    """Whether the process lives, whether it can judge, and its counters."""
    router = APIRouter(include_in_schema=False)

    @router.get("/healthz")
    def healthz() -> dict[str, bool]:
        return {"alive": True}

    @router.get("/readyz")
    def readyz() -> JSONResponse:
        state = engine.status.state
        ready = state is ModelState.READY
        return JSONResponse({"ready": ready, "model": state}, 200 if ready else 503)

    @router.get("/metrics")
    def metrics(_: Annotated[Caller, Depends(needs(Permission.METRICS))]) -> Response:
        return Response(generate_latest(monitor.registry), media_type=CONTENT_TYPE_LATEST)

    return router
