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
# In a text that does not begin so; with a limit, because each character may begin one.
INNER_URL = re.compile(r"[a-z][a-z0-9+.-]{0,30}://", re.IGNORECASE)
CHAINED_URL = re.compile(rf"(?<={CHAIN}){INNER_URL.pattern}", re.IGNORECASE)
# User and password before a host. A password with a slash follows what could not be a port.
UNESCAPED = r"[^/:?#@\[]*:(?!\d*(?:[/?#]|$))[^@]*@"
WEB_USER = re.compile(rf"[^/?#]*@|{UNESCAPED}")
# Not an access point of S3, whose colons are not those of a user.
USER = re.compile(rf"(?!arn:aws[a-z-]*:s3[a-z-]*:)(?:[^/:]*:[^/]*@|{UNESCAPED})")
# Schemes whose @ is behind a container (abfs), or behind a repository, or only part of a name.
WITHOUT_USER = frozenset({"abfs", "abfss", "git", "github", "memory"})
# Parameters by which S3, Google Cloud, CloudFront and Azure sign URLs, and usual names of
# credentials. They do not name an image: a URL that is signed again is the same one.
SECRETS = re.compile(
    r"x-(amz|goog)-.*|awsaccesskeyid|googleaccessid|signature|expires|policy|key-pair-id|sig"
    r"|.*(token|secret|passw(or)?d|passphrase|passcode|pwd|jwt|bearer|credential|session[-_.]?id"
    r"|sessid|auth(?!or(?!i))|(?<!de)(?<!as)sign(?!al)).*"
    r"|(.*[-_.])?pass"
    r"|.*(access|account|api|app|client|encryption|license|private|public|shared|subscription)"
    r"[-_.]?key.*",
    re.IGNORECASE,
)
SESSION = re.compile(r";jsessionid=[^/;]*", re.IGNORECASE)  # in a path, by Java servers
PATH_USER = re.compile(r"(?<=://)[^/:@]*:[^/@]*@")  # of a URL in a path, for a proxy or mirror
# What Azure signs, only next to its `sig`: elsewhere such short names are those of an image.
AZURE = re.compile(
    r"s[eiprstv]|sip|spr|srt|sdd|ses|scid|saoid|suoid|sk[estv]|skoid|sktid", re.IGNORECASE
)
# Parameters that may name an image or be a credential, such as `key` or `author`.
AMBIGUOUS = re.compile(r".*(key|auth|sign).*|(.*[-_.])?code|session|sid", re.IGNORECASE)
MAX_PREFIX = 40  # characters of a text before a URL in a message
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
    if inner := _inner_url(location):  # no image has it; of more URLs the last is shown
        last = max(found.start() for found in INNER_URL.finditer(location))
        return f"{_redacted(location[:inner])}{_redacted(location[last:])}"
    return _redacted(location)


def is_redacted(location: str) -> bool:
    """Whether what is shown of a location lacks credentials, so that it may fetch nothing."""
    if scheme(location) in ARCHIVES and CHAIN in location:
        return is_redacted(location.rpartition(CHAIN)[2])
    if not is_url(location):
        return False
    shown = _without_credentials(location)
    if scheme(location) in WEB:  # of which no fragment and no empty query is sent
        location = location.partition("#")[0]
        return shown not in {location, location.removesuffix("?")}
    return shown != location


def check_readable(location: str) -> None:
    """Check that a location is not a chain of URLs that is not one of an image in an archive.

    Raises:
        ImageError: It is, such as `simplecache::https://h/a.jpg`, or has other text before a URL.
    """
    if scheme(location) in ARCHIVES and CHAIN in location:
        check_readable(location.rpartition(CHAIN)[2])
    elif inner := _inner_url(location):
        before = _redacted(location[:inner])[:MAX_PREFIX]
        raise ImageError(
            ImageErrorKind.UNREADABLE,
            f"{name_of(location)} is not read: {before!r} before a URL is not supported. Name the "
            "URL itself.",
        )


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
        _, path, _ = _web_parts(_without_credentials(location))
        location = unquote(path)
    return posixpath.basename(redacted(location).rstrip("/"))


