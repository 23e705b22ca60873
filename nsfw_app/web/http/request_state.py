"""The caller in a request's state, where the authentication middleware puts it."""

from starlette.requests import HTTPConnection

from nsfw_app.rules.permissions import Caller


def caller_of(connection: HTTPConnection) -> Caller:
    """The caller of a request that has passed the authentication middleware."""
    caller: Caller = connection.scope["state"]["caller"]
    return caller
