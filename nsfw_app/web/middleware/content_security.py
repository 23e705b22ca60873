"""The Content-Security-Policy of every response, as strict as Gradio permits.

- Nothing is loaded from other sites; plug-ins and frames are forbidden. The page itself cannot be
  framed, except by Hugging Face on a Space.
- Inline scripts are allowed by hash. Gradio needs `unsafe-eval` and inline styles.
- Absolute links of Gradio's page are made relative, so that below a proxy's path nothing is
  requested outside of it.
"""

import base64
import hashlib
import re
from collections.abc import Iterable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

INLINE_SCRIPT = re.compile(
    rb"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL | re.IGNORECASE
)
# Gradio's only absolute link. Without an icon link browsers request /favicon.ico.
ABSOLUTE_LINK = b'<link rel="manifest" href="/manifest.json" />'
RELATIVE_LINKS = (
    b'<link rel="manifest" href="./manifest.json" /><link rel="icon" href="./favicon.ico" />'
)
HUGGING_FACE = "https://huggingface.co https://*.hf.space"


class ContentSecurity:
    """ASGI middleware; see the module docstring.

    Args:
        app: The next application.
        framed: Whether the page is shown in a frame of Hugging Face, as on a Space.
    """

    def __init__(self, app: ASGIApp, *, framed: bool) -> None:
        self._app = app
        self._ancestors = HUGGING_FACE if framed else "'none'"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; a page is buffered until its scripts are known."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _wants_page(scope):  # it is read here, so it must not be compressed
            scope["headers"] = [(k, v) for k, v in scope["headers"] if k != b"accept-encoding"]
        start: Message | None = None
        body = bytearray()

        async def send_protected(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/html"):
                    start = message
                    return
                headers["Content-Security-Policy"] = self._policy([])
            elif start is not None:
                body.extend(message.get("body", b""))
                if message.get("more_body"):
                    return
                page = bytes(body).replace(ABSOLUTE_LINK, RELATIVE_LINKS)
                headers = MutableHeaders(scope=start)
                headers["Content-Security-Policy"] = self._policy(INLINE_SCRIPT.findall(page))
                if page:
                    headers["Content-Length"] = str(len(page))
                else:  # the response to HEAD has no page
                    del headers["Content-Length"]
                await send(start)
                message = {"type": "http.response.body", "body": page}
            await send(message)

        await self._app(scope, receive, send_protected)

    def _policy(self, scripts: Iterable[bytes]) -> str:
        sources = " ".join(["'self'", "'unsafe-eval'", *map(_source, scripts)])
        return "; ".join(
            (
                "default-src 'none'",
                f"script-src {sources}",
                "style-src 'self' 'unsafe-inline'",
                "img-src 'self' data: blob:",
                "font-src 'self' data:",
                "connect-src 'self'",
                "manifest-src 'self'",
                "base-uri 'self'",
                "form-action 'self'",
                f"frame-ancestors {self._ancestors}",
            )
        )


def _wants_page(scope: Scope) -> bool:
    return any(k == b"accept" and b"text/html" in v for k, v in scope["headers"])


def _source(script: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"
