"""REST API application, mounted at /v1, with its OpenAPI document.

New router: one module in this package, included here.
"""

from typing import Any

from fastapi import Depends, FastAPI
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic.json_schema import models_json_schema

from nsfw_app import __version__
from nsfw_app.evidence.summaries import Summaries
from nsfw_app.imaging.fetch import Fetcher
from nsfw_app.settings import Settings
from nsfw_app.web.api.classification import ClassificationRequest, classification_routes
from nsfw_app.web.api.corrections import correction_routes
from nsfw_app.web.api.explanations import explanation_routes
from nsfw_app.web.api.images import image_routes
from nsfw_app.web.api.insights import insight_routes
from nsfw_app.web.api.moderations import ModerationRequest, moderation_routes
from nsfw_app.web.api.upload_gate import gate_routes
from nsfw_app.web.auth.callers import KEY_HEADER
from nsfw_app.web.http.errors import install_error_handlers
from nsfw_app.web.http.gate import ClassifyGate

DESCRIPTION = """Classify images with a Vision Transformer, queue uncertain ones for human review,
and export the corrections. All errors have the same JSON: a stable `kind`, a message, and the id of
the request.
"""
# Request models whose bodies routes parse themselves (to enforce size limits), so FastAPI cannot
# document them.
REQUESTS = (ModerationRequest, ClassificationRequest)
REFERENCE = "#/components/schemas/{model}"
# For the document only: `AuthMiddleware` has checked the key before any route.
KEYS = (HTTPBearer(auto_error=False), APIKeyHeader(name=KEY_HEADER, auto_error=False))


class Api(FastAPI):
    """A FastAPI application whose OpenAPI document includes `REQUESTS`."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        if self.openapi_schema is None:
            document = super().openapi()
            _, requests = models_json_schema(
                [(model, "validation") for model in REQUESTS], ref_template=REFERENCE
            )
            document["components"]["schemas"].update(requests["$defs"])
        return super().openapi()


def v1_application(gate: ClassifyGate, summaries: Summaries, *, settings: Settings) -> Api:
    """Build the API as an application to mount."""
    v1 = Api(
        title="NSFW Review",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(key) for key in KEYS],
    )
    install_error_handlers(v1)
    fetcher = Fetcher(max_bytes=settings.max_bytes) if settings.fetch_urls else None
    v1.include_router(moderation_routes(gate, fetcher))
    v1.include_router(classification_routes(gate))
    v1.include_router(gate_routes(gate))
    v1.include_router(explanation_routes(gate))
    v1.include_router(image_routes(gate))
    v1.include_router(correction_routes(gate.engine, summaries.calibrations))
    v1.include_router(insight_routes(gate.engine, summaries))
    return v1
