"""Features in a file: computed once, continued after an interruption, never taken damaged."""

import json
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from nsfw_app.dataset_errors import TrainingError, TrainingSetError
from nsfw_app.models.backends.pytorch import TransformersBackend
from nsfw_app.models.training import features as feature_files
from nsfw_app.models.training.features import (
    BATCH,
    FeatureFile,
    Features,
    compute_features,
    delete_features,
)
from nsfw_app.models.training.head import Head
from tests.support.tiny_vit import tinted_image, torch_backend, trained

COUNT = 20


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> TransformersBackend:
    """The trained model."""
    return torch_backend(trained(tmp_path_factory))


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Image files."""
    found = [tmp_path / f"{number}.jpg" for number in range(COUNT)]
    for number, path in enumerate(found):
        tinted_image(number / COUNT, seed=number).save(path)
    return found


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that are computed from now on."""
    sizes: list[int] = []
    compute = Head.compute

    def counted(head: Head, batch: np.ndarray) -> object:
        sizes.append(len(batch))
        return compute(head, batch)

    monkeypatch.setattr(Head, "compute", counted)
    return sizes


def features(paths: list[Path], model: TransformersBackend, directory: Path) -> Features:
    """Compute features, kept below a directory."""
    return compute_features(
        paths, model, directory=directory / "kept", threads=1, advance=lambda: None
    )


def test_they_are_computed_once(
    vit: TransformersBackend, paths: list[Path], tmp_path: Path, computed: list[int]
) -> None:
    """A second run computes nothing but the model's test image, and has the same numbers."""
    first = features(paths, vit, tmp_path)
    assert first.values.shape == (COUNT, 32)
    assert sum(computed) == 1 + COUNT
    second = features(paths, vit, tmp_path)
    assert sum(computed) == 2 + COUNT
    assert np.array_equal(first.values, second.values)
    assert np.array_equal(first.logits, second.logits)


def test_an_interrupted_run_continues(
    vit: TransformersBackend, paths: list[Path], tmp_path: Path, computed: list[int]
) -> None:
    """Batches before the interruption are not computed again."""

    def interrupt() -> None:
        if sum(computed) > 1 + BATCH:  # the model's test image, one batch, and the next
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compute_features(paths, vit, directory=tmp_path / "kept", threads=1, advance=interrupt)
    computed.clear()
    continued = features(paths, vit, tmp_path)
    assert sum(computed) == 1 + COUNT - 2 * BATCH
    assert np.array_equal(continued.values, features(paths, vit, tmp_path / "other").values)


