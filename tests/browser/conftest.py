"""Servers of the tests in a browser are forked from a process that has imported their libraries."""

from collections.abc import Iterator

import pytest

from tests.support.preloaded import Preloader
from tests.support.server import Preloaded


@pytest.fixture(scope="package", autouse=True)
def preloaded(preloader: Preloader) -> Iterator[None]:
    """See `Preloader`."""
    Preloaded.preloader = preloader
    yield
    Preloaded.preloader = None
