"""Rows of a training set: labeled images, in groups of near duplicates, each in one split.

- A label that was confirmed in Relabel comes before a settled decision. An image has neither while
  a second opinion is requested.
- Restricted images are never among them, and neither are images that a chain of near duplicates
  connects with one.
- The same labels give the same rows. An image more changes few others: groups are in the order of
  a hash of their names, and the test split takes the first of them until it is full.
- Which labeled images are written depends on whether they agree with the model: previews of
  agreements may not be kept, and corrections may be the only labels. A row has the sampling weight
  of its stratum: its labeled images in the store, divided by those that are written.
- Strata are settled labels, by whether a model had another label when they were decided. They are
  what images were chosen by: a later threshold or model, or a correction, changes none.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from nsfw_app.datasets.near_restricted import near_restricted
from nsfw_app.datasets.training_set import LabelSource, Split
from nsfw_app.imaging.duplicate_groups import duplicate_groups
from nsfw_app.records import Category, Label
from nsfw_app.rules.decisions import categories_within
from nsfw_app.store import Store
from nsfw_app.store.image_labels import ImageLabels


class Labels(StrEnum):
    """Which labels a training set has."""

    CORRECTIONS = "corrections"
    ALL = "all"  # corrections, settled decisions, imported labels


class Omission(StrEnum):
    """Why an image with a label is not in a training set."""

    RESTRICTED = "restricted"
    NEAR_RESTRICTED = "near duplicates of restricted images"
    SET_ASIDE = "set aside in Relabel"
    DIFFERING = "with labels that differ"
    UNSETTLED = "without a settled label of normal or nsfw"
    NO_PREVIEW = "without a preview"
    UNSTORED = "not stored here when their labels were imported"


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """A labeled image of a training set.

    `image` is what the store has of it; `weight` is how many labeled images it represents;
    `agreed` is whether the label was the same as that of the model that reviewers decided about.
    """

    image: ImageLabels
    label: Label
    label_source: str
    group: str
    split: Split
    weight: float
    agreed: bool

    @property
    def sha256(self) -> str:
        """The hash of the image."""
        return self.image.image_sha256

    @property
    def file_name(self) -> str:
        """The path of its file, relative to its split."""
        return f"{self.label}/{self.sha256}.jpg"

    @property
    def categories(self) -> tuple[Category, ...] | None:
        """The settled categories that the label allows; None where no reviewer was asked."""
        return categories_within(self.label, self.image.categories)


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """The rows in order of hash, and how many images are left out, by reason."""

    rows: Sequence[TrainingRow]
    omitted: Mapping[Omission, int]

    def of(self, split: Split) -> list[TrainingRow]:
        """The rows of a split."""
        return [row for row in self.rows if row.split is split]


@dataclass(frozen=True, slots=True)
class _Labeled:
    image: ImageLabels
    label: Label
    source: str

    @property
    def stratum(self) -> tuple[Label, bool]:
        """The label that reviewers settled on, and whether it was against a model's."""
        return self.image.settled or self.label, self.image.against_model


def read_rows(
    store: Store,
    *,
    labels: Labels = Labels.CORRECTIONS,
    test_share: float = 0.2,
) -> TrainingRows:
    """The rows of a training set from the labels in a store.

    Args:
        store: Labels and previews; an image without a preview is left out.
        labels: Corrections only, or settled decisions as well.
        test_share: The share of images for the test split, in [0, 1].
    """
    omitted: Counter[Omission] = Counter()
    barred = near_restricted(store.labeled_images)
    restricted = store.labeled_images.restricted_labels()
    omitted[Omission.RESTRICTED] = restricted.corrected
    if labels is Labels.ALL:
        omitted[Omission.RESTRICTED] = restricted.settled
        omitted[Omission.UNSTORED] = len(store.label_imports.unstored())
    labeled = []
    strata: Counter[tuple[Label, bool]] = Counter()
    requested = store.second_opinions.unanswered()
    for image in store.labeled_images.all():
        found = _labeled(image, is_open=image.image_sha256 in requested)
        if isinstance(found, _Labeled):
            strata[found.stratum] += 1
        if labels is Labels.CORRECTIONS and image.correction is None and not image.set_aside:
            continue
        if isinstance(found, Omission):
            omitted[found] += 1
        elif not store.previews.has(image.image_sha256):
            omitted[Omission.NO_PREVIEW] += 1
        elif image.image_sha256 in barred:
            omitted[Omission.NEAR_RESTRICTED] += 1
        else:
            labeled.append(found)
    groups = duplicate_groups([each.image.perceptual_hash for each in labeled])
    members: dict[int, list[_Labeled]] = defaultdict(list)
    for each, group in zip(labeled, groups, strict=True):
        members[group].append(each)
    named = {group[0].image.image_sha256: group for group in members.values()}
    tested = _test_groups(named, test_share)
    written = Counter(each.stratum for group in named.values() for each in group)
    weights = {stratum: strata[stratum] / count for stratum, count in written.items()}
    rows = [
        TrainingRow(
            each.image,
            each.label,
            each.source,
            name,
            Split.TEST if name in tested else Split.TRAIN,
            weights[each.stratum],
            not each.image.against_model,
        )
        for name, group in named.items()
        for each in group
    ]
    return TrainingRows(
        sorted(rows, key=lambda row: row.sha256),
        {reason: omitted[reason] for reason in Omission if omitted[reason]},
    )


def _labeled(image: ImageLabels, *, is_open: bool) -> _Labeled | Omission:
    """The label of an image, or why it has none; `is_open` where a second opinion is requested."""
    if image.set_aside:
        return Omission.SET_ASIDE
    if is_open:
        return Omission.UNSETTLED
    if image.correction is not None:
        if image.corrections_differ:
            return Omission.DIFFERING
        return _Labeled(image, image.correction, LabelSource.CORRECTION)
    if image.settled_differ:
        return Omission.DIFFERING
    if image.settled is None:
        return Omission.UNSETTLED
    return _Labeled(image, image.settled, image.imported_from or LabelSource.DECISION)


def _test_groups(groups: Mapping[str, Sequence[_Labeled]], share: float) -> set[str]:
    """Names of the groups for the test split.

    Each stratum, of one label from one source, gets its share of images, as nearly as groups of
    its size allow. A group with several labels belongs to the stratum of most of its images.
    """
    strata: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, group in groups.items():
        counts = Counter((str(each.label), str(each.source)) for each in group)
        strata[min(counts, key=lambda key: (-counts[key], key))].append(name)
    return {name for names in strata.values() for name in _drawn(names, groups, share)}


def _drawn(
    names: Sequence[str], groups: Mapping[str, Sequence[_Labeled]], share: float
) -> Iterator[str]:
    left = share * sum(len(groups[name]) for name in names)
    for name in sorted(names, key=_order):
        size = len(groups[name])
        if abs(left - size) < abs(left):
            left -= size
            yield name


def _order(name: str) -> str:
    """A number that depends on nothing but the name, and not on its order."""
    return hashlib.sha256(f"split {name}".encode()).hexdigest()
