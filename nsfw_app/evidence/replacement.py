"""Whether a candidate model is shown to be better than the current one, on held-out images.

- The primary measure is the area under the ROC curve (AUROC): whether unsafe images score higher
  than safe ones. It depends on no threshold, and scores that only move toward the middle do not
  raise it. Log loss would reward those: a model that has learned nothing beats a confident one on
  labels that are noise.
- Images that the current model is wrong about are in a training set more often than they occur,
  and all of them have the label against it, also where labels are noise. So images have sampling
  weights, and with these, the errors at the policy's threshold must be shown to be fewer.
- What the candidate does to images that are right today is measured on those that the current
  model gets right. It must be non-inferior there: the share that it gets wrong must be shown to be
  at most `MARGIN`, for either label.
- Images whose label was against the model that was reviewed do not represent the others, also where
  the current model is another one and gets them right. So there must be enough agreements, images
  whose label was the same as that of the reviewed model, that the current model gets right, and the
  candidate must be non-inferior on these, too.
- The interval of the AUROC, of a bootstrap, is too narrow where few groups of near duplicates
  change. So McNemar's exact test must show, too, that more of them become right than wrong.

Source: Piaggio et al. (2012), for non-inferiority.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from nsfw_app.evidence.evaluation import Floats, Measured
from nsfw_app.evidence.label_flips import Bools, Groups, LabelFlips, NegativeFlips
from nsfw_app.evidence.paired_comparison import PRIMARY, Comparison, PairedMeasure, compare
from nsfw_app.records import Label

MARGIN = 0.05  # of negative flips, and by which a rate may be worse before the candidate is worse
# Groups of agreements of each label that the current model gets right. With fewer, even no negative
# flip at all would not show that they are below the margin: the upper end of Wilson's interval of
# 0 of 73 is 5 %.
MIN_RIGHT = 73
SIGNIFICANCE = 0.05  # of McNemar's test
CHANCE = 0.5  # the AUROC of scores that have nothing to do with the labels
CONDITIONS = (  # of "better"
    "The interval of the difference of AUROC lies above 0.",
    f"The new model ranks better than chance: its interval lies above {CHANCE:g}.",
    "More groups of near duplicates become right than wrong, with McNemar's exact p below "
    f"{SIGNIFICANCE:g}.",
    "The interval of the difference of accuracy lies above 0.",
    f"Of the groups of each label that the current model gets right, it gets at most {MARGIN:g} "
    "wrong, by the upper end of the interval.",
    f"So it does of those whose label agreed with the reviewed model: at least {MIN_RIGHT} groups "
    "of each label.",
)


class Outcome(StrEnum):
    """What a comparison shows about the candidate."""

    BETTER = "better"
    NOT_SHOWN = "not shown to be better"
    WORSE = "worse"


class Part(StrEnum):
    """Which images of the test split a comparison is of."""

    ALL = "all"
    CORRECTIONS = "corrections"


@dataclass(frozen=True, slots=True)
class Replacement:
    """The outcome, sentences that explain it, and the comparisons it is from.

    `negative_flips` are those of all test images, by label; `negative_flips_of_agreements` are
    those of images whose label agreed with the reviewed model.
    """

    outcome: Outcome
    reasons: tuple[str, ...]
    threshold: float
    parts: Mapping[Part, Comparison]
    negative_flips: Mapping[Label, NegativeFlips]
    negative_flips_of_agreements: Mapping[Label, NegativeFlips]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Images that neither model was fitted to, as arrays of shape (n,).

    - `groups` has the same number for near duplicates.
    - `corrections` is whether an image was chosen because a model was wrong about it.
    - `weights` are sampling weights: how many labeled images each represents.
    - `agreed` is whether the label was the same as that of the model that was reviewed. It is true,
      too, where that is not known and is `assumed`.
    """

    unsafe: Bools
    groups: Groups
    corrections: Bools
    weights: Floats
    agreed: Bools
    assumed: Bools


def compare_candidate(
    current: Floats, candidate: Floats, images: HeldOut, *, threshold: float
) -> Replacement:
    """Compare a candidate with the current model.

    Args:
        current: Shape (n,), nsfw scores of the current model.
        candidate: Shape (n,), those of the candidate.
        images: Labels, groups, weights, and which are corrections.
        threshold: Of the policy, for both models.
    """
    before, after = ((scores >= threshold) == images.unsafe for scores in (current, candidate))
    flips = LabelFlips(before, after, images.unsafe, images.agreed, images.groups, images.weights)
    chosen = {Part.ALL: np.ones(len(current), bool), Part.CORRECTIONS: images.corrections}
    parts = {
        part: compare(current[some], candidate[some], flips.of(some))
        for part, some in chosen.items()
        if some.any()
    }
    found, negative = parts[Part.ALL], flips.negative_flips()
    agreements = flips.of(images.agreed).negative_flips()
    obstacles = [
        *_primary_obstacles(found.measures[PRIMARY]),
        *_accuracy_obstacles(found),
        *_inferiority(negative, agreements),
    ]
    outcome = Outcome.NOT_SHOWN
    if not obstacles:
        outcome = Outcome.BETTER
    elif _is_worse(found.measures):
        outcome = Outcome.WORSE
    reasons = (
        _primary_sentence(found.measures[PRIMARY]),
        *(_flips_sentence(label, each) for label, each in agreements.items()),
        _weights_sentence(images.weights),
        *_assumptions(images.assumed),
        *obstacles,
    )
    return Replacement(outcome, reasons, threshold, parts, negative, agreements)


