"""Sign-in with a Hugging Face account on a Space, by OpenID Connect.

- The Space provides client id and secret; authlib runs the authorization code flow with PKCE.
- During the flow its state is also in a cookie, which prevents login CSRF.
- Afterwards the browser has an ordinary session; no token of Hugging Face is kept.
"""

import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx2
from authlib.common.security import generate_token
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from nsfw_app.accounts import Accounts
from nsfw_app.errors import NotFound, NotSignedIn, NSFWReviewError
from nsfw_app.settings import Settings
from nsfw_app.web.auth.login import login_page, signed_in, to_page
from nsfw_app.web.http.forwarding import client_address, root_path_of

SCOPES = "openid profile"  # username and organization names; no email address, no API access
METADATA = "/.well-known/openid-configuration"
COOKIE = "nsfw_review_flow"
FLOW_S = 600
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """A pending sign-in: its PKCE verifier, and when it expires (monotonic seconds)."""

    verifier: str
    expires_at: float


@dataclass(slots=True)
class PendingLogins:
    """Pending sign-ins by state. Thread-safe."""

    pending: dict[str, PendingLogin] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, state: str, verifier: str) -> None:
        """Add a sign-in, and drop expired ones."""
        now = time.monotonic()
        with self.lock:
            self.pending = {
                key: login for key, login in self.pending.items() if login.expires_at > now
            }
            self.pending[state] = PendingLogin(verifier, now + FLOW_S)

    def pop(self, state: str) -> PendingLogin | None:
        """Remove and return the sign-in with this state; None if unknown or expired."""
        with self.lock:
            login = self.pending.pop(state, None)
        return login if login and login.expires_at > time.monotonic() else None


def hub_routes(accounts: Accounts, *, settings: Settings) -> APIRouter:
    """Routes of the redirect to Hugging Face and of its callback."""
    router = APIRouter(include_in_schema=False)
    logins = PendingLogins()
    callback_url = f"https://{settings.space_host}{settings.root_path}/login/callback"

    @router.get("/login/hub")
    def login(request: Request) -> Response:
        _require_hub_sign_in(settings)
        accounts.count_attempt(client_address(request))  # each uses memory for a while
        state, verifier = secrets.token_urlsafe(32), generate_token(48)
        try:
            with _client(settings, callback_url) as client:
                url, _ = client.create_authorization_url(
                    _metadata(client, settings)["authorization_endpoint"],
                    state=state,
                    code_verifier=verifier,
                )
        except (httpx2.HTTPError, KeyError, ValueError):
            unreachable = NotSignedIn("Hugging Face does not respond. Try again.")
            return login_page(request, settings, unreachable)
        logins.add(state, verifier)
        response = RedirectResponse(url, 303)
        response.headers.append("set-cookie", _cookie(state, root_path_of(request)))
        return response

    @router.get("/login/callback")
    def callback(request: Request, state: str = "", code: str = "") -> Response:
        _require_hub_sign_in(settings)
        login = logins.pop(state)
        if login is None or not secrets.compare_digest(
            request.cookies.get(COOKIE, "").encode(), state.encode()
        ):
            return login_page(
                request,
                settings,
                NotSignedIn(
                    "This sign-in was not started in this browser, or has expired. Try again; if "
                    f"that fails, open https://{settings.space_host} in a tab of its own."
                ),
            )
        try:
            name, organizations = _userinfo(
                settings, callback_url, code=code, verifier=login.verifier
            )
            token = accounts.sign_in_from_hub(name, organizations)
        except NSFWReviewError as error:
            return login_page(request, settings, error)
        except (httpx2.HTTPError, OAuthError, KeyError, ValueError):
            failed = NotSignedIn("Hugging Face did not confirm your account. Try again.")
            return login_page(request, settings, failed)
        return signed_in(to_page(request), token, request, settings)

    return router


def _require_hub_sign_in(settings: Settings) -> None:
    if not settings.hub_sign_in:
        raise NotFound("This page uses sign-in with username and password, at /login.")


def _client(settings: Settings, callback_url: str) -> OAuth2Client:
    return OAuth2Client(
        settings.oauth_client_id,
        settings.oauth_client_secret,
        scope=SCOPES,
        redirect_uri=callback_url,
        code_challenge_method="S256",
        timeout=TIMEOUT_S,
    )


def _metadata(client: OAuth2Client, settings: Settings) -> Mapping[str, Any]:
    url = settings.oauth_provider_url.rstrip("/") + METADATA
    response = client.request("GET", url, withhold_token=True)
    response.raise_for_status()
    found: Mapping[str, Any] = response.json()
    return found


def _userinfo(
    settings: Settings, callback_url: str, *, code: str, verifier: str
) -> tuple[str, tuple[str, ...]]:
    """The username of the account that signed in, and the names of its organizations."""
    with _client(settings, callback_url) as client:
        metadata = _metadata(client, settings)
        client.fetch_token(metadata["token_endpoint"], code=code, code_verifier=verifier)
        response = client.get(metadata["userinfo_endpoint"])
        response.raise_for_status()
        userinfo = response.json()
    organizations = (str(org["preferred_username"]) for org in userinfo.get("orgs") or ())
    return str(userinfo["preferred_username"]), tuple(organizations)


def _cookie(state: str, root_path: str) -> str:
    """The state cookie; partitioned, because the page may be in a frame of Hugging Face."""
    return (
        f"{COOKIE}={quote(state)}; Path={root_path}/login; Max-Age={FLOW_S}; HttpOnly; Secure; "
        "SameSite=None; Partitioned"
    )
