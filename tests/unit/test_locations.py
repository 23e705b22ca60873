"""Locations: any text has a name and can be shown; what tables may name; what identifies a URL."""

import re

import pytest

from nsfw_app.datasets.locations import (
    absolute,
    check_readable,
    is_redacted,
    name_of,
    redacted,
    resolved,
)
from nsfw_app.errors import ImageError

# What rows of tables and lines of lists may hold in place of paths and URLs.
HOSTILE = [
    "http://[x/a.jpg",
    "http://h//[x/a.jpg",
    "file://[x/a.jpg",
    "https://h/\udcff.jpg?token=1&y=\udcfe",
    "http://",
    "http://h?",
    "file://",
    "zip://",
    "zip://::",
    "s3://",
    "a\0.jpg",
    "\udcff.jpg",
]
ACCESS_POINTS = [
    "s3://arn:aws:s3:us-west-2:123456789012:accesspoint/ap/dir/photo@2x.jpg",
    "s3://arn:aws:s3:us-west-2:123456789012:accesspoint:ap/photo@2x.jpg",
    "s3://arn:aws-cn:s3-outposts:cn-north-1:123456789012:outpost/op-1/accesspoint/ap/a@b:c.jpg",
]


@pytest.mark.parametrize("location", [*HOSTILE, "\ud800.jpg", "http://h/\ud800?key=\udd00&sig=1"])
def test_any_text_can_be_shown(location: str) -> None:
    """As valid Unicode, whole or its name only."""
    for text in (redacted(location), name_of(location), redacted(absolute(location))):
        text.encode()


@pytest.mark.parametrize("table", ["/d/t.jsonl", "http://h/t.jsonl", "memory://d/t.jsonl"])
@pytest.mark.parametrize("path", [*HOSTILE, "\ud800.jpg", "zip://\ud800::x.zip"])
def test_any_text_of_a_table_is_a_location_or_an_error(path: str, table: str) -> None:
    """The error is typed; an unpaired surrogate is always one."""
    try:
        redacted(resolved(path, table=table)).encode()
        assert "\ud800" not in path
    except ImageError as error:
        str(error).encode()


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("http://h//a/b.jpg?x=1", "http://h//a/b.jpg?x=1"),
        ("http://u:p@h?token=1&x=2", "http://h?x=2"),
        ("http://h/a.jpg#part", "http://h/a.jpg"),
        ("zip://a@b.jpg::http://u:p@h/x.zip?sig=1", "zip://a@b.jpg::http://h/x.zip"),
        ("http://h:80/a@b:c.jpg", "http://h:80/a@b:c.jpg"),
        ("http://[::1]:80/a@b.jpg", "http://[::1]:80/a@b.jpg"),
        ("https://u:p/q@h/a.jpg", "https://h/a.jpg"),
        ("s3://u:p/q@b/a@c.jpg", "s3://b/a@c.jpg"),
        ("ftp://u:p@q@h/a.jpg", "ftp://h/a.jpg"),
        ("s3://b/mirror/http://h/a?sig=1", "s3://b/mirror/http://h/a?sig=1"),
        ("https://h/a;jsessionid=5?x=1", "https://h/a?x=1"),
        ("https://h/a.jpg?w=1&amp;sig=2", "https://h/a.jpg?w=1"),
        ("https://h/get?u=https://h/a%3Fw=1%23x", "https://h/get?u=https://h/a%3Fw=1%23x"),
        ("az://c@a/a.jpg", "az://c@a/a.jpg"),
        ("abfs://c1@acct.dfs.core.windows.net/a.jpg", "abfs://c1@acct.dfs.core.windows.net/a.jpg"),
        ("github://org:repo@main/a.jpg", "github://org:repo@main/a.jpg"),
        ("git://repo:main@a.jpg", "git://repo:main@a.jpg"),
        ("memory://x:y/z@q.jpg", "memory://x:y/z@q.jpg"),
        *((url, url) for url in ACCESS_POINTS),
        ("s3://arn:p/q@b/a@c.jpg", "s3://b/a@c.jpg"),
        ("s3://arn:aws@b/a.jpg", "s3://b/a.jpg"),
        ("http://h/a.jpg?st=1&bypass=2&barcode=3", "http://h/a.jpg?st=1&bypass=2&barcode=3"),
    ],
)
def test_the_path_of_a_url_is_kept(location: str, shown: str) -> None:
    """Also one with an empty first part, and a query without a path."""
    assert redacted(location) == shown


