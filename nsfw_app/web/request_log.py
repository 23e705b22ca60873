"""One log record for each request: method, route pattern, status, duration and caller.

- The route is a pattern, so that the record has no hash, no id and no query.
- Requests for assets, health checks and polls of open pages are logged at debug.
"""

import logging
import re

from starlette.types import Scope

from nsfw_app.rules.permissions import ANONYMOUS, Caller

log = logging.getLogger(__name__)

QUIET = re.compile(
    r"/(healthz|readyz|metrics|favicon\.ico|robots\.txt|manifest\.json|pwa_icon.*)"
    r"|/(desk/assets|assets|static|svelte)/.*"
    r"|(/gradio_api)?/(theme\.css|heartbeat/.*)"
    r"|/desk/heartbeat"
)


def log_request(scope: Scope, *, path: str, route: str, status: int, seconds: float) -> None:
    """Log a request that has its response.

    Args:
        scope: The request, after it was served.
        path: Its path before it was routed; not logged.
        route: The pattern of the route that served it.
        status: Of the response.
        seconds: Until the response was sent.
    """
    level = logging.DEBUG if QUIET.fullmatch(path) else logging.INFO
    if not log.isEnabledFor(level):
        return
    state = scope["state"]
    caller: Caller = state.get("caller", ANONYMOUS)
    milliseconds = round(seconds * 1_000, 1)
    fields = {
        "request_id": state.get("request_id", ""),
        "method": scope["method"],
        "route": route,
        "status": status,
        "duration_ms": milliseconds,
    }
    if caller.owner is not None:
        fields["caller"] = caller.name
    log.log(
        level,
        "%s %s %d in %.1f ms",
        scope["method"],
        route,
        status,
        milliseconds,
        extra=fields,
    )
