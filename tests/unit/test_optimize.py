"""Optimized models: files and reports are real, and one that differs too much is not kept."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, replace
from importlib.metadata import version
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from nsfw_app import settings, system
from nsfw_app.bootstrap import open_store
from nsfw_app.cli import app
from nsfw_app.errors import ModelUnsupported, StorageError, StorageErrorKind
from nsfw_app.models import build_files, calibration_set, parity, selection
from nsfw_app.models.artifacts import ModelVersion, OptimizedModel
from nsfw_app.models.build_files import Attempt
from nsfw_app.models.classifier import Backend, nsfw_score, weights_sha256
from nsfw_app.models.hub import find
from nsfw_app.models.optimize import builder, downscale_calibration
from nsfw_app.models.optimize.onnx_export import Exporter
from nsfw_app.models.optimize.optimizer import OptimizationConfig, optimize
from nsfw_app.models.optimize.speed import Speed
from nsfw_app.models.optimized_formats import FILES, OPENVINO_FILES, Format, ladder
from nsfw_app.models.parity import ParityReport, compare
from nsfw_app.models.preprocessing import Preprocessing
from nsfw_app.models.selection import BackendConfig, open_optimized_model
from nsfw_app.records import LabelRole, Policy
from nsfw_app.system import BF16_FLAGS, Cpu
from tests.support.architectures import saved
from tests.support.disks import no_space
from tests.support.optimized_models import POLICY, all_formats, build, loaded, write_images
from tests.support.tiny_vit import trained


@pytest.fixture(autouse=True)
def few_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Downscaling is calibrated with few photographs."""
    monkeypatch.setattr(downscale_calibration, "SAMPLE", 3)


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained model's directory."""
    return trained(tmp_path_factory)


@pytest.fixture(scope="module")
def artifacts_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every format of it."""
    return all_formats(tmp_path_factory)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images whose scores spread over [0, 1]; the formats were built with the same."""
    return write_images(tmp_path_factory.mktemp("images"))


def scores(vit: Path, artifacts_dir: Path, wanted: str, images: Path) -> list[float]:
    """A backend's scores of the images of a directory, each computed alone."""
    classifier = loaded(vit, artifacts_dir, wanted)
    return [
        nsfw_score(classifier.predict([image])[0], classifier.roles)
        for image in calibration_set.load_dir(images)
    ]


def optimized_model(artifacts_dir: Path, kind: str) -> OptimizedModel:
    """The optimized model of a format."""
    (directory,) = artifacts_dir.glob(f"*/*/{kind}/*")
    found = build_files.read(directory)
    assert found is not None
    return found


@pytest.mark.parametrize("kind", FILES)
def test_the_report_matches_the_scores_of_the_loaded_models(
    vit: Path, artifacts_dir: Path, images: Path, kind: Format
) -> None:
    """Loaded again by name, both models differ by as much as in the stored report."""
    original = scores(vit, artifacts_dir, "torch", images)
    optimized = scores(vit, artifacts_dir, kind, images)
    report, again = (
        optimized_model(artifacts_dir, kind).report(POLICY),
        compare(original, optimized, POLICY, images=60),
    )
    assert report.images == again.images == len(original)
    for name in ("largest_difference", "mean_difference", "changed_labels", "changed_actions"):
        assert getattr(report, name) == pytest.approx(getattr(again, name), abs=1e-6)


@pytest.mark.parametrize(("kind", "max_difference"), [("onnx", 1e-5), ("openvino", 0.01)])
def test_floats_give_the_same_scores(
    vit: Path, artifacts_dir: Path, images: Path, kind: str, max_difference: float
) -> None:
    """fp32 scores are equal; half precision, where the CPU has it, differs by less than 0.01."""
    difference = np.subtract(scores(vit, artifacts_dir, "torch", images),
                             scores(vit, artifacts_dir, kind, images))  # fmt: skip
    assert np.abs(difference).max() < max_difference


@pytest.mark.parametrize("kind", ["openvino-int8", "onnx-int8"])
def test_int8_files_are_smaller(artifacts_dir: Path, kind: str) -> None:
    """8-bit weights take less space than the same weights in 32 bits."""

    def size(name: str) -> int:
        directory = optimized_model(artifacts_dir, name).directory
        return sum(path.stat().st_size for path in directory.glob("model*"))

    assert size(kind) < size(kind.removesuffix("-int8"))


