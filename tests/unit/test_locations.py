"""Locations: any text has a name and can be shown; what tables may name; what identifies a URL."""

import pytest

from nsfw_app.datasets.locations import absolute, name_of, redacted, resolved
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
    ],
)
def test_the_path_of_a_url_is_kept(location: str, shown: str) -> None:
    """Also one with an empty first part, and a query without a path."""
    assert redacted(location) == shown


def test_urls_differ_where_their_images_may_differ() -> None:
    """By a parameter that may name an image; one that may be a credential is not shown itself."""
    shown = [redacted(f"http://h/get?key={name}&w=1") for name in ("a", "b", "secret")]
    assert len(set(shown)) == 3
    assert shown[0] == "http://h/get?key=~ca978112ca1bbdca&w=1"
    assert "secret" not in shown[2]
    assert [redacted(each) for each in shown] == shown


@pytest.mark.parametrize("name", ["author", "design", "keyword", "object_key", "imageKey", "Key"])
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
def test_a_chain_of_a_cache_is_a_name(table: str, cache: str) -> None:
    """It is a path relative to the table, where nothing is found."""
    found = resolved(f"{cache}::file:///d/a.jpg", table=table)
    assert found.startswith(table.removesuffix("x.jsonl"))


def test_a_table_names_files_of_its_own_storage() -> None:
    """And of known storage elsewhere."""
    for path in ("memory://d/a.jpg", "s3://b/a.jpg", "https://h/a.jpg", "zip://a::gs://b/x.zip"):
        assert resolved(path, table="memory://t/x.jsonl") == path
