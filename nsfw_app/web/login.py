"""Signing in with a name and a password, and signing out.

A password is checked in a worker thread, so that no other request waits for it. A browser gets
the page back, with a sentence when it did not work; a program gets JSON.
"""

import html
from pathlib import Path
from string import Template
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from nsfw_app.accounts import MAX_PASSWORD_CHARACTERS, Accounts
from nsfw_app.errors import NotFound, NSFWReviewError, TryLater
from nsfw_app.settings import Settings
from nsfw_app.web.callers import session_cookie, session_token
from nsfw_app.web.forwarding import client_address, root_path_of
from nsfw_app.web.pages import wants_page
from nsfw_app.web.problems import status_of

PAGE = Template((Path(__file__).parent / "login.html").read_text(encoding="utf-8"))
NAME_FORM = Template("""<form method="post" action="$root/login">
      <label>Name
        <input name="username" value="$name" autocomplete="username" autofocus required></label>
      <label>Password
        <input name="password" type="password" autocomplete="current-password" required></label>
      <button>Sign in</button>
    </form>""")
HUB_LINK = Template('<a class="button" href="$root/login/hub">Sign in with Hugging Face</a>')


def login_routes(accounts: Accounts, *, settings: Settings) -> APIRouter:
    """The sign-in page, what its form sends to, and the way out."""
    router = APIRouter(include_in_schema=False)

    @router.get("/login")
    def show(request: Request) -> HTMLResponse:
        return login_page(request, settings)

    @router.post("/login")
    def sign_in(
        request: Request,
        username: Annotated[str, Form(max_length=200)],
        password: Annotated[str, Form(max_length=2 * MAX_PASSWORD_CHARACTERS)],
    ) -> Response:
        if settings.hub_sign_in:
            raise NotFound("Here people sign in with their Hugging Face account.")
        try:
            token = accounts.sign_in(username, password, address=client_address(request))
        except NSFWReviewError as error:
            if not wants_page(request):
                raise
            return login_page(request, settings, error, name=username)
        if wants_page(request):
            return signed_in(to_page(request), token, request, settings)
        return signed_in(JSONResponse({"success": True}), token, request, settings)

    @router.post("/logout")
    def sign_out(request: Request) -> Response:
        if token := session_token(request):
            accounts.sign_out(token)
        away = RedirectResponse(root_path_of(request) + "/login", 303)
        return signed_in(away, "", request, settings)

    return router


def to_page(request: Request) -> RedirectResponse:
    """A redirect to the page."""
    return RedirectResponse(root_path_of(request) + "/", 303)


def login_page(
    request: Request,
    settings: Settings,
    error: NSFWReviewError | None = None,
    *,
    name: str = "",
) -> HTMLResponse:
    """The sign-in, with a sentence about what did not work and the name that was tried."""
    hub, root = settings.hub_sign_in, root_path_of(request)
    form = HUB_LINK if hub else NAME_FORM
    page = PAGE.substitute(
        root=root,
        lead="Sign in with your Hugging Face account." if hub else "Sign in to review images.",
        problem=html.escape(str(error)) if error else "",
        form=form.substitute(root=root, name=html.escape(name)),
    )
    headers = {}
    if isinstance(error, TryLater):
        headers["Retry-After"] = str(error.retry_after_s)
    return HTMLResponse(page, status_of(error) if error else 200, headers)


def signed_in(response: Response, token: str, request: Request, settings: Settings) -> Response:
    """The response, with the cookie that signs a browser in, or out when there is no token."""
    cookie = session_cookie(
        token,
        path=root_path_of(request) or "/",
        secure=request.url.scheme == "https",
        framed=settings.on_space,
    )
    response.headers.append("set-cookie", cookie)
    return response
