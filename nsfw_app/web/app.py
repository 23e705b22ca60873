"""The FastAPI application: guard, routes, and the mounted page."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware.trustedhost import TrustedHostMiddleware

from nsfw_app import __version__
from nsfw_app.engine import Engine
from nsfw_app.errors import (
    ModelLoading,
    NotFound,
    NSFWReviewError,
)
from nsfw_app.settings import Settings
from nsfw_app.web.guard import Guard
from nsfw_app.web.policy_text import policy_routes
from nsfw_app.web.queue_routes import batch_routes, queue_routes, training_routes
from nsfw_app.web.routes import answer_routes, image_routes
from nsfw_app.web.visitors import Visitors, visitor_of

LOCAL_HOSTS = ["127.0.0.1", "localhost"]
STATUS_CODES: tuple[tuple[type[NSFWReviewError], int], ...] = (
    (NotFound, 404),
    (ModelLoading, 503),
    (NSFWReviewError, 400),
)


@dataclass(frozen=True, slots=True)
class Page:
    """A built page, its own files, and what Gradio wants to know when it is mounted."""

    blocks: gr.Blocks
    assets: Path
    look: dict[str, Any] = field(default_factory=dict)


def create_app(engine: Engine, *, settings: Settings, page: Page) -> FastAPI:
    """The application to serve.

    Served to this machine only, it answers only to this machine's names, so that no other site's
    name can be pointed at it.
    """
    app = FastAPI(title="NSFW Review", version=__version__, docs_url=None, redoc_url=None)
    visitors = Visitors(settings)
    app.add_middleware(Guard, visitors=visitors)
    if settings.local_only:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=LOCAL_HOSTS)
    app.add_exception_handler(NSFWReviewError, _answer_error)
    app.mount("/desk/assets", StaticFiles(directory=page.assets))
    app.include_router(image_routes(engine, settings=settings))
    app.include_router(policy_routes(settings.policy_markdown))
    app.include_router(answer_routes(engine))
    for routes in (queue_routes, batch_routes, training_routes):
        app.include_router(routes(engine))
    # Mounted, Gradio checks which files a caller may name only after this.
    page.blocks.has_launched = True
    gr.mount_gradio_app(
        app,
        page.blocks,
        path="/",
        auth_dependency=lambda request: visitor_of(request).reviewer,
        max_file_size=settings.max_bytes,
        run_history=False,
        ssr_mode=False,
        show_error=True,
        footer_links=[],
        **page.look,
    )
    return app


async def _answer_error(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, NSFWReviewError):  # registered for no other
        raise error
    status = next(code for kind, code in STATUS_CODES if isinstance(error, kind))
    return JSONResponse({"error": {"kind": error.kind, "message": str(error)}}, status)
