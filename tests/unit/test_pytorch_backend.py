"""PyTorch backend: labels and weights of models in a directory."""

import hashlib
import json
from pathlib import Path
from shutil import copytree

import pytest

from nsfw_app.errors import ModelDamaged, ModelNotFound, ModelUnsupported
from nsfw_app.models.classifier import Classifier, nsfw_score
from nsfw_app.models.loader import load_classifier
from nsfw_app.records import LabelRole
from tests.support.tiny_vit import tinted_image, trained

IMAGES = [tinted_image(warmth, seed=1) for warmth in (0.05, 0.5, 0.95)]  # blue to orange


def load(directory: Path, *, unsafe_labels: tuple[str, ...] = ()) -> Classifier:
    """Load the model of a directory."""
    return load_classifier(
        str(directory), revision="main", unsafe_labels=unsafe_labels, threads=1, max_waiting=64
    ).classifier


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    """A copy of the trained model that a test may change."""
    return copytree(trained(tmp_path_factory), tmp_path / "model")


def configure(directory: Path, **changes: object) -> None:
    """Change entries of config.json; None removes one."""
    path = directory / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def test_the_trained_model_separates_unseen_images(directory: Path) -> None:
    """Blue images score below 0.2 and orange ones above 0.8."""
    model = load(directory)
    cold = model.predict([tinted_image(0.05, seed=seed) for seed in range(10)])
    warm = model.predict([tinted_image(0.95, seed=seed) for seed in range(10)])
    assert max(row["nsfw"] for row in cold) < 0.2
    assert min(row["nsfw"] for row in warm) > 0.8


def test_ids_as_strings(directory: Path) -> None:
    """A configuration whose ids are strings, in another order, gives the same probabilities."""
    expected = load(directory).predict(IMAGES)
    configure(
        directory,
        id2label={"1": "nsfw", "0": "normal"},
        label2id={"nsfw": "1", "normal": "0"},
    )
    model = load(directory)
    assert list(model.roles) == ["normal", "nsfw"]
    assert model.predict(IMAGES) == expected


def test_reversed_labels(directory: Path) -> None:
    """The word of a label counts, not its position: class 0 may be the unsafe one."""
    configure(directory, id2label={"0": "NSFW", "1": "SFW"}, label2id={"NSFW": 0, "SFW": 1})
    model = load(directory)
    assert list(model.roles.items()) == [("NSFW", LabelRole.UNSAFE), ("SFW", LabelRole.SAFE)]
    cold, _, warm = model.predict(IMAGES)
    assert nsfw_score(cold, model.roles) > 0.8
    assert nsfw_score(warm, model.roles) < 0.2


def test_unknown_labels_are_refused(directory: Path) -> None:
    """The message has the unknown labels, and the setting that gives them roles."""
    configure(directory, id2label=None, label2id=None)
    with pytest.raises(ModelUnsupported) as caught:
        load(directory)
    for word in ("LABEL_0", "LABEL_1", "NSFW_UNSAFE_LABELS"):
        assert word in str(caught.value)


def test_unknown_labels_named_by_the_setting(directory: Path) -> None:
    """The labels that the setting names are unsafe, all others safe."""
    configure(directory, id2label=None, label2id=None)
    model = load(directory, unsafe_labels=("LABEL_1",))
    assert dict(model.roles) == {"LABEL_0": LabelRole.SAFE, "LABEL_1": LabelRole.UNSAFE}
    cold, _, warm = model.predict(IMAGES)
    assert nsfw_score(cold, model.roles) < 0.2
    assert nsfw_score(warm, model.roles) > 0.8


def save_in_shards(directory: Path) -> list[Path]:
    """Save the model's weights again as several files; returns them in the order of their names."""
    from transformers import ViTForImageClassification

    model = ViTForImageClassification.from_pretrained(directory)
    (directory / "model.safetensors").unlink()
    model.save_pretrained(directory, max_shard_size="40KB")
    return sorted(directory.glob("*.safetensors"))


def test_sharded_weights(directory: Path) -> None:
    """Weights in several files score the same, and their hash covers all of them."""
    expected = load(directory).predict(IMAGES)
    shards = save_in_shards(directory)
    identity = load(directory).identity
    digest = hashlib.sha256(b"".join(shard.read_bytes() for shard in shards)).hexdigest()
    assert len(shards) > 1
    assert identity.weights_sha256 == digest
    assert load(directory).predict(IMAGES) == [pytest.approx(e, abs=1e-6) for e in expected]


def test_missing_shard(directory: Path) -> None:
    """A model that lacks one of its files is incomplete; the message says what to do."""
    save_in_shards(directory)[-1].unlink()
    with pytest.raises(ModelNotFound, match=r"no complete model.*save_pretrained"):
        load(directory)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_incomplete_directory(directory: Path, name: str) -> None:
    """A directory without configuration or weights is refused; the message has its name."""
    (directory / name).unlink()
    with pytest.raises(ModelNotFound, match="no complete model") as caught:
        load(directory)
    assert f"'{directory.name}'" in str(caught.value)


def test_weights_without_a_classifier(directory: Path) -> None:
    """A model whose last layer would be random is refused; the message names the layer."""
    from safetensors.torch import load_file, save_file

    path = directory / "model.safetensors"
    weights = {k: v for k, v in load_file(path).items() if not k.startswith("classifier")}
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ModelDamaged, match=r"lack classifier\.bias, classifier\.weight"):
        load(directory)


def test_another_configuration_is_another_revision(directory: Path) -> None:
    """Other labels or another preprocessing of the same weights change the revision."""
    revisions = {load(directory).identity.revision}
    configure(directory, id2label={"0": "nsfw", "1": "normal"}, label2id={"nsfw": 0, "normal": 1})
    revisions.add(load(directory).identity.revision)
    path = directory / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"image_mean": [0.4, 0.5, 0.6]}))
    identity = load(directory).identity
    assert len(revisions | {identity.revision}) == 3
    assert identity.weights_sha256 not in revisions
