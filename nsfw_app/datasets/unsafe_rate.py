"""The estimated share of unsafe images among those that a filter keeps, and what it is from.

- Images that were drawn at random from this scan come first: they are among the kept ones. Each
  counts with the number of its rows over its draw probability.
- Else it is estimated from images that arrived at this installation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from nsfw_app.datasets.filtering import Criteria, FilterCounts
from nsfw_app.evidence.kept_rate import KeptRate, kept_rate
from nsfw_app.evidence.population import CODES, Population
from nsfw_app.evidence.sample import Sample
from nsfw_app.records import Label
from nsfw_app.store.scan_draws import ScanDraw


class RateSource(StrEnum):
    """Which images were reviewed."""

    SCAN = "scan"  # drawn from the scan
    ARRIVALS = "arrivals"  # drawn as they arrived


@dataclass(frozen=True, slots=True)
class UnsafeRate:
    """The estimate, which takes images without a label for as unsafe as the others.

    Attributes:
        rate: The estimate.
        source: Of its reviews.
        undecided: How many kept images were drawn and have no decision; of arrivals, those about
            which reviewers are unsure are among them.
        unsure: How many more have no label because reviewers are unsure; None of arrivals.
        upper_with_unsure: Upper end of the interval if these are unsafe; None without any.
    """

    rate: KeptRate
    source: RateSource
    undecided: int
    unsure: int | None = None
    upper_with_unsure: float | None = None


def unsafe_rate(
    criteria: Criteria, counts: FilterCounts, draws: Sequence[ScanDraw], arrived: Population
) -> UnsafeRate | None:
    """Estimate it; None where no review says anything.

    Args:
        criteria: By which images were kept; they name the draws.
        counts: What became of the images.
        draws: From the scan.
        arrived: The images that its model judged.
    """
    kept = {sha256: 1 if criteria.is_unique else n for sha256, n in counts.drawn.items() if n > 0}
    drawn = [draw for draw in draws if draw.image_sha256 in kept]
    rate = kept_rate(
        drawn_sample(drawn, kept),
        counts.estimated_scores,
        provisional=np.array([draw.provisional for draw in drawn], bool),
    )
    if rate is not None:
        unsure = sum(draw.unsure for draw in drawn)
        undecided = sum(draw.label is None for draw in drawn) - unsure
        upper = _upper_with_unsure(drawn, kept, counts, rate) if unsure else None
        return UnsafeRate(rate, RateSource.SCAN, undecided, unsure, upper)
    rate = kept_rate(arrived.estimated, counts.estimated_scores, provisional=arrived.is_provisional)
    if rate is None:
        return None
    return UnsafeRate(rate, RateSource.ARRIVALS, arrived.estimated.open_draws)


def _upper_with_unsure(
    drawn: Sequence[ScanDraw], rows: Mapping[str, int], counts: FilterCounts, rate: KeptRate
) -> float:
    """The upper end of the interval if all images are unsafe that reviewers are unsure about."""
    labeled = [replace(draw, label=Label.NSFW) if draw.unsure else draw for draw in drawn]
    found = kept_rate(drawn_sample(labeled, rows), counts.estimated_scores)
    return rate.rate.upper if found is None else max(found.rate.upper, rate.rate.upper)


def drawn_sample(draws: Sequence[ScanDraw], rows: Mapping[str, int]) -> Sample:
    """The sample of images that were drawn.

    Args:
        draws: The images.
        rows: How many rows each has among the kept ones, by hash; one at least.
    """
    return Sample(
        np.array([draw.nsfw_score for draw in draws]),
        np.array([draw.probability / rows[draw.image_sha256] for draw in draws]),
        np.array([CODES[draw.label] for draw in draws], np.int8),
        np.array([draw.label is None for draw in draws], bool),
    )
