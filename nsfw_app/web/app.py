"""Assembles the FastAPI application: middleware, sign-in, REST API, the page and its routes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.types import Lifespan

from nsfw_app.accounts import Accounts
from nsfw_app.concurrency_limits import concurrency_limits
from nsfw_app.evidence.summaries import Summaries
from nsfw_app.review.engine import Engine
from nsfw_app.settings import Settings
from nsfw_app.sync_status import SyncStatus
from nsfw_app.web.api.v1 import v1_application
from nsfw_app.web.auth.callers import Callers
from nsfw_app.web.auth.login import login_routes
from nsfw_app.web.auth.openid import openid_routes
from nsfw_app.web.auth.provider import Provider
from nsfw_app.web.auth.provider_threads import ProviderThreads
from nsfw_app.web.auth.sign_in_page import SignInPage
from nsfw_app.web.http.auth_headers import AuthHeaders
from nsfw_app.web.http.errors import install_error_handlers
from nsfw_app.web.http.forwarding import Forwarding, RootPath, trusted_proxies
from nsfw_app.web.http.gate import ClassifyGate
from nsfw_app.web.http.request_state import caller_of
from nsfw_app.web.middleware.auth import AuthMiddleware
from nsfw_app.web.middleware.content_security import ContentSecurity
from nsfw_app.web.middleware.gradio_calls import GradioCalls
from nsfw_app.web.middleware.gradio_uploads import CALLER_FORMS, Uploads, upload_routes
from nsfw_app.web.monitoring import Measured, Monitor, health_routes
from nsfw_app.web.page.calibrations import calibration_routes
from nsfw_app.web.page.decision_counts import decision_count_routes
from nsfw_app.web.page.decisions import decision_routes
from nsfw_app.web.page.disagreements import disagreement_routes
from nsfw_app.web.page.evidence import evidence_routes
from nsfw_app.web.page.explanations import explanation_routes
from nsfw_app.web.page.galleries import gallery_routes
from nsfw_app.web.page.images import image_routes, preview_routes
from nsfw_app.web.page.keys import key_routes
from nsfw_app.web.page.log import log_routes
from nsfw_app.web.page.policy_version_header import PolicyVersionHeader
from nsfw_app.web.page.queue import lease_routes, queue_routes
from nsfw_app.web.page.sessions import session_routes
from nsfw_app.web.page.status import status_routes
from nsfw_app.web.page.team import team_routes
from nsfw_app.web.page.training import training_routes

if TYPE_CHECKING:
    from nsfw_app.hub_sync.schedule import HubSync  # imports pyarrow


@dataclass(frozen=True, slots=True)
class Page:
    """A built page, its asset directory, and options for `gr.mount_gradio_app`."""

    blocks: gr.Blocks
    assets: Path
    options: dict[str, Any] = field(default_factory=dict)


def create_app(
    engine: Engine,
    accounts: Accounts,
    summaries: Summaries,
    *,
    settings: Settings,
    page: Page,
    snapshot_status: Callable[[], SyncStatus] | None = None,
    hub_sync: "HubSync | None" = None,
) -> FastAPI:
    """Build the application to serve. While it runs, it deletes old uploads.

    Args:
        engine: Classifies images and records decisions.
        accounts: Signs users in.
        summaries: Summaries of the evidence.
        settings: The settings.
        page: The page to mount.
        snapshot_status: The state of snapshots; None where none are written.
        hub_sync: What saves in a dataset repository, whose state is shown; None where nothing does.
    """
    monitor = Monitor(engine, hub_sync, snapshot_status=snapshot_status)
    gate = ClassifyGate(engine, monitor, concurrency=concurrency_limits(settings))
    uploads = Uploads(
        settings.uploads_dir.resolve(),
        root=settings.uploads_root.resolve(),
        caller_bytes=CALLER_FORMS * gate.limits.form_bytes,
    )
    app = _application(lifespan=uploads.deleting_old)
    app.add_middleware(RootPath)
    app.add_middleware(GradioCalls, blocks=page.blocks, uploads=uploads)
    app.add_middleware(AuthMiddleware, callers=Callers(settings, accounts))
    app.add_middleware(Forwarding, proxies=trusted_proxies(settings), root_path=settings.root_path)
    app.add_middleware(AuthHeaders, settings=settings)
    app.add_middleware(ContentSecurity, framed=settings.on_space)
    app.add_middleware(Measured, monitor=monitor)
    app.include_router(
        health_routes(engine, monitor, snapshot_status=snapshot_status, hub_sync=hub_sync)
    )
    saved = snapshot_status if hub_sync is None else lambda: hub_sync.status
    provider = Provider(settings.openid) if settings.openid else None
    sign_in = SignInPage(accounts, settings)
    threads = ProviderThreads()
    for routes in (login_routes, openid_routes):
        app.include_router(routes(accounts, provider, sign_in, settings=settings, threads=threads))
    app.include_router(upload_routes(gate, uploads))
    app.mount("/v1", v1_application(gate, summaries, settings=settings))
    app.mount(
        "/desk",
        _page_routes(gate, accounts, summaries, settings=settings, assets=page.assets, saved=saved),
    )
    # A mounted Gradio checks which files a caller may name only if this is set.
    page.blocks.has_launched = True
    page.blocks.space_id = None  # else the page of a Space sends requests to huggingface.co
    gr.mount_gradio_app(
        app,
        page.blocks,
        path="/",
        auth_dependency=lambda request: caller_of(request).name,
        max_file_size=settings.max_bytes,
        run_history=False,
        ssr_mode=False,
        show_error=True,
        footer_links=[],
        root_path="",  # differs per request; see `RootPath`
        **page.options,
    )
    # Makes Gradio's page take the server's address from the browser instead of the Host header,
    # which a proxy may have replaced with an internal address.
    page.blocks.config["is_colab"] = True
    return app


def _application(*, lifespan: Lifespan[FastAPI] | None = None) -> FastAPI:
    """An application without OpenAPI document, with JSON errors of one shape."""
    app = FastAPI(
        docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False, lifespan=lifespan
    )
    install_error_handlers(app)
    return app


def _page_routes(
    gate: ClassifyGate,
    accounts: Accounts,
    summaries: Summaries,
    *,
    settings: Settings,
    assets: Path,
    saved: Callable[[], SyncStatus] | None,
) -> FastAPI:
    """The application at `/desk`, called by the page's scripts."""
    application = _application()
    application.add_middleware(PolicyVersionHeader, engine=gate.engine)
    application.mount("/assets", StaticFiles(directory=assets))
    application.include_router(status_routes(gate.engine, settings=settings, saved=saved))
    application.include_router(image_routes(gate, accounts))
    application.include_router(explanation_routes(gate, accounts))
    application.include_router(session_routes(accounts))
    application.include_router(key_routes(accounts))
    application.include_router(log_routes(gate.engine, summaries.calibrations))
    application.include_router(calibration_routes(gate.engine, summaries))
    application.include_router(evidence_routes(gate.engine, summaries))
    application.include_router(disagreement_routes(gate.engine, summaries))
    application.include_router(decision_count_routes(gate.engine, summaries))
    for routes in (
        preview_routes,
        decision_routes,
        gallery_routes,
        queue_routes,
        lease_routes,
        training_routes,
        team_routes,
    ):
        application.include_router(routes(gate.engine))
    return application
