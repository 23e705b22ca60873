"""An OpenID Connect provider on 127.0.0.1 for the tests, which can also be wrong in any way.

with provider() as running:
settings = {"oidc_issuer": running.url, "oidc_client_id": CLIENT_ID, ...}
"""

import base64
import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey

CLIENT_ID, CLIENT_SECRET = "space-client", "space-secret"
ACCESS = "access"
ALGORITHM = "ES256"


@dataclass
class Provider:
    """A running provider. `person` is the account that signs in next.

    Attributes:
        url: Its address and issuer.
        person: The claims about the account.
        in_id_token: Names of those claims that the ID token has; the userinfo endpoint has all.
        changes: Claims that the ID token has instead; None removes one.
        metadata: Metadata that it has in addition or instead.
        key: What it signs with.
        published: The keys that it publishes.
        token: A complete ID token to send instead of a signed one.
        requests: How often each path was requested.
        codes: The requests that were consented to, by code.
    """

    url: str = ""
    person: dict[str, Any] = field(default_factory=lambda: person("ann"))
    in_id_token: tuple[str, ...] = ("sub",)
    changes: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    key: ECKey = field(default_factory=lambda: new_key("first"))
    published: list[ECKey] = field(default_factory=list)
    token: str | None = None
    requests: Counter[str] = field(default_factory=Counter)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def consent(self, address: str, *, redirect_uri: str) -> dict[str, str]:
        """The callback parameters after the user consents at this URL."""
        asked = {key: value[0] for key, value in parse_qs(urlsplit(address).query).items()}
        assert asked["client_id"] == CLIENT_ID
        assert asked["redirect_uri"] == redirect_uri
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = f"code-{len(self.codes)}"
        self.codes[code] = asked
        return {"code": code, "state": asked["state"]}

    def claims(self, nonce: str) -> dict[str, Any]:
        """The claims of an ID token for the account."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            **{name: self.person[name] for name in self.in_id_token},
            **self.changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def id_token(self, nonce: str) -> str:
        """An ID token for the account."""
        header = {"alg": ALGORITHM, "kid": self.key.kid}
        return self.token or jwt.encode(header, self.claims(nonce), self.key, [ALGORITHM])


def new_key(kid: str) -> ECKey:
    """A key to sign with."""
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig"})


def person(name: str, *organizations: str, sub: str = "", **claims: Any) -> dict[str, Any]:
    """The user information of an account."""
    return {
        "sub": sub or f"subject-of-{name}",
        "preferred_username": name,
        "orgs": [{"preferred_username": organization} for organization in organizations],
        **claims,
    }


class _Handler(BaseHTTPRequestHandler):
    provider: Provider

    def do_GET(self) -> None:
        provider = self.provider
        provider.requests[self.path] += 1
        if self.path == "/.well-known/openid-configuration":
            url = provider.url
            metadata = {
                "issuer": url,
                "authorization_endpoint": f"{url}/oauth/authorize",
                "token_endpoint": f"{url}/oauth/token",
                "userinfo_endpoint": f"{url}/oauth/userinfo",
                "jwks_uri": f"{url}/oauth/jwks",
                "id_token_signing_alg_values_supported": [ALGORITHM],
                **provider.metadata,
            }
            self._send({name: value for name, value in metadata.items() if value is not None})
        elif self.path == "/oauth/jwks":
            keys = provider.published or [provider.key]
            self._send({"keys": [key.as_dict(private=False) for key in keys]})
        elif self.headers["authorization"] == f"Bearer {ACCESS}":
            self._send(provider.person)
        else:
            self._send({"error": "invalid_token"}, 401)

    def do_POST(self) -> None:
        self.provider.requests[self.path] += 1
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        asked = {key: value[0] for key, value in parse_qs(body).items()}
        started = self.provider.codes.pop(asked["code"], None)
        digest = hashlib.sha256(asked["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        posted = (asked.get("client_id"), asked.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        known = posted or self.headers["authorization"] == f"Basic {basic}"
        if started and started["code_challenge"] == challenge and known:
            token = {"access_token": ACCESS, "token_type": "bearer", "expires_in": 28_800}
            self._send({**token, "id_token": self.provider.id_token(started["nonce"])})
        else:
            self._send({"error": "invalid_grant"}, 400)

    def _send(self, body: dict[str, Any], status: int = 200) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def provider() -> Iterator[Provider]:
    """Run a provider for the length of a `with` block."""
    running = Provider()
    handler = type("Handler", (_Handler,), {"provider": running})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    running.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
