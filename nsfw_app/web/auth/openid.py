"""Sign-in with an OpenID Connect provider, by the authorization code flow with PKCE.

- During the flow its state is also in a cookie, which prevents login CSRF.
- A flow ends with its first callback, valid or not, and after ten minutes.
- Afterwards the browser has an ordinary session. Access tokens are not kept; the ID token is, if
  the provider can end its own session with it.
"""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote

from authlib.common.security import generate_token
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from nsfw_app.accounts import Accounts
from nsfw_app.errors import NotFound, NotSignedIn, NSFWReviewError
from nsfw_app.settings import Settings
from nsfw_app.web.auth.provider import Authorization, Provider
from nsfw_app.web.auth.provider_threads import ProviderThreads
from nsfw_app.web.auth.sign_in_page import (
    SignInPage,
    needs_https,
    page_url,
    signed_in,
    to_page,
)
from nsfw_app.web.http.forwarding import client_address, root_path_of

COOKIE = "nsfw_review_flow"
FLOW_S = 600
MAX_ERROR_CHARACTERS = 200


@dataclass(slots=True)
class PendingLogins:
    """Authorization requests without a response, by state. Thread-safe.

    Args:
        clock: Seconds that never go back.
    """

    clock: Callable[[], float] = time.monotonic
    pending: dict[str, tuple[Authorization, float]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, request: Authorization) -> None:
        """Add a request, and drop expired ones."""
        now = self.clock()
        with self.lock:
            self.pending = {key: one for key, one in self.pending.items() if one[1] > now}
            self.pending[request.state] = request, now + FLOW_S

    def pop(self, state: str) -> Authorization | None:
        """Remove and return the request with this state; None if unknown or expired."""
        with self.lock:
            request, expires_at = self.pending.pop(state, (None, 0.0))
        return request if expires_at > self.clock() else None


def openid_routes(
    accounts: Accounts,
    provider: Provider | None,
    page: SignInPage,
    *,
    settings: Settings,
    threads: ProviderThreads,
) -> APIRouter:
    """Routes of the redirect to the provider and of its callback."""
    router = APIRouter(include_in_schema=False)
    logins = PendingLogins()

    @router.get("/login/hub")  # its address in earlier versions
    @router.get("/login/provider")
    async def login(request: Request) -> Response:
        return await threads.run(begin, request)

    @router.get("/login/callback")
    async def callback(
        request: Request,
        state: str = "",
        code: str = "",
        iss: str | None = None,
        error: str = "",
    ) -> Response:
        return await threads.run(finish, request, state=state, code=code, iss=iss, error=error)

    def begin(request: Request) -> Response:
        chosen = _required(provider)
        accounts.count_attempt(client_address(request))  # each uses memory for a while
        started = Authorization(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=generate_token(64),
            redirect_uri=f"{page_url(request, settings)}/login/callback",
        )
        try:
            url = chosen.authorization_url(started)
        except NotSignedIn as error:
            return page.render(request, error)
        logins.add(started)
        response = RedirectResponse(url, 303)
        response.headers.append("set-cookie", _cookie(started.state, request, settings))
        return response

    def finish(request: Request, *, state: str, code: str, iss: str | None, error: str) -> Response:
        chosen = _required(provider)
        started = logins.pop(state)
        if started is None or not secrets.compare_digest(
            request.cookies.get(COOKIE, "").encode(), state.encode()
        ):
            return page.render(
                request,
                NotSignedIn(
                    "This sign-in was not started in this browser, or has expired. Try again; if "
                    f"that fails, open {page_url(request, settings)} in a tab of its own."
                ),
            )
        try:
            if error or not code:
                raise NotSignedIn(
                    f"{chosen.client.label} did not sign you in: "
                    f"{error[:MAX_ERROR_CHARACTERS] or 'it sent no code'}. Try again."
                )
            user = chosen.sign_in(started, code=code, issuer=iss)
            token = accounts.sign_in_identity(
                user.identity,
                lasts=chosen.client.session,
                id_token=user.id_token if chosen.ends_sessions else None,
            )
        except NSFWReviewError as refusal:
            return page.render(request, refusal)
        return signed_in(to_page(request), token, request, settings, lasts=chosen.client.session)

    return router


def _required(provider: Provider | None) -> Provider:
    if provider is None:
        raise NotFound("This page uses sign-in with username and password, at /login.")
    return provider


def _cookie(state: str, request: Request, settings: Settings) -> str:
    """The state cookie. The provider's redirect is cross-site; Lax cookies are sent with it.

    On a Space it is partitioned, because the page may be in a frame of Hugging Face.
    """
    cookie = f"{COOKIE}={quote(state)}; Path={root_path_of(request)}/login; Max-Age={FLOW_S}; "
    if settings.on_space:
        return f"{cookie}HttpOnly; Secure; SameSite=None; Partitioned"
    secure = "Secure; " if needs_https(request, settings) else ""
    return f"{cookie}HttpOnly; {secure}SameSite=Lax"