def shown_name(location: str) -> str:
    """The name of a file in messages; of a URL without one, such as `http://[x/`, all of it."""
    return name_of(location) or redacted(location)


def located(location: str, message: object) -> str:
    """A message about a location that begins with all of it: files may have the same name."""
    shown = redacted(location)
    return str(message) if str(message).startswith(shown) else f"{shown}: {message}"


def resolved(path: str, *, table: str) -> str:
    """The location that a table means by a path: relative to the table's directory.

    Args:
        path: A path or URL; of an image in an archive its URL chain, whose archive is resolved.
        table: Location of the table.

    Raises:
        ImageError: A table from elsewhere may name a file of this machine, a name has characters
            that no file can have, or it is a chain of URLs.
    """
    if UNPAIRED.search(path):
        raise ImageError(
            ImageErrorKind.UNREADABLE,
            f"{name_of(path)} is not the name of a file: it has an unpaired surrogate.",
        )
    if scheme(path) in ARCHIVES and CHAIN in path:
        member, _, archive = path.rpartition(CHAIN)
        return f"{member}{CHAIN}{resolved(archive, table=table)}"
    check_readable(path)
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


def _inner_url(location: str) -> int:
    """Where a URL begins in a location that is no URL, or in a chain; 0 where there is none."""
    if scheme(location) in WEB:
        return 0
    found = (CHAINED_URL if is_url(location) else INNER_URL).search(location)
    return found.start() if found else 0


def _redacted(location: str) -> str:
    return escaped(_without_credentials(location) if is_url(location) else location)


def _without_credentials(url: str) -> str:
    prefix, rest = url.split("://", 1)
    if scheme(url) not in WEB:  # where ? and # are characters of a name
        user = None if scheme(url) in WITHOUT_USER else USER.match(rest)
        return f"{prefix}://{rest[user.end() :] if user else rest}"
    user = WEB_USER.match(rest)
    rest = rest[user.end() :] if user else rest
    host, path, query = _web_parts(f"{prefix}://{rest}")
    pairs = parse_qsl(query, keep_blank_values=True)
    names = [name.rpartition(";")[2] for name, _ in pairs]  # also of a page's text, after &amp;
    is_azure = any(name.lower() == "sig" for name in names)
    kept = [
        (pair[0], _shown(name, pair[1]))
        for name, pair in zip(names, pairs, strict=True)
        if not (SECRETS.fullmatch(name) or (is_azure and AZURE.fullmatch(name)))
    ]
    if kept != pairs:
        query = urlencode(kept, errors="surrogatepass")
    path = PATH_USER.sub("", SESSION.sub("", path))
    return f"{prefix}://{host}{path}{query and '?'}{query}"


def _shown(name: str, value: str) -> str:
    """The value of a parameter of a URL; of one that may be or have a credential, the digest."""
    is_digest = not value or DIGEST.fullmatch(value)
    if is_digest or not (AMBIGUOUS.fullmatch(name) or _has_credentials(value)):
        return value
    return f"~{hashlib.sha256(value.encode(errors='surrogatepass')).hexdigest()[:DIGITS]}"


def _has_credentials(value: str) -> bool:
    """Whether a value is a URL with user or secrets; one within that one is not searched."""
    if scheme(value) not in WEB:
        return is_url(value) and _without_credentials(value) != value
    names = [name for name, _ in parse_qsl(_web_parts(value)[2], keep_blank_values=True)]
    return bool(
        WEB_USER.match(value.split("://", 1)[1])
        or any(SECRETS.fullmatch(name) or AMBIGUOUS.fullmatch(name) for name in names)
    )


def _web_parts(url: str) -> tuple[str, str, str]:
    """Host with user and port, path and query of a URL, valid or not; without the fragment."""
    rest = url.split("://", 1)[1]
    end = AFTER_HOST.search(rest)
    host = rest[: end.start()] if end else rest
    path, _, query = rest[len(host) :].partition("#")[0].partition("?")
    return host, path, query
