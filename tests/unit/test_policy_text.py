"""The policy text of reviewers: its setting, and that its Markdown contains no HTML."""

import subprocess
import sys
from pathlib import Path

import pytest

from nsfw_app import settings
from nsfw_app.errors import SettingsError
from nsfw_app.ui.policy_text import WORD_JOINER, without_html

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "there is no such file"),
        (b"", "it is empty"),
        (b" \n\n", "it is empty"),
        (b"\xff\xfe\x00caf\xe9", "it is not UTF-8 text"),
        (b"x" * 1_000_001, "it has more than 1000000 bytes"),
    ],
)
def test_an_unreadable_policy_text_is_a_settings_error(
    content: bytes | None, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the setting, the path and the reason."""
    path = tmp_path / "policy.md"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("NSFW_POLICY_TEXT", str(path))
    with pytest.raises(SettingsError) as caught:
        settings.load()
    assert str(caught.value).startswith(f"NSFW_POLICY_TEXT='{path}': Cannot be read: {why}. ")


def test_a_directory_as_policy_text_is_a_settings_error(tmp_path: Path) -> None:
    """The message names the reason."""
    with pytest.raises(SettingsError, match="it is a directory"):
        settings.load(policy_text=tmp_path)


def test_a_missing_policy_text_stops_the_start(tmp_path: Path) -> None:
    """`python app.py` exits with a message and without a traceback."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "app.py")],
        env={"NSFW_POLICY_TEXT": "absent.md", "NSFW_DATA_DIR": str(tmp_path / "data")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: NSFW_POLICY_TEXT='absent.md': Cannot be read")
    assert "Traceback" not in done.stderr


def test_policy_text_and_pause_reminder_can_be_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty path disables the text, 0 disables the reminder, negative numbers are errors."""
    monkeypatch.setenv("NSFW_POLICY_TEXT", "")
    monkeypatch.setenv("NSFW_PAUSE_AFTER", "0")
    assert (settings.load().policy_text, settings.load().policy_markdown) == (None, None)
    assert settings.load().pause_after == 0
    monkeypatch.setenv("NSFW_PAUSE_AFTER", "-1")
    with pytest.raises(SettingsError, match="NSFW_PAUSE_AFTER"):
        settings.load()


@pytest.mark.parametrize(
    ("markdown", "safe"),
    [
        ("plain **text** # no heading", "plain **text** # no heading"),
        ("1 < 2 and a<3", "1 < 2 and a<3"),
        ("<b>no</b>", "<_b>no<_/b>"),
        ("<!-- no --><?php ?>", "<_!-- no --><_?php ?>"),
        ("[here](/there)", "[here](/there)"),
        ("![alt](x.png) ![alt][x]", "!_[alt](x.png) !_[alt][x]"),
        ("<https://example.org>", "<_https://example.org>"),
        ("- ~~~ Mermaid\n", "- ~~~ text\n"),
        ("> ```mermaid\n> A\n", "> ```text\n> A\n"),
        ("a mermaid is no fence", "a mermaid is no fence"),
    ],
)
def test_html_images_and_diagrams_become_text(markdown: str, safe: str) -> None:
    """Only what starts HTML, an image or a diagram is changed, by a character without width."""
    assert without_html(markdown) == safe.replace("_", WORD_JOINER)
