"""Sign-in with username and password, and sign-out.

- Passwords are hashed in a thread of their own, so that no other request waits for it; the number
  of waiting sign-ins is limited.
- A browser gets the page with a message on failure; a program gets JSON.
"""

from contextlib import suppress
from functools import partial
from typing import Annotated

import anyio
import anyio.to_thread
from fastapi import APIRouter, Form, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from nsfw_app.accounts import MAX_PASSWORD_CHARACTERS, Accounts
from nsfw_app.errors import NotFound, NSFWReviewError, Overloaded
from nsfw_app.settings import Settings
from nsfw_app.web.auth.callers import session_token
from nsfw_app.web.auth.provider import Provider
from nsfw_app.web.auth.provider_threads import ProviderThreads
from nsfw_app.web.auth.sign_in_page import SignInPage, page_url, signed_in, to_page
from nsfw_app.web.http.error_pages import wants_page
from nsfw_app.web.http.forwarding import client_address, root_path_of

SIGN_INS_AT_ONCE = 1  # a hash takes 64 MiB and four threads, so a second one would only be slower
SIGN_INS_WAITING = 40
RETRY_AFTER_S = 2
JSON = "application/json"


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


def login_routes(
    accounts: Accounts,
    provider: Provider | None,
    page: SignInPage,
    *,
    settings: Settings,
    threads: ProviderThreads,
) -> APIRouter:
    """Routes of the sign-in page, its form, and sign-out."""
    router = APIRouter(include_in_schema=False)
    sign_ins = SignIns(accounts)

    @router.get("/login")
    def show(request: Request) -> HTMLResponse:
        return page.render(request)

    @router.post("/login")
    async def sign_in(
        request: Request,
        username: Annotated[str, Form(max_length=200)],
        password: Annotated[str, Form(max_length=2 * MAX_PASSWORD_CHARACTERS)],
    ) -> Response:
        if not await run_in_threadpool(lambda: page.takes_passwords):
            label = provider.client.label if provider else "the proxy"
            raise NotFound(f"This page uses sign-in with {label}, at /login.")
        try:
            token = await sign_ins.check(username, password, address=client_address(request))
        except NSFWReviewError as error:
            if not wants_page(request):
                raise
            return await run_in_threadpool(page.render, request, error, name=username)
        if wants_page(request):
            return signed_in(to_page(request), token, request, settings)
        return signed_in(JSONResponse({"success": True}), token, request, settings)

    @router.post("/logout")
    async def sign_out(request: Request) -> Response:
        """End the session here; for the page's script, also say where to end the provider's."""
        token = session_token(request)
        id_token = await run_in_threadpool(accounts.sign_out, token) if token else None
        after = root_path_of(request) + "/login"
        if JSON not in request.headers.get("accept", ""):
            return signed_in(RedirectResponse(after, 303), "", request, settings)
        if provider is not None and id_token is not None:
            back = f"{page_url(request, settings)}/login"
            with suppress(Overloaded):  # the session has ended here
                location = await threads.run(provider.logout_url, id_token, back=back)
                after = location or after
        return signed_in(JSONResponse({"location": after}), "", request, settings)

    return router
