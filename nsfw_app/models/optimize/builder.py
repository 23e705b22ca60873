"""Builder of optimized models: exports one format, compares it with the original, and keeps it.

`onnx_export` writes the files; `quantization` makes the int8 formats.

A build that differs too much or is not fast enough is deleted. Files and report appear together and
complete in the directory of optimized models, or not at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from nsfw_app import system
from nsfw_app.errors import ModelUnsupported
from nsfw_app.models import build_files
from nsfw_app.models.artifacts import OptimizedModel, configuration_files
from nsfw_app.models.classifier import Backend, Pixels, nsfw_score
from nsfw_app.models.optimize import downscale_calibration
from nsfw_app.models.optimize.speed import Speed, compare_speed
from nsfw_app.models.optimized_formats import Format
from nsfw_app.models.parity import MAX_CHANGED, NEAR, ParityReport, compare
from nsfw_app.models.preprocessing import Preprocessing
from nsfw_app.models.selection import nsfw_scores, open_optimized_model
from nsfw_app.records import LabelRole, Policy

if TYPE_CHECKING:
    from nsfw_app.models.backends.pytorch import TransformersBackend

CALIBRATION_VIEWS = 128  # about; more do not change the value ranges
CHECKED_VIEWS = 64  # prepared in both ways, to check the recorded preprocessing
BATCHED_VIEWS = 3  # computed in one batch and alone, to check that a batch changes nothing
SAME = 0.001  # of a probability


@dataclass(frozen=True, slots=True)
class Builder:
    """Builds optimized models of one original.

    - `directory` holds the original's files.
    - `views`: variants of the calibration images, or these as they are, used to compare scores.
    - `images`: number of source images.
    - `scores`: the original's scores of the views.
    - `preprocessing` is None where the original's image processor is needed.
    - `force` keeps a model although its parity report fails.
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

    def build(self, kind: Format, *, min_speedup: float) -> OptimizedModel:
        """Build a format, and keep it if it passes.

        Args:
            kind: The format.
            min_speedup: How many times as fast as the original it must be.

        Raises:
            ModelError: It was not kept; the message says why.
            StorageError: The directory of optimized models cannot be written.
        """
        origin = self.original.origin
        with build_files.new_build(
            build_files.builds_dir(self.artifacts_dir, origin, kind)
        ) as directory:
            model = self._export(kind, directory)
            backend = self._open(model)
            if not _batches_change_nothing(backend, self.views[:BATCHED_VIEWS]):
                model = replace(model, one_by_one=True)
                backend = self._open(model)
            scores = zip(self.scores, nsfw_scores(backend, self.views), strict=True)
            model = replace(model, scores=tuple(scores), images=self.images)
            self._check_parity(kind, model.report(self.policy))
            speed = compare_speed(self.original, backend, self.views)
            _check_speed(speed, min_speedup)
            model = replace(
                model,
                images_per_s=speed.images_per_s,
                original_images_per_s=speed.original_images_per_s,
                speedup=speed.speedup,
                downscale_rules=downscale_calibration.calibrate(backend, self._side, self.views),
            )
            build_files.write(directory, model)
        return build_files.latest(self.artifacts_dir, origin, kind) or model

    def _open(self, model: OptimizedModel) -> Backend:
        unsafe = [label for label, role in model.roles.items() if role is LabelRole.UNSAFE]
        return open_optimized_model(model, model.format, unsafe_labels=unsafe, threads=self.threads)

    def _export(self, kind: Format, directory: Path) -> OptimizedModel:
        """Write the files of a format, with the description that is known before comparing."""
        from nsfw_app.models.optimize.onnx_export import Exporter

        step = max(1, len(self.views) // CALIBRATION_VIEWS)
        prepare = self.preprocessing.prepare if self.preprocessing else self.original.prepare
        exporter = Exporter(
            self.original.model,
            self.preprocessing,
            calibration=[prepare(view) for view in self.views[::step]],
            agreement=partial(_agreement, self.scores[::step], self.original.roles, self.policy),
            reduce_range=not system.cpu().multiplies_int8,
        )
        exporter.write(kind, directory)
        if self.preprocessing is None:  # the image processor reads its configuration there
            for path in configuration_files(self.directory):
                (directory / path.name).write_bytes(path.read_bytes())
        return OptimizedModel.from_directory(
            directory, kind, self.original.origin, self.original.roles, self.preprocessing
        )

    def _check_parity(self, kind: Format, report: ParityReport) -> None:
        if not (report.passed or self.force):
            raise ModelUnsupported(
                f"Not kept: {report.changed_count} labels change, and at most "
                f"{report.max_changed_count} may ({MAX_CHANGED:.1%} of {report.views} views). "
                f"{report.summary()} With --format {kind} --force it is kept, and used where "
                f"NSFW_BACKEND={kind}."
            )

    @property
    def _side(self) -> int:
        """The side that images are resized to, in pixels."""
        if self.preprocessing is not None:
            return self.preprocessing.side
        return int(max(self.original.prepare(self.views[0]).shape[1:]))


def recorded_preprocessing(
    original: "TransformersBackend", views: Sequence[Image.Image], scores: Sequence[float]
) -> Preprocessing | None:
    """The original's preprocessing as a record; None where it cannot be recorded exactly.

    Args:
        original: The model with its image processor.
        views: Images to compare scores on.
        scores: The original's nsfw scores of them.
    """
    step = max(1, len(views) // CHECKED_VIEWS)
    checked = views[::step]
    try:
        preprocessing = Preprocessing.of(original.processor.config)
        for view in checked:
            preprocessing.check(view, original.prepare(view))
    except ModelUnsupported:
        return None
    rows = (original.score(preprocessing.normalized(view)[None])[0] for view in checked)
    roles = original.roles
    recorded = [nsfw_score(dict(zip(roles, row, strict=True)), roles) for row in rows]
    moved = np.abs(np.subtract(scores[::step], recorded))
    return preprocessing if moved.max() <= NEAR else None


def _agreement(
    scores: Sequence[float],
    roles: Mapping[str, LabelRole],
    policy: Policy,
    indices: Sequence[int],
    rows: Pixels,
) -> float:
    """The share of labels that equal the original's.

    Args:
        scores: The original's nsfw scores.
        roles: Role of each label.
        policy: Computes labels from scores.
        indices: Which of the scores to compare.
        rows: The quantized model's probabilities of the same images, shape (n, labels).
    """
    unsafe = [role is LabelRole.UNSAFE for role in roles.values()]
    quantized = rows[:, unsafe].astype(np.float64).sum(axis=1).clip(0, 1)
    return 1 - compare([scores[i] for i in indices], list(quantized), policy).changed_labels


def _batches_change_nothing(backend: Backend, images: Sequence[Image.Image]) -> bool:
    """Whether images computed in one batch get the scores that each gets alone."""
    prepared = [backend.prepare(image) for image in images]
    alone = np.concatenate([backend.score(pixels[None]) for pixels in prepared])
    return bool(np.abs(backend.score(np.stack(prepared)) - alone).max() <= SAME)


def _check_speed(speed: Speed, min_speedup: float) -> None:
    if speed.speedup < min_speedup:
        raise ModelUnsupported(
            f"Not kept: it is {speed.summary()}; {min_speedup:.2f} times are needed."
        )
