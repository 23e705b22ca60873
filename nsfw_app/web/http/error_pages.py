"""HTML error pages for browsers; other clients get JSON."""

import html
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from string import Template

from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse

from nsfw_app.web.http.forwarding import root_path_of

ERROR_PAGE = Template((Path(__file__).parent / "error.html").read_text(encoding="utf-8"))
JSON_ONLY = ("/v1/", "/gradio_api/")


def wants_page(connection: HTTPConnection) -> bool:
    """Whether a browser expects a page: it navigates to an address or submits a form."""
    scope, root_path = connection.scope, root_path_of(connection)
    path: str = scope["path"]
    if scope.get("root_path", "").startswith(root_path):  # after `RootPath`
        path = path.removeprefix(root_path)
    return "text/html" in connection.headers.get("accept", "") and not path.startswith(JSON_ONLY)


def error_page(
    connection: HTTPConnection,
    status: int,
    message: str,
    *,
    request_id: str,
    headers: Mapping[str, str],
) -> HTMLResponse:
    """Render an error as a page with a link to the application."""
    page = ERROR_PAGE.substitute(
        root=root_path_of(connection),
        title=HTTPStatus(status).phrase,
        message=html.escape(message),
        request_id=html.escape(request_id),
    )
    return HTMLResponse(page, status, {"Cache-Control": "no-store", **headers})
