"""Runs commands in the process of the test."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from nsfw_app.cli import main


class Result(NamedTuple):
    """Exit code, standard output and standard error of a command."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs a command in this process, with the embedded model and a temporary data directory."""
    monkeypatch.setenv("NSFW_MODEL", "open-nsfw")
    monkeypatch.setenv("NSFW_BACKEND", "torch")
    monkeypatch.setenv("NSFW_DATA_DIR", str(tmp_path))

    def run(*arguments: str | Path) -> Result:
        monkeypatch.setattr(sys, "argv", ["nsfw_app", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return Result(ended.value.code or 0, *capsys.readouterr())

    return run
