"""Identifies callers: a session, an API key, a proxy's user, the local reviewer, or anonymous.

- While the server listens on this machine only and there are no users, every request is the local
  reviewer's; requests through a reverse proxy are rejected, because they may come from anywhere.
- An authenticating proxy's user is identified with each request; a session cookie does not
  count then. Where single sign-on is configured, there is no local reviewer.
- Anonymous visitors of a Space may open the page and try it. Elsewhere they have no permissions.
"""

import logging
from collections.abc import Callable
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Annotated
from urllib.parse import unquote

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from nsfw_app.accounts import KEY_PREFIX, SESSION, Accounts
from nsfw_app.errors import Forbidden, OtherReviewer, RequestError
from nsfw_app.rules.permissions import ANONYMOUS, DEMO, Caller, Permission, abstaining, local_caller
from nsfw_app.settings import Settings
from nsfw_app.web.auth.origin import parse_origin
from nsfw_app.web.http.auth_headers import auth_headers_of
from nsfw_app.web.http.forwarding import proxy_of
from nsfw_app.web.http.request_state import caller_of

log = logging.getLogger(__name__)

COOKIE = "nsfw_review"
LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost"})
FOREIGN_SITES = frozenset({"cross-site", "same-site"})  # values of Sec-Fetch-Site
ADD_USER = "Add a user, and everyone signs in: python -m nsfw_app users add NAME --role admin"
KEY_HEADER = "x-api-key"  # if a proxy uses Authorization itself
REVIEWER_HEADER = "nsfw-reviewer"  # percent-encoded; who made the decisions of a request
BEARER = "bearer "


class Callers:
    """Identifies the caller of a request.

    Args:
        settings: Where the server is reachable.
        accounts: Users, sessions and API keys.
    """

    def __init__(self, settings: Settings, accounts: Accounts) -> None:
        self._local = local_caller(settings.reviewer)
        self._may_be_open = settings.local_only and not settings.single_sign_on
        self._accounts = accounts
        self._anonymous = DEMO if settings.on_space else ANONYMOUS

    @property
    def open(self) -> bool:
        """Whether every caller is the local reviewer."""
        return self._may_be_open and not self._accounts.has_users

    def identify(self, connection: HTTPConnection) -> Caller:
        """Identify the caller of a request. Reads the database.

        Raises:
            NotSignedIn: The API key is invalid.
            TooManyRequests: The API key's rate limit is used up.
            Forbidden: There are no users, and the request came through a reverse proxy; or it has
                an authenticating proxy's header and is not from that proxy, or names a user who
                may not sign in.
            RequestError: There are no users, and the request is for another host name.
        """
        caller = self._identify(connection)
        manages = caller.may(Permission.MANAGE)
        return abstaining(caller) if manages and not self._accounts.reviews(caller.name) else caller

    def _identify(self, connection: HTTPConnection) -> Caller:
        sent = auth_headers_of(connection.scope)
        if sent.refusal:
            log.warning("Request refused: %s", sent.refusal)
            raise Forbidden(sent.refusal)
        key = _key(connection)
        if key.startswith(KEY_PREFIX):
            return self._accounts.key_caller(key)
        if self.open:
            _check_direct(connection)
            return self._local
        if sent.identity is not None:  # whose proxy may send a bearer token of its own
            return self._accounts.proxy_caller(sent.identity)
        if key:
            return self._accounts.key_caller(key)
        token = session_token(connection)
        return (self._accounts.session_caller(token) if token else None) or self._anonymous


def _check_direct(connection: HTTPConnection) -> None:
    """Reject requests that may come from another machine, for a page without users.

    Not every proxy can be detected: one that adds no header, speaks HTTP/1.1 and replaces the Host
    is noticed only when a browser sends the page's public address.
    """
    if sign := _proxy_sign(connection):
        raise Forbidden(
            "This page has no users and therefore serves this machine only, but the request came "
            f"through a reverse proxy ({sign}). {ADD_USER}"
        )
    if connection.url.hostname not in LOCAL_HOSTS:
        # Prevents DNS rebinding: another site's name may resolve to this machine.
        raise RequestError(
            f"Host '{connection.url.hostname}' is not allowed: this page has no users and serves "
            f"this machine only, as 127.0.0.1 or localhost. {ADD_USER}"
        )


def _proxy_sign(connection: HTTPConnection) -> str | None:
    """The sign that a request came through a reverse proxy; None if there is none."""
    if sent := proxy_of(connection.scope).headers:
        return f"header {sent[0].title()}"
    if connection.scope["http_version"] == "1.0":  # nginx's default; browsers do not use it
        return "HTTP/1.0"
    if connection.headers.get("sec-fetch-site") not in FOREIGN_SITES:
        for name in ("origin", "referer"):
            public = parse_origin(connection.headers.get(name, ""))
            if public and public[1] not in LOCAL_HOSTS:
                return f"{name.title()} names {public[1]}"
    return None


def session_token(connection: HTTPConnection) -> str | None:
    """The session token of a request.

    Of several cookies with this name the first is used: browsers send the one with the longest path
    first, which is this page's and not that of another installation above it.
    """
    for header in connection.headers.getlist("cookie"):
        for pair in header.split(";"):
            name, _, value = pair.strip().partition("=")
            if name == COOKIE:
                return value
    return None


def session_cookie(
    token: str, *, path: str, secure: bool, framed: bool, lasts: timedelta = SESSION
) -> str:
    """The Set-Cookie header of a session token.

    Args:
        token: The token; empty deletes the cookie.
        path: The page's path.
        secure: Whether the page is served over HTTPS.
        framed: Whether the page is in a cross-site frame, as on a Space, where browsers accept
            partitioned cookies only.
        lasts: How long the session lasts.
    """
    cookie: SimpleCookie = SimpleCookie({COOKIE: token})
    morsel = cookie[COOKIE]
    morsel["path"] = path
    morsel["max-age"] = int(lasts.total_seconds()) if token else 0
    morsel["httponly"] = True
    morsel["samesite"] = "None" if framed else "Lax"
    if secure or framed:
        morsel["secure"] = True
    return f"{morsel.OutputString()}; Partitioned" if framed else morsel.OutputString()


def needs(permission: Permission) -> Callable[[Request], Caller]:
    """A route dependency: the caller, who must have this permission."""

    def permitted(request: Request) -> Caller:
        caller = caller_of(request)
        caller.require(permission)
        return caller

    return permitted


def _same_reviewer(request: Request) -> Caller:
    """The caller, who must be the reviewer that the page names, if it names one.

    A decision that waited in a browser may be sent after another reviewer signed in there.
    """
    caller = needs(Permission.REVIEW)(request)
    named = unquote(request.headers.get(REVIEWER_HEADER, ""))
    if named and named != caller.name:
        raise OtherReviewer(
            f"This decision is {named}'s, and {caller.name} is signed in. It stays in the browser "
            f"until {named} signs in there again."
        )
    return caller


Visitor = Annotated[Caller, Depends(needs(Permission.PAGE))]
Reader = Annotated[Caller, Depends(needs(Permission.READ))]
Reviewer = Annotated[Caller, Depends(_same_reviewer)]
Manager = Annotated[Caller, Depends(needs(Permission.MANAGE))]
Exporter = Annotated[Caller, Depends(needs(Permission.EXPORT))]


def _key(connection: HTTPConnection) -> str:
    if key := connection.headers.get(KEY_HEADER):
        return key.strip()
    authorization = connection.headers.get("authorization", "")
    return authorization[len(BEARER) :].strip() if authorization.lower().startswith(BEARER) else ""
