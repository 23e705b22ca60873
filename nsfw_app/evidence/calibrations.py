"""Calibrations in force: fitted on demand, kept in versions, applied to exported scores.

- The latest version of the same weights is in force, for the backends it was fitted to.
- Verdicts are computed from the scores and never use it.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

import numpy as np

from nsfw_app.decision import Decision
from nsfw_app.errors import CalibrationError
from nsfw_app.evidence.curve import Curve, Method
from nsfw_app.evidence.sample import SAFE, UNSAFE, Sample
from nsfw_app.records import ModelIdentity
from nsfw_app.store.calibrations import Calibrations, StoredCalibration

Key = tuple[str, str, str]  # model, revision, backend


class CalibrationBook:
    """The calibration in force for each model.

    Args:
        calibrations: The stored versions.
        sample_of: The sample of all images that a model judged.
        backends_of: The backends whose predictions count as those of a model.
    """

    def __init__(
        self,
        calibrations: Calibrations,
        *,
        sample_of: Callable[[ModelIdentity], Sample],
        backends_of: Callable[[ModelIdentity], Iterable[str]],
    ) -> None:
        self._calibrations = calibrations
        self._sample_of = sample_of
        self._backends_of = backends_of

    def of(self, identity: ModelIdentity) -> StoredCalibration | None:
        """The calibration in force for a model, or None."""
        weights = identity.model, identity.revision, identity.weights_sha256
        return next(
            (
                each
                for each in self._calibrations.all()
                if (each.model, each.revision, each.weights_sha256) == weights
                and identity.backend in each.backends
            ),
            None,
        )

    def versions(self) -> list[StoredCalibration]:
        """Every version of every model, the latest first."""
        return self._calibrations.all()

    def refit(self, identity: ModelIdentity, *, author: str) -> StoredCalibration:
        """Fit a calibration to all sampled reviews of a model, and put it in force.

        Raises:
            CalibrationError: There are too few reviews.
        """
        from nsfw_app.evidence.calibration import MIN_LABELS, fit_calibration  # slow to import

        sample = self._sample_of(identity)
        fitted = fit_calibration(sample)
        if fitted is None:
            unsafe, safe = (int(np.sum(sample.labels == label)) for label in (UNSAFE, SAFE))
            raise CalibrationError(
                f"A calibration needs at least {MIN_LABELS} sampled reviews of each label; there "
                f"are {unsafe} nsfw and {safe} normal ones."
            )
        return self._calibrations.add(
            identity,
            backends=self._backends_of(identity),
            method=fitted.method,
            curve=curve_json(fitted.curve),
            reviews=fitted.reviews,
            author=author,
        )

    def probability(self) -> Callable[[Decision], float | None]:
        """A function from a row of the log to its calibrated probability; None without one.

        It uses the calibrations that are in force now, so that an export is of one version.
        """
        curves: dict[Key, Curve] = {}
        for each in self._calibrations.all():
            for backend in each.backends:
                curves.setdefault((each.model, each.revision, backend), parse_curve(each.curve))

        def probability(decision: Decision) -> float | None:
            curve = curves.get((decision.model, decision.revision, decision.backend))
            return None if curve is None else float(curve(np.array([decision.nsfw_score]))[0])

        return probability


def curve_json(curve: Curve) -> dict[str, Any]:
    """A curve as JSON."""
    return asdict(curve)


def parse_curve(stored: dict[str, Any]) -> Curve:
    """A curve from its JSON."""
    parts = ("coefficients", "scores", "probabilities")
    return Curve(Method(stored["method"]), *(tuple(stored[part]) for part in parts))


def calibration_json(calibration: StoredCalibration | None) -> dict[str, Any] | None:
    """A stored calibration as JSON, without its curve."""
    if calibration is None:
        return None
    found = asdict(calibration)
    del found["curve"]
    return found
