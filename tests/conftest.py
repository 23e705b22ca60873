"""Fixtures of all tests: a cleared environment, a fake classifier, an engine on a temporary path.

- No test connects to another machine.
- No test sees the settings of the shell that runs it.
- Tests whose ids have a prefix in `SLOW` get the marker `slow`.
- Files of browser tests run between all others, see `interleaved`.
"""

import os
from itertools import groupby
from pathlib import Path

import pytest

from nsfw_app.datasets import units
from nsfw_app.evidence.agreement import Insights
from nsfw_app.models.equivalence import EquivalentBackends
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.review.engine import Engine
from nsfw_app.review.policies import PolicyBook
from nsfw_app.store import Store
from tests.support.browser import browser, page  # noqa: F401  # fixtures
from tests.support.fakes import LIMITS, FakeClassifier
from tests.support.quick_setup import quick_databases, quick_hashes  # noqa: F401  # fixtures
from tests.support.server import forked, preloader, server  # noqa: F401  # fixtures

# Prefixes of the ids of tests that take more than about 5 s on two cores.
SLOW = (
    "browser/",
    "unit/test_benchmark.py",
    "unit/test_child_processes.py",
    "unit/test_classifiers.py",
    "unit/test_cli.py::test_a_model_that_cannot_be_loaded",
    "unit/test_cli.py::test_verbose",
    "unit/test_cli_scan.py::test_a_scan_of_changed_files_that_is_killed",
    "unit/test_cli_scan.py::test_a_scan_that_is_killed",
    "unit/test_cli_scan.py::test_a_second_ctrl_c",
    "unit/test_cli_scan.py::test_ctrl_c",
    "unit/test_cluster.py",
    "unit/test_filter_memory.py",
    "unit/test_hostile_containers.py::test_many_members",
    "unit/test_litestream.py",
    "unit/test_memory.py::test_every_decoder",
    "unit/test_memory.py::test_float_bomb",
    "unit/test_metadata.py::test_oversized",
    "unit/test_optimize.py",
    "unit/test_package.py",
    "unit/test_queue_entries.py::test_eight_processes",
    "unit/test_scan_hostile.py::test_memory",
    "unit/test_selection.py::test_concurrent",
    "unit/test_selection.py::test_simultaneous",
    "unit/test_shift_load.py::test_no_lease",
    "unit/test_store.py::test_processes",
    "web/test_heavy_requests.py",
    "web/test_hub_server.py",
    "web/test_openapi.py::test_generated_requests_conform",
    "web/test_request_log.py::test_nothing_secret",
    "web/test_server.py",
    "web/test_snapshots.py",
    "web/test_walk.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark slow tests, which `-m "not slow"` leaves out, and put the files in their order."""
    for item in items:
        is_slow = item.nodeid.removeprefix("tests/").startswith(SLOW)
        if is_slow or item.get_closest_marker("exhaustive"):
            item.add_marker(pytest.mark.slow)
    items[:] = interleaved(items)


def interleaved(items: list[pytest.Item]) -> list[pytest.Item]:
    """The tests with the files of browser tests spread evenly among the others, slow ones first.

    A browser test keeps both cores busy, and two at once wait for each other; others often leave
    one idle.
    """
    files = [list(tests) for _, tests in groupby(items, lambda item: item.path)]
    in_browser = [tests for tests in files if tests[0].path.parent.name == "browser"]
    others = [tests for tests in files if tests[0].path.parent.name != "browser"]
    others.sort(key=lambda tests: not any(item.get_closest_marker("slow") for item in tests))
    placed = [
        (number / len(kind), tests)
        for kind in (in_browser, others)
        for number, tests in enumerate(kind)
    ]
    placed.sort(key=lambda pair: pair[0])
    return [item for _, tests in placed for item in tests]


@pytest.fixture(autouse=True)
def cleared_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the shell reaches a test."""
    prefixes = "NSFW_ SPACE_ SYSTEM GRADIO_ HF_ OAUTH_ OPENID_ FORWARDED_".split()
    for name in list(os.environ):
        if name.startswith(tuple(prefixes)):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def undivided_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to 2,000 files of a scan are one part: where groups end, hashes of their paths say."""
    monkeypatch.setattr(units, "FILES_PER_CUT", 10**9)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "review.db", previews_dir=tmp_path / "images", journal_mode="wal")


@pytest.fixture
def classifier() -> FakeClassifier:
    """The fake that the engine uses."""
    return FakeClassifier()


@pytest.fixture
def engine(store: Store, classifier: FakeClassifier) -> Engine:
    """An engine with the fake classifier, ready."""
    loader = ModelLoader("fake", lambda: Loaded(classifier))
    loader.wait()
    return Engine(store=store, loader=loader, limits=LIMITS, policies=PolicyBook(store.policies))


@pytest.fixture
def insights(store: Store, engine: Engine) -> Insights:
    """Insights over the store; no backend is verified."""
    return Insights(store, engine.policies, EquivalentBackends(None))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skipped test is not a passed one: the run fails."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
