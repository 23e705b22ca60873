"""What is documented is there, and what is there is documented."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nsfw_app.cli import app
from nsfw_app.settings import Settings
from nsfw_app.ui import MAX_CALLS
from nsfw_app.web.auth.login import SIGN_INS_WAITING
from nsfw_app.web.http.bodies import MIN_BYTES_PER_S, WINDOW_S
from nsfw_app.web.http.json_scanner import OUTLINE_BYTES
from nsfw_app.web.http.protocol import HEAD_BYTES, HEAD_S
from nsfw_app.web.http.request_limits import MAX_IMAGES, RequestLimits
from nsfw_app.web.middleware.auth import CALL_JSON, MAX_CALL_BYTES, MAX_JSON_BYTES, PAGE_JSON
from nsfw_app.web.page.uploads import CALLER_FILES, CALLER_FORMS, KEPT_S

ROOT = Path(__file__).parents[2]
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


def test_the_documented_limits_are_those_in_force() -> None:
    """Each number in docs/limits.md is the one that the code applies."""
    limits = RequestLimits(Settings.model_fields["max_file_mb"].default * 1_000_000)
    uploads = CALLER_FORMS * limits.form_bytes
    documented = (ROOT / "docs" / "limits.md").read_text()
    for row in (
        f"| images in one request | {MAX_IMAGES} |",
        f"| all images of one request | {limits.files_bytes / 1e6:g} MB:",
        f"| body in multipart/form-data | {limits.form_bytes / 1e6:.1f} MB |",
        f"| body in JSON, with images in base64 | {limits.json_bytes / 1e6:.1f} MB |",
        f"| its brackets, commas, colons and texts | {limits.json.max_parts:,} |",
        f"| its levels | {limits.json.max_depth} |",
        f"| its content besides images | {OUTLINE_BYTES // 1_000} kB |",
        f"| {MAX_JSON_BYTES / 1e6:g} MB with {PAGE_JSON.max_parts:,} parts |",
        f"| {MAX_CALL_BYTES / 1e6:g} MB with {CALL_JSON.max_parts:,} parts |",
        f"| {HEAD_BYTES // 1_024} kB, within {HEAD_S:g} s |",
        f"| at least {MIN_BYTES_PER_S / 1e3:g} kB/s over any {WINDOW_S:g} s |",
        f"| memory for bodies of requests | {4 * limits.caller_bytes / 1e6:g} MB "
        f"| {limits.caller_bytes / 1e6:g} MB |",
        f"| calls that wait in Gradio's queue | {MAX_CALLS} | {MAX_CALLS // 4} |",
        f"| files uploaded for Gradio endpoints | {4 * CALLER_FILES:,} | {CALLER_FILES} |",
        f"| bytes of these files | {4 * uploads / 1e6:,.0f} MB | {uploads / 1e6:.0f} MB |",
        f"after {KEPT_S // 60} minutes in any case",
        f"when {SIGN_INS_WAITING} people wait",
    ):
        assert row in documented, row
