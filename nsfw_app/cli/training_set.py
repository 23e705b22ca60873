"""`training-set`: reviewers' labels with their images, as a training set."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from nsfw_app import settings
from nsfw_app.bootstrap import open_policies, open_store
from nsfw_app.cli.operator import operator
from nsfw_app.datasets.dataset_card import Provenance
from nsfw_app.datasets.training_rows import Labels, TrainingRows, read_rows
from nsfw_app.datasets.training_set import MIN_GROUPS, Split
from nsfw_app.datasets.training_set_export import SetFormat, write_training_set
from nsfw_app.records import Label
from nsfw_app.rules.retention import Retention
from nsfw_app.store.audit import AuditAction


def training_set(
    output: Annotated[Path, typer.Option(help="Directory to write; it must not exist.")],
    settled: Annotated[
        bool, typer.Option("--settled", help="Include settled decisions, not corrections only.")
    ] = False,
    test_share: Annotated[
        float, typer.Option(min=0.01, max=0.99, help="Share of images for the test split.")
    ] = 0.2,
    set_format: Annotated[
        SetFormat, typer.Option("--format", help="How images and labels are written.")
    ] = SetFormat.IMAGE_FOLDER,
) -> None:
    """Write the images that reviewers labeled, in a train and a test split.

    Near duplicates are in one split. Images marked as showing a minor are never written.
    """
    configured = settings.load()
    store = open_store(configured)
    labels = Labels.ALL if settled else Labels.CORRECTIONS
    rows = read_rows(store, labels=labels, test_share=test_share)
    for reason, count in rows.omitted.items():
        typer.echo(f"Left out: {count:,} {reason}.", err=True)
    policies = open_policies(configured, store)
    provenance = Provenance(
        {model: policies.of(model) for model in {row.image.identity.model for row in rows.rows}},
        Retention(configured.keep_images, configured.keep_days),
        datetime.now(UTC).date().isoformat(),
    )
    # Before the first image is written: an interrupted export is in the audit, too.
    store.audit.add(
        operator(),
        AuditAction.EXPORT,
        "training set",
        images=len(rows.rows),
        labels=labels,
        format=set_format,
    )
    write_training_set(output, rows, store, provenance, set_format=set_format)
    for split in Split:
        typer.echo(f"{split}: {_counts(rows, split)}")
    if short := _too_small(rows):
        typer.echo(short, err=True)
    typer.echo(f"Written: {output}", err=True)


def _counts(rows: TrainingRows, split: Split) -> str:
    found = Counter(row.label for row in rows.of(split))
    groups = len({row.group for row in rows.of(split)})
    return f"{found[Label.NORMAL]:,} normal, {found[Label.NSFW]:,} nsfw, {groups:,} groups"


def _too_small(rows: TrainingRows) -> str:
    """What is missing for `train`; empty where nothing is."""
    for split in Split:
        for label in (Label.NORMAL, Label.NSFW):
            groups = len({row.group for row in rows.of(split) if row.label is label})
            if groups < MIN_GROUPS[split]:
                return (
                    f"Too small for `nsfw-review train`: the {split} split has {groups} groups "
                    f"labeled {label}; at least {MIN_GROUPS[split]} are needed."
                )
    return ""
