"""README and docs: complete, true where they give numbers, and without broken links."""

import ast
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup, TyperOption

from nsfw_app import __version__, settings
from nsfw_app.accounts import MAX_PASSWORD_CHARACTERS, MIN_PASSWORD_CHARACTERS
from nsfw_app.bootstrap import open_summaries
from nsfw_app.cli import app
from nsfw_app.cli.keys import DEFAULT_PER_MINUTE
from nsfw_app.concurrency_limits import (
    GRADIO_QUEUE,
    concurrency_limits,
    in_flight_batched,
    in_flight_unbatched,
)
from nsfw_app.models.cards import CARDS, FALCONSAI, OPEN_NSFW
from nsfw_app.records import Action, Category, Reason, WarningCode
from nsfw_app.review.engine import Engine
from nsfw_app.review.exports import LOG_COLUMNS
from nsfw_app.review.image_json import DetailResult, ImageResult
from nsfw_app.rules.permissions import KEY_SCOPES, UserRole
from nsfw_app.rules.queue import QueueReason
from nsfw_app.settings import Settings
from nsfw_app.store import Store
from nsfw_app.web.api.v1 import v1_application
from nsfw_app.web.auth.login import SIGN_INS_WAITING
from nsfw_app.web.http.bodies import MIN_BYTES_PER_S, WINDOW_S
from nsfw_app.web.http.gate import ClassifyGate
from nsfw_app.web.http.json_scanner import OUTLINE_BYTES
from nsfw_app.web.http.protocol import HEAD_BYTES, HEAD_S
from nsfw_app.web.http.request_limits import MAX_IMAGES, RequestLimits
from nsfw_app.web.middleware.auth import CALL_JSON, MAX_CALL_BYTES, MAX_JSON_BYTES, PAGE_JSON
from nsfw_app.web.middleware.gradio_uploads import CALLER_FILES, CALLER_FORMS, KEPT_S
from nsfw_app.web.monitoring import Monitor

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()
MAX_README_LINES = 150
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("benchmarks/*.md")])
# Variables that a Space sets by itself are not documented as settings.
SET_BY_SPACES = (
    "SPACE_ID SPACE_HOST OAUTH_CLIENT_ID OAUTH_CLIENT_SECRET OPENID_PROVIDER_URL".split()
)
VARIABLES = {
    name: str(field.validation_alias or f"NSFW_{name.upper()}")
    for name, field in Settings.model_fields.items()
}
SETTINGS = [name for name, variable in VARIABLES.items() if variable not in SET_BY_SPACES]
# The page of each command; of all others it is commands.md.
COMMAND_PAGES = {
    "backup": "backups.md",
    "restore": "backups.md",
    "export": "correction-log.md",
    "optimize": "optimize.md",
    "train": "datasets.md",
    "scan": "datasets.md",
    "filter": "datasets.md",
    "training-set": "datasets.md",
    "import-labels": "datasets.md",
    "users": "users-and-keys.md",
    "keys": "users-and-keys.md",
}


def page(name: str) -> str:
    """The text of a page in docs/."""
    return (DOCS / name).read_text()


