"""`training-set`: reviewers' labels with their images, as a training set."""

import sys
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from nsfw_app import settings
from nsfw_app.bootstrap import open_policies, open_store
from nsfw_app.cli.operator import operator
from nsfw_app.cli.output_file import check_local
from nsfw_app.dataset_errors import PushError
from nsfw_app.datasets.dataset_card import Provenance
from nsfw_app.datasets.dataset_repository import DatasetRepository, open_repository
from nsfw_app.datasets.training_rows import Labels, TrainingRows, read_rows
from nsfw_app.datasets.training_set import MIN_GROUPS, Split
from nsfw_app.datasets.training_set_export import SetFormat, write_training_set
from nsfw_app.records import Label
from nsfw_app.rules.retention import Retention
from nsfw_app.store.audit import AuditAction

EXTREME_WEIGHT = 10  # times the median


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
    push: Annotated[
        str | None,
        typer.Option(
            metavar="ORG/NAME",
            help="Upload the set to this private dataset repository of the Hugging Face Hub.",
        ),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Allow --push to a repository that is public.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Upload without asking.")] = False,
) -> None:
    """Write the images that reviewers labeled, in a train and a test split.

    Near duplicates are in one split. Images marked as showing a minor are never written. With
    --push, the set is then uploaded to a private dataset repository.
    """
    check_local(output)
    if (public or yes) and push is None:
        raise typer.BadParameter("--public and --yes are for --push.")
    # Before the first image is written, which can take long.
    repository = _repository(push, yes=yes) if push is not None else None
    configured = settings.load()
    store = open_store(configured)
    labels = Labels.ALL if settled else Labels.CORRECTIONS
    policies = open_policies(configured, store)
    read = partial(
        read_rows,
        store,
        labels=labels,
        test_share=test_share,
    )
    rows = read()
    for reason, count in rows.omitted.items():
        typer.echo(f"Left out: {count:,} {reason}.", err=True)
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
    if extreme := _extreme_weights(rows):
        typer.echo(extreme, err=True)
    typer.echo(f"Written: {output}", err=True)
    if repository is None:
        return
    counts = {str(split): len(rows.of(split)) for split in Split}
    try:
        if not yes:
            _ask(len(rows.rows), repository)
        directory = output.expanduser()
        latest = repository.prepare(directory, public=public)
        _check_again(rows, read())
        record = partial(
            store.audit.add, operator(), AuditAction.EXPORT, "training set", to=repository.url
        )
        # Before the first image leaves: an interrupted upload is in the audit, too.
        record(upload="started", public=public, images=len(rows.rows), **counts)
        message = ", ".join(f"{count:,} {split}" for split, count in counts.items())
        commit = repository.upload(
            directory, parent=latest, message=f"Training set: {message} images"
        )
        record(upload="finished", commit=commit)
    except PushError as error:
        raise type(error)(f"{error} The training set is kept in {output}.") from error
    typer.echo(repository.url)


def _repository(name: str, *, yes: bool) -> DatasetRepository:
    if not yes and not (sys.stdin and sys.stdin.isatty()):
        raise PushError(
            "An upload needs an answer on a terminal, and there is none. Say --yes to upload "
            "without asking. Nothing was written."
        )
    return open_repository(name)


def _ask(count: int, repository: DatasetRepository) -> None:
    question = f"{count:,} images leave this machine for {repository.url}. Upload?"
    if not typer.confirm(question, err=True):
        raise PushError("Nothing was uploaded: the answer was no.")


def _check_again(rows: TrainingRows, current: TrainingRows) -> None:
    """Nothing leaves that has changed while the set was written or the answer was awaited."""
    exportable = {(row.sha256, row.label) for row in current.rows}
    if gone := sum((row.sha256, row.label) not in exportable for row in rows.rows):
        raise PushError(
            f"{gone:,} of its images may not be exported any more: an image was marked as showing "
            "a minor, a label was changed or removed, or a preview was removed. Nothing was "
            "uploaded. Delete the set and run the command again."
        )


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


def _extreme_weights(rows: TrainingRows) -> str:
    """How much of the set a few images are; empty where no weight is far above the median."""
    weights = [row.weight for row in rows.rows]
    limit = EXTREME_WEIGHT * median(weights)
    above = [each for each in weights if each > limit]
    if not above:
        return ""
    return (
        f"Sampling weights are uneven: {len(above):,} of {len(weights):,} images have more than "
        f"{EXTREME_WEIGHT} times the median weight, up to {max(above):,.2f}, and "
        f"{sum(above) / sum(weights):.1%} of the total. Training and measures depend mostly on "
        "these few. Keep previews of agreements with NSFW_KEEP_IMAGES=all."
    )
