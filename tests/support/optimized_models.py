"""Optimized models of the tiny Vision Transformer, and functions that build and load them."""

from dataclasses import replace
from pathlib import Path

import pytest

from nsfw_app.models import build_files
from nsfw_app.models.artifacts import OptimizedModel
from nsfw_app.models.classifier import Classifier
from nsfw_app.models.loader import load_classifier
from nsfw_app.models.optimize.optimizer import OptimizationConfig, optimize
from nsfw_app.models.optimized_formats import FILES, Format
from nsfw_app.models.selection import BackendConfig
from nsfw_app.records import Policy
from tests.support.shared_files import made_once
from tests.support.tiny_vit import tinted_image, trained

POLICY = Policy(threshold=0.5, review_from=0.2, review_to=0.8)
IMAGES = 60


def write_images(directory: Path) -> Path:
    """Write images from blue to orange, with no score near the policy's threshold."""
    directory.mkdir(exist_ok=True)
    for number in range(IMAGES):
        warmth = 0.35 * number / IMAGES + (0.6 if number % 2 else 0.0)
        tinted_image(warmth, seed=500 + number).save(directory / f"{number:03}.png")
    return directory


def backends(
    artifacts_dir: Path, wanted: str = "auto", *, policy: Policy = POLICY
) -> BackendConfig:
    """A backend configuration with the same policy for every model, by the name of each."""

    def policy_of(model: str) -> Policy:
        assert not Path(model).is_absolute(), "Policies are saved under names, not paths."
        return policy

    return BackendConfig(wanted, artifacts_dir, policy_of)


def loaded(
    model: Path | str, artifacts_dir: Path, wanted: str = "auto", policy: Policy = POLICY
) -> Classifier:
    """Load a model with a backend."""
    return load_classifier(
        str(model),
        revision="main",
        unsafe_labels=(),
        threads=1,
        max_waiting=64,
        backends=backends(artifacts_dir, wanted, policy=policy),
    ).classifier


def build(
    model: Path,
    kind: Format,
    artifacts_dir: Path,
    *,
    images: Path | None,
    force: bool = False,
    policy: Policy = POLICY,
) -> OptimizedModel:
    """Run `optimize` for one format."""
    config = OptimizationConfig(str(model), "main", (), kind, images, force)
    kept = optimize(
        config, backends(artifacts_dir, policy=policy), threads=1, progress=lambda _: None
    )
    assert kept is not None
    return kept


def all_formats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with every format of the trained model, built once per run.

    Tests change only copies of it.
    """
    model = trained(tmp_path_factory)

    def build_all(artifacts_dir: Path) -> None:
        images = write_images(artifacts_dir.with_name("calibration-images"))
        for kind in FILES:
            kept = build(model, kind, artifacts_dir, images=images)
            # So small a model may be slower when optimized; the tests set the measured speed.
            build_files.write(kept.directory, replace(kept, speedup=2.0))

    return made_once(tmp_path_factory, "artifacts", build_all)
