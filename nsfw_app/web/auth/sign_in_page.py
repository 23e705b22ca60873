"""The page to sign in at, and the responses that begin and end a session."""

import html
from datetime import timedelta
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from nsfw_app.accounts import SESSION, Accounts
from nsfw_app.errors import NSFWReviewError, TryLater
from nsfw_app.settings import Settings
from nsfw_app.web.auth.callers import session_cookie
from nsfw_app.web.http.errors import status_of
from nsfw_app.web.http.forwarding import root_path_of

PAGE = Template((Path(__file__).parent / "login.html").read_text(encoding="utf-8"))
NAME_FORM = Template("""<form method="post" action="$root/login">
      <label>Name
        <input name="username" value="$name" autocomplete="username" $focus required></label>
      <label>Password
        <input name="password" type="password" autocomplete="current-password" required></label>
      <button$kind>Sign in$with_password</button>
    </form>""")
PROVIDER_LINK = Template(
    '<a class="button" href="$root/login/provider" autofocus>Sign in with $provider</a>'
)
OR = '<p class="or">or</p>'


class SignInPage:
    """Renders the page for the ways to sign in that there are.

    Args:
        accounts: Whether any user has a password.
        settings: The provider or proxy.
    """

    def __init__(self, accounts: Accounts, settings: Settings) -> None:
        self._accounts = accounts
        self._provider = settings.openid
        self._has_proxy = bool(settings.auth_header)

    @property
    def takes_passwords(self) -> bool:
        """Whether users sign in with a password; on a page with a provider, those who have one."""
        if self._provider is None:
            return True
        return self._provider.takes_passwords and self._accounts.has_passwords

    def render(
        self, request: Request, error: NSFWReviewError | None = None, *, name: str = ""
    ) -> HTMLResponse:
        """Render the page, after a failure with the message and the submitted name."""
        root, provider = root_path_of(request), self._provider
        ways = []
        if provider is not None:
            label = html.escape(provider.label)
            ways.append(PROVIDER_LINK.substitute(root=root, provider=label))
        if self.takes_passwords:
            ways.append(
                NAME_FORM.substitute(
                    root=root,
                    name=html.escape(name),
                    focus="" if provider else "autofocus",
                    kind=' class="second"' if provider else "",
                    with_password=" with a password" if provider else "",
                )
            )
        page = PAGE.substitute(
            root=root,
            lead=self._lead(),
            problem=html.escape(str(error)) if error else "",
            form=OR.join(ways),
        )
        headers = {}
        if isinstance(error, TryLater):
            headers["Retry-After"] = str(error.retry_after_s)
        return HTMLResponse(page, status_of(error) if error else 200, headers)

    def _lead(self) -> str:
        if self._provider is not None and not self.takes_passwords:
            return f"Sign in with your {html.escape(self._provider.label)} account."
        if self._has_proxy:
            return (
                "Open this page through the proxy that signs you in. Users with a password can "
                "sign in here."
            )
        return "Sign in to review images."


def page_url(request: Request, settings: Settings) -> str:
    """The public address of the page, without a trailing slash.

    By default it is that of the request. A client that invents a Host gains nothing: providers
    accept only callback addresses that they know.
    """
    if settings.public_url:
        return settings.public_url
    if settings.on_space and settings.space_host:
        return f"https://{settings.space_host}{settings.root_path}"
    return str(request.base_url).rstrip("/")


def needs_https(request: Request, settings: Settings) -> bool:
    """Whether cookies are for HTTPS only.

    They are where the request or the page's public address is HTTPS: a proxy may not forward it.
    """
    return "https" in (request.url.scheme, urlsplit(page_url(request, settings)).scheme)


def to_page(request: Request) -> RedirectResponse:
    """A redirect to the page."""
    return RedirectResponse(root_path_of(request) + "/", 303)


def signed_in(
    response: Response,
    token: str,
    request: Request,
    settings: Settings,
    *,
    lasts: timedelta = SESSION,
) -> Response:
    """Add the session cookie to a response; without a token the cookie is deleted."""
    cookie = session_cookie(
        token,
        path=root_path_of(request) or "/",
        secure=needs_https(request, settings),
        framed=settings.on_space,
        lasts=lasts,
    )
    response.headers.append("set-cookie", cookie)
    return response
