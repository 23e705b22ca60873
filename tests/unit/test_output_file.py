"""Outputs of commands: files of this machine."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from nsfw_app.cli.output_file import write_file, write_new_file
from tests.support.commands import Run, run

__all__ = ["run"]  # a fixture


@pytest.mark.parametrize(
    "command",
    [
        "scan photos --output",
        "filter scanned --output",
        "filter scanned --report",
        "training-set --output",
        "train training-set --output",
        "evaluate labels --html",
        "report --since 2026-01-01 --output",
    ],
)
def test_a_url_is_wrong_usage(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """It would be a directory named s3: otherwise; nothing is made."""
    monkeypatch.chdir(tmp_path)
    ended = run(*command.split(), "s3://bucket/x.html")
    assert ended.code == 2
    text = " ".join(ended.err.replace("│", " ").split())
    assert "s3://bucket/x.html is a URL, and outputs are written to this machine only." in text
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_file_stays_until_the_new_one_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk leaves it as it was, and nothing next to it."""
    path = tmp_path / "report.html"
    path.write_text("earlier")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(typer.BadParameter, match="cannot be written: No space left"):
            write_file(path, "new")
        with pytest.raises(typer.BadParameter, match="cannot be written: No space left"):
            write_new_file(tmp_path / "other.html", "new")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [
        ("report.html", "earlier")
    ]


def test_an_earlier_file_is_replaced(tmp_path: Path) -> None:
    """It keeps its permissions, and a link to it stays a link."""
    path, link = tmp_path / "report.html", tmp_path / "latest.html"
    path.write_text("earlier")
    path.chmod(0o600)
    link.symlink_to(path)
    write_file(link, "new")
    assert link.is_symlink()
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600


def test_lines_that_fail_leave_the_earlier_file(tmp_path: Path) -> None:
    """As an export that is interrupted; lines are written as they are."""
    path = tmp_path / "log.csv"
    write_file(path, iter(["a\r\n", "ä\n"]))
    assert path.read_bytes() == b"a\r\n\xc3\xa4\n"

    def lines() -> Iterator[str]:
        yield "b"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_file(path, lines())
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [
        ("log.csv", b"a\r\n\xc3\xa4\n")
    ]


def test_a_pipe_stays_a_pipe(tmp_path: Path) -> None:
    """As /dev/stdout is one: it is written, not replaced."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    write_file(pipe, "text")
    reader.join(timeout=10)
    assert found == [b"text"]
    assert pipe.is_fifo()


def test_a_new_file_replaces_nothing(tmp_path: Path) -> None:
    """Neither a file nor a link that leads nowhere."""
    path = tmp_path / "report.json"
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(typer.BadParameter, match="exists and is not overwritten"):
        write_new_file(path, "new")
    path.unlink()
    write_new_file(path, "new")
    with pytest.raises(typer.BadParameter, match="exists and is not overwritten"):
        write_new_file(path, "newer")
    assert path.read_text() == "new"
