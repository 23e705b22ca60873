"""Scans of directories with a fake classifier."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from nsfw_app.datasets.scan import DonePart, Redo, Scanner
from nsfw_app.datasets.scan_directory import Emptied, ScanDirectory
from nsfw_app.datasets.scan_record import ScanRecord
from nsfw_app.datasets.units import find_units
from nsfw_app.records import Policy
from tests.support.fakes import LIMITS, FakeClassifier

POLICY = Policy(0.33, 0.2, 0.8)


class CountingClassifier(FakeClassifier):
    """The fake for several threads: `reds` has the red of each image that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.reds: list[int] = []

    def predict_prepared(self, prepared: Sequence[Any]) -> list[dict[str, float]]:
        """See `Classifier.predict_prepared`."""
        self.reds += [image.getpixel((0, 0))[0] for image in prepared]
        return super().predict_prepared(prepared)


def record(*sources: Path, classifier: FakeClassifier | None = None) -> ScanRecord:
    """The record of a new scan of these sources."""
    model = classifier or FakeClassifier()
    return ScanRecord(
        sources=tuple(map(str, sources)),
        model=model.identity,
        roles=dict(model.roles),
        policy=POLICY,
        limits=LIMITS,
        started_at="2026-11-28T17:00:00.000Z",
    )


def scan(
    source: Path,
    output: Path,
    *redo: Redo,
    classifier: FakeClassifier | None = None,
) -> tuple[Scanner, list[DonePart]]:
    """Scan a directory to its end; the scanner and its parts."""
    scanner, parts, _ = scan_all([source], output, *redo, classifier=classifier)
    return scanner, parts


def scan_all(
    sources: Sequence[Path],
    output: Path,
    *redo: Redo,
    classifier: FakeClassifier | None = None,
    emptied: Emptied = Emptied.KEEP,
) -> tuple[Scanner, list[DonePart], Sequence[str]]:
    """Scan sources to their end; the scanner, its parts, and sentences about images gone."""
    model = classifier or CountingClassifier()
    gone: Sequence[str] = ()
    wanted = record(*sources, classifier=model)
    with ScanDirectory.opened(output, wanted, emptied=emptied) as directory:
        scanner = Scanner(
            directory.parts,
            classifier=model,
            policy=POLICY,
            limits=LIMITS,
            redo=frozenset(redo),
        )
        named = list(map(str, sources))
        parts = list(scanner.scan(find_units(named, left_out=scanner.left_out)))
        if not scanner.is_stopped:
            gone = directory.finish(
                {part.key for part in parts},
                left_out=scanner.left_out,
                unopened=scanner.unopened,
                finished_at="2026",
            ).sentences()
    return scanner, parts, gone


def rows(output: Path, folder: str = "images") -> dict[str, dict[str, Any]]:
    """The rows of all part files by file name; each image must have one row."""
    found = [row for path in (output / folder).glob("part-*") for row in read(path)]
    by_name = {Path(row["name"]).name: row for row in found}
    assert len(by_name) == len(found)
    return by_name


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a Parquet file."""
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def change(path: Path, data: bytes, *, unnoticed: bool = False) -> None:
    """Write other bytes into a file, if wanted with the same time of modification."""
    status = path.stat()
    path.write_bytes(data)
    nanoseconds = status.st_mtime_ns + (0 if unnoticed else 1_000_000_000)
    os.utime(path, ns=(nanoseconds, nanoseconds))
