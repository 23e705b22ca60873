"""An OpenID Connect provider: its metadata, its keys, and the identity behind a code.

- Issuer and endpoints are https, or on loopback. Redirects of endpoints are not followed.
- A key that is not known yet is looked up again, at most every `KEYS_AGAIN_S`, so that a provider
  may change its keys at any time, and tokens with invented key ids cause no requests.
- Keys are read again after an hour, so that one that the provider has withdrawn is not believed.
- A claim that the ID token lacks is read from the userinfo endpoint, which must name the same
  subject.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from nsfw_app.errors import NotSignedIn, UnknownKey
from nsfw_app.rules.identities import Identity
from nsfw_app.settings.sign_in import OpenIdClient, is_secure_url
from nsfw_app.web.auth.id_token import import_keys, verified_claims

log = logging.getLogger(__name__)

METADATA_PATH = "/.well-known/openid-configuration"
TIMEOUT_S = 10.0
METADATA_S = 3_600  # how long metadata are used without asking again
FAILED_S = 5  # after a request timed out, others fail at once, so that none waits for its turn
KEYS_S = 3_600  # how long a key counts after the provider has withdrawn it
KEYS_AGAIN_S = 10  # how soon keys are read again for an unknown key id
# A provider that does not respond, or not with JSON of the expected form.
UNREACHABLE = (httpx2.HTTPError, httpx2.InvalidURL, ValueError, TypeError)
EMAIL, EMAIL_VERIFIED = "email", "email_verified"
BASIC, POST, PUBLIC = "client_secret_basic", "client_secret_post", "none"


@dataclass(frozen=True, slots=True)
class Authorization:
    """An authorization request: what its response must match.

    Attributes:
        state: Binds the response to the browser.
        nonce: Binds the ID token to the request.
        verifier: The PKCE code verifier.
        redirect_uri: Where the provider sends the browser.
    """

    state: str
    nonce: str
    verifier: str
    redirect_uri: str


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A user whom the provider has authenticated, and the ID token that says so."""

    identity: Identity
    id_token: str


