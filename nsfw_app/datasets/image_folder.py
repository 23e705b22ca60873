"""Writes the `imagefolder` layout of a training set, see `training_set`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nsfw_app.datasets.training_rows import TrainingRow, TrainingRows
from nsfw_app.datasets.training_set import METADATA, Split
from nsfw_app.store.previews import PreviewFiles


def write_image_folder(directory: Path, rows: TrainingRows, previews: PreviewFiles) -> None:
    """Write the images and the metadata of each split.

    Raises:
        NotFound: The preview of an image was deleted.
        OSError: A file cannot be written.
    """
    for split in Split:
        (directory / split).mkdir()
        with (directory / split / METADATA).open("w", encoding="utf-8") as file:
            for row in rows.of(split):
                path = directory / split / row.file_name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(previews.get(row.sha256))
                file.write(json.dumps(metadata(row)) + "\n")


def metadata(row: TrainingRow) -> Mapping[str, Any]:
    """The object of an image in `metadata.jsonl`.

    Its categories are JSON in a text: `load_dataset` refuses splits whose columns have other types,
    and in one split all of them may be null, or empty.
    """
    return {
        "file_name": row.file_name,
        "label": row.label,
        "sha256": row.sha256,
        "group": row.group,
        "label_source": row.label_source,
        "categories": json.dumps(row.categories),
        "weight": row.weight,
        "agreed": row.agreed,
    }