@pytest.mark.parametrize("damage", ["torn", "flipped"])
def test_a_damaged_record_is_computed_again(
    damage: str, vit: TransformersBackend, paths: list[Path], tmp_path: Path, computed: list[int]
) -> None:
    """A record without its end, or with another byte, is not used; those that follow are."""
    first = features(paths, vit, tmp_path)
    (file,) = (tmp_path / "kept").iterdir()
    data = bytearray(file.read_bytes())
    size = len(data) // COUNT
    if damage == "torn":
        del data[-size // 2 :]
    else:
        data[3 * size + 40] ^= 1
    file.write_bytes(data)
    computed.clear()
    again = features(paths, vit, tmp_path)
    assert sum(computed) == 2
    assert np.allclose(first.values, again.values, atol=1e-5)
    computed.clear()
    features(paths, vit, tmp_path)
    assert sum(computed) == 1


def test_another_precision_has_features_of_its_own(
    vit: TransformersBackend, paths: list[Path], tmp_path: Path
) -> None:
    """Those of half precision are near, and in another file."""
    exact, half = (features(paths, model, tmp_path) for model in (vit, vit.to_half()))
    names = sorted(path.name for path in (tmp_path / "kept").iterdir())
    assert [name.rpartition("-torch")[2] for name in names] == ["-bf16.features", ".features"]
    assert not np.array_equal(exact.values, half.values)
    assert np.abs(exact.values - half.values).max() < 0.05 * np.abs(exact.values).max()


def test_only_features_are_deleted(
    vit: TransformersBackend, paths: list[Path], tmp_path: Path
) -> None:
    """With their directory, unless other files are in it."""
    kept = tmp_path / "kept"
    features(paths, vit, tmp_path)
    features(paths, vit.to_half(), tmp_path)
    for name in ("mine.txt", "mine.features"):
        (kept / name).write_text("mine")
    delete_features(kept)
    assert sorted(path.name for path in kept.iterdir()) == ["mine.features", "mine.txt"]
    features(paths, vit, tmp_path / "other")
    delete_features(tmp_path / "other" / "kept")
    assert not (tmp_path / "other" / "kept").exists()
    delete_features(tmp_path / "missing")


def other_mean(directory: Path) -> None:
    """Change how a model's images are prepared."""
    path = directory / "preprocessor_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"image_mean": [0.1, 0.1, 0.1]}))


def other_weights(directory: Path) -> None:
    """Change a model's weights."""
    weights = load_file(directory / "model.safetensors")
    weights["classifier.bias"] += 1
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("change", [other_mean, other_weights])
def test_another_configuration_has_features_of_its_own(
    change: Callable[[Path], None],
    paths: list[Path],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    computed: list[int],
) -> None:
    """So have other weights: none of the features that are kept is taken for them."""
    directory = shutil.copytree(trained(tmp_path_factory), tmp_path / "model")
    first = features(paths, torch_backend(directory), tmp_path)
    change(directory)
    computed.clear()
    second = features(paths, torch_backend(directory), tmp_path)
    assert sum(computed) == 1 + COUNT
    assert not np.array_equal(first.logits, second.logits)


@pytest.mark.parametrize("package", ["torch", "transformers", "pillow", "nsfw-review"])
def test_another_version_computes_features_again(
    package: str,
    vit: TransformersBackend,
    paths: list[Path],
    tmp_path: Path,
    computed: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of what prepares images, what computes, and of this program."""
    features(paths, vit, tmp_path)
    if package == "nsfw-review":
        monkeypatch.setattr(feature_files, "__version__", "99")
    else:
        monkeypatch.setattr(
            feature_files, "version", lambda name: "99" if name == package else version(name)
        )
    computed.clear()
    features(paths, vit, tmp_path)
    assert sum(computed) == 1 + COUNT


def test_copies_have_the_same_features(
    vit: TransformersBackend, paths: list[Path], tmp_path: Path
) -> None:
    """Bytes that occur twice are computed once and returned twice."""
    found = features([*paths, paths[0]], vit, tmp_path).values
    assert np.array_equal(found[0], found[COUNT])


def test_damaged_images_are_an_error_and_the_others_are_kept(
    vit: TransformersBackend, paths: list[Path], tmp_path: Path, computed: list[int]
) -> None:
    """The message counts and names them; without them, the next run computes nothing."""
    paths[2].write_bytes(b"no image")
    Image.effect_noise((300, 300), 90).convert("RGB").save(paths[5], quality=95)
    paths[5].write_bytes(paths[5].read_bytes()[:9000])
    with pytest.raises(TrainingSetError, match="2 of 20 images cannot be used: 2"):
        features(paths, vit, tmp_path)
    computed.clear()
    features([path for path in paths if path.stem not in {"2", "5"}], vit, tmp_path)
    assert sum(computed) == 1


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """The message has the directory."""
    (tmp_path / "kept").write_text("a file where the directory would be")
    file = FeatureFile(tmp_path / "kept" / "x.features", (2, 2))
    with pytest.raises(TrainingError, match=f"kept in {tmp_path}/kept: Not a directory."):
        file.add(["00" * 32], np.zeros((1, 2)), np.zeros((1, 2)))


def test_a_link_that_cannot_be_followed_is_an_error(tmp_path: Path) -> None:
    """In place of the file of features, as after a disk was changed."""
    path = tmp_path / "x.features"
    path.symlink_to(tmp_path / "missing" / "x.features")
    file = FeatureFile(path, (2, 2))
    with pytest.raises(TrainingError, match=f"kept in {tmp_path}: No such file"):
        file.add(["00" * 32], np.zeros((1, 2)), np.zeros((1, 2)))