def test_an_azure_url_that_is_signed_again_is_the_same() -> None:
    """All that a shared access signature has, of an account, a user or a service."""
    parameters = "sv st se sr sp ss srt sip si spr sdd ses scid skoid sktid skt ske sks skv".split()
    signed = "&".join(f"{name}=1" for name in parameters)
    assert redacted(f"https://a.blob.core.windows.net/c/a.jpg?{signed}&sig=x&w=2") == (
        "https://a.blob.core.windows.net/c/a.jpg?w=2"
    )


@pytest.mark.parametrize("text", ["s3://x::", "a:", " https://u:p@h", "https://h?u=", "abcdefghi"])
@pytest.mark.parametrize("start", ["s3://", ""])
def test_a_long_line_is_shown_at_once(text: str, start: str) -> None:
    """Without a recursion, and in linear time: a list may have a line of 1 MB."""
    assert redacted(f"{start}{text * 100_000}")


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("https://u:p@h/a.jpg", True),
        ("https://h/a.jpg?key=1", True),
        ("https://h/a.jpg?sig=1", True),
        ("zip://a.jpg::https://h/x.zip?sig=1", True),
        ("s3://u:p@b/a.jpg", True),
        ("https://h/a b.jpg?w=%41&h=", False),
        ("https://h/a.jpg?#part", False),
        ("s3://b/a.jpg?", False),
        ("zip://a.jpg::/d/x.zip", False),
        ("/d/\udcff.jpg", False),
    ],
)
def test_what_is_shown_fetches_the_same_or_is_redacted(location: str, expected: bool) -> None:
    """Escapes, fragments and empty queries do not count."""
    assert is_redacted(location) is expected


@pytest.mark.parametrize("inner", ["https://u:hunter2@h/a", "https://h/a%3Fw=1%26sig=hunter2"])
def test_a_url_with_credentials_within_a_url_is_a_digest(inner: str) -> None:
    """As of a proxy; other URLs stay."""
    shown = redacted(f"https://h/get?u={inner}&w=2")
    assert re.fullmatch(r"https://h/get\?u=~[0-9a-f]{16}&w=2", shown)


def test_urls_differ_where_their_images_may_differ() -> None:
    """By a parameter that may name an image; one that may be a credential is not shown itself."""
    shown = [redacted(f"http://h/get?key={name}&w=1") for name in ("a", "b", "secret")]
    assert len(set(shown)) == 3
    assert shown[0] == "http://h/get?key=~ca978112ca1bbdca&w=1"
    assert "secret" not in shown[2]
    assert [redacted(each) for each in shown] == shown


@pytest.mark.parametrize(
    "name",
    ["author", "design", "keyword", "object_key", "imageKey", "Key", "code", "session", "sid"],
)
def test_names_of_images_are_kept_as_digests(name: str) -> None:
    """They have a word of credentials in them."""
    assert redacted(f"http://h/get?{name}=1") != redacted(f"http://h/get?{name}=2")


@pytest.mark.parametrize(
    "name",
    [
        "X-Amz-Signature",
        "X-Amz-Security-Token",
        "X-Goog-Credential",
        "AWSAccessKeyId",
        "GoogleAccessId",
        "Expires",
        "Key-Pair-Id",
        "sig",
        "api_key",
        "apikey",
        "access-key",
        "subscription-key",
        "auth",
        "auth_key",
        "oauth_token",
        "authorization",
        "sign",
        "signed",
        "password",
        "client_secret",
        "passwd",
        "pwd",
        "pass",
        "user_pass",
        "jwt",
        "bearer",
        "credential",
        "sessionid",
        "session_id",
        "PHPSESSID",
    ],
)
def test_a_url_that_is_signed_again_is_the_same(name: str) -> None:
    """So that a scan continues with new signatures and tokens."""
    assert redacted(f"http://h/a.jpg?{name}=1&w=2") == "http://h/a.jpg?w=2"