class Provider:
    """A provider as one of its clients sees it. Thread-safe.

    Args:
        client: This page's registration at the provider.
        clock: Seconds that never go back.
    """

    def __init__(
        self, client: OpenIdClient, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.client = client
        self._clock = clock
        self._certificates = httpx2.create_ssl_context()  # takes longer than a request
        self._lock = threading.Lock()
        self._metadata: Mapping[str, Any] = {}
        self._metadata_at = 0.0
        self._failed_at: float | None = None
        self._keys: KeySet | None = None
        self._keys_at = 0.0

    def authorization_url(self, request: Authorization) -> str:
        """Where the browser signs in.

        Raises:
            NotSignedIn: The provider does not respond, or its metadata are not valid.
        """
        with self._reported("does not respond"), self._session(request.redirect_uri) as session:
            url, _ = session.create_authorization_url(
                self._endpoint("authorization_endpoint"),
                state=request.state,
                nonce=request.nonce,
                code_verifier=request.verifier,
            )
        return str(url)

    def sign_in(self, request: Authorization, *, code: str, issuer: str | None) -> SignedIn:
        """The user who signed in with this code.

        Args:
            request: The authorization request.
            code: The code in its response.
            issuer: The response's parameter `iss`; None without one.

        Raises:
            NotSignedIn: The provider does not respond or refuses the code, the response is not
                from it, or its ID token is not valid.
        """
        self._check_issuer(issuer)
        with (
            self._reported("did not confirm your account"),
            self._session(request.redirect_uri) as session,
        ):
            token = session.fetch_token(
                self._endpoint("token_endpoint"), code=code, code_verifier=request.verifier
            )
            id_token, access_token = str(token["id_token"]), str(token.get("access_token", ""))
            claims = self._verified(id_token, nonce=request.nonce, access_token=access_token)
            needed = [self.client.name_claim, *self.client.roles_claims]
            if EMAIL in needed:
                needed.append(EMAIL_VERIFIED)
            if any(claim_of(claims, name) is None for name in needed):
                claims = {**self._userinfo(session, claims["sub"]), **claims}
        return SignedIn(self._identity(claims), id_token)

    def logout_url(self, id_token: str, *, back: str) -> str | None:
        """Where the provider ends its own session; None if it does not, or does not respond."""
        try:
            endpoint = self._read_metadata().get("end_session_endpoint")
        except (*UNREACHABLE, NotSignedIn):
            return None
        if not isinstance(endpoint, str) or not is_secure_url(endpoint):
            return None
        query = urlencode(
            {
                "id_token_hint": id_token,
                "client_id": self.client.client_id,
                "post_logout_redirect_uri": back,
            }
        )
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}"

    @property
    def ends_sessions(self) -> bool:
        """Whether the provider has an address that ends its own sessions."""
        return bool(self._metadata.get("end_session_endpoint"))

    @contextmanager
    def _reported(self, problem: str) -> Iterator[None]:
        """Translate errors of the libraries into `NotSignedIn`, and log them."""
        try:
            yield
        except NotSignedIn as error:
            log.warning("Sign-in with %s failed: %s", self.client.issuer, error)
            raise
        except (*UNREACHABLE, OAuthError, JoseError, KeyError) as error:
            # OAuthError's text is the provider's own code and description, without secrets.
            detail = str(error) if isinstance(error, OAuthError) else type(error).__name__
            log.warning("Sign-in with %s failed: %s: %s", self.client.issuer, problem, detail)
            raise NotSignedIn(f"{self.client.label} {problem}. Try again.") from error

    def _session(self, redirect_uri: str) -> OAuth2Client:
        return OAuth2Client(
            self.client.client_id,
            self.client.client_secret or None,
            token_endpoint_auth_method=self._auth_method(),
            scope=" ".join(self.client.scopes),
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            timeout=TIMEOUT_S,
            verify=self._certificates,
        )

    def _auth_method(self) -> str:
        if not self.client.client_secret:
            return PUBLIC
        offered = self._read_metadata().get("token_endpoint_auth_methods_supported") or [BASIC]
        return POST if BASIC not in offered and POST in offered else BASIC

    def _read_metadata(self) -> Mapping[str, Any]:
        """The provider's metadata, of the last hour.

        Raises:
            NotSignedIn: They are of another issuer.
            Exception: One of `UNREACHABLE`.
        """
        with self._lock:
            if self._metadata and self._clock() - self._metadata_at < METADATA_S:
                return self._metadata
            if self._failed_at is not None and self._clock() - self._failed_at < FAILED_S:
                raise NotSignedIn(f"{self.client.label} does not respond. Try again in a moment.")
        try:
            found = self._get(self.client.issuer.rstrip("/") + METADATA_PATH)
        except httpx2.TimeoutException:
            with self._lock:
                self._failed_at = self._clock()
            raise
        if found.get("issuer") != self.client.issuer:
            raise NotSignedIn(
                f"The provider calls itself {found.get('issuer')!r}, and this page knows it as "
                f"{self.client.issuer!r}. The operator must set NSFW_OIDC_ISSUER to its own name."
            )
        with self._lock:
            self._metadata, self._metadata_at = found, self._clock()
        return found

    def _get(self, url: str) -> dict[str, Any]:
        response = httpx2.get(url, timeout=TIMEOUT_S, verify=self._certificates)
        response.raise_for_status()
        found = response.json()
        if not isinstance(found, dict):
            raise TypeError(f"{url} is not a JSON object.")
        return found

    def _endpoint(self, name: str) -> str:
        url = str(self._read_metadata()[name])
        if not is_secure_url(url):
            raise NotSignedIn(f"The provider's {name} is {url!r}, which is not an https:// URL.")
        return url

    def _check_issuer(self, issuer: str | None) -> None:
        """Refuse a response of another provider (RFC 9207)."""
        with self._reported("does not respond"):
            metadata = self._read_metadata()
        promised = metadata.get("authorization_response_iss_parameter_supported") is True
        if issuer != self.client.issuer and (issuer is not None or promised):
            raise NotSignedIn(
                f"The response is not from {self.client.label}: it names "
                f"{'no issuer' if issuer is None else repr(issuer)}. Try again."
            )

    def _verified(self, id_token: str, *, nonce: str, access_token: str) -> dict[str, Any]:
        algorithms = self._read_metadata().get("id_token_signing_alg_values_supported") or ["RS256"]
        for again in (False, True):
            try:
                return verified_claims(
                    id_token,
                    self._read_keys(again=again),
                    issuer=self.client.issuer,
                    client_id=self.client.client_id,
                    nonce=nonce,
                    access_token=access_token,
                    algorithms=algorithms,
                )
            except UnknownKey as error:
                log.info("%s uses a key that is not known: %s", self.client.issuer, error)
        raise NotSignedIn(
            f"{self.client.label} signed with a key that it does not publish. Try again."
        )

    def _read_keys(self, *, again: bool) -> KeySet:
        with self._lock:
            age_s = self._clock() - self._keys_at
            if self._keys is not None and age_s < (KEYS_AGAIN_S if again else KEYS_S):
                return self._keys
        keys = import_keys(self._get(self._endpoint("jwks_uri"))["keys"])
        with self._lock:
            self._keys, self._keys_at = keys, self._clock()
        return keys

    def _userinfo(self, session: OAuth2Client, subject: str) -> Mapping[str, Any]:
        if "userinfo_endpoint" not in self._read_metadata():
            return {}
        response = session.get(self._endpoint("userinfo_endpoint"))
        response.raise_for_status()
        found: Mapping[str, Any] = response.json()
        if found["sub"] != subject:
            raise NotSignedIn(f"{self.client.label} described another account than yours.")
        return found

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        name = claim_of(claims, self.client.name_claim)
        if not isinstance(name, str) or not name:
            raise NotSignedIn(
                f"{self.client.label} sent no claim {self.client.name_claim!r}. The operator can "
                "request more with NSFW_OIDC_SCOPES, or name another in NSFW_OIDC_NAME_CLAIM."
            )
        if self.client.name_claim == EMAIL and not has_verified_email(claims):
            raise NotSignedIn(
                f"{self.client.label} has not verified the email address {name}, so it cannot be "
                "your name here. Verify it there; or the operator can name another claim in "
                "NSFW_OIDC_NAME_CLAIM."
            )
        groups = tuple(
            group for claim in self.client.roles_claims for group in groups_of(claims, claim)
        )
        prefix = self.client.owner_prefix
        return Identity(self.client.issuer, claims["sub"], name, groups, prefix)


def claim_of(claims: Mapping[str, Any], name: str) -> Any:
    """The value of a claim; `a.b` is `b` inside of `a`, if there is no claim of that name."""
    if name in claims:
        return claims[name]
    outer, dot, inner = name.partition(".")
    nested = claims.get(outer) if dot else None
    return claim_of(nested, inner) if isinstance(nested, Mapping) else None


def has_verified_email(claims: Mapping[str, Any]) -> bool:
    """Whether the provider has verified that the email address is the user's."""
    return claims.get(EMAIL_VERIFIED) is True


def groups_of(claims: Mapping[str, Any], name: str) -> list[str]:
    """The texts in a claim: one, a list, or those that objects have as `preferred_username`.

    An email address counts only if the provider has verified it, because users choose it.
    """
    value = claim_of(claims, name)
    if name == EMAIL and not has_verified_email(claims):
        return []
    values = value if isinstance(value, list) else [value]
    texts = [v.get("preferred_username") if isinstance(v, Mapping) else v for v in values]
    return [text for text in texts if isinstance(text, str)]
