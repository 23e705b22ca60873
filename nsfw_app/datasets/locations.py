"""Locations of files: paths and URLs, and what is shown of them."""

import hashlib
import os
import posixpath
import re
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from nsfw_app.errors import ImageError, ImageErrorKind

SCHEME = re.compile(r"^([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
WEB = frozenset({"http", "https"})
ARCHIVES = frozenset({"zip", "tar"})  # of images in an archive, as in `zip://a.jpg::/data/x.zip`
# Of storage that is never on this machine: what a table from elsewhere may name.
ELSEWHERE = WEB | {"s3", "s3a", "gs", "gcs", "hf", "abfs", "abfss", "az"}
CHAIN = "::"  # between such an image and its archive
ESCAPED = re.compile(r"\\x([89a-f][0-9a-f])")  # a byte of a name that is not UTF-8
# Surrogates that JSON can write, and that no file name has: they are not those of a byte.
UNPAIRED = re.compile("[\ud800-\udc7f\udd00-\udfff]")
AFTER_HOST = re.compile(r"[/?#]")
# Parameters by which S3, Google Cloud, CloudFront and Azure sign URLs, and usual names of
# credentials. They do not name an image: a URL that is signed again is the same one.
SECRETS = re.compile(
    r"x-(amz|goog)-.*|awsaccesskeyid|googleaccessid|signature|expires|policy|key-pair-id"
    r"|s[eiprv]|sig|sks|skt|ske|skv|skoid|sktid|spr"
    r"|.*(token|secret|password|auth(?!or(?!i))|(?<!de)(?<!as)sign(?!al)).*"
    r"|.*(access|account|api|app|client|encryption|license|private|public|shared|subscription)"
    r"[-_.]?key.*",
    re.IGNORECASE,
)
# Parameters that may name an image or be a credential, such as `key` or `author`.
AMBIGUOUS = re.compile(r".*(key|auth|sign).*", re.IGNORECASE)
DIGITS = 16  # of the digest that is shown in place of such a value
DIGEST = re.compile(rf"~[0-9a-f]{{{DIGITS}}}")


def scheme(location: str) -> str:
    """The scheme of a URL, in lower case; empty for a path."""
    match = SCHEME.match(location)
    return match[1].lower() if match else ""


def is_url(location: str) -> bool:
    """Whether a location is a URL, and not a path."""
    return bool(scheme(location))


def is_valid(url: str) -> bool:
    """Whether a URL can be parsed: not one such as `http://[x/`."""
    try:
        urlsplit(url)
    except ValueError:
        return False
    return True


def absolute(location: str) -> str:
    """The same location for each working directory; a file:// URL as a path."""
    if scheme(location) in ARCHIVES and CHAIN in location:
        member, _, archive = location.rpartition(CHAIN)
        return f"{member}{CHAIN}{absolute(archive)}"
    if scheme(location) == "file":
        _, location, _ = _web_parts(location)
        location = unquote(location)
    return location if is_url(location) else os.path.abspath(location)  # noqa: PTH100


def redacted(location: str) -> str:
    """The location as it is shown and stored: without credentials, as valid Unicode.

    - A parameter of a URL that may name an image or be a credential is shown as a digest.
    - What is shown already is shown the same again.
    """
    if scheme(location) in ARCHIVES and CHAIN in location:
        member, _, archive = location.rpartition(CHAIN)
        return f"{escaped(member)}{CHAIN}{redacted(archive)}"
    if scheme(location) in WEB:  # elsewhere ? and # are characters of a name
        host, path, query = _web_parts(location)
        pairs = parse_qsl(query, keep_blank_values=True)
        kept = [_shown(*pair) for pair in pairs if not SECRETS.fullmatch(pair[0])]
        if kept != pairs:
            query = urlencode(kept, errors="surrogatepass")
        prefix = location.partition("://")[0]
        location = f"{prefix}://{host.rpartition('@')[2]}{path}{query and '?'}{query}"
    elif is_url(location):
        prefix, rest = location.split("://", 1)
        host, slash, path = rest.partition("/")
        location = f"{prefix}://{host.rpartition('@')[2]}{slash}{path}"
    return escaped(location)


def escaped(text: str) -> str:
    """The text as valid Unicode: bytes of names that are not UTF-8, and surrogates, are escaped."""
    text = UNPAIRED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")


def unescaped(path: str) -> str:
    """The path of a file that `escaped` shows like this."""
    return ESCAPED.sub(lambda found: os.fsdecode(bytes([int(found[1], 16)])), path)


def name_of(location: str) -> str:
    """The last part of the path: names a file in messages, and its kind by the suffix."""
    if scheme(location) in WEB:
        _, path, _ = _web_parts(location)
        location = unquote(path)
    return posixpath.basename(redacted(location).rstrip("/"))


def resolved(path: str, *, table: str) -> str:
    """The location that a table means by a path: relative to the table's directory.

    Args:
        path: A path or URL; of an image in an archive its URL chain, whose archive is resolved.
        table: Location of the table.

    Raises:
        ImageError: A table from elsewhere may name a file of this machine, or a name has characters
            that no file can have.
    """
    if UNPAIRED.search(path):
        raise ImageError(
            ImageErrorKind.UNREADABLE,
            f"{name_of(path)} is not the name of a file: it has an unpaired surrogate.",
        )
    if scheme(path) in ARCHIVES and CHAIN in path:
        member, _, archive = path.rpartition(CHAIN)
        return f"{member}{CHAIN}{resolved(archive, table=table)}"
    if not is_url(table):
        base = os.path.dirname(table)  # noqa: PTH120
        return absolute(path if is_url(path) else os.path.join(base, path))  # noqa: PTH118
    if is_url(path):
        # fsspec has many schemes by which files of this machine are read: local, git, generic.
        if scheme(path) not in ELSEWHERE | {scheme(table)}:
            raise ImageError(
                ImageErrorKind.UNREADABLE,
                f"{name_of(path)} is not read: {scheme(path)}:// may name a file of this machine, "
                "which a table or list from elsewhere cannot.",
            )
        return path
    prefix, rest = table.split("://", 1)
    if scheme(table) in WEB:
        rest, path = rest.partition("?")[0], quote(path.encode(errors="surrogateescape"), safe="/%")
    host, _, folder = posixpath.dirname(rest).partition("/")
    return f"{prefix}://{host}{posixpath.normpath(posixpath.join('/', folder, path))}"


def _shown(name: str, value: str) -> tuple[str, str]:
    """A parameter of a URL; of a value that may be a credential the digest."""
    if not value or DIGEST.fullmatch(value) or not AMBIGUOUS.fullmatch(name):
        return name, value
    return name, f"~{hashlib.sha256(value.encode(errors='surrogatepass')).hexdigest()[:DIGITS]}"


def _web_parts(url: str) -> tuple[str, str, str]:
    """Host with user and port, path and query of a URL, valid or not; without the fragment."""
    rest = url.split("://", 1)[1]
    end = AFTER_HOST.search(rest)
    host = rest[: end.start()] if end else rest
    path, _, query = rest[len(host) :].partition("#")[0].partition("?")
    return host, path, query
