"""Headers in which an authenticating proxy names the user and their groups.

- They are read here only, and always removed. They count if the peer of the connection is the
  named proxy; from every other peer they are a reason to refuse the request.
- The peer is that of the connection. No header can change it, `X-Forwarded-For` included.
"""

from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from nsfw_app.rules.identities import PROXY_ISSUER, Identity
from nsfw_app.settings import Settings
from nsfw_app.web.http.forwarding import TrustedProxies


@dataclass(frozen=True, slots=True)
class AuthHeaderInfo:
    """What the headers of a request say.

    Attributes:
        identity: The user whom the proxy names; None if it names none.
        refusal: Why the request must be refused; empty if it need not be.
    """

    identity: Identity | None = None
    refusal: str = ""


class AuthHeaders:
    """ASGI middleware: reads and removes the headers. It must be outside of `Forwarding`.

    Args:
        app: The next application.
        settings: The names of the headers, and the proxy.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._user = settings.auth_header
        self._groups = settings.auth_groups_header
        self._proxies = TrustedProxies(settings.auth_header_from)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and self._user:
            scope.setdefault("state", {})["auth_headers"] = self._take(scope)
        await self._app(scope, receive, send)

    def _take(self, scope: Scope) -> AuthHeaderInfo:
        users = self._remove(scope, self._user)
        groups = self._remove(scope, self._groups) if self._groups else []
        if not users and not groups:
            return AuthHeaderInfo()
        peer = scope["client"][0] if scope.get("client") else ""
        if not self._proxies.trusts(peer):
            return AuthHeaderInfo(
                refusal=f"{self._user.title()} is accepted from the authenticating proxy only, and "
                f"{peer or 'this peer'} is not named in NSFW_AUTH_HEADER_FROM."
            )
        for header, values in ((self._user, users), (self._groups, groups)):
            if len(values) > 1:  # the proxy may have added its own to that of the visitor
                return AuthHeaderInfo(refusal=f"{header.title()} was sent more than once.")
        try:
            (name,) = (value.decode().strip() for value in users or [b""])
            listed = [group.strip() for value in groups for group in value.decode().split(",")]
        except UnicodeDecodeError:
            return AuthHeaderInfo(refusal="The proxy's headers are not UTF-8 text.")
        if not name:
            return AuthHeaderInfo()
        mapped = tuple(group for group in listed if group) if self._groups else (name,)
        return AuthHeaderInfo(Identity(PROXY_ISSUER, name, name, mapped))

    @staticmethod
    def _remove(scope: Scope, header: str) -> list[bytes]:
        """Remove a header; returns its values."""
        name = header.encode()
        found = [value for key, value in scope["headers"] if key.lower() == name]
        scope["headers"] = [pair for pair in scope["headers"] if pair[0].lower() != name]
        return found


def auth_headers_of(scope: Scope) -> AuthHeaderInfo:
    """What an authenticating proxy says about a request."""
    info: AuthHeaderInfo = scope.get("state", {}).get("auth_headers", AuthHeaderInfo())
    return info
