"""Optimizer: finds the fastest format of a model whose scores match the original's.

Formats are tried from the fastest to the most exact. The first whose parity report passes and that
is faster than torch is kept. What was tried, and why it was not kept, is stored as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nsfw_app import system
from nsfw_app.errors import ModelError
from nsfw_app.models import build_files, calibration_set
from nsfw_app.models.artifacts import MIN_SPEEDUP, ModelVersion, OptimizedModel
from nsfw_app.models.build_files import Attempt
from nsfw_app.models.cards import display_name
from nsfw_app.models.checkpoints import load_errors
from nsfw_app.models.hub import find
from nsfw_app.models.optimize.builder import Builder, recorded_preprocessing
from nsfw_app.models.optimize.speed import Speed
from nsfw_app.models.optimized_formats import Format, ladder
from nsfw_app.models.selection import BackendConfig, compare_half, nsfw_scores
from nsfw_app.records import Policy

OVER_HALF = 1.05  # times torch's half precision that an optimized model must be as fast as


@dataclass(frozen=True, slots=True)
class OptimizationConfig:
    """The model to optimize, and how.

    - `format` is the only one to build; None to try all of them.
    - `images` is a directory of the user's own images; None for the calibration set.
    - `force` keeps the first format that is built although its parity report fails; it is then
      used only when NSFW_BACKEND names it.
    """

    model: str
    revision: str
    unsafe_labels: Sequence[str]
    format: Format | None = None
    images: Path | None = None
    force: bool = False


def optimize(
    config: OptimizationConfig,
    backends: BackendConfig,
    *,
    threads: int,
    progress: Callable[[str], None],
) -> OptimizedModel | None:
    """Build, verify, measure and keep an optimized model.

    Args:
        config: The model and how to optimize it.
        backends: The directory to keep it in, and the policy that parity is checked against.
        threads: CPU threads.
        progress: Called with a sentence about each step.

    Returns:
        The model that was kept; None where no faster one passed.

    Raises:
        ModelError: The model cannot be loaded; or the format requested by name cannot be built, or
            its scores differ too much.
        SettingsError: The directory holds no image.
        StorageError: The directory of optimized models cannot be written.
    """
    # Imports torch, so only where it is used.
    from nsfw_app.models.backends.pytorch import TransformersBackend

    with load_errors(config.model):
        files = find(config.model, revision=config.revision)
        origin = ModelVersion.of_files(config.model, files)
        progress(f"Loading {display_name(config.model)}, revision {origin.revision}.")
        original = TransformersBackend(
            origin, files=files, unsafe_labels=config.unsafe_labels, threads=threads
        )
    images = calibration_set.load_dir(config.images) if config.images else calibration_set.bundled()
    views = images if config.images else calibration_set.bundled_views()
    progress(f"Computing the original's scores of {len(views)} views of {len(images)} images.")
    scores = list(nsfw_scores(original, views))
    builder = Builder(
        original=original,
        directory=files.directory,
        views=views,
        images=len(images),
        scores=scores,
        preprocessing=recorded_preprocessing(original, views, scores),
        policy=backends.policy_of(origin.model),
        artifacts_dir=backends.artifacts_dir,
        threads=threads,
        force=config.force,
    )
    if config.format is not None or config.force:
        kind = config.format or _ladder()[0]
        progress(f"Building {kind}.")
        model = builder.build(kind, min_speedup=0.0)
        progress(f"{kind}: {_outcome(model, builder.policy)}")
        return model
    return _first_that_passes(builder, progress)


def measure_embedded(
    backends: BackendConfig, *, threads: int, progress: Callable[[str], None]
) -> None:
    """Compare the embedded model with itself in half precision again, and store the report.

    Args:
        backends: The directory to store it in, and the policy that parity is checked against.
        threads: CPU threads.
        progress: Called with a sentence about each step.

    Raises:
        StorageError: The report cannot be stored.
    """
    from nsfw_app.models.backends.open_nsfw import OpenNSFW

    if not system.cpu().multiplies_bf16:
        progress(
            "This CPU has no instructions for 16-bit floats: the embedded model stays as it is."
        )
        return
    original = OpenNSFW(threads=threads)
    progress("Comparing the embedded model with itself in half precision.")
    report = compare_half(original, original.to_half(), backends.artifacts_dir)
    progress(f"{report.format}: {_outcome(report, backends.policy_of(original.origin.model))}")


def _ladder() -> tuple[Format, ...]:
    return ladder(multiplies_int8=system.cpu().multiplies_int8)


def _first_that_passes(builder: Builder, progress: Callable[[str], None]) -> OptimizedModel | None:
    """Try the formats in order, and store the attempts."""
    attempts: list[Attempt] = []

    def record(attempt: Attempt) -> None:
        attempts.append(attempt)
        progress(f"{attempt.format}: {attempt.outcome}")

    min_speedup, kept = MIN_SPEEDUP, None
    if system.cpu().multiplies_bf16:
        original = builder.original
        half = compare_half(original, original.to_half(), builder.artifacts_dir)
        passed = half.is_faster and half.passes(builder.policy)
        record(Attempt(half.format, passed, _outcome(half, builder.policy)))
        if passed:
            min_speedup = max(min_speedup, round(OVER_HALF * half.speedup, 2))
    for kind in _ladder():
        progress(f"Building {kind}.")
        try:
            kept = builder.build(kind, min_speedup=min_speedup)
        except ModelError as error:
            record(Attempt(kind, kept=False, outcome=str(error)))
            continue
        record(Attempt(kind, kept=True, outcome=_outcome(kept, builder.policy)))
        break
    build_files.write_attempts(builder.artifacts_dir, builder.original.origin, attempts)
    if kept is None:
        progress("No optimized model both matches the original and is faster: torch computes it.")
    return kept


def _outcome(model: OptimizedModel, policy: Policy) -> str:
    """Whether an optimized model is used, its parity report and its speed."""
    otherwise = "used only when requested by name" if model.format.has_files else "not used"
    if not model.passes(policy):
        use = f"Differs too much from the original; {otherwise}."
    elif not model.is_faster:
        use = f"Matches the original, but is not fast enough; {otherwise}."
    else:
        use = "Kept."
    speed = Speed(model.speedup, model.images_per_s, model.original_images_per_s)
    return f"{use} {model.report(policy).summary()} It is {speed.summary()}."
