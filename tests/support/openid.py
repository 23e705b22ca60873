"""A Hugging Face on 127.0.0.1 for the tests: it signs people in as OpenID Connect says.

with provider() as hub:
environment = {"OPENID_PROVIDER_URL": hub.url, ...}
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

CLIENT_ID, CLIENT_SECRET = "space-client", "space-secret"


@dataclass
class Provider:
    """A running provider. `person` is the account that signs in next."""

    url: str = ""
    person: dict[str, Any] = field(default_factory=lambda: person("ann"))
    codes: dict[str, str] = field(default_factory=dict)  # code to PKCE challenge

    def consent(self, address: str, *, redirect_uri: str) -> dict[str, str]:
        """The callback parameters after the user consents at this URL."""
        asked = {key: value[0] for key, value in parse_qs(urlsplit(address).query).items()}
        assert asked["client_id"] == CLIENT_ID
        assert asked["redirect_uri"] == redirect_uri
        assert asked["code_challenge_method"] == "S256"
        code = f"code-{len(self.codes)}"
        self.codes[code] = asked["code_challenge"]
        return {"code": code, "state": asked["state"]}


def person(name: str, *organizations: str) -> dict[str, Any]:
    """The user information of an account."""
    return {
        "sub": "1",
        "preferred_username": name,
        "orgs": [{"preferred_username": organization} for organization in organizations],
    }


class _Handler(BaseHTTPRequestHandler):
    provider: Provider

    def do_GET(self) -> None:
        if self.path == "/.well-known/openid-configuration":
            url = self.provider.url
            self._send(
                {
                    "authorization_endpoint": f"{url}/oauth/authorize",
                    "token_endpoint": f"{url}/oauth/token",
                    "userinfo_endpoint": f"{url}/oauth/userinfo",
                }
            )
        elif self.headers["authorization"] == "Bearer access":
            self._send(self.provider.person)
        else:
            self._send({"error": "invalid_token"}, 401)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        asked = {key: value[0] for key, value in parse_qs(body).items()}
        challenge = self.provider.codes.pop(asked["code"], None)
        digest = hashlib.sha256(asked["code_verifier"].encode()).digest()
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        proven = base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == challenge
        if proven and self.headers["authorization"] == f"Basic {basic}":
            self._send({"access_token": "access", "token_type": "bearer", "expires_in": 28_800})
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
