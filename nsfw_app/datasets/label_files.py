"""Writes a training set as one file of labels next to the images: a CSV table, or tasks.

    DIR/images/<sha256>.jpg
    DIR/labels.csv                         CSV; `evaluate` reads it
    DIR/tasks.json, DIR/labeling.xml       tasks and labeling configuration of Label Studio

- A task has the label of the training set as its annotation, and the model's as its prediction.
- Label Studio serves the images from the directory above, with local files enabled there.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nsfw_app.datasets.training_rows import TrainingRow, TrainingRows
from nsfw_app.records import Label, Policy
from nsfw_app.review.csv_lines import csv_line
from nsfw_app.store.previews import PreviewFiles

COLUMNS = (
    *("path", "label", "split", "sha256", "group", "label_source", "categories"),
    *("weight", "agreed"),
)
LOCAL_FILES = "/data/local-files/?d="
LABELING = """<View>
  <Image name="image" value="$image"/>
  <Choices name="label" toName="image" choice="single">
    <Choice value="normal"/>
    <Choice value="nsfw"/>
  </Choices>
</View>
"""


def write_csv(directory: Path, rows: TrainingRows, previews: PreviewFiles) -> None:
    """Write `labels.csv` with paths relative to it, and the images.

    Raises:
        NotFound: The preview of an image was deleted.
        OSError: A file cannot be written.
    """
    _write_images(directory, rows, previews)
    with (directory / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        file.write(csv_line(COLUMNS))
        for row in rows.rows:
            values = (row.label, row.split, row.sha256, row.group, row.label_source, row.categories)
            file.write(csv_line([_path(row), *values, row.weight, row.agreed]))


def write_tasks(
    directory: Path,
    rows: TrainingRows,
    previews: PreviewFiles,
    *,
    name: str,
    policies: Mapping[str, Policy],
) -> None:
    """Write the files of Label Studio, and the images.

    Args:
        directory: Where to.
        rows: The images.
        previews: Their files.
        name: What the directory is called where Label Studio serves it.
        policies: The policy of each model, by which its prediction is a label.

    Raises:
        NotFound: The preview of an image was deleted.
        OSError: A file cannot be written.
    """
    _write_images(directory, rows, previews)
    (directory / "labeling.xml").write_text(LABELING, encoding="utf-8")
    with (directory / "tasks.json").open("w", encoding="utf-8") as file:
        file.write("[\n")
        for number, row in enumerate(rows.rows):
            task = _task(row, name, policies[row.image.identity.model])
            file.write(("" if number == 0 else ",\n") + json.dumps(task))
        file.write("\n]\n")


def _write_images(directory: Path, rows: TrainingRows, previews: PreviewFiles) -> None:
    (directory / "images").mkdir()
    for row in rows.rows:
        (directory / _path(row)).write_bytes(previews.get(row.sha256))


def _path(row: TrainingRow) -> str:
    return f"images/{row.sha256}.jpg"


def _task(row: TrainingRow, name: str, policy: Policy) -> dict[str, Any]:
    image = row.image
    flagged = image.nsfw_score >= policy.threshold
    identity = image.identity
    return {
        "data": {
            "image": f"{LOCAL_FILES}{quote(name)}/{_path(row)}",
            "sha256": row.sha256,
            "split": row.split,
            "group": row.group,
            "label_source": row.label_source,
            "nsfw_score": image.nsfw_score,
            "categories": row.categories,
            "weight": row.weight,
            "agreed": row.agreed,
        },
        "annotations": [{"result": [_choice(row.label)]}],
        "predictions": [
            {
                "model_version": f"{identity.model} {identity.revision} {identity.backend}",
                "score": image.nsfw_score if flagged else 1 - image.nsfw_score,
                "result": [_choice(Label.NSFW if flagged else Label.NORMAL)],
            }
        ],
    }


def _choice(label: Label) -> dict[str, Any]:
    return {
        "from_name": "label",
        "to_name": "image",
        "type": "choices",
        "value": {"choices": [label]},
    }