@pytest.mark.parametrize("kind", FILES)
def test_the_description_names_its_origin(vit: Path, artifacts_dir: Path, kind: Format) -> None:
    """It has model, weights, labels, preprocessing, CPU and runtime version."""
    path = optimized_model(artifacts_dir, kind).file("artefact.json")
    values = json.loads(path.read_text())["artefact"]
    digest = weights_sha256([vit / "model.safetensors"])
    assert (values["origin"]["model"], values["origin"]["weights_sha256"]) == (vit.name, digest)
    assert values["roles"] == {"normal": "safe", "nsfw": "unsafe"}
    assert (values["preprocessing"]["width"], values["preprocessing"]["mean"]) == (32, [0.5] * 3)
    assert values["cpu_features"] == sorted(system.cpu().features)
    assert values["runtime_version"] == version(kind.runtime)
    assert values["images_per_s"] > 0


def test_no_partial_files_remain(artifacts_dir: Path) -> None:
    """The hidden directories in which builds are written are gone."""
    (revision,) = artifacts_dir.glob("*/*")
    assert {path.name for path in revision.iterdir()} == set(FILES)
    assert all(len(list(builds.iterdir())) == 1 for builds in revision.iterdir())


@pytest.fixture
def near_threshold_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """No changed label counts as near the threshold, as small models differ by less than that."""
    monkeypatch.setattr(parity, "NEAR", 0.0)


def between(vit: Path, artifacts_dir: Path, images: Path, kind: str) -> Policy:
    """A policy under which at least one image's label differs between torch and a format."""
    original = scores(vit, artifacts_dir, "torch", images)
    optimized = scores(vit, artifacts_dir, kind, images)
    low, high = max(
        map(sorted, zip(original, optimized, strict=True)), key=lambda pair: pair[1] - pair[0]
    )
    middle = (low + high) / 2
    return Policy(threshold=middle, review_from=min(0.2, middle), review_to=max(0.8, middle))


@pytest.mark.usefixtures("near_threshold_off")
def test_too_many_changed_labels_are_refused(
    vit: Path, artifacts_dir: Path, images: Path, tmp_path: Path
) -> None:
    """One label of sixty changes: nothing is kept, and the message has the count and the limit."""
    policy = between(vit, artifacts_dir, images, "openvino-int8")
    with pytest.raises(
        ModelUnsupported,
        match=r"Not kept: \d+ labels change, and at most 0 may \(0\.5% of 60 views\).*--force",
    ):
        build(vit, Format.OPENVINO_INT8, tmp_path / "e", images=images, policy=policy)
    assert list((tmp_path / "e").rglob("*.*")) == []


def test_an_unknown_preprocessing_runs_through_the_original_processor(
    vit: Path, images: Path, tmp_path: Path
) -> None:
    """LeViT's processor enlarges by 256 / 224 before it crops, which its configuration lacks."""
    from transformers import LevitImageProcessorPil

    model = copytree(vit, tmp_path / "model")
    size = {"height": 32, "width": 32}
    LevitImageProcessorPil(size={"shortest_edge": 32}, crop_size=size).save_pretrained(model)
    for kind, max_difference in ((Format.ONNX, 1e-5), (Format.OPENVINO, 0.01)):
        kept = build(model, kind, tmp_path / "e", images=images)
        assert kept.preprocessing is None
        assert kept.file("preprocessor_config.json").is_file()
        original = scores(model, tmp_path / "e", "torch", images)
        optimized = scores(model, tmp_path / "e", kind, images)
        assert np.abs(np.subtract(original, optimized)).max() < max_difference
    kept.file("preprocessor_config.json").write_text("{}")
    with pytest.raises(ModelUnsupported, match="changed after it was verified"):
        kept.check()


