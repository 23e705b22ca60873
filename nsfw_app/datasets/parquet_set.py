"""Writes a training set as Parquet files with the images in them.

    DIR/data/train-00000-of-00002.parquet
    DIR/data/test-00000-of-00001.parquet

The column `image` is a struct of `bytes` and `path`, which Hugging Face datasets decodes.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from nsfw_app.datasets.image_folder import metadata
from nsfw_app.datasets.training_rows import TrainingRow, TrainingRows
from nsfw_app.datasets.training_set import Split
from nsfw_app.store.previews import PreviewFiles

FILE_ROWS = 1_000  # about 300 MB of previews
GROUP_ROWS = 100  # of a row group, which is in memory as a whole
TEXTS = ("label", "sha256", "group", "label_source")
TEXT = {"dtype": "string", "_type": "Value"}
FEATURES = (
    {"image": {"_type": "Image"}}
    | dict.fromkeys(TEXTS, TEXT)
    | {"categories": {"feature": TEXT, "_type": "List"}}
    | {"weight": {"dtype": "float64", "_type": "Value"}}
    | {"agreed": {"dtype": "bool", "_type": "Value"}}
)
SCHEMA = pa.schema(
    [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        *((name, pa.string()) for name in TEXTS),
        ("categories", pa.list_(pa.string())),
        ("weight", pa.float64()),
        ("agreed", pa.bool_()),
    ],
    metadata={"huggingface": json.dumps({"info": {"features": FEATURES}})},
)


def write_parquet(directory: Path, rows: TrainingRows, previews: PreviewFiles) -> None:
    """Write the files of each split.

    Raises:
        NotFound: The preview of an image was deleted.
        OSError: A file cannot be written.
    """
    (directory / "data").mkdir()
    for split in Split:
        found = rows.of(split)
        files = [found[start : start + FILE_ROWS] for start in range(0, len(found), FILE_ROWS)]
        for number, part in enumerate(files):
            name = f"{split}-{number:05d}-of-{len(files):05d}.parquet"
            _write_file(directory / "data" / name, part, previews)


def _write_file(path: Path, rows: Sequence[TrainingRow], previews: PreviewFiles) -> None:
    # The images are compressed already.
    with pq.ParquetWriter(path, SCHEMA, compression="none") as writer:
        for start in range(0, len(rows), GROUP_ROWS):
            table = [
                {"image": {"bytes": previews.get(row.sha256), "path": f"{row.sha256}.jpg"}}
                | {name: str(metadata(row)[name]) for name in TEXTS}
                | {"categories": row.categories, "weight": row.weight, "agreed": row.agreed}
                for row in rows[start : start + GROUP_ROWS]
            ]
            writer.write_table(pa.Table.from_pylist(table, schema=SCHEMA))
