"""Who asks: a signed-in browser, a program with a key, whoever sits at this machine, or nobody.

Nobody has to sign in where only this machine is served and no user was ever added. A Space's
anonymous visitor may open the page and try it; elsewhere an unknown caller may do nothing.
"""

from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Annotated

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from nsfw_app.access import DEMO, STRANGER, Caller, Permission, local_caller
from nsfw_app.accounts import KEY_PREFIX, SESSION, Accounts
from nsfw_app.settings import Settings

COOKIE = "nsfw_review"
KEY_HEADER = "x-api-key"  # where something in front of us has taken Authorization for itself
BEARER = "bearer "


class Callers:
    """Tells callers apart.

    Args:
        settings: Who is served.
        accounts: Who is known.
    """

    def __init__(self, settings: Settings, accounts: Accounts) -> None:
        self._local = local_caller(settings.reviewer)
        self._local_only = settings.local_only
        self._accounts = accounts
        self._unknown = DEMO if settings.on_space else STRANGER

    @property
    def open(self) -> bool:
        """Whether everyone who reaches the page is the local reviewer."""
        return self._local_only and not self._accounts.has_users

    def identify(self, connection: HTTPConnection) -> Caller:
        """Who sent a request. Reads the database.

        Raises:
            NotSignedIn: The API key is not known.
            TooManyRequests: The API key has used up its minute.
        """
        key = _key(connection)
        if key.startswith(KEY_PREFIX):
            return self._accounts.key_caller(key)
        if self.open:
            return self._local
        if key:
            return self._accounts.key_caller(key)
        token = connection.cookies.get(COOKIE)
        return (self._accounts.session_caller(token) if token else None) or self._unknown


def session_cookie(token: str, *, secure: bool, framed: bool) -> str:
    """The Set-Cookie header that gives a browser its token; an empty one takes it away.

    Args:
        token: What the browser is to keep.
        secure: Whether the page is reached by HTTPS.
        framed: Whether it is shown inside another site's page, as on a Space, where browsers keep
            only a cookie that is partitioned.
    """
    cookie: SimpleCookie = SimpleCookie({COOKIE: token})
    morsel = cookie[COOKIE]
    morsel["path"] = "/"
    morsel["max-age"] = int(SESSION.total_seconds()) if token else 0
    morsel["httponly"] = True
    morsel["samesite"] = "None" if framed else "Lax"
    if secure or framed:
        morsel["secure"] = True
    return f"{morsel.OutputString()}; Partitioned" if framed else morsel.OutputString()


def caller_of(connection: HTTPConnection) -> Caller:
    """The caller behind a request that came through the guard."""
    caller: Caller = connection.scope["state"]["caller"]
    return caller


def needs(permission: Permission) -> Callable[[Request], Caller]:
    """A dependency of a route: the caller, who must have this permission."""

    def permitted(request: Request) -> Caller:
        caller = caller_of(request)
        caller.require(permission)
        return caller

    return permitted


Visitor = Annotated[Caller, Depends(needs(Permission.PAGE))]
Reader = Annotated[Caller, Depends(needs(Permission.READ))]
Reviewer = Annotated[Caller, Depends(needs(Permission.REVIEW))]
Exporter = Annotated[Caller, Depends(needs(Permission.EXPORT))]


def _key(connection: HTTPConnection) -> str:
    if key := connection.headers.get(KEY_HEADER):
        return key.strip()
    authorization = connection.headers.get("authorization", "")
    return authorization[len(BEARER) :].strip() if authorization.lower().startswith(BEARER) else ""