@pytest.mark.usefixtures("near_threshold_off")
def test_a_forced_model_is_used_only_by_name(
    vit: Path, artifacts_dir: Path, images: Path, tmp_path: Path
) -> None:
    """`auto` does not use a model whose report failed; NSFW_BACKEND with its name does."""
    policy = between(vit, artifacts_dir, images, "openvino-int8")
    kept = build(
        vit, Format.OPENVINO_INT8, tmp_path, images=images, policy=policy, force=True
    )  # fmt: skip
    assert not kept.passes(policy)
    for wanted, backend in (("auto", "torch"), ("openvino-int8", "openvino-int8-forced")):
        classifier = loaded(vit, tmp_path, wanted, policy)
        assert classifier.identity.backend.startswith(backend)


def test_force_changes_nothing_for_a_model_that_passes(
    vit: Path, images: Path, tmp_path: Path
) -> None:
    """A model that passes is verified, also when it was built with force."""
    kept = build(vit, Format.ONNX, tmp_path, images=images, force=True)
    assert kept.passes(POLICY)
    assert kept.backend(POLICY) == "onnx"


def test_a_failed_build_keeps_the_earlier_one(
    vit: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build that fails halfway leaves the files of the earlier one unchanged."""
    kept = build(vit, Format.ONNX, tmp_path, images=images)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def broken(*_: Any) -> None:
        raise RuntimeError("power failure")

    monkeypatch.setattr(builder, "nsfw_scores", broken)
    with pytest.raises(RuntimeError, match="power failure"):
        build(vit, Format.ONNX, tmp_path, images=images)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    kept.check()


def test_a_new_build_replaces_the_first(vit: Path, images: Path, tmp_path: Path) -> None:
    """There is one build of each format; the newer one stays."""
    first = build(vit, Format.ONNX, tmp_path, images=images)
    (images / "000.png").rename(images / "000.not")
    second = build(vit, Format.ONNX, tmp_path, images=images)
    (images / "000.not").rename(images / "000.png")
    assert second.images == len(second.scores) == first.images - 1
    assert list(second.directory.parent.iterdir()) == [second.directory]


def test_concurrent_builds_leave_one_complete_build(tmp_path: Path) -> None:
    """The last one stays, no writer fails, and a reader always finds a complete build."""
    origin = ModelVersion("m", "r", "w")
    directory_of_builds = build_files.builds_dir(tmp_path, origin, Format.ONNX)

    def write(number: int) -> None:
        with build_files.new_build(directory_of_builds) as directory:
            (directory / "model.onnx").write_text(str(number))
            model = OptimizedModel.from_directory(
                directory, Format.ONNX, origin, {"nsfw": LabelRole.UNSAFE}
            )
            build_files.write(directory, replace(model, images_per_s=number))

    write(0)
    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, number) for number in range(1, 100)]
        while not all(writer.done() for writer in writers):
            assert list(directory_of_builds.glob("[0-9]*"))
        for writer in writers:
            writer.result()
    write(100)
    (left,) = directory_of_builds.iterdir()
    kept = build_files.latest(tmp_path, origin, Format.ONNX)
    assert kept is not None
    kept.check()
    assert (kept.directory, kept.images_per_s) == (left, 100)


# Which format is kept.


def test_the_ladder_of_a_cpu() -> None:
    """int8 is tried only where the CPU has instructions for 8-bit dot products."""
    assert ladder(multiplies_int8=True) == OPENVINO_FILES
    assert ladder(multiplies_int8=False) == (Format.OPENVINO, Format.OPENVINO_FP32)


@pytest.fixture
def int8_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU with instructions for 8-bit integers and none for 16-bit floats."""
    cpu = replace(system.cpu(), features=system.cpu().features - BF16_FLAGS | {"avx512_vnni"})
    monkeypatch.setattr(system, "cpu", lambda: cpu)


@pytest.fixture
def speedups(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Measured speed-up by backend, 2 by default; tests change it."""
    chosen: dict[str, float] = {}

    def speed(original: Backend, other: Backend, images: Any) -> Speed:
        speedup = chosen.get(other.identity.backend, 2.0)
        return Speed(speedup, 10 * speedup, 10.0)

    monkeypatch.setattr(builder, "compare_speed", speed)
    monkeypatch.setattr(selection, "compare_speed", speed)
    return chosen


@pytest.fixture
def differing(monkeypatch: pytest.MonkeyPatch) -> set[Format]:
    """Formats whose scores differ too much from the original's; tests add to it."""
    chosen: set[Format] = set()
    check = builder.Builder._check_parity

    def check_parity(self: Any, kind: Format, report: ParityReport) -> None:
        check(self, kind, replace(report, changed_labels=1.0) if kind in chosen else report)

    monkeypatch.setattr(builder.Builder, "_check_parity", check_parity)
    return chosen


def try_all(
    model: Path, artifacts_dir: Path, images: Path
) -> tuple[OptimizedModel | None, list[Attempt]]:
    """Run `optimize` without a format; returns what it kept and the stored attempts."""
    messages: list[str] = []
    backends = BackendConfig("auto", artifacts_dir, lambda _: POLICY)
    config = OptimizationConfig(str(model), "main", (), images=images)
    kept = optimize(config, backends, threads=1, progress=messages.append)
    origin = ModelVersion.of_files(str(model), find(str(model), revision="main"))
    attempts = build_files.read_attempts(artifacts_dir, origin)
    for attempt in attempts:
        assert f"{attempt.format}: {attempt.outcome}" in messages
    return kept, attempts


@pytest.mark.usefixtures("int8_cpu", "speedups")
def test_the_first_that_passes_is_kept(vit: Path, images: Path, tmp_path: Path) -> None:
    """int8 passes, so no other format is built; `auto` uses it."""
    kept, attempts = try_all(vit, tmp_path, images)
    assert kept is not None
    assert kept.format == Format.OPENVINO_INT8
    ((kind, was_kept, outcome),) = map(astuple, attempts)
    assert (kind, was_kept) == (Format.OPENVINO_INT8, True)
    assert outcome.startswith("Kept. Over 60 images, scores differ by ")
    assert outcome.endswith(
        "It is 2.00 times as fast as the original in 32-bit floats (20 and 10 images a second)."
    )
    assert loaded(vit, tmp_path).identity.backend == "openvino-int8"


@pytest.mark.usefixtures("int8_cpu")
def test_formats_are_tried_down_the_ladder(
    vit: Path,
    images: Path,
    tmp_path: Path,
    speedups: dict[str, float],
    differing: set[Format],
) -> None:
    """After one that differs too much or is not faster comes the next; reasons are stored."""
    differing |= {Format.OPENVINO_INT8, Format.OPENVINO_INT8_MIXED}
    speedups["openvino"] = 1.05
    kept, attempts = try_all(vit, tmp_path, images)
    assert kept is not None
    assert [attempt.format for attempt in attempts] == list(OPENVINO_FILES)
    assert [attempt.kept for attempt in attempts] == [False, False, False, True]
    assert all("Not kept: 60 labels change, and at most 0 may" in a.outcome for a in attempts[:2])
    assert attempts[2].outcome.startswith("Not kept: it is 1.05 times as fast as the original")
    assert kept.format == Format.OPENVINO_FP32
    assert loaded(vit, tmp_path).identity.backend == "openvino-fp32"
    assert {path.name for path in tmp_path.glob("*/*/*/*/artefact.json")} == {"artefact.json"}
    assert len(list(tmp_path.glob("*/*/*/*/model.xml"))) == 1, "the others are deleted"


@pytest.mark.usefixtures("int8_cpu")
def test_no_format_is_faster(
    vit: Path, images: Path, tmp_path: Path, speedups: dict[str, float]
) -> None:
    """Only the attempts are stored; torch computes as before."""
    speedups.update(dict.fromkeys(OPENVINO_FILES, 1.0))
    kept, attempts = try_all(vit, tmp_path, images)
    assert kept is None
    assert [attempt.kept for attempt in attempts] == [False] * 4
    assert list(tmp_path.glob("*/*/*/*/artefact.json")) == []
    assert loaded(vit, tmp_path).identity.backend == "torch"


def test_it_must_be_faster_than_half_precision(
    vit: Path,
    images: Path,
    tmp_path: Path,
    speedups: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where torch in bf16 passes, an optimized model must be faster than that to be kept."""
    features = system.cpu().features | {"avx512_bf16", "avx512_vnni"}
    monkeypatch.setattr(system, "cpu", lambda: Cpu("a CPU", 1, features))
    speedups.update({"torch-bf16": 2.0, "openvino-int8": 2.05, "openvino-int8-mixed": 2.2})
    kept, attempts = try_all(vit, tmp_path, images)
    assert kept is not None
    assert [(a.format, a.kept) for a in attempts] == [
        ("torch-bf16", True),
        ("openvino-int8", False),
        ("openvino-int8-mixed", True),
    ]
    assert "2.10 times are needed" in attempts[1].outcome
    assert loaded(vit, tmp_path).identity.backend == "openvino-int8-mixed"


@pytest.mark.usefixtures("int8_cpu", "speedups")
@pytest.mark.parametrize("name", ["convnext", "swin", "siglip"])
def test_other_architectures(
    name: str, images: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """`optimize` works for them, and scores of batches stay close to the original's."""
    model = saved(name, tmp_path_factory)
    kept, _ = try_all(model, tmp_path, images)
    assert kept is not None
    original = scores(model, tmp_path, "torch", images)
    classifier = loaded(model, tmp_path)
    assert classifier.identity.backend == kept.format
    batch = classifier.predict(calibration_set.load_dir(images))
    optimized = [nsfw_score(row, classifier.roles) for row in batch]
    report = compare(original, optimized, POLICY)
    assert report.passed
    assert report.mean_difference < 0.05  # 0.037 with the 8-bit integers of AMX


def test_sensitive_layers_are_restored_to_floats(vit: Path, images: Path, tmp_path: Path) -> None:
    """Layers are restored until enough labels agree."""
    from nsfw_app.models.backends.pytorch import TransformersBackend

    files = find(str(vit), revision="main")
    backend = TransformersBackend(
        ModelVersion("m", "r", "w"), files=files, unsafe_labels=(), threads=1
    )
    preprocessing = Preprocessing.of(backend.processor.config)
    prepared = [preprocessing.prepare(image) for image in calibration_set.load_dir(images)[:8]]
    # In int8 except the first and last layer; of one image; then of all: in floats, in int8, and
    # with some layers restored.
    agreements = iter([0.5, 1.0, 1.0, 0.5, 0.8])
    exporter = Exporter(
        backend.model,
        preprocessing,
        calibration=prepared,
        agreement=lambda indices, rows: next(agreements, 1.0),
        reduce_range=False,
    )
    quantized = {}
    for kind in (Format.OPENVINO_INT8, Format.OPENVINO_INT8_MIXED):
        (tmp_path / kind).mkdir()
        exporter.write(kind, tmp_path / kind)
        quantized[kind] = (tmp_path / kind / "model.xml").read_text().count('type="FakeQuantize"')
    assert 0 < quantized[Format.OPENVINO_INT8_MIXED] < quantized[Format.OPENVINO_INT8]


def test_images_are_computed_alone_where_a_batch_changes_scores(
    vit: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores never depend on the other images of a batch."""
    monkeypatch.setattr(builder, "_batches_change_nothing", lambda *_: False)
    kept = build(vit, Format.OPENVINO, tmp_path, images=images)
    assert kept.one_by_one
    backend = open_optimized_model(kept, "test", unsafe_labels=(), threads=1)
    shapes: list[tuple[int, ...]] = []
    compiled = backend._compiled

    def compute(inputs: dict[int, Any]) -> Any:
        shapes.append(inputs[0].shape)
        return compiled(inputs)

    monkeypatch.setattr(backend, "_compiled", compute)
    batch = np.stack([backend.prepare(image) for image in calibration_set.load_dir(images)[:3]])
    assert backend.score(batch).shape == (3, 2)
    assert shapes == [(1, 32, 32, 3)] * 3


def test_recorded_preprocessing_that_changes_scores_is_not_used(
    vit: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the record changes scores, the original image processor is used."""
    monkeypatch.setattr(builder, "NEAR", -1.0)
    kept = build(vit, Format.ONNX, tmp_path, images=images)
    assert kept.preprocessing is None
    assert kept.report(POLICY).largest_difference < 1e-5


def test_the_report_counts_views_and_images(
    vit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report on the calibration set names its 384 views and its 64 images."""
    kept = build(vit, Format.ONNX, tmp_path, images=None)
    report = kept.report(POLICY)
    assert (report.images, report.views) == (64, 384)
    assert report.summary().startswith("Over 384 views of 64 images, ")


# The command.


def test_the_command(vit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It prints the directory of the optimized model; defaults are settings and calibration set."""
    monkeypatch.setenv("NSFW_MODEL", str(vit))
    monkeypatch.setenv("NSFW_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("NSFW_THREADS", "1")
    done = CliRunner().invoke(app, ["optimize", "--format", "onnx"])
    assert done.exit_code == 0, done.output
    directory = Path(done.stdout.strip().splitlines()[-1])
    kept = build_files.read(directory)
    assert kept is not None
    assert "Over 384 views of 64 images" in done.stderr
    (entry,) = open_store(settings.load()).audit.entries()
    details = {"format": "onnx", "forced": False}
    assert (entry.action, entry.subject, entry.details) == ("optimize", vit.name, details)


@pytest.mark.parametrize(
    ("room", "method"), [(Exporter, "_onnx"), (build_files, "write")], ids=["model", "description"]
)
def test_a_full_disk_is_an_error(
    room: object,
    method: str,
    vit: Path,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not a format that the model cannot have; nothing of the build is left."""
    monkeypatch.setattr(room, method, no_space)
    with pytest.raises(StorageError, match=r"disk .* is full") as caught:
        build(vit, Format.ONNX, tmp_path, images=images)
    assert caught.value.reason is StorageErrorKind.FULL
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_attempts_that_cannot_be_stored_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the last `optimize` stay."""
    origin = ModelVersion("m", "r", "w")
    attempts = [Attempt(Format.ONNX, kept=False, outcome="Not kept.")]
    build_files.write_attempts(tmp_path, origin, attempts)
    monkeypatch.setattr(build_files.private_files, "staged_file", no_space)
    with pytest.raises(StorageError, match="is full"):
        build_files.write_attempts(tmp_path, origin, [])
    assert build_files.read_attempts(tmp_path, origin) == attempts


@pytest.mark.usefixtures("int8_cpu")
def test_the_command_succeeds_when_nothing_is_kept(
    vit: Path,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    speedups: dict[str, float],
) -> None:
    """It prints why and exits with 0."""
    monkeypatch.setenv("NSFW_MODEL", str(vit))
    monkeypatch.setenv("NSFW_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("NSFW_THREADS", "1")
    speedups.update(dict.fromkeys(OPENVINO_FILES, 1.0))
    done = CliRunner().invoke(app, ["optimize", "--images", str(images)])
    assert (done.exit_code, done.stdout) == (0, "")
    assert "openvino-int8-mixed: Not kept" in done.stderr
    assert "torch computes it" in done.stderr


@pytest.mark.parametrize("has_bf16", [True, False])
def test_the_command_with_the_embedded_model(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    speedups: dict[str, float],
    has_bf16: bool,
) -> None:
    """Half precision is measured again, where the CPU has it."""
    features = frozenset({"avx512_bf16"} if has_bf16 else {"avx2"})
    monkeypatch.setattr(system, "cpu", lambda: Cpu("a CPU", 1, features))
    monkeypatch.setenv("NSFW_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("NSFW_THREADS", "1")
    for speedup in (2.0, 1.0):
        speedups["openvino-bf16"] = speedup
        done = CliRunner().invoke(app, ["optimize", "--model", "open-nsfw"])
        assert done.exit_code == 0, done.output
        backend = loaded("open-nsfw", tmp_path / "engines").identity.backend
        faster = has_bf16 and speedup == 2.0
        assert backend == ("openvino-bf16" if faster else "onnxruntime")
    assert ("Over 64 images" if has_bf16 else "no instructions") in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "open-nsfw", "--format", "onnx"], "has no formats"),
        (["--format", "torch-bf16"], "cannot be exported"),
        (["--format", "gguf"], "gguf"),
        (["--images", "nowhere"], "nowhere"),
    ],
)
def test_the_command_refuses(arguments: list[str], message: str) -> None:
    """Wrong usage is reported before anything is loaded."""
    done = CliRunner().invoke(app, ["optimize", *arguments])
    assert done.exit_code == 2
    assert message in done.stderr