@pytest.mark.parametrize(
    "path",
    [
        "file:///d/a.jpg",
        "FILE:///d/a.jpg",
        "local:///d/a.jpg",
        "git://d:a.jpg",
        "generic://file:///d/a.jpg",
        "simplecache:///d/a.jpg",
        "reference://a.jpg",
        "zip://a.jpg",
        "zip://a.jpg::local:///d/x.zip",
        "zip://a.jpg::simplecache::local:///d/x.zip",
        "tar://a.jpg::zip://x.tar::file:///d/x.zip",
        "memory://d/a.jpg",
    ],
)
def test_a_table_from_elsewhere_names_no_file_of_this_machine(path: str) -> None:
    """Of no scheme that may be one, also as the archive of a member."""
    with pytest.raises(ImageError, match="a file of this machine"):
        resolved(path, table="https://h/lists/t.jsonl")


@pytest.mark.parametrize("cache", ["simplecache", "filecache", "blockcache"])
@pytest.mark.parametrize("table", ["http://h/t/x.jsonl", "memory://t/x.jsonl"])
def test_a_chain_of_a_cache_is_not_read(table: str, cache: str) -> None:
    """Nor is it a path relative to the table."""
    with pytest.raises(ImageError, match="not supported"):
        resolved(f"{cache}::file:///d/a.jpg", table=table)


@pytest.mark.parametrize(
    "location",
    [
        "simplecache::https://me:hunter2@h/x.jpg",
        "simplecache::zip://a.jpg::https://me:hunter2@h/x.zip",
        "zip://a.jpg::simplecache::https://me:hunter2@h/x.zip",
        "s3://b/a::https://h/x.jpg?sig=hunter2",
        " https://me:hunter2@h/x.jpg",
        "url=https://h/x.jpg?token=hunter2",
    ],
)
def test_no_credentials_of_an_inner_url_are_shown(location: str) -> None:
    """Whether the location is read or not."""
    assert "hunter2" not in redacted(location)
    try:
        assert "hunter2" not in redacted(resolved(location, table="/d/list.txt"))
    except ImageError as error:
        assert "hunter2" not in str(error)  # noqa: PT017


def test_a_table_names_files_of_its_own_storage() -> None:
    """And of known storage elsewhere."""
    for path in ("memory://d/a.jpg", "s3://b/a.jpg", "https://h/a.jpg", "zip://a::gs://b/x.zip"):
        assert resolved(path, table="memory://t/x.jsonl") == path


@pytest.mark.parametrize(
    "url",
    [
        "https://h/a.jpg;jsessionid=SECRET",
        "https://u:SECRET/x@h/a.jpg",
        "https://h/a.jpg?u=s3://KEY:SECRET@b/a",
        "https://h/a.jpg?u=ftp://u:SECRET@h/a",
        "https://h/a.jpg?u=https://h/a%3Fkey=SECRET",
        "https://h/a.jpg?w=1&amp;sid=SECRET",
        "https://proxy/plain/https://u:SECRET@h/a.jpg",
    ],
)
def test_no_form_of_a_url_shows_credentials(url: str) -> None:
    """Neither in its URI nor in its name, in which messages have it."""
    assert "SECRET" not in redacted(url)
    assert name_of(url) == "a.jpg"


def test_the_error_of_a_chain_shows_no_credentials() -> None:
    """Also of the URL before the one that it names."""
    with pytest.raises(ImageError) as refused:
        check_readable("s3://KEY:SECRET@b/x::https://h/a.jpg")
    assert "SECRET" not in str(refused.value)
