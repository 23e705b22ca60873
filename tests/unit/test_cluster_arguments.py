"""Credentials on the command line of a scan on a cluster, which Ray would store."""

from pathlib import Path

import pytest

from nsfw_app.datasets.cluster_arguments import check_arguments
from tests.support.commands import Run, run
from tests.support.fakes import image_bytes
from tests.support.range_server import range_server

__all__ = ["run"]  # a fixture


@pytest.mark.parametrize(
    ("source", "instead"),
    [
        ("http://anna:secret@{host}/x.png", "Put the URL into a list file"),
        ("http://{host}/x.png?w=1&sig=secret", "Put the URL into a list file"),
        ("http://{host}/x.png?key=secret", "Put the URL into a list file"),
        ("zip://x.png::http://anna:secret@{host}/x.zip", "Put the URL into a list file"),
        ("@http://anna:secret@{host}/list.txt", "Save the list as a file"),
    ],
)
def test_sources_with_credentials_are_refused(
    run: Run, tmp_path: Path, source: str, instead: str
) -> None:
    """Before anything is fetched or a cluster is reached, and the error does not show them."""
    with range_server() as server:
        server.files["/x.png"] = image_bytes(1)
        named = source.format(host=server.url.removeprefix("http://"))
        options = ["--output", tmp_path / "out", "--cluster", "127.0.0.1:1"]
        ended = run("scan", tmp_path, named, *options)
        assert server.requests == []
    assert f"{instead} and name that: @list.txt." in ended.err.replace(", with URLs in full,", "")
    assert "has credentials, or a parameter that may be one" in ended.err
    assert "secret" not in ended.err
    assert ended.code == 1
    assert not (tmp_path / "out").exists()


def test_other_sources_are_not(tmp_path: Path) -> None:
    """Paths, lists, and URLs without credentials."""
    (tmp_path / "list.txt").write_text("http://anna:secret@h/x.png\n")
    sources = [f"@{tmp_path}/list.txt", str(tmp_path), "http://h/x.png?w=1#top", "s3://b/a@1.png"]
    check_arguments(sources)
