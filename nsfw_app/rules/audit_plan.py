"""Audit rates: with which probability an image outside the review band is drawn, by its score."""

import contextlib
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from nsfw_app.errors import AuditPlanError


@dataclass(frozen=True, slots=True)
class AuditRange:
    """Scores from `lower` up to, but without, `upper`, and their rate; 1 belongs to the last range.

    Raises:
        AuditPlanError: Not 0 <= lower < upper <= 1, or the rate leaves [0, 1].
    """

    lower: float
    upper: float
    rate: float

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0 <= self.lower < self.upper <= 1:
            raise AuditPlanError(f"{self}: scores rise from 0 to 1.")
        if not 0 <= self.rate <= 1:
            raise AuditPlanError(f"{self}: a rate is between 0 and 1.")

    def __str__(self) -> str:
        """As in the setting: `0.05-0.2=0.1`."""
        return f"{self.lower:g}-{self.upper:g}={self.rate:g}"

    def __contains__(self, score: float) -> bool:
        """Whether a score is in the range."""
        return self.lower <= score < self.upper or score == self.upper == 1


@dataclass(frozen=True, slots=True)
class AuditPlan:
    """Rates by range of scores, and the rate of all other scores.

    Raises:
        AuditPlanError: Ranges overlap.
    """

    rate_elsewhere: float = 0.0
    ranges: tuple[AuditRange, ...] = ()

    def __post_init__(self) -> None:
        """Check that each score has one rate."""
        ordered = sorted(self.ranges, key=lambda part: part.lower)
        for before, after in itertools.pairwise(ordered):
            if after.lower < before.upper:
                raise AuditPlanError(f"{before} and {after} overlap.")

    def rate(self, score: float) -> float:
        """The probability with which an image of this score is drawn."""
        rates = (part.rate for part in self.ranges if score in part)
        return next(rates, self.rate_elsewhere)

    def __str__(self) -> str:
        """As in the setting."""
        return ",".join(map(str, self.ranges))


NO_AUDITS = AuditPlan()


def parse_ranges(text: str) -> tuple[AuditRange, ...]:
    """Ranges from text: `0-0.05=0.005,0.8-1=0.05`.

    Raises:
        AuditPlanError: The text is not of this form, or a number leaves its range.
    """
    return tuple(_parse_range(part.strip()) for part in text.split(",") if part.strip())


def _parse_range(text: str) -> AuditRange:
    scores, _, rate = text.partition("=")
    lower, _, upper = scores.partition("-")
    numbers: Sequence[float] = ()
    with contextlib.suppress(ValueError):
        numbers = [float(lower), float(upper), float(rate)]
    if not numbers or not all(map(math.isfinite, numbers)):
        raise AuditPlanError(f"{text!r} is not of the form lower-upper=rate, such as 0-0.05=0.01.")
    return AuditRange(*numbers)
