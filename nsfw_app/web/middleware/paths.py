"""Rejects ambiguous request targets before routing.

Routers, middleware and file handlers normalize unusual paths differently: one strips a newline,
others cut at a semicolon, merge double slashes or resolve `..`, so that a check of one is bypassed
at another. After this check `scope["path"]` means the same to all of them.
"""

from urllib.parse import quote, unquote_to_bytes

from starlette.types import Scope

from nsfw_app.errors import RequestError

MAX_PATH_BYTES = 2_000  # as sent, percent-encoded; the longest route here needs about 100
UNRESERVED = "".join(map(chr, range(33, 127))).replace("%", "")  # not encoded
DOT_SEGMENTS = frozenset({".", ".."})


def check_target(scope: Scope) -> None:
    """Reject a path or query that layers could interpret differently, encoded or decoded.

    Raises:
        RequestError: The path is too long, does not begin with a slash, is not UTF-8, or has a
            control or invisible character, a backslash, a semicolon, an encoded slash, a double
            slash, a dot segment, or a percent sign after decoding; or path or query have bytes
            outside ASCII.
    """
    if not scope["query_string"].isascii():
        raise RequestError("The query has bytes that are not percent-encoded.")
    sent: bytes = scope.get("raw_path") or quote(scope["path"], safe=UNRESERVED).encode()
    if len(sent) > MAX_PATH_BYTES:
        raise RequestError(f"The path has {len(sent)} bytes; the limit is {MAX_PATH_BYTES}.")
    if not sent.isascii():
        raise RequestError("The path has bytes that are not percent-encoded.")
    if b"%2f" in sent.lower():
        raise RequestError("The path has an encoded slash (%2F).")
    try:
        decoded = unquote_to_bytes(sent).decode()
    except UnicodeDecodeError:
        raise RequestError("The path is not UTF-8.") from None
    for path in (decoded, scope["path"]):
        if fault := _fault(path):
            raise RequestError(f"The path {fault}.")


def _fault(path: str) -> str:
    """The fault of a decoded path; empty if there is none."""
    if not path.startswith("/"):
        return "does not begin with a slash"
    if "\ufffd" in path:  # the replacement for an invalid byte
        return "is not UTF-8"
    if not path.isprintable():
        return "has a control or invisible character"
    for character, name in (("\\", "a backslash"), (";", "a semicolon"), ("%", "a percent sign")):
        if character in path:
            return f"has {name}"
    if "//" in path:
        return "has two slashes in a row"
    if DOT_SEGMENTS & set(path.split("/")):
        return "has a segment '.' or '..'"
    return ""
