"""Files of events in Apache Parquet: one row for each saved state of a row of the database.

- `row` has all columns as JSON, from which the database is restored. The other columns repeat those
  that people filter and train by.
- The schema has the metadata by which `datasets` knows that `preview` is an image.
- Metadata marks a file after which more of the same changes follow: rows up to it need not fit
  together, so that nothing is restored up to it.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain as join
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nsfw_app.dataset_errors import HubDataError
from nsfw_app.hub_sync.layout import LAYOUT
from nsfw_app.store.hub_changes import Change
from nsfw_app.store.hub_restore import PLACEHOLDER

# What a row of each table is called in the files; a decision without a label is an undo.
KINDS: Mapping[str, str] = MappingProxyType(
    {
        "images": "image",
        "predictions": "prediction",
        "detail_predictions": "detail_prediction",
        "uploads": "upload",
        "policies": "policy",
        "decisions": "decision",
        "queue": "queue_entry",
        "queue_skips": "skip",
        "escalations": "escalation",
        "training_labels": "training_label",
        "audit": "audit",
        "arrivals": "arrival",
        "calibrations": "calibration",
        "unstored_labels": "imported_label",
        "viewing_defaults": "viewing_defaults",
        "not_reviewing": "not_reviewing",
        "restricted_images": "restriction",
        "submissions": "submission",
        "users": "user",
    }
)
UNDO = "undo"
TABLES = {kind: table for table, kind in KINDS.items()} | {UNDO: "decisions"}
# The columns of the files that have another name in some tables, by the first that a row has.
NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "at": (
            "decided_at",
            "uploaded_at",
            "predicted_at",
            "first_seen_at",
            "settled_at",
            "entered_at",
            "arrived_at",
            "created_at",
            "fitted_at",
            "recorded_at",
            "submitted_at",
            "skipped_at",
            "escalated_at",
            "set_at",
            "since",
            "lifted_at",
            "at",
        ),
        "actor": ("reviewer", "decided_by", "author", "owner", "actor"),
        "image_sha256": ("image_sha256", "sha256"),
        "label": ("label", "settled_label"),
        "note": ("note", "reason", "action"),
    }
)
STRING, REAL = pa.string(), pa.float64()
COLUMNS: Mapping[str, pa.DataType] = MappingProxyType(
    {
        "kind": STRING,
        "key": STRING,
        "batch": pa.int64(),
        "deleted": pa.bool_(),
        "at": STRING,
        "actor": STRING,
        "image_sha256": STRING,
        "name": STRING,
        "source": STRING,
        "model": STRING,
        "revision": STRING,
        "backend": STRING,
        "nsfw_score": REAL,
        "threshold": REAL,
        "model_label": STRING,
        "label": STRING,
        "reasons": pa.list_(STRING),
        "note": STRING,
        "undoes": pa.int64(),
        "row": STRING,
        "preview": pa.struct({"bytes": pa.binary(), "path": STRING}),
        "categories": pa.list_(STRING),
    }
)
FROM_ROW = "name source model revision backend nsfw_score threshold model_label undoes".split()
LISTS = ("reasons", "categories")  # JSON in the database
GROUP_ROWS = 1_000  # that are read at once, with their previews
VERSION_KEY = b"nsfw_review_layout"
INCOMPLETE_KEY = b"nsfw_review_incomplete"


def features() -> dict[str, Any]:
    """The columns as `datasets` describes them."""
    names = {STRING: "string", REAL: "float64", pa.int64(): "int64", pa.bool_(): "bool"}
    found: dict[str, Any] = {
        name: {"dtype": names[kind], "_type": "Value"}
        for name, kind in COLUMNS.items()
        if kind in names
    }
    for name in LISTS:
        found[name] = {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"}
    found["preview"] = {"_type": "Image"}
    return {name: found[name] for name in COLUMNS}


SCHEMA = pa.schema(
    list(COLUMNS.items()),
    metadata={
        b"huggingface": json.dumps({"info": {"features": features()}}).encode(),
        VERSION_KEY: str(LAYOUT).encode(),
    },
)


def encode(changes: Iterable[Change], batch: int, *, is_complete: bool) -> bytes:
    """The file of a batch.

    Args:
        changes: The rows.
        batch: Its number.
        is_complete: Whether no more of the same changes follow in the next batch.
    """
    sink = pa.BufferOutputStream()
    with _writer(sink) as writer:
        if not is_complete:
            writer.add_key_value_metadata({INCOMPLETE_KEY: b"1"})
        _write(writer, [_event(change, batch) for change in changes])
    return bytes(sink.getvalue())


def read(path: Path) -> Iterator[list[dict[str, Any]]]:
    """The rows of a file, some at a time.

    Raises:
        HubDataError: It is damaged, or a newer version wrote it.
    """
    try:
        with pq.ParquetFile(path) as file:
            version = int((file.schema_arrow.metadata or {}).get(VERSION_KEY, b"0"))
            if version > LAYOUT:
                raise HubDataError(
                    f"{path.name} has layout {version}, and this version of the program reads "
                    f"layouts up to {LAYOUT}. Start a newer version."
                )
            for group in range(file.num_row_groups):
                yield file.read_row_group(group).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise HubDataError(f"{path.name} cannot be read: {error}.") from error


def keys(path: Path) -> Iterator[tuple[str, str]]:
    """Table and key of each row.

    Raises:
        HubDataError: It is damaged, or a newer version wrote it.
    """
    for event in join.from_iterable(read(path)):
        yield TABLES.get(event["kind"], event["kind"]), event["key"]


def is_complete(path: Path) -> bool:
    """Whether the rows of a file and of those before it fit together.

    Raises:
        HubDataError: It is damaged.
    """
    try:
        return INCOMPLETE_KEY not in (pq.read_metadata(path).metadata or {})
    except (pa.ArrowException, OSError) as error:
        raise HubDataError(f"{path.name} cannot be read: {error}.") from error


def merge(paths: Sequence[Path], previews: Mapping[str, int], target: Path) -> None:
    """Write a file with the last state of each row in several files; complete if the last one is.

    Args:
        paths: The files, those that were saved last first.
        previews: In which batch the current preview of each image is. All others are left out.
        target: The file to write.
    """
    known: set[tuple[str, str]] = set()
    with _writer(target) as writer:
        if not is_complete(paths[0]):
            writer.add_key_value_metadata({INCOMPLETE_KEY: b"1"})
        for events in join.from_iterable(map(read, paths)):
            kept = []
            for event in events:
                key = TABLES.get(event["kind"], event["kind"]), event["key"]
                if key not in known:
                    known.add(key)
                    kept.append(_without_preview(event) if _is_stale(event, previews) else event)
            _write(writer, kept)


def _writer(target: Any) -> pq.ParquetWriter:
    return pq.ParquetWriter(target, SCHEMA, compression="zstd")


def _write(writer: pq.ParquetWriter, events: Sequence[Mapping[str, Any]]) -> None:
    if events:  # `datasets` cannot read a group without rows
        table = pa.Table.from_pylist(list(events), schema=SCHEMA)
        writer.write_table(table, row_group_size=GROUP_ROWS)


def preview_of(event: Mapping[str, Any]) -> bytes | None:
    """The JPEG in a row, if there is one."""
    jpeg: bytes | None = (event["preview"] or {}).get("bytes")
    return jpeg


def _is_stale(event: Mapping[str, Any], previews: Mapping[str, int]) -> bool:
    return preview_of(event) is not None and previews.get(event["image_sha256"]) != event["batch"]


def _without_preview(event: Mapping[str, Any]) -> Mapping[str, Any]:
    row = {name: value for name, value in json.loads(event["row"]).items() if name != PLACEHOLDER}
    return {**event, "row": json.dumps(row), "preview": None}


def _event(change: Change, batch: int) -> dict[str, Any]:
    kind = KINDS[change.table]
    event: dict[str, Any] = {"kind": kind, "key": change.key, "batch": batch, "deleted": True}
    if change.row is None:
        return event
    row = dict(change.row)
    if change.placeholder:
        row[PLACEHOLDER] = base64.b64encode(change.placeholder).decode()
    facts = {**change.prediction, **row}
    event |= {name: facts.get(name) for name in FROM_ROW}
    for name, sources in NAMES.items():
        event[name] = next((facts[each] for each in sources if facts.get(each) is not None), None)
    if row.get("undoes") is not None:
        event["kind"] = UNDO
    return event | {
        "deleted": False,
        **{name: None if row.get(name) is None else json.loads(row[name]) for name in LISTS},
        "row": json.dumps(row),
        "preview": _image(change),
    }


def _image(change: Change) -> dict[str, Any] | None:
    if change.preview is None:
        return None
    return {"bytes": change.preview, "path": f"{json.loads(change.key)[0]}.jpg"}
