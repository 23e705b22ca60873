"""Sessions: each user's own, and for administrators those of all users."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from nsfw_app.accounts import Accounts
from nsfw_app.rules.permissions import Caller, Permission
from nsfw_app.web.auth.callers import Reader, session_token

MAX_ID_CHARACTERS = 64


class SessionBody(BaseModel):
    """A session, by the id under which it is listed."""

    id: str = Field(min_length=1, max_length=MAX_ID_CHARACTERS)


def session_routes(accounts: Accounts) -> APIRouter:
    """`GET /desk/sessions` and `POST /desk/sessions/revoke`."""
    router = APIRouter()

    @router.get("/sessions")
    def sessions(request: Request, reader: Reader) -> list[dict[str, Any]]:
        """The sessions that have not expired, the latest sign-in first."""
        token = session_token(request)
        current = accounts.session_id(token) if token else None
        return [
            {**asdict(one), "current": one.id == current, "own": one.name == reader.name}
            for one in accounts.sessions(_whose(reader))
        ]

    @router.post("/sessions/revoke")
    def revoke(body: SessionBody, reader: Reader) -> dict[str, str]:
        """End a session, also one's own."""
        accounts.revoke_session(body.id, name=_whose(reader), actor=reader.name)
        return {"id": body.id}

    return router


def _whose(caller: Caller) -> str | None:
    """The user whose sessions the caller may see and end; None for all users."""
    return None if caller.may(Permission.MANAGE) else caller.name