def _primary_obstacles(primary: PairedMeasure) -> Iterator[str]:
    difference, candidate = primary.difference, primary.candidate
    if difference.lower is None or candidate.lower is None:
        yield "The area under the ROC curve is not defined: both labels are needed."
    elif difference.lower <= 0:
        yield "The interval of the difference of AUROC does not lie above 0."
    elif candidate.lower <= CHANCE:
        yield f"The interval of the new model's AUROC does not lie above {CHANCE:g}: chance."


def _accuracy_obstacles(found: Comparison) -> Iterator[str]:
    """Why it is not shown that errors are fewer: in groups of the test split, and weighted."""
    gained, lost = found.only_candidate, found.only_current
    if gained <= lost or found.p_value >= SIGNIFICANCE:
        yield (
            f"{gained} groups become right and {lost} wrong, which is not shown to be more "
            f"(McNemar's exact p = {found.p_value:.3g})."
        )
    difference = found.measures["accuracy"].difference
    if difference.lower is None or difference.lower <= 0:
        yield (
            "The interval of the difference of weighted accuracy does not lie above 0: "
            f"{_interval(difference)}."
        )


def _inferiority(
    flips: Mapping[Label, NegativeFlips], agreements: Mapping[Label, NegativeFlips]
) -> Iterator[str]:
    """Why it is not shown that what is right today stays right."""
    if any(each.groups < MIN_RIGHT for each in agreements.values()):
        counts = " and ".join(f"{each.groups} {label}" for label, each in agreements.items())
        yield (
            f"The test split has {counts} groups of agreements that the current model gets right; "
            f"{MIN_RIGHT} of each are needed to show that the new one is not inferior where it is "
            "right. Add settled decisions that agree with the model to the training set."
        )
        return
    for label, each in agreements.items():
        if not _is_within_margin(each):
            noun = "agreements"
        elif not _is_within_margin(flips[label]):
            noun = "groups"
        else:
            continue
        yield (
            f"More than {MARGIN:g} of the {label} {noun} that are right now may become wrong, "
            "which is the margin of non-inferiority."
        )


def _is_within_margin(flips: NegativeFlips) -> bool:
    return flips.share.upper is not None and flips.share.upper <= MARGIN


def _is_worse(measures: Mapping[str, PairedMeasure]) -> bool:
    """Whether the primary measure, or where it shows nothing a rate, is shown to be worse."""
    primary = measures[PRIMARY].difference
    if primary.lower is None or primary.upper is None or primary.lower > 0:
        return False
    recall = measures["recall"].difference.upper
    false_positives = measures["false_positive_rate"].difference.lower
    return (
        primary.upper < 0
        or (recall is not None and recall < -MARGIN)
        or (false_positives is not None and false_positives > MARGIN)
    )


def _primary_sentence(primary: PairedMeasure) -> str:
    return (
        f"AUROC is {_value(primary.candidate)} in place of {_value(primary.current)}: a difference "
        f"of {_value(primary.difference)} ({_interval(primary.difference)})."
    )


def _flips_sentence(label: Label, flips: NegativeFlips) -> str:
    return (
        f"Of {flips.groups:,} {label} groups of agreements that the current model gets right, the "
        f"new one gets {flips.flipped:,} wrong: a share of {_value(flips.share)} "
        f"({_interval(flips.share)})."
    )


def _weights_sentence(weights: Floats) -> str:
    lowest, highest = weights.min(), weights.max()
    if lowest == highest:
        return "Each test image counts once."
    return f"A test image represents {lowest:.1f} to {highest:.1f} labeled images."


def _assumptions(assumed: Bools) -> Iterator[str]:
    if assumed.any():
        yield (
            f"Of {assumed.sum():,} test images the training set does not say whether the label "
            "agreed with the model that was reviewed. They count as agreements: that what the "
            "current model gets right represents what it gets right elsewhere is assumed."
        )


def _value(measure: Measured) -> str:
    return "not defined" if measure.value is None else f"{measure.value:.3f}"


def _interval(measure: Measured) -> str:
    if measure.lower is None or measure.upper is None:
        return "not defined"
    return f"{measure.lower:.3f} to {measure.upper:.3f}"
