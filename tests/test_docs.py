"""What is documented is there, and what is there is documented."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nsfw_app.cli import app
from nsfw_app.settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
# What a Space sets by itself is no setting of ours.
SETTINGS = [name for name, field in Settings.model_fields.items() if not field.validation_alias]


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_in_the_readme(name: str) -> None:
    """A setting without a line in the README does not exist for its users."""
    assert f"`NSFW_{name.upper()}`" in README


def test_the_readme_names_no_setting_that_is_not_there() -> None:
    """Every NSFW_ name in the README is a setting."""
    named = set(re.findall(r"NSFW_([A-Z_]+)", README))
    assert named <= {name.upper() for name in SETTINGS}


def commands(group: Any, prefix: str = "") -> Iterator[str]:
    """Every command of a group and of the groups in it, as it is typed."""
    for command in group.registered_commands:
        yield prefix + (command.name or command.callback.__name__)
    for inner in group.registered_groups:
        yield from commands(inner.typer_instance, f"{prefix}{inner.name} ")


@pytest.mark.parametrize("command", list(commands(app)))
def test_every_command_is_in_the_readme(command: str) -> None:
    """Each command is shown as it is typed."""
    assert f"python -m nsfw_app {command}" in README


def test_the_readme_begins_as_a_space_does() -> None:
    """The front matter tells a Space what to run, on which Python and Gradio."""
    front = README.split("---")[1]
    gradio = re.search(r"gradio==(\S+)", (ROOT / "requirements.txt").read_text())
    assert gradio is not None
    for line in (
        "sdk: gradio",
        f"sdk_version: {gradio[1]}",
        "app_file: app.py",
        "license: apache-2.0",
    ):
        assert line in front
    assert 'python_version: "3.11"' in front
    assert "hf_oauth: true" in front


def test_every_link_in_the_readme_leads_somewhere() -> None:
    """Pictures and files that the README points at are in the repository."""
    targets = re.findall(r"\]\((?!http|#)([^)]+)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
