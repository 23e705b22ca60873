"""The Model tab and the log: the backend in use, and the reports of optimized models."""

from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest
from huggingface_hub import constants

from nsfw_app import settings, system
from nsfw_app.bootstrap import open_engine, open_store
from nsfw_app.decision import NewDecision
from nsfw_app.models import build_files
from nsfw_app.models.artifacts import ModelVersion, OptimizedModel
from nsfw_app.models.build_files import Attempt
from nsfw_app.models.loader import ModelState
from nsfw_app.models.optimized_formats import FILES, Format
from nsfw_app.records import Label, LogFilter, Retain, Upload
from nsfw_app.review.engine import Engine
from nsfw_app.ui.model_facts import model_facts
from tests.support.optimized_models import all_formats
from tests.support.sample_records import person
from tests.support.tiny_vit import tinted_image, trained
from tests.unit.test_reduced_decoding import jpeg


@pytest.fixture
def data(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A data directory with every format of the tiny model, and settings that use it."""
    copytree(all_formats(tmp_path_factory), tmp_path / "engines")
    monkeypatch.setenv("NSFW_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("NSFW_MODEL", str(trained(tmp_path_factory)))
    monkeypatch.setenv("NSFW_THREADS", "1")
    return tmp_path


def open_loaded_engine() -> Engine:
    """An engine with the settings' model, loaded or failed."""
    chosen = settings.load()
    engine = open_engine(chosen, open_store(chosen))
    engine.wait()
    return engine


def optimized_rows(engine: Engine) -> dict[str, str]:
    """The tab's rows about optimized models, by format."""
    sections = {section["title"]: dict(section["rows"]) for section in model_facts(engine)}
    return sections.get("Optimized models", {})


@pytest.mark.parametrize("kind", FILES)
def test_the_log_has_the_backend_of_the_setting(
    data: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A decision has the backend of the prediction that was shown."""
    monkeypatch.setenv("NSFW_BACKEND", kind)
    engine = open_loaded_engine()
    upload = Upload("a.jpg", "gallery", "ann", retain=Retain.QUEUE)
    review = engine.review(jpeg(tinted_image(0.9)), upload)
    assert review.prediction is not None
    identity, score = review.prediction.identity, review.prediction.nsfw_score
    assert identity.backend == kind
    assert score > 0.6
    decision = NewDecision(
        image_sha256=review.prediction.image_sha256,
        model=identity.model,
        revision=identity.revision,
        backend=identity.backend,
        threshold=0.5,
        label=Label.NSFW,
        nonce="n",
        name="a.jpg",
    )
    engine.decide(decision, person("Ann", owner="ann"))
    (row,) = engine.log.page(LogFilter(), limit=1)
    assert row.backend == kind


def test_each_format_has_its_report(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row of the one in use is marked; each has its parity report and its speed."""
    monkeypatch.setenv("NSFW_BACKEND", "openvino-int8")
    engine = open_loaded_engine()
    rows = optimized_rows(engine)
    assert set(rows) == set(FILES)
    assert [kind for kind, text in rows.items() if text.startswith("Runs now.")] == [
        "openvino-int8"
    ]
    for kind, text in rows.items():
        kept = build_files.read(next(data.glob(f"engines/*/*/{kind}/*")))
        assert kept is not None
        report = kept.report(engine.policy)
        assert report.largest_difference == max(abs(a - b) for a, b in kept.scores)
        assert report.summary() in text
        assert "images a second" in text


def test_why_a_format_is_not_used(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another CPU, or a report that failed."""
    directory = next(data.glob("engines/*/*/onnx/*"))
    failed = build_files.read(directory)
    assert failed is not None
    build_files.write(directory, replace(failed, scores=((0.1, 0.9),)))
    monkeypatch.setenv("NSFW_BACKEND", "torch")
    engine = open_loaded_engine()
    assert optimized_rows(engine)["onnx"].startswith("Not used: too many labels change.")
    assert optimized_rows(engine)["openvino"].startswith("Verified, and does not run now.")
    other = replace(system.cpu(), features=frozenset({"sve"}))
    monkeypatch.setattr(system, "cpu", lambda: other)
    assert optimized_rows(engine)["openvino"].startswith(
        "Not used: it was verified on another kind of CPU"
    )


def test_formats_that_were_not_kept(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tab has what was tried and why it was not kept; a kept format has its report."""
    monkeypatch.setenv("NSFW_BACKEND", "torch")
    engine = open_loaded_engine()
    classifier = engine.status.classifier
    assert classifier is not None
    next(data.glob("engines/*/*/openvino-fp32")).rename(data / "away")
    tried = [
        Attempt(Format.OPENVINO_FP32, kept=False, outcome="Not kept: it is not faster."),
        Attempt(Format.ONNX, kept=True, outcome="Kept."),
    ]
    build_files.write_attempts(data / "engines", ModelVersion.of(classifier.identity), tried)
    rows = optimized_rows(engine)
    assert rows["openvino-fp32"] == "Tried by optimize. Not kept: it is not faster."
    assert rows["onnx"].startswith("Verified, and does not run now.")


def test_the_embedded_model_has_no_formats(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The section is left out where it would be empty."""
    monkeypatch.setenv("NSFW_MODEL", "open-nsfw")
    monkeypatch.setenv("NSFW_BACKEND", "torch")
    engine = open_loaded_engine()
    assert engine.status.state is ModelState.READY
    assert optimized_rows(engine) == {}


@pytest.mark.parametrize(
    ("rate", "beginning", "end"),
    [
        (200.0, "Verified, and does not run now.", "200.0 images a second, the original 100.0."),
        (90.0, "Not used: it is not faster here.", "90.0 images a second, the original 100.0."),
    ],
)
def test_the_embedded_model_in_half_precision(
    data: Path, monkeypatch: pytest.MonkeyPatch, rate: float, beginning: str, end: str
) -> None:
    """The tab has its difference to the original and both speeds."""
    monkeypatch.setenv("NSFW_MODEL", "open-nsfw")
    monkeypatch.setenv("NSFW_BACKEND", "torch")
    engine = open_loaded_engine()
    classifier = engine.status.classifier
    assert classifier is not None
    origin = ModelVersion.of(classifier.identity)
    kind = Format.OPENVINO_BF16
    with build_files.new_build(build_files.builds_dir(data / "engines", origin, kind)) as directory:
        model = OptimizedModel.from_directory(directory, kind, origin, classifier.roles)
        rates = {"images_per_s": rate, "original_images_per_s": 100.0}
        build_files.write(directory, replace(model, scores=((0.1, 0.1),), **rates))
    (text,) = optimized_rows(engine).values()
    assert text.startswith(beginning)
    assert text.endswith(end)


def test_a_backend_that_was_not_built_fails(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing backend requested by name is not replaced by another."""
    next(data.glob("engines/*/*/onnx")).rename(data / "away")
    monkeypatch.setenv("NSFW_BACKEND", "onnx")
    status = open_loaded_engine().status
    assert status.state is ModelState.FAILED
    assert "NSFW_BACKEND=onnx" in status.message


def test_the_embedded_model_under_another_backend(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend that it does not have is an error, by name and as the fallback of `auto`."""
    monkeypatch.setenv("NSFW_BACKEND", "onnx")
    for model in ("open-nsfw", "auto"):
        monkeypatch.setenv("NSFW_MODEL", model)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(data / "cache"))
        assert open_loaded_engine().status.state is ModelState.FAILED, model
