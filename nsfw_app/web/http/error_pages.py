"""Error pages: what a person sees where a program gets JSON."""

import html
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from string import Template

from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse

from nsfw_app.web.http.forwarding import root_path_of

ERROR_PAGE = Template((Path(__file__).parent / "error.html").read_text(encoding="utf-8"))
FOR_PROGRAMS = ("/v1/", "/gradio_api/")


def wants_page(connection: HTTPConnection) -> bool:
    """Whether a person's browser asks for a page: it opens an address or sends a form."""
    scope, root_path = connection.scope, root_path_of(connection)
    path: str = scope["path"]
    if scope.get("root_path", "").startswith(root_path):  # `RootPath` has been passed
        path = path.removeprefix(root_path)
    return "text/html" in connection.headers.get("accept", "") and not path.startswith(FOR_PROGRAMS)


def error_page(
    connection: HTTPConnection,
    status: int,
    message: str,
    *,
    request_id: str,
    headers: Mapping[str, str],
) -> HTMLResponse:
    """An error as a page, with a link back."""
    page = ERROR_PAGE.substitute(
        root=root_path_of(connection),
        title=HTTPStatus(status).phrase,
        message=html.escape(message),
        request_id=html.escape(request_id),
    )
    return HTMLResponse(page, status, {"Cache-Control": "no-store", **headers})
