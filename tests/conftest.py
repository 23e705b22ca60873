"""What all tests share: a cleared environment, a fake classifier, an engine on a temporary path.

Nothing here reaches a network, and no test sees the settings of the shell that runs it.
"""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from desk import browser, page, server  # noqa: F401  # fixtures
from PIL import Image

from nsfw_app.concurrency import Cores
from nsfw_app.evidence.agreement import Insights
from nsfw_app.imaging.decode import Limits
from nsfw_app.models.classifier import Glance
from nsfw_app.models.equivalence import EquivalentBackends
from nsfw_app.models.loader import Loaded, ModelLoader
from nsfw_app.records import LabelRole, ModelIdentity
from nsfw_app.review.engine import Engine, PolicyDefaults
from nsfw_app.store import Store

LIMITS = Limits(max_bytes=10_000_000, max_pixels=4_000_000, max_frames=16)


class FakeClassifier:
    """Reads the score off the picture: the red of its first pixel, 0 to 255, over 255.

    It counts the pictures it was shown, so that tests can see what was not computed again.
    """

    identity = ModelIdentity("fake", "r1", "f" * 64, "test")
    roles: Mapping[str, LabelRole] = {"normal": LabelRole.SAFE, "nsfw": LabelRole.UNSAFE}

    waiting = 0
    glances = (Glance(4, 0.02), Glance(8, 0.04))
    ahead = 6

    def __init__(self) -> None:
        self.seen = 0
        self.cores = Cores(2)

    def prepare(self, image: Image.Image) -> Any:
        """The picture as it is."""
        return image

    def predict_prepared(self, pictures: Sequence[Any]) -> list[dict[str, float]]:
        """See `Classifier.predict_prepared`."""
        return self.predict(pictures)

    def predict(self, images: Sequence[Image.Image]) -> list[dict[str, float]]:
        """The red of each picture's first pixel, as a probability."""
        self.seen += len(images)
        scores = [image.getpixel((0, 0))[0] / 255 for image in images]
        return [{"normal": 1 - score, "nsfw": score} for score in scores]


def picture_bytes(
    red: int, *, size: tuple[int, int] = (40, 30), image_format: str = "PNG"
) -> bytes:
    """A plain picture whose fake score is `red` / 255."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (red, 90, 60)).save(buffer, image_format)
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def cleared_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the shell reaches a test."""
    prefixes = "NSFW_ SPACE_ SYSTEM GRADIO_ HF_ OAUTH_ OPENID_ FORWARDED_".split()
    for name in list(os.environ):
        if name.startswith(tuple(prefixes)):
            monkeypatch.delenv(name)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "review.db", pictures_dir=tmp_path / "images", journal_mode="wal")


@pytest.fixture
def classifier() -> FakeClassifier:
    """The fake that the engine uses."""
    return FakeClassifier()


@pytest.fixture
def engine(store: Store, classifier: FakeClassifier) -> Engine:
    """An engine with the fake classifier, ready."""
    loader = ModelLoader("fake", lambda: Loaded(classifier))
    loader.wait()
    return Engine(store=store, loader=loader, limits=LIMITS, defaults=PolicyDefaults())


@pytest.fixture
def insights(store: Store, engine: Engine) -> Insights:
    """Insights over the store; no backend is verified."""
    return Insights(store, engine.policy_of, EquivalentBackends(None, engine.policy_of))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skipped test is not a passed one: the run fails."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
