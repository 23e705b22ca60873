"""Optimized models of the tiny Vision Transformer, and what the tests need of them."""

from dataclasses import replace
from pathlib import Path

import pytest

from nsfw_app.models import builds
from nsfw_app.models.artifacts import OptimizedModel
from nsfw_app.models.classifier import Classifier
from nsfw_app.models.formats import FILES, Format
from nsfw_app.models.loader import load_classifier
from nsfw_app.models.optimize.optimizer import OptimizationConfig, optimize
from nsfw_app.models.selection import BackendConfig
from nsfw_app.records import Policy
from tests.support.tiny_vit import picture, trained

POLICY = Policy(threshold=0.5, review_from=0.2, review_to=0.8)
PICTURES = 60


def folder_of_pictures(directory: Path) -> Path:
    """Files from cold to warm, none close to the policy's threshold."""
    directory.mkdir(exist_ok=True)
    for number in range(PICTURES):
        warmth = 0.35 * number / PICTURES + (0.6 if number % 2 else 0.0)
        picture(warmth, seed=500 + number).save(directory / f"{number:03}.png")
    return directory


def backends(
    artifacts_dir: Path, wanted: str = "auto", *, policy: Policy = POLICY
) -> BackendConfig:
    """What the settings would say, with the same policy for every model."""
    return BackendConfig(wanted, artifacts_dir, lambda _: policy)


def loaded(
    model: Path | str, artifacts_dir: Path, wanted: str = "auto", policy: Policy = POLICY
) -> Classifier:
    """A model with a backend."""
    return load_classifier(
        str(model),
        revision="main",
        unsafe_labels=(),
        threads=1,
        max_waiting=64,
        backends=backends(artifacts_dir, wanted, policy=policy),
    ).classifier


def make(
    model: Path,
    kind: Format,
    artifacts_dir: Path,
    *,
    images: Path | None,
    force: bool = False,
    policy: Policy = POLICY,
) -> OptimizedModel:
    """Run `optimize` for one format."""
    wish = OptimizationConfig(str(model), "main", (), kind, images, force)
    made = optimize(
        wish, backends(artifacts_dir, policy=policy), threads=1, progress=lambda _: None
    )
    assert made is not None
    return made


def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with every format of the trained model, made once a session.

    Tests read it and change copies.
    """
    base = tmp_path_factory.getbasetemp()
    artifacts_dir = base / "engines"
    if not artifacts_dir.is_dir():
        images = folder_of_pictures(base / "warmth")
        for kind in FILES:
            kept = make(trained(tmp_path_factory), kind, artifacts_dir, images=images)
            # So small a model may be slower like this; the tests say what was measured.
            builds.describe(kept.directory, replace(kept, speedup=2.0))
    return artifacts_dir
