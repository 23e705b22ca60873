"""Writes a training set as a new directory, which appears complete or not at all."""

import os
from enum import StrEnum
from pathlib import Path

from nsfw_app import private_files
from nsfw_app.dataset_errors import TrainingSetError
from nsfw_app.datasets import label_files
from nsfw_app.datasets.dataset_card import CARD, Provenance, dataset_card
from nsfw_app.datasets.file_search import leads_to_directory
from nsfw_app.datasets.image_folder import write_image_folder
from nsfw_app.datasets.near_restricted import near_restricted
from nsfw_app.datasets.partial_output import partial_directory, publish, write_errors
from nsfw_app.datasets.training_rows import TrainingRows
from nsfw_app.datasets.training_set import Split
from nsfw_app.errors import NotFound
from nsfw_app.store import Store


class SetFormat(StrEnum):
    """Format of a training set."""

    IMAGE_FOLDER = "imagefolder"
    PARQUET = "parquet"
    CSV = "csv"
    LABEL_STUDIO = "label-studio"


def write_training_set(
    output: Path,
    rows: TrainingRows,
    store: Store,
    provenance: Provenance,
    *,
    set_format: SetFormat = SetFormat.IMAGE_FOLDER,
) -> None:
    """Write images, labels and card to a directory that only its owner can read.

    Args:
        output: The directory; it must not exist.
        rows: The images, from this store.
        store: The previews and restrictions.
        provenance: Where the images come from.
        set_format: The format.

    Raises:
        TrainingSetError: The directory exists or cannot be written, a split would be empty, or an
            image was restricted or lost its preview while the set was written.
        StorageError: The store cannot be read.
    """
    output = _checked(output)
    for split in Split:
        if not rows.of(split):
            raise TrainingSetError(
                f"The {split} split would be empty: {len(rows.rows)} labeled images in "
                f"{len({row.group for row in rows.rows})} groups of near duplicates are too few. "
                "Confirm labels in Relabel, or include settled decisions with --settled."
            )
    with (
        write_errors(output, TrainingSetError),
        partial_directory(output, mode=private_files.DIRECTORY_MODE) as partial,
    ):
        try:
            _write(partial, output.name, rows, store, provenance, set_format=set_format)
        except NotFound as error:
            raise TrainingSetError(
                f"{error} It was deleted while the training set was written. Run the command again."
            ) from error
        text = dataset_card(output.name, rows, provenance)
        (partial / CARD).write_text(text, encoding="utf-8")
        _check_restrictions(rows, store)
        publish(partial, output)


def _write(
    directory: Path,
    name: str,
    rows: TrainingRows,
    store: Store,
    provenance: Provenance,
    *,
    set_format: SetFormat,
) -> None:
    """Write images and labels.

    Raises:
        NotFound: The preview of an image was deleted.
        OSError: A file cannot be written.
    """
    match set_format:
        case SetFormat.IMAGE_FOLDER:
            write_image_folder(directory, rows, store.previews)
        case SetFormat.PARQUET:
            from nsfw_app.datasets.parquet_set import write_parquet  # with pyarrow

            write_parquet(directory, rows, store.previews)
        case SetFormat.CSV:
            label_files.write_csv(directory, rows, store.previews)
        case SetFormat.LABEL_STUDIO:
            label_files.write_tasks(
                directory, rows, store.previews, name=name, policies=provenance.policies
            )


def _checked(output: Path) -> Path:
    path = output.expanduser().absolute()
    if os.path.lexists(path):
        raise TrainingSetError(f"{output} exists already. Name a directory that does not exist.")
    if not leads_to_directory(path.parent):
        raise TrainingSetError(f"{output} cannot be written: {path.parent} is not a directory.")
    return path


def _check_restrictions(rows: TrainingRows, store: Store) -> None:
    """Nothing leaves that was marked while it was written, and no near duplicate of it."""
    barred = near_restricted(store.labeled_images)
    if any(row.sha256 in barred for row in rows.rows):
        raise TrainingSetError(
            "An image of the training set, or a near duplicate of one, was marked as showing a "
            "minor while it was written. Run the command again; nothing was written."
        )
