"""Which backend computes a model's scores: an optimized model, half precision, or the original.

- Nothing unverified is used. `auto` takes the fastest that was verified for exactly these weights
  with this runtime on this kind of CPU and was measured to be faster; without any, the original.
- Half precision is compared with the original once per weights, runtime version and CPU, and the
  choice is kept with its report: a later start follows it and measures nothing, so that noise
  cannot make a machine change its backend. Only `optimize` measures again.
- A backend asked for by name is that one or an error.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

from PIL import Image

from nsfw_app import system
from nsfw_app.errors import ModelError, ModelNotFound, ModelUnsupported
from nsfw_app.models import builds, calibration_set
from nsfw_app.models.artifacts import ModelVersion, OptimizedModel
from nsfw_app.models.cards import display_name, label_roles
from nsfw_app.models.checkpoints import load_errors
from nsfw_app.models.classifier import Backend, nsfw_score
from nsfw_app.models.formats import OPENVINO_FILES, Format
from nsfw_app.models.hub import ModelFiles
from nsfw_app.models.optimize.speed import compare_speed
from nsfw_app.records import Policy

log = logging.getLogger(__name__)

AUTO, TORCH = "auto", "torch"  # values of the setting beside those of `FILES`


@dataclass(frozen=True, slots=True)
class BackendConfig:
    """What the settings say of backends.

    `artifacts_dir` is where artefacts lie; `policy_of` gives the policy in force for a model.
    """

    wanted: str
    artifacts_dir: Path
    policy_of: Callable[[str], Policy]

    @property
    def is_named(self) -> bool:
        """Whether it must be this one format."""
        return self.wanted not in {AUTO, TORCH}


class HalfPrecision(Backend, Protocol):
    """A network in 32-bit floats of which there is one in half precision as well."""

    @property
    def origin(self) -> ModelVersion:
        """Its weights."""
        ...

    @property
    def half_format(self) -> Format:
        """The name of what `to_half` makes of it."""
        ...

    def to_half(self) -> Self:
        """The same model in half precision; this one stays as it is.

        Raises:
            RuntimeError: It cannot be computed like this on this machine.
        """
        ...


def open_backend(
    origin: ModelVersion,
    files: ModelFiles,
    backends: BackendConfig,
    *,
    unsafe_labels: Sequence[str],
    threads: int,
) -> Backend:
    """The network that computes a model's scores.

    Args:
        origin: The model, its revision and weights.
        files: Its own files.
        backends: Which is wanted.
        unsafe_labels: For labels that are not known words.
        threads: CPU threads.

    Raises:
        ModelNotFound: The backend that was asked for was not made yet.
        ModelError: It, or the model, cannot be used.
    """
    policy = backends.policy_of(origin.model)

    def opened(optimized_model: OptimizedModel) -> Backend:
        return open_optimized_model(
            optimized_model,
            optimized_model.backend(policy),
            unsafe_labels=unsafe_labels,
            threads=threads,
        )

    if backends.is_named:
        return opened(_named(backends, origin))
    if backends.wanted == AUTO:
        for optimized_model in fastest(backends.artifacts_dir, origin, policy):
            if not optimized_model.format.has_files:
                break  # torch's half precision is faster than what follows
            try:
                return opened(optimized_model)
            except ModelError as error:
                log.warning("%s", error)
    return _torch(origin, files, backends, unsafe_labels=unsafe_labels, threads=threads)


def fastest(artifacts_dir: Path, origin: ModelVersion, policy: Policy) -> list[OptimizedModel]:
    """What `auto` may use of a model on this machine, the fastest first."""
    return [
        optimized_model
        for optimized_model in builds.find(artifacts_dir, origin)
        if optimized_model.is_faster
        and not optimized_model.incompatibility
        and optimized_model.passes(policy)
    ]


def open_embedded(backends: BackendConfig | None, *, threads: int) -> Backend:
    """The embedded network, in 32-bit floats where nothing else is wanted.

    Args:
        backends: Which is wanted; None for 32-bit floats.
        threads: CPU threads.

    Raises:
        ModelNotFound: Its weights are missing or damaged.
    """
    from nsfw_app.models.backends.open_nsfw import OpenNSFW

    network = OpenNSFW(threads=threads)
    if backends is None or not system.cpu().multiplies_bf16:
        return network
    return _half_or_original(network, backends)


def open_optimized_model(
    optimized_model: OptimizedModel, backend: str, *, unsafe_labels: Sequence[str], threads: int
) -> Backend:
    """The network of an artefact, without torch.

    Args:
        optimized_model: What to open.
        backend: Its name on predictions.
        unsafe_labels: For labels that are not known words.
        threads: CPU threads.

    Raises:
        ModelError: It is not what was verified, or cannot be used here.
    """
    optimized_model.check()
    if label_roles(optimized_model.roles, unsafe_labels=unsafe_labels) != optimized_model.roles:
        raise ModelUnsupported(
            f"The {optimized_model.format} model was verified with other unsafe labels. "
            f"Make it again: python -m nsfw_app optimize --format {optimized_model.format}."
        )
    with load_errors(optimized_model.origin.model):
        if optimized_model.format in OPENVINO_FILES:
            from nsfw_app.models.backends.openvino_runtime import OpenVinoBackend

            return OpenVinoBackend(optimized_model, backend=backend, threads=threads)
        from nsfw_app.models.backends.onnx_runtime import OnnxBackend

        return OnnxBackend(optimized_model, backend=backend, threads=threads)


def nsfw_scores(network: Backend, pictures: Sequence[Image.Image]) -> Iterator[float]:
    """The nsfw score of each picture, in order, each computed by itself."""
    for picture in pictures:
        (row,) = network.score(network.prepare(picture)[None])
        yield nsfw_score(dict(zip(network.roles, map(float, row), strict=True)), network.roles)


def compare_half(network: HalfPrecision, half: Backend, artifacts_dir: Path) -> OptimizedModel:
    """Compare a network with itself in half precision, and keep the report.

    Args:
        network: In 32-bit floats.
        half: What its `to_half` gave.
        artifacts_dir: Where the report is kept.
    """
    images = calibration_set.bundled()
    scores = zip(_scores(network, images), _scores(half, images), strict=True)
    speed = compare_speed(network, half, images)
    directory = builds.builds_dir(artifacts_dir, network.origin, network.half_format)
    with builds.new_build(directory) as build:
        made = OptimizedModel.from_directory(
            build, network.half_format, network.origin, network.roles
        )
        made = replace(
            made,
            images_per_s=speed.images_per_s,
            original_images_per_s=speed.original_images_per_s,
            speedup=speed.speedup,
            scores=tuple(scores),
            images=len(images),
        )
        builds.describe(build, made)
    return made


def _named(backends: BackendConfig, origin: ModelVersion) -> OptimizedModel:
    """The artefact that was asked for, also one whose report failed: the operator insists."""
    wanted, name = backends.wanted, display_name(origin.model)
    make = f"python -m nsfw_app optimize --model {origin.model} --format {wanted}"
    optimized_model = builds.latest(backends.artifacts_dir, origin, Format(wanted))
    if optimized_model is None:
        raise ModelNotFound(
            f"NSFW_BACKEND={wanted}, and none was made of revision {origin.revision} of "
            f"'{name}'. Make it: {make}"
        )
    if optimized_model.incompatibility:
        raise ModelUnsupported(
            f"The {wanted} model of '{name}' cannot be used: {optimized_model.incompatibility}. "
            f"Make it again: {make}"
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

    exact = backends.wanted == TORCH
    network = TransformersBackend(
        origin,
        files=files,
        unsafe_labels=unsafe_labels,
        threads=threads,
        device=Device.CPU if exact else device(),
    )
    has_half = network.device is not Device.CPU or system.cpu().multiplies_bf16
    if network.is_lent_a_gpu or not has_half:
        return network
    return _half_or_original(network, backends)


def _half_or_original(network: HalfPrecision, backends: BackendConfig) -> Backend:
    """Half precision where its report passes and it is faster, else the network as it is.

    A report of these weights, this runtime and this CPU is followed; only without one are both
    compared. If anything fails, the network computes in 32-bit floats.
    """
    if backends.wanted != AUTO:
        return network
    origin, artifacts_dir = network.origin, backends.artifacts_dir
    report = builds.latest(artifacts_dir, origin, network.half_format)
    try:
        half = None
        if (
            report is None
            or report.incompatibility
            or not report.speedup
            or report.roles != network.roles
        ):
            half = network.to_half()
            report = compare_half(network, half, artifacts_dir)
        if report.is_faster and report.passes(backends.policy_of(origin.model)):
            return half or network.to_half()
    except Exception as error:  # the network itself works
        log.warning("%s stays in 32-bit floats: %s", origin.model, error, exc_info=True)
    finally:
        system.trim_heap()  # the images, and what the other floats took
    return network


def _scores(network: Backend, pictures: Sequence[Image.Image]) -> list[float]:
    """The nsfw scores of pictures, each computed by itself, in as many threads as may call it."""
    with ThreadPoolExecutor(network.max_concurrency) as pool:
        return list(pool.map(lambda picture: next(nsfw_scores(network, [picture])), pictures))
