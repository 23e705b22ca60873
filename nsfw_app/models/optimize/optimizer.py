"""Makes an optimized model of a model, and keeps it only when its scores are near enough.

Formats are tried from the fastest to the most exact. The first whose parity report passes and that
is faster than torch is kept; what was tried, and why it was not kept, is kept as well. Files and
report appear together, whole, in the data directory, or not at all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from nsfw_app import system
from nsfw_app.errors import ModelError, ModelUnsupported
from nsfw_app.models import builds, calibration_set
from nsfw_app.models.artifacts import MIN_SPEEDUP, ModelVersion, OptimizedModel, configuration_files
from nsfw_app.models.builds import Attempt
from nsfw_app.models.cards import display_name
from nsfw_app.models.checkpoints import load_errors
from nsfw_app.models.classifier import Backend, Pixels, nsfw_score
from nsfw_app.models.formats import Format, ladder
from nsfw_app.models.hub import find
from nsfw_app.models.optimize import downscaling
from nsfw_app.models.optimize.speed import Speed, compare_speed
from nsfw_app.models.parity import MAX_CHANGED, NEAR, ParityReport, compare
from nsfw_app.models.preprocessing import Preprocessing
from nsfw_app.models.selection import BackendConfig, compare_half, nsfw_scores, open_optimized_model
from nsfw_app.records import LabelRole, Policy

if TYPE_CHECKING:
    from nsfw_app.models.backends.pytorch import TransformersBackend

CALIBRATION = 128  # views or so; more do not change the ranges
CHECKED = 64  # views prepared in both ways, to see that the record is right
TOGETHER = 3  # images computed in one batch and one by one, to see that a batch changes nothing
SAME = 0.001  # of a probability
OVER_HALF = 1.05  # times torch's half precision that an optimized model must be as fast as


@dataclass(frozen=True, slots=True)
class OptimizationConfig:
    """What to make of which model.

    `format` is the one to make; None to try them all. `images` is a folder of the user's own
    images; None for the calibration set. `force` keeps the first that is made although its report
    failed; it is then used only when asked for by name.
    """

    model: str
    revision: str
    unsafe_labels: Sequence[str]
    format: Format | None = None
    images: Path | None = None
    force: bool = False


def optimize(
    wish: OptimizationConfig,
    backends: BackendConfig,
    *,
    threads: int,
    progress: Callable[[str], None],
) -> OptimizedModel | None:
    """Make, verify, measure and keep an optimized model.

    Args:
        wish: What to make.
        backends: Where to keep it, and the policies to judge the difference by.
        threads: CPU threads.
        progress: Gets a sentence about each step.

    Returns:
        What was kept; None where nothing that is faster passed.

    Raises:
        ModelError: The model cannot be loaded; or the format that was asked for by name cannot be
            made, or its scores differ too much.
        SettingsError: The folder holds no image.
    """
    from nsfw_app.models.backends.pytorch import TransformersBackend  # torch, only when needed

    with load_errors(wish.model):
        files = find(wish.model, revision=wish.revision)
        origin = ModelVersion.of_files(wish.model, files)
        progress(f"Loading {display_name(wish.model)}, revision {origin.revision}.")
        original = TransformersBackend(
            origin, files=files, unsafe_labels=wish.unsafe_labels, threads=threads
        )
    images = calibration_set.load_dir(wish.images) if wish.images else calibration_set.bundled()
    views = images if wish.images else calibration_set.bundled_views()
    progress(f"Computing the original's scores of {len(views)} views of {len(images)} images.")
    scores = list(nsfw_scores(original, views))
    maker = _Maker(
        original=original,
        directory=files.directory,
        views=views,
        images=len(images),
        scores=scores,
        preprocessing=_recorded(original, views, scores),
        policy=backends.policy_of(wish.model),
        artifacts_dir=backends.artifacts_dir,
        threads=threads,
        force=wish.force,
    )
    if wish.format is not None or wish.force:
        kind = wish.format or _ladder()[0]
        progress(f"Making {kind}.")
        made = maker.make(kind, needed_speedup=0.0)
        progress(f"{kind}: {_outcome(made, maker.policy)}")
        return made
    return _first_that_passes(maker, progress)


def measure_embedded(
    backends: BackendConfig, *, threads: int, progress: Callable[[str], None]
) -> None:
    """Compare the embedded model with itself in half precision again, and keep the result.

    Args:
        backends: Where to keep it, and the policies to judge the difference by.
        threads: CPU threads.
        progress: Gets a sentence about each step.
    """
    from nsfw_app.models.backends.open_nsfw import OpenNSFW

    if not system.cpu().multiplies_bf16:
        progress(
            "This CPU has no instructions for 16-bit floats: the embedded model stays as it is."
        )
        return
    network = OpenNSFW(threads=threads)
    progress("Comparing the embedded model with itself in half precision.")
    made = compare_half(network, network.to_half(), backends.artifacts_dir)
    progress(f"{made.format}: {_outcome(made, backends.policy_of(network.origin.model))}")


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes optimized models of one original.

    `views` are what both are compared over, of so many different `images`; `scores` are the
    original's of them. `preprocessing` is None where the original's image processor is needed.
    """

    original: "TransformersBackend"
    directory: Path
    views: Sequence[Image.Image]
    images: int
    scores: Sequence[float]
    preprocessing: Preprocessing | None
    policy: Policy
    artifacts_dir: Path
    threads: int
    force: bool

    def make(self, kind: Format, *, needed_speedup: float) -> OptimizedModel:
        """Make a format, and keep it if it passes.

        Args:
            kind: The format.
            needed_speedup: How many times as fast as the original it must be.

        Raises:
            ModelError: It was not kept; the message says why.
        """
        origin = self.original.origin
        with builds.new_build(builds.builds_dir(self.artifacts_dir, origin, kind)) as build:
            made = self._exported(kind, build)
            network = self._opened(made)
            if not _batches_change_nothing(network, self.views[:TOGETHER]):
                made = replace(made, one_by_one=True)
                network = self._opened(made)
            scores = zip(self.scores, nsfw_scores(network, self.views), strict=True)
            made = replace(made, scores=tuple(scores), images=self.images)
            self._check_parity(kind, made.report(self.policy))
            speed = compare_speed(self.original, network, self.views)
            _check_speed(speed, needed_speedup)
            made = replace(
                made,
                images_per_s=speed.images_per_s,
                original_images_per_s=speed.original_images_per_s,
                speedup=speed.speedup,
                downscale_rules=downscaling.calibrate(network, self._side, self.views),
            )
            builds.describe(build, made)
        return builds.latest(self.artifacts_dir, origin, kind) or made

    def half_speedup(self) -> tuple[Attempt, float] | None:
        """Torch's half precision measured again: as an attempt, and its speed-up if it passed."""
        if not system.cpu().multiplies_bf16:
            return None
        made = compare_half(self.original, self.original.to_half(), self.artifacts_dir)
        passed = made.is_faster and made.passes(self.policy)
        attempt = Attempt(made.format, passed, _outcome(made, self.policy))
        return attempt, made.speedup if passed else 0.0

    def _opened(self, made: OptimizedModel) -> Backend:
        return open_optimized_model(
            made, made.format, unsafe_labels=_unsafe(made), threads=self.threads
        )

    def _exported(self, kind: Format, build: Path) -> OptimizedModel:
        """The files of an optimized model, described as far as is known before it was compared."""
        from nsfw_app.models.optimize.export import Exporter

        step = max(1, len(self.views) // CALIBRATION)
        prepare = self.preprocessing.prepare if self.preprocessing else self.original.prepare
        exporter = Exporter(
            self.original.model,
            self.preprocessing,
            calibration=[prepare(view) for view in self.views[::step]],
            agreement=partial(_agreement, self.scores[::step], self.original.roles, self.policy),
            narrow=not system.cpu().multiplies_int8,
        )
        exporter.write(kind, build)
        if self.preprocessing is None:  # the image processor reads its configuration there
            for path in configuration_files(self.directory):
                (build / path.name).write_bytes(path.read_bytes())
        return OptimizedModel.from_directory(
            build, kind, self.original.origin, self.original.roles, self.preprocessing
        )

    def _check_parity(self, kind: Format, report: ParityReport) -> None:
        if not (report.passed or self.force):
            raise ModelUnsupported(
                f"Not kept: more than {MAX_CHANGED:.1%} of labels change. {report.summary()} "
                f"With --format {kind} --force it is kept, and used where NSFW_BACKEND={kind}."
            )

    @property
    def _side(self) -> int:
        """The side that images are shrunk to, in pixels."""
        if self.preprocessing is not None:
            return self.preprocessing.side
        return int(max(self.original.prepare(self.views[0]).shape[1:]))


def _ladder() -> tuple[Format, ...]:
    return ladder(multiplies_int8=system.cpu().multiplies_int8)


def _first_that_passes(maker: _Maker, progress: Callable[[str], None]) -> OptimizedModel | None:
    """Try the formats in order, and keep what was tried."""
    attempts: list[Attempt] = []

    def record(attempt: Attempt) -> None:
        attempts.append(attempt)
        progress(f"{attempt.format}: {attempt.outcome}")

    needed, kept = MIN_SPEEDUP, None
    if half := maker.half_speedup():
        record(half[0])
        needed = max(needed, round(OVER_HALF * half[1], 2))
    for kind in _ladder():
        progress(f"Making {kind}.")
        try:
            kept = maker.make(kind, needed_speedup=needed)
        except ModelError as error:
            record(Attempt(kind, kept=False, outcome=str(error)))
            continue
        record(Attempt(kind, kept=True, outcome=_outcome(kept, maker.policy)))
        break
    builds.write_attempts(maker.artifacts_dir, maker.original.origin, attempts)
    if kept is None:
        progress("No optimized model is faster and near enough to the original: torch computes it.")
    return kept


def _recorded(
    original: "TransformersBackend", views: Sequence[Image.Image], scores: Sequence[float]
) -> Preprocessing | None:
    """The original's preprocessing as a record, None where it cannot be recorded exactly.

    Args:
        original: The model with its image processor.
        views: Images to compare the scores of.
        scores: The original's nsfw scores of them.
    """
    step = max(1, len(views) // CHECKED)
    chosen = views[::step]
    try:
        preprocessing = Preprocessing.of(original.processor.config)
        for view in chosen:
            preprocessing.check(view, original.prepare(view))
    except ModelUnsupported:
        return None
    rows = (original.score(preprocessing.normalized(view)[None])[0] for view in chosen)
    roles = original.roles
    recorded = [nsfw_score(dict(zip(roles, row, strict=True)), roles) for row in rows]
    moved = np.abs(np.subtract(scores[::step], recorded))
    return preprocessing if moved.max() <= NEAR else None


def _agreement(
    scores: Sequence[float],
    roles: Mapping[str, LabelRole],
    policy: Policy,
    chosen: Sequence[int],
    rows: Pixels,
) -> float:
    """The share of labels that are the original's.

    Args:
        scores: The original's nsfw scores.
        roles: Of the labels.
        policy: What makes labels of scores.
        chosen: Which of the scores to compare.
        rows: Another model's probabilities of the same images, shape (n, labels).
    """
    unsafe = [role is LabelRole.UNSAFE for role in roles.values()]
    other = rows[:, unsafe].astype(np.float64).sum(axis=1).clip(0, 1)
    return 1 - compare([scores[i] for i in chosen], list(other), policy).changed_labels


def _batches_change_nothing(network: Backend, images: Sequence[Image.Image]) -> bool:
    """Whether images computed together get the scores that each gets by itself."""
    prepared = [network.prepare(image) for image in images]
    apart = np.concatenate([network.score(pixels[None]) for pixels in prepared])
    return bool(np.abs(network.score(np.stack(prepared)) - apart).max() <= SAME)


def _check_speed(speed: Speed, needed: float) -> None:
    if speed.speedup < needed:
        raise ModelUnsupported(
            f"Not kept: it is {speed.speedup:.2f} times as fast as torch in 32-bit floats "
            f"({speed.images_per_s:.1f} and {speed.original_images_per_s:.1f} images a second); "
            f"{needed:.2f} times are needed."
        )


def _outcome(made: OptimizedModel, policy: Policy) -> str:
    """What came of an artefact, its report and its speed."""
    otherwise = "used only when asked for by name" if made.format.has_files else "not used"
    if not made.passes(policy):
        use = f"Differs too much from the original; {otherwise}."
    elif not made.is_faster:
        use = f"Near enough to the original, but not faster; {otherwise}."
    else:
        use = "Kept."
    return (
        f"{use} {made.report(policy).summary()} It is {made.speedup:.2f} times as fast as the "
        f"original in 32-bit floats ({made.images_per_s:.1f} and {made.original_images_per_s:.1f} "
        "images a second)."
    )


def _unsafe(optimized_model: OptimizedModel) -> list[str]:
    """The labels that count as unsafe."""
    return [label for label, role in optimized_model.roles.items() if role is LabelRole.UNSAFE]
