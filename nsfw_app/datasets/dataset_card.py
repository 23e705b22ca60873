"""The card of a training set: README.md with counts, agreement, versions, retention and limits.

It has neither names of reviewers nor names of files.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np

from nsfw_app import __version__
from nsfw_app.datasets.card_text import markdown_text, yaml_text
from nsfw_app.datasets.training_rows import Omission, TrainingRow, TrainingRows
from nsfw_app.datasets.training_set import LabelSource, Split
from nsfw_app.evidence.metrics import alpha_of_counts
from nsfw_app.records import Category, Label, Policy
from nsfw_app.rules.retention import Keep, Retention

CARD = "README.md"
SOURCES: Mapping[str, str] = {
    LabelSource.CORRECTION: "confirmed in Relabel against the model",
    LabelSource.DECISION: "settled decisions of reviewers",
}
FRONT = """---
pretty_name: {name}
task_categories:
  - image-classification
tags:
  - content-moderation
  - not-for-all-audiences
---
"""
USE = """## Intended use

To train and to measure models that sort images by safety for work, where people review what the
models decide. Fit to the train split, measure on the test split. The set is not for generating
images, and not for identifying people.

## Limits

- The images were uploaded by others. You need the right to keep and to use them. Images marked as
  showing a minor, and near duplicates of those, were left out, which does not show that no other
  image shows one.
- Corrections were chosen because a model was wrong about them, and only images with a preview are
  here. The set is not a random sample: rates measured on it are not those of all images. `weight`
  is how many images with a label each one represents, by the label that reviewers settled on and
  whether a model had another one at that time. `agreed` is false where it had another one.
- Labels follow the policy of one installation. Another one may draw the line elsewhere.
- An image is a preview: a JPEG of at most 1,600 pixels on its longer side, without metadata, not
  the original file.
- Near duplicates are found by perceptual hash: crops, mirrored copies and edits may be in both
  splits.
"""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a training set comes from: the policies in force by model, retention, and when."""

    policies: Mapping[str, Policy]
    retention: Retention
    created_at: str


def dataset_card(name: str, rows: TrainingRows, provenance: Provenance) -> str:
    """README.md of a training set.

    Args:
        name: Its title.
        rows: The images.
        provenance: Where they come from.
    """
    groups = Counter(row.group for row in rows.rows)
    lines = [
        FRONT.format(name=yaml_text(name)),
        f"# {markdown_text(name)}",
        "",
        f"{len(rows.rows):,} images labeled normal or nsfw, written by NSFW Review {__version__} "
        f"on {provenance.created_at}.",
        "",
        "## Content",
        "",
        "| split | label source | normal | nsfw |",
        "|---|---|---|---|",
        *_label_counts(rows),
        "",
        *_sources(rows.rows),
        f"- {len(groups):,} groups of near duplicates, none in both splits; the largest has "
        f"{max(groups.values()):,} images.",
        f"- Groups with both labels: {_mixed(rows.rows):,}.",
        f"- Without a perceptual hash, and so alone in their group: "
        f"{sum(row.image.perceptual_hash is None for row in rows.rows):,} images.",
        "",
        "| uploaded through | images |",
        "|---|---|",
        *_counted((row.image.source or "unknown",) for row in rows.rows),
        "",
        "## Left out",
        "",
        *_omitted(rows.omitted),
        "",
        "## Agreement between reviewers",
        "",
        *_agreement(rows.rows),
        "",
        "## Categories",
        "",
        *_categories(rows.rows),
        "",
        "## Models and policies",
        "",
        "| model, revision, backend | images |",
        "|---|---|",
        *_counted(
            (", ".join((each.model, each.revision, each.backend)),)
            for each in (row.image.identity for row in rows.rows)
        ),
        "",
        "| model | version of the policy at the latest decision | images |",
        "|---|---|---|",
        *_counted(
            (row.image.identity.model, str(row.image.policy_version or "unknown"))
            for row in rows.rows
        ),
        "",
        *(
            f"- In force for {markdown_text(model)} when this was written: version "
            f"{policy.version or 1}, threshold {policy.threshold}, review from "
            f"{policy.review_from} to {policy.review_to}."
            for model, policy in sorted(provenance.policies.items())
        ),
        "",
        "## Retention",
        "",
        _retention(provenance.retention),
        "",
        USE,
    ]
    return "\n".join(lines)


def _label_counts(rows: TrainingRows) -> Iterator[str]:
    for split in Split:
        found = Counter((row.label_source, row.label) for row in rows.of(split))
        for source in sorted({source for source, _ in found}):
            normal, nsfw = (found[source, label] for label in (Label.NORMAL, Label.NSFW))
            yield f"| {split} | {markdown_text(source)} | {normal:,} | {nsfw:,} |"


def _sources(rows: Iterable[TrainingRow]) -> Iterator[str]:
    for source in sorted({row.label_source for row in rows}):
        yield f"- {markdown_text(source)}: {SOURCES.get(source, 'imported under this name')}."


def _counted(values: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Rows of a table of values and how many images have each, the most first."""
    found = Counter(values)
    for value in sorted(found, key=lambda value: (-found[value], value)):
        cells = " | ".join(markdown_text(cell) for cell in value)
        yield f"| {cells} | {found[value]:,} |"


def _mixed(rows: Iterable[TrainingRow]) -> int:
    labels: dict[str, set[Label]] = {}
    for row in rows:
        labels.setdefault(row.group, set()).add(row.label)
    return sum(len(found) > 1 for found in labels.values())


def _omitted(omitted: Mapping[Omission, int]) -> list[str]:
    return [f"- {count:,} {reason}" for reason, count in omitted.items()] or ["- None."]


def _agreement(rows: Iterable[TrainingRow]) -> Iterator[str]:
    counts = np.array([astuple(row.image.votes) for row in rows], np.int64)
    shared = counts[counts.sum(axis=1) > 1]
    yield f"- Images that two or more reviewers decided on: {len(shared):,} of {len(counts):,}."
    if not len(shared):
        return
    unanimous = int(np.count_nonzero(shared.max(axis=1) == shared.sum(axis=1)))
    alpha = alpha_of_counts(shared, np.ones(len(shared), np.int64)).value
    yield f"- All of them gave the same label: {unanimous:,} ({unanimous / len(shared):.1%})."
    yield (
        "- Krippendorff's alpha: not defined, because all labels are the same."
        if alpha is None
        else f"- Krippendorff's alpha, for normal, nsfw and unsure: {alpha:.2f}."
    )


def _categories(rows: Sequence[TrainingRow]) -> Iterator[str]:
    asked = [row.categories for row in rows if row.categories is not None]
    yield f"- Images whose reviewers were asked for categories: {len(asked):,} of {len(rows):,}."
    counts = Counter(each for found in asked for each in found)
    for each in Category:
        if counts[each]:
            yield f"- {each}, named by more than half of them: {counts[each]:,}."


def _retention(retention: Retention) -> str:
    kept = {
        Keep.DISAGREEMENTS: "previews of disagreements, unsure decisions and images that wait",
        Keep.ALL: "previews of all images",
        Keep.NONE: "no previews",
    }[retention.keep]
    return (
        f"The installation keeps {kept}, each for at most {retention.days} days. This copy is not "
        "deleted with them: delete it when its purpose is done, or when an image in it must be."
    )
