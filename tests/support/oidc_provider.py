"""A certified OpenID Connect provider, oidc-provider for Node.js, in a process of its own."""

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.server import free_port

SCRIPT = Path(__file__).parents[1] / "browser" / "oidcProvider.mjs"
CLIENT = {
    "NSFW_OIDC_CLIENT_ID": "review",
    "NSFW_OIDC_CLIENT_SECRET": "a secret of the tests",
    "NSFW_OIDC_SCOPES": "openid profile groups",
}


@contextlib.contextmanager
def certified_provider(client_url: str) -> Iterator[str]:
    """Run the provider with this page as its client; yields its issuer."""
    port = free_port()
    process = subprocess.Popen(
        ["node", str(SCRIPT), str(port), client_url],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    output = []
    try:
        for line in process.stdout:
            output.append(line)
            if line.startswith("listening"):
                break
        else:
            raise RuntimeError("".join(output))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
