"""Sign-in with username and password, and sign-out.

- Passwords are hashed in a thread of their own, so that no other request waits for it; the number
  of waiting sign-ins is limited.
- A browser gets the page with a message on failure; a program gets JSON.
"""

import html
from functools import partial
from pathlib import Path
from string import Template
from typing import Annotated

import anyio
import anyio.to_thread
from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from nsfw_app.accounts import MAX_PASSWORD_CHARACTERS, Accounts
from nsfw_app.errors import NotFound, NSFWReviewError, Overloaded, TryLater
from nsfw_app.settings import Settings
from nsfw_app.web.auth.callers import session_cookie, session_token
from nsfw_app.web.http.error_pages import wants_page
from nsfw_app.web.http.errors import status_of
from nsfw_app.web.http.forwarding import client_address, root_path_of

SIGN_INS_AT_ONCE = 1  # a hash takes 64 MiB and four threads, so a second one would only be slower
SIGN_INS_WAITING = 40
RETRY_AFTER_S = 2
PAGE = Template((Path(__file__).parent / "login.html").read_text(encoding="utf-8"))
NAME_FORM = Template("""<form method="post" action="$root/login">
      <label>Name
        <input name="username" value="$name" autocomplete="username" autofocus required></label>
      <label>Password
        <input name="password" type="password" autocomplete="current-password" required></label>
      <button>Sign in</button>
    </form>""")
HUB_LINK = Template('<a class="button" href="$root/login/hub">Sign in with Hugging Face</a>')


class SignIns:
    """Checks passwords in a dedicated thread with a limited queue.

    Args:
        accounts: The users.
    """

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._threads = anyio.CapacityLimiter(SIGN_INS_AT_ONCE)

    async def check(self, name: str, password: str, *, address: str) -> str:
        """Create a session and return its token; see `Accounts.sign_in`.

        Raises:
            Overloaded: Too many sign-ins are waiting.
        """
        if self._threads.statistics().tasks_waiting >= SIGN_INS_WAITING:
            raise Overloaded(
                f"{SIGN_INS_WAITING} sign-ins are waiting already. Try again in a moment.",
                retry_after_s=RETRY_AFTER_S,
            )
        call = partial(self._accounts.sign_in, name, password, address=address)
        return await anyio.to_thread.run_sync(call, limiter=self._threads)


def login_routes(accounts: Accounts, *, settings: Settings) -> APIRouter:
    """Routes of the sign-in page, its form, and sign-out."""
    router = APIRouter(include_in_schema=False)
    sign_ins = SignIns(accounts)

    @router.get("/login")
    def show(request: Request) -> HTMLResponse:
        return login_page(request, settings)

    @router.post("/login")
    async def sign_in(
        request: Request,
        username: Annotated[str, Form(max_length=200)],
        password: Annotated[str, Form(max_length=2 * MAX_PASSWORD_CHARACTERS)],
    ) -> Response:
        if settings.hub_sign_in:
            raise NotFound("This page uses sign-in with a Hugging Face account.")
        try:
            token = await sign_ins.check(username, password, address=client_address(request))
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
        redirect = RedirectResponse(root_path_of(request) + "/login", 303)
        return signed_in(redirect, "", request, settings)

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
    """Render the sign-in page, after a failure with the message and the submitted name."""
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
    """Add the session cookie to a response; without a token the cookie is deleted."""
    cookie = session_cookie(
        token,
        path=root_path_of(request) or "/",
        secure=request.url.scheme == "https",
        framed=settings.on_space,
    )
    response.headers.append("set-cookie", cookie)
    return response
