"""Every tab in Firefox and in Chromium, with one script; see walk.mjs."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sample_page import GALLERY, sample_page
from tests.support.server import Server

WALK = Path(__file__).with_name("walk.mjs")
BROWSERS = {"firefox": "firefox-esr", "chrome": "chromium"}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A page with photographs in every tab."""
    with sample_page(tmp_path_factory.mktemp("walk")) as server:
        yield server


@pytest.mark.parametrize("name", ["firefox", pytest.param("chrome", marks=pytest.mark.exhaustive)])
def test_every_tab(app: Server, name: str) -> None:
    """Reveal, decide, undo and keys work in every tab, and leaving the window changes no blur."""
    executable = shutil.which(BROWSERS[name])
    assert executable, f"{BROWSERS[name]} is not installed; tests/run.sh installs it."
    command = ["node", WALK, name, executable, app.url, *GALLERY[:4]]
    walk = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert walk.returncode == 0, walk.stdout + walk.stderr
