"""API keys, for administrators: what they may do, until when, and when they were last used."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from nsfw_app.accounts import Accounts
from nsfw_app.store.keys import ApiKey
from nsfw_app.web.auth.callers import Manager

MAX_NAME_CHARACTERS = 64


class KeyBody(BaseModel):
    """A key, by its name."""

    name: str = Field(min_length=1, max_length=MAX_NAME_CHARACTERS)


def key_routes(accounts: Accounts) -> APIRouter:
    """`GET /desk/keys` and `POST /desk/keys/revoke`."""
    router = APIRouter()

    @router.get("/keys")
    def keys(_: Manager) -> list[dict[str, Any]]:
        """All keys that are not revoked, without their secrets."""
        return [_key_json(key) for key in accounts.active_keys()]

    @router.post("/keys/revoke")
    def revoke(body: KeyBody, manager: Manager) -> dict[str, str]:
        """Revoke a key at once; see `Accounts.revoke_key`."""
        accounts.revoke_key(body.name, actor=manager.name)
        return {"name": body.name}

    return router


def _key_json(key: ApiKey) -> dict[str, Any]:
    return {
        "name": key.name,
        "scopes": sorted(key.scopes),
        "per_minute": key.per_minute,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "expired": key.has_expired,
        "last_used_at": key.last_used_at,
        "webhook": key.webhook_url is not None,
    }
