"""Who asks. Until there are logins, a browser is known by a secret it keeps in a cookie.

Served to this machine only, everyone is the local reviewer. Served to more than that, each browser
is a visitor of its own: it sees what it brought, and nothing of the others. The secret itself is
never stored, the owner's name is derived from it.
"""

import hashlib
import secrets
from dataclasses import dataclass
from http.cookies import SimpleCookie

from starlette.requests import HTTPConnection

from nsfw_app.settings import Settings

COOKIE = "nsfw_review"
COOKIE_SECONDS = 12 * 3600
LOCAL_OWNER = "local"


@dataclass(frozen=True, slots=True)
class Visitor:
    """The owner of uploads, the name on decisions, and whether others' decisions may be seen.

    `secret` is what the browser keeps, empty for the local reviewer; `is_new` says that it has
    yet to be told.
    """

    owner: str
    reviewer: str
    sees_all: bool
    secret: str = ""
    is_new: bool = False


class Visitors:
    """Tells visitors apart."""

    def __init__(self, settings: Settings) -> None:
        self._reviewer = settings.reviewer
        self._shared = not settings.local_only
        self._on_space = settings.on_space

    def identify(self, connection: HTTPConnection) -> Visitor:
        """Who sent a request."""
        if not self._shared:
            return Visitor(LOCAL_OWNER, self._reviewer, sees_all=True)
        known = connection.cookies.get(COOKIE, "")
        secret = known or secrets.token_urlsafe(32)
        owner = f"visitor-{hashlib.sha256(secret.encode()).hexdigest()[:16]}"
        return Visitor(owner, owner, sees_all=False, secret=secret, is_new=not known)

    def cookie(self, visitor: Visitor) -> str:
        """The Set-Cookie header that tells a browser its secret, for another `COOKIE_SECONDS`.

        A Space is shown inside another site's page, where only a partitioned cookie is kept.
        """
        cookie: SimpleCookie = SimpleCookie({COOKIE: visitor.secret})
        morsel = cookie[COOKIE]
        morsel["path"] = "/"
        morsel["max-age"] = COOKIE_SECONDS
        morsel["httponly"] = True
        morsel["samesite"] = "None" if self._on_space else "Lax"
        if self._on_space:
            morsel["secure"] = True
            return f"{morsel.OutputString()}; Partitioned"
        return morsel.OutputString()


def visitor_of(connection: HTTPConnection) -> Visitor:
    """The visitor behind a request that came through the guard."""
    visitor: Visitor = connection.scope["state"]["visitor"]
    return visitor
