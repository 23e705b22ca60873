"""Allowlist of Gradio's routes with the permissions they need; any other is not found.

The page and gradio_client need these. Gradio has many more, some of them public: files by path, a
proxy, recordings, an editor, its own sign-in. Routes of later versions stay closed.
"""

import re

from nsfw_app.rules.permissions import Caller, Permission

GET, POST = "GET", "POST"
EITHER = frozenset({Permission.PAGE, Permission.CLASSIFY})  # a browser, or gradio_client with a key
PREFIX = r"/gradio_api"
API = "/gradio_api/"
JOIN, DATA, CANCEL = "/gradio_api/queue/join", "/gradio_api/queue/data", "/gradio_api/cancel"
OPEN: tuple[tuple[str, re.Pattern[str], frozenset[Permission]], ...] = tuple(
    (method, re.compile(pattern), permissions)
    for method, pattern, permissions in (
        (GET, r"/", EITHER),
        (GET, r"/config/?", EITHER),
        (GET, r"/(assets|static|svelte)/.+", EITHER),
        (GET, rf"({PREFIX})?/theme\.css", EITHER),
        (GET, r"/(manifest\.json|pwa_icon(/[^/]+)?)", EITHER),
        (GET, rf"{PREFIX}/(info|startup-events|app_id)/?", EITHER),
        (GET, re.escape(DATA), EITHER),
        (POST, re.escape(JOIN), EITHER),
        (POST, re.escape(CANCEL), EITHER),
        (POST, rf"{PREFIX}/reset/?", EITHER),
    )
)
HEARTBEAT = "/gradio_api/heartbeat/"


def is_gradio(path: str) -> bool:
    """Whether a path is one of Gradio's open routes, for any method and caller."""
    return any(pattern.fullmatch(path) for _, pattern, _ in OPEN)


def is_open(method: str, path: str, caller: Caller) -> bool | None:
    """Whether a Gradio route is open to a caller; None if it is not in the allowlist."""
    method = GET if method == "HEAD" else method
    for allowed, pattern, permissions in OPEN:
        if method == allowed and pattern.fullmatch(path):
            return bool(permissions & caller.permissions)
    return None
