"""`python app.py`: its help starts nothing."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from nsfw_app.cli import app

SCRIPT = Path(__file__).parents[2] / "app.py"


@pytest.mark.parametrize(("option", "code"), [("--help", 0), ("-h", 0), ("--port=80", 2)])
def test_an_option_prints_usage_and_creates_nothing(tmp_path: Path, option: str, code: int) -> None:
    """No server and no data directory; every command is named."""
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), option],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == code
    usage = ended.stdout if code == 0 else ended.stderr
    commands = typer.main.get_group(app).list_commands(typer.Context(typer.main.get_command(app)))
    listed = usage.split("`python -m nsfw_app`: ")[1].strip().removesuffix(".")
    assert sorted(listed.replace("\n", " ").split(", ")) == sorted(commands)
    assert list(tmp_path.iterdir()) == []
