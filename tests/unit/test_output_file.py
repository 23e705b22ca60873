"""Outputs of commands: files of this machine."""

from pathlib import Path

import pytest

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
