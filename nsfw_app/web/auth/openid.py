"""Signing in on a Space with a Hugging Face account, by OpenID Connect.

The Space tells a client id and secret; the code flow with PKCE runs in authlib. Between the way
out and the way back a browser keeps the flow's state in a cookie of its own, so that nobody can be
signed in by a link. Afterwards it has a session like any other; no token of Hugging Face is kept.
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

SCOPES = "openid profile"  # a name and the names of organisations, no address and no token to act
METADATA = "/.well-known/openid-configuration"
COOKIE = "nsfw_review_flow"
FLOW_S = 600
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Flow:
    """A sign-in that has begun: what must come back with it, and until when."""

    verifier: str
    until: float


@dataclass(slots=True)
class PendingLogins:
    """Sign-ins under way, by the state that came with them."""

    begun: dict[str, Flow] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, state: str, verifier: str) -> None:
        """Remember one, and forget those that took too long."""
        now = time.monotonic()
        with self.lock:
            self.begun = {key: flow for key, flow in self.begun.items() if flow.until > now}
            self.begun[state] = Flow(verifier, now + FLOW_S)

    def end(self, state: str) -> Flow | None:
        """The one that began with this state, once."""
        with self.lock:
            flow = self.begun.pop(state, None)
        return flow if flow and flow.until > time.monotonic() else None


def hub_routes(accounts: Accounts, *, settings: Settings) -> APIRouter:
    """The way to Hugging Face and the way back."""
    router = APIRouter(include_in_schema=False)
    flows = PendingLogins()
    back = f"https://{settings.space_host}{settings.root_path}/login/callback"

    @router.get("/login/hub")
    def login(request: Request) -> Response:
        _check_used(settings)
        accounts.count_attempt(client_address(request))  # each is kept for a while
        state, verifier = secrets.token_urlsafe(32), generate_token(48)
        try:
            with _client(settings, back) as client:
                url, _ = client.create_authorization_url(
                    _metadata(client, settings)["authorization_endpoint"],
                    state=state,
                    code_verifier=verifier,
                )
        except (httpx2.HTTPError, KeyError, ValueError):
            unreachable = NotSignedIn("Hugging Face does not answer. Try again.")
            return login_page(request, settings, unreachable)
        flows.begin(state, verifier)
        response = RedirectResponse(url, 303)
        response.headers.append("set-cookie", _cookie(state, root_path_of(request)))
        return response

    @router.get("/login/callback")
    def callback(request: Request, state: str = "", code: str = "") -> Response:
        _check_used(settings)
        flow = flows.end(state)
        if flow is None or not secrets.compare_digest(
            request.cookies.get(COOKIE, "").encode(), state.encode()
        ):
            return login_page(
                request,
                settings,
                NotSignedIn(
                    "This sign-in was not begun in this browser, or took too long. Try again; if "
                    f"that does not help, open https://{settings.space_host} in a tab of its own."
                ),
            )
        try:
            person = _person(settings, back, code=code, verifier=flow.verifier)
            token = accounts.sign_in_from_hub(*person)
        except NSFWReviewError as error:
            return login_page(request, settings, error)
        except (httpx2.HTTPError, OAuthError, KeyError, ValueError):
            unnamed = NotSignedIn("Hugging Face did not say who you are.")
            return login_page(request, settings, unnamed)
        return signed_in(to_page(request), token, request, settings)

    return router


def _check_used(settings: Settings) -> None:
    if not settings.hub_sign_in:
        raise NotFound("On this page people sign in with a name and a password, at /login.")


def _client(settings: Settings, back: str) -> OAuth2Client:
    return OAuth2Client(
        settings.oauth_client_id,
        settings.oauth_client_secret,
        scope=SCOPES,
        redirect_uri=back,
        code_challenge_method="S256",
        timeout=TIMEOUT_S,
    )


def _metadata(client: OAuth2Client, settings: Settings) -> Mapping[str, Any]:
    url = settings.oauth_provider_url.rstrip("/") + METADATA
    response = client.request("GET", url, withhold_token=True)
    response.raise_for_status()
    found: Mapping[str, Any] = response.json()
    return found


def _person(
    settings: Settings, back: str, *, code: str, verifier: str
) -> tuple[str, tuple[str, ...]]:
    """The name of whoever came back, and those of their organisations."""
    with _client(settings, back) as client:
        metadata = _metadata(client, settings)
        client.fetch_token(metadata["token_endpoint"], code=code, code_verifier=verifier)
        response = client.get(metadata["userinfo_endpoint"])
        response.raise_for_status()
        told = response.json()
    organisations = (str(org["preferred_username"]) for org in told.get("orgs") or ())
    return str(told["preferred_username"]), tuple(organisations)


def _cookie(state: str, root_path: str) -> str:
    """Kept by a browser also inside Hugging Face's page, where only a partitioned cookie is."""
    return (
        f"{COOKIE}={quote(state)}; Path={root_path}/login; Max-Age={FLOW_S}; HttpOnly; Secure; "
        "SameSite=None; Partitioned"
    )
