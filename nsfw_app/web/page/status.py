"""Status of the model, the policy in force, the caller and the limits, for the page."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request

from nsfw_app import __version__
from nsfw_app.concurrency_limits import concurrency_limits
from nsfw_app.records import Reason, utc
from nsfw_app.review.engine import Engine
from nsfw_app.rules.permissions import LOCAL_OWNER, Caller, Permission
from nsfw_app.settings import Settings
from nsfw_app.sync_status import SyncStatus
from nsfw_app.web.auth.callers import Visitor
from nsfw_app.web.http.auth_headers import auth_headers_of
from nsfw_app.web.page.team import viewing_json


def status_routes(
    engine: Engine, *, settings: Settings, saved: Callable[[], SyncStatus] | None = None
) -> APIRouter:
    """`GET /desk/status` and `GET /desk/heartbeat`."""
    router = APIRouter()
    started_at = utc(datetime.now(UTC).isoformat())

    @router.get("/status")
    def status(request: Request, visitor: Visitor) -> dict[str, Any]:
        now = engine.status
        identity = now.classifier.identity if now.classifier else None
        return {
            "version": __version__,
            "state": now.state,
            "wanted": now.wanted,
            "message": now.message,
            "model": asdict(identity) if identity else None,
            "policy": asdict(engine.policy),
            "detail": detail_json(engine),
            "reviewer": visitor.name,
            "permissions": sorted(visitor.permissions),
            "auth_action": auth_action(visitor, request),
            "reasons": list(Reason),
            "uploads_at_once": concurrency_limits(settings).page_uploads,
            "max_files": settings.max_files,
            "max_bytes": engine.limits.max_bytes,
            "pause_after": settings.pause_after,
            "policy_text": settings.policy_text is not None,
            "require_seen": list(settings.require_seen),
            "require_reason": settings.require_reason,
            "escalation_text": settings.escalation_text,
            "blind_reasons": sorted(engine.queue.blind_reasons),
            "viewing_defaults": viewing_json(engine),
            "reviews": not visitor.abstains,
        }

    @router.get("/heartbeat")
    def heartbeat(visitor: Visitor) -> dict[str, Any]:
        """What an open page polls: the server runs, under which policy, and what is saved."""
        return {
            "policy_version": engine.policy.version,
            "state": engine.status.state,
            "started_at": started_at,
            "saved": saved_json(saved())
            if saved is not None and visitor.may(Permission.READ)
            else None,
        }

    return router


def detail_json(engine: Engine) -> dict[str, Any] | None:
    """The detail model: its state, which images it is asked about; None where there is none.

    `roles` are those of its labels; none until it is ready.
    """
    if engine.detail is None:
        return None
    status, identity = engine.detail.status, engine.detail.identity
    return {
        "state": status.state,
        "model": identity.model if identity else status.wanted,
        "message": status.message,
        "when": engine.detail.when,
        "roles": dict(status.classifier.roles) if status.classifier else {},
    }


def saved_json(status: SyncStatus) -> dict[str, Any]:
    """Where changes are saved, up to when, and what is wrong with it."""
    saved_at = status.last_success_at
    return {
        "target": status.target,
        "last_success_at": saved_at and utc(saved_at.isoformat()),
        "error": status.error,
        "pending": status.pending,
        "replaced": status.replaced,
        "maintenance_error": status.maintenance_error,
    }


def auth_action(visitor: Caller, request: Request) -> str | None:
    """The button that the page shows: `sign_in`, `sign_out`, or None where there is no session.

    That is on a page without users, and for users whom a proxy signs in.
    """
    if visitor.owner is None:
        return "sign_in"
    if visitor.owner == LOCAL_OWNER or auth_headers_of(request.scope).identity is not None:
        return None
    return "sign_out"
