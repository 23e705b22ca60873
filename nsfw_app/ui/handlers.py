"""Helpers of the page's event handlers: permission checks, and errors shown as messages."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from nsfw_app.errors import NSFWReviewError
from nsfw_app.rules.permissions import Caller, Permission
from nsfw_app.server_log import LoggedRequest, set_request
from nsfw_app.web.http.errors import request_id
from nsfw_app.web.http.request_state import caller_of

P = ParamSpec("P")
T = TypeVar("T")

# Options of events that are no endpoint for clients and show no progress.
INTERNAL: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def authorize(request: gr.Request, permission: Permission) -> Caller:
    """The caller of a handler, who must have a permission.

    Raises:
        NotSignedIn: The request is not authenticated.
        Forbidden: The caller lacks the permission.
    """
    caller = caller_of(request.request)
    # Gradio's queue calls handlers outside of the context of the request.
    set_request(LoggedRequest(request_id(request.request), caller.name))
    caller.require(permission)
    return caller


def show_errors(handler: Callable[P, T]) -> Callable[P, T]:
    """Show the handler's `NSFWReviewError` as a message on the page."""

    @functools.wraps(handler)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return handler(*args, **kwargs)
        except NSFWReviewError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return wrapped
