"""The header `NSFW-Policy-Version` on each JSON response to the page.

It is the version of the policy in force, by which an open page notices that the policy changed.
"""

from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nsfw_app.errors import StorageError
from nsfw_app.review.engine import Engine

HEADER = "NSFW-Policy-Version"


class PolicyVersionHeader:
    """ASGI middleware of the page's routes; see the module docstring."""

    def __init__(self, app: ASGIApp, *, engine: Engine) -> None:
        self._app = app
        self._engine = engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def send_with_version(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("application/json"):
                    try:
                        policy = await run_in_threadpool(lambda: self._engine.policy)
                        headers[HEADER] = str(policy.version)
                    except StorageError:
                        pass  # what the response says is true without it
            await send(message)

        await self._app(scope, receive, send_with_version)