def rows(text: str) -> Iterator[list[str]]:
    """The cells of each row of the tables in a page."""
    for line in text.splitlines():
        if line.startswith("|"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_has_a_row(name: str) -> None:
    """docs/settings.md has one row for each setting."""
    first_cells = [cells[0] for cells in rows(page("settings.md"))]
    assert first_cells.count(f"`{VARIABLES[name]}`") == 1


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_no_page_names_a_setting_that_does_not_exist(path: Path) -> None:
    """Every NSFW_ name in README and docs is a setting."""
    named = set(re.findall(r"NSFW_([A-Z_]+)", path.read_text()))
    assert named <= {name.upper() for name in SETTINGS}


def test_documented_defaults_are_those_in_force() -> None:
    """The default in a setting's row is the one of the settings."""
    documented = {cells[0]: cells[1].strip("`") for cells in rows(page("settings.md"))}
    in_force = settings.load()
    for name in ("model", "model_revision", "backend", "batch_size", "host", "port", "reviewer"):
        assert documented[f"`{VARIABLES[name]}`"] == str(getattr(in_force, name))
    for name in ("review_from", "review_to", "audit_rate", "max_file_mb", "max_pixels"):
        assert float(documented[f"`{VARIABLES[name]}`"]) == getattr(in_force, name)
    for name in ("max_frames", "max_waiting", "max_files", "pause_after", "keep_days"):
        assert int(documented[f"`{VARIABLES[name]}`"]) == getattr(in_force, name)
    assert documented["`NSFW_QUEUE_RULES`"] == ",".join(in_force.queue_rules)
    assert documented["`NSFW_KEEP_IMAGES`"] == in_force.keep_images
    assert documented["`NSFW_FETCH_URLS`"] == str(in_force.fetch_urls).lower()


def commands(command: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The names that call every command of a group and of the groups in it."""
    if isinstance(command, TyperGroup):
        for name, inner in command.commands.items():
            yield from commands(inner, (*names, name))
    else:
        yield names


CLI = typer.main.get_command(app)
COMMANDS = list(commands(CLI))


@pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
def test_every_command_is_in_its_page(names: tuple[str, ...]) -> None:
    """Each command is shown as it is typed, with every option that it has."""
    documented = page(COMMAND_PAGES.get(names[0], "commands.md"))
    assert f"nsfw-review {' '.join(names)}" in documented
    command: Any = CLI
    for name in names:
        command = command.commands[name]
    options = [o for p in command.params if isinstance(p, TyperOption) for o in p.opts]
    assert [option for option in options if option not in documented] == []


@pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
def test_every_command_is_in_the_list_of_commands(names: tuple[str, ...]) -> None:
    """docs/commands.md lists every command, those with a page of their own too."""
    assert f"`nsfw-review {names[0]}`" in page("commands.md")


def test_no_page_shows_a_command_that_does_not_exist() -> None:
    """The word after `nsfw-review` or `python -m nsfw_app` is a command."""
    known = {names[0] for names in COMMANDS} | {"COMMAND"}
    for path in PAGES:
        shown = re.findall(
            r"(?:nsfw-review|python -m nsfw_app) ([a-zA-Z][a-zA-Z-]*)", path.read_text()
        )
        assert set(shown) <= known, path


def shown_commands(path: Path) -> Iterator[list[str]]:
    """Arguments of each `nsfw-review` in the code blocks of a page."""
    for block in code(path, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            parts = shlex.split(re.sub(r"\$\(.*?\)", "X", line), comments=True)
            while parts and "=" in parts[0]:  # variables
                parts.pop(0)
            if parts[:1] == ["nsfw-review"]:
                arguments = parts[1:]
                ends = [n for n, word in enumerate(arguments) if set(word) <= set("|<>&")]
                yield arguments[: min(ends, default=len(arguments))]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_shown_command_parses(path: Path) -> None:
    """Each command has the options and arguments that a page shows."""
    for arguments in shown_commands(path):
        command: Any = CLI
        rest = list(arguments)
        while isinstance(command, TyperGroup) and rest and not rest[0].startswith("-"):
            command = command.commands[rest.pop(0)]
        if command is not CLI:
            try:
                command.make_context("nsfw-review", rest)
            except typer.BadParameter as error:  # paths of the reader's machine
                if "does not exist" not in str(error):
                    raise


def test_every_route_of_the_api_is_documented(engine: Engine, store: Store) -> None:
    """docs/api.md has a row for each method and path of the OpenAPI document, and no other."""
    gate = ClassifyGate(engine, Monitor(engine), concurrency=concurrency_limits(settings.load()))
    summaries = open_summaries(settings.load(), store, engine.policies)
    document = v1_application(gate, summaries, settings=settings.load()).openapi()
    served = {
        f"{method.upper()} /v1{path}"
        for path, operations in document["paths"].items()
        for method in operations
    }
    documented = {cells[0].strip("`") for cells in rows(page("api.md"))}
    assert served == {route for route in documented if "/v1" in route}


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("images.md", WarningCode),
        ("users-and-keys.md", UserRole),
        ("users-and-keys.md", KEY_SCOPES),
        ("review-workflow.md", QueueReason),
    ],
)
def test_every_code_has_a_row(name: str, codes: list[str]) -> None:
    """Warnings, roles, scopes and queue reasons are documented one by one."""
    documented = {cells[0].strip("`") for cells in rows(page(name))}
    assert {str(code) for code in codes} <= documented


def test_every_action_is_in_the_workflow() -> None:
    """docs/review-workflow.md says when each action follows."""
    assert [
        action for action in Action if f"action `{action}`" not in page("review-workflow.md")
    ] == []
    assert "nudity" in list(Reason)  # as the example in docs/api.md has it


def code(path: Path, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(), re.DOTALL)


def test_the_object_of_an_image_is_documented() -> None:
    """docs/api.md shows each key of an image's JSON object, in order."""
    shown = list(json.loads(code(DOCS / "api.md", "json")[0]))
    assert shown == [field.name for field in fields(ImageResult)]


def test_what_the_detail_model_computed_is_documented() -> None:
    """docs/api.md shows each of its keys, in order, and docs/detail-model.md each known model."""
    shown = json.loads(code(DOCS / "api.md", "json")[1])
    assert list(shown["detail"]) == [field.name for field in fields(DetailResult)]
    first_cells = {cells[0].strip("`") for cells in rows(page("detail-model.md"))}
    assert set(CARDS) - {FALCONSAI, OPEN_NSFW} | set(Category) <= first_cells


def test_the_columns_of_the_correction_log_are_documented() -> None:
    """docs/correction-log.md lists each column, in order."""
    listed = page("correction-log.md").partition("## Columns")[2].split("`")[1]
    assert re.split(r",\s+", listed) == list(LOG_COLUMNS)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_code_block_parses(path: Path) -> None:
    """Python and JSON in a page can be copied."""
    for block in code(path, "python"):
        ast.parse(block)
    for block in code(path, "json"):
        json.loads(block)


def test_the_readme_is_short() -> None:
    """Details are in docs/."""
    assert len(README.splitlines()) <= MAX_README_LINES


def test_the_readme_links_every_page() -> None:
    """No page of docs/ is hidden; decisions are linked as a directory."""
    linked = set(re.findall(r"\]\(docs/([^)#]+)\)", README))
    assert {path.name for path in DOCS.glob("*.md")} | {"decisions/"} <= linked


def test_the_readme_begins_as_a_space_does() -> None:
    """The front matter says what a Space runs, on which Python and Gradio."""
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


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_resolves(path: Path) -> None:
    """Files that a page links to exist, and have the heading that is linked."""
    broken = []
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", path.read_text()):
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_file_that_a_page_names_exists(path: Path) -> None:
    """A path in backquotes below nsfw_app/, tests/ or docs/ is a file or directory."""
    named = re.findall(r"`((?:nsfw_app|tests|docs|benchmarks)/[\w./-]*)`", path.read_text())
    made = ("tests/.venv",)
    assert [name for name in named if name not in made and not (ROOT / name).exists()] == []


def test_the_version_has_a_section_in_the_changelog() -> None:
    """CHANGELOG.md has Unreleased on top, then the version of the package with its date."""
    titles = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert titles[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(__version__)} - \d{{4}}-\d\d-\d\d", titles[1])


def test_documented_defaults_of_accounts_are_those_in_force() -> None:
    """Lengths of passwords and the rate of keys are those of the code."""
    documented = page("users-and-keys.md")
    assert f"{MIN_PASSWORD_CHARACTERS} to {MAX_PASSWORD_CHARACTERS:,} characters" in documented
    assert f"`--per-minute` is {DEFAULT_PER_MINUTE} by default" in documented


def test_the_documented_limits_are_those_in_force() -> None:
    """Each number in docs/limits.md is the one that the code applies."""
    limits = RequestLimits(Settings.model_fields["max_file_mb"].default * 1_000_000)
    uploads = CALLER_FORMS * limits.form_bytes
    documented = page("limits.md")
    for row in (
        f"| images in one request | {MAX_IMAGES} |",
        f"| all images of one request | {limits.files_bytes / 1e6:g} MB:",
        f"| body in multipart/form-data | {limits.form_bytes / 1e6:.1f} MB |",
        f"| body in JSON, with images in base64 | {limits.json_bytes / 1e6:.1f} MB |",
        f"| its brackets, commas, colons and strings | {limits.json.max_parts:,} |",
        f"| its levels | {limits.json.max_depth} |",
        f"| its content besides images | {OUTLINE_BYTES // 1_000} kB |",
        f"| {MAX_JSON_BYTES / 1e6:g} MB with {PAGE_JSON.max_parts:,} parts |",
        f"| {MAX_CALL_BYTES / 1e6:g} MB with {CALL_JSON.max_parts:,} parts |",
        f"| {HEAD_BYTES // 1_024} kB, within {HEAD_S:g} s |",
        f"| at least {MIN_BYTES_PER_S / 1e3:g} kB/s over any {WINDOW_S:g} s |",
        f"| memory for bodies of requests | {4 * limits.caller_bytes / 1e6:g} MB "
        f"| {limits.caller_bytes / 1e6:g} MB |",
        f"| calls that wait in Gradio's queue | {GRADIO_QUEUE} | {GRADIO_QUEUE // 4} |",
        f"| files uploaded for Gradio endpoints | {4 * CALLER_FILES:,} | {CALLER_FILES} |",
        f"| bytes of these files | {4 * uploads / 1e6:,.0f} MB | {uploads / 1e6:.0f} MB |",
        f"after {KEPT_S // 60} minutes in any case",
        f"when {SIGN_INS_WAITING} sign-ins wait for that",
    ):
        assert row in documented, row


def test_the_architecture_shows_the_limits_in_force() -> None:
    """The table of limits has the numbers that two cores and the default settings give."""
    limits = concurrency_limits(settings.load(threads=2))
    documented = {cells[0]: cells[1] for cells in rows(page("architecture.md"))}
    batched, unbatched = in_flight_batched(limits.batch), in_flight_unbatched(limits.cpu_slots)
    for name, value in {
        "uploads at once": limits.page_uploads,
        "backlog": limits.backlog,
        "callers' shares": limits.caller_slots,
        "slots": limits.request_slots,
        "threads": limits.threads,
        "queue": limits.model_queue,
        "batch": limits.batch,
        "CPU slots": limits.cpu_slots,
        "in flight": f"{batched} or {unbatched}",
    }.items():
        assert documented[name] == str(value), name
