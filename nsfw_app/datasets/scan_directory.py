"""The directory of a scan: its record, its part files, and the lock of the process that scans.

- One process scans into it at a time. The lock ends with the process, however it ends.
- Part files that the sources no longer name are deleted when all others are written, not before.
"""

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

from nsfw_app.dataset_errors import ScanDiffers, ScanError, ScanRunning
from nsfw_app.datasets import output_file
from nsfw_app.datasets.left_out import MAX_NAMED, LeftOut, LeftOutFiles
from nsfw_app.datasets.locations import absolute, redacted
from nsfw_app.datasets.part_files import PartFiles, read_footer
from nsfw_app.datasets.scan_record import ScanCounts, ScanRecord
from nsfw_app.imaging.decode import Limits
from nsfw_app.records import ModelIdentity

LOCK = ".lock"


class ScanDirectory:
    """A directory that this process scans into.

    `record` is that of the scan: of an earlier run, if there was one.
    """

    def __init__(self, path: Path, record: ScanRecord) -> None:
        self.path = path
        self.record = record
        self.parts = PartFiles(path, tuple(record.roles))

    @classmethod
    @contextmanager
    def opened(cls, path: Path, wanted: ScanRecord) -> Iterator[Self]:
        """Open or create the directory of a scan, locked until the block ends.

        Args:
            path: The directory.
            wanted: The record of a new scan. One that is continued keeps its own, with the sources
                of both.

        Raises:
            ScanError: It cannot be read or written.
            ScanDiffers: It has a scan of other sources, or with another model or other limits.
            ScanRunning: Another process scans into it.
        """
        output_file.make_directory(path)
        with _locked(path):
            earlier = ScanRecord.find(path)
            if earlier is not None:
                _check(path, earlier, wanted)
                wanted = replace(
                    earlier,
                    sources=tuple(dict.fromkeys((*earlier.sources, *wanted.sources))),
                    finished_at=None,
                )
            directory = cls(path, wanted)
            output_file.remove_partial(path)
            directory.parts.create()
            wanted.write(path)
            yield directory

    def finish(
        self, keys: set[str], *, left_out: LeftOutFiles, unopened: Sequence[str], finished_at: str
    ) -> ScanRecord:
        """Record that all images have a row, and delete the parts that are not of the sources.

        Args:
            keys: All parts of the sources.
            left_out: What the listing left out.
            unopened: Containers that could not be listed.
            finished_at: ISO 8601 in UTC.

        Raises:
            ScanError: Rows would be deleted of images that may still be there: no image was found,
                or a directory or a container could not be read. Or a file cannot be written.
        """
        obsolete = self.parts.keys() - keys
        if obsolete and not keys:
            raise ScanError(
                f"{', '.join(self.record.sources)}: there are no images any more. The rows in "
                f"{self.path} are kept. Is a disk not mounted?"
            )
        unread = [*left_out.names[LeftOut.UNREADABLE], *unopened[:MAX_NAMED]]
        if obsolete and unread:
            raise ScanError(
                f"{', '.join(unread)} cannot be read, so the scan is not finished, and no earlier "
                "row is deleted. Make it readable or remove it, then run the same command again."
            )
        footers = [read_footer(self.parts.path(key)) for key in sorted(keys)]
        errors: dict[str, int] = {}
        for footer in footers:
            for kind, count in footer.errors.items():
                errors[kind] = errors.get(kind, 0) + count
        self.record = replace(
            self.record,
            finished_at=finished_at,
            counts=ScanCounts(sum(footer.rows for footer in footers), len(keys), errors),
            left_out={str(reason): count for reason, count in left_out.counts.items()},
        )
        self.parts.remove(obsolete)
        self.parts.remove_unfinished()
        output_file.remove_partial(self.parts.directory)  # of workers of a cluster that were lost
        self.record.write(self.path)
        return self.record


def source_name(source: str) -> str:
    """The name of a source in the record: the same in each working directory, without secrets."""
    mark = "@" if source.startswith("@") else ""  # of a list of sources
    return f"{mark}{redacted(absolute(source.removeprefix(mark)))}"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with output_file.writing(path):
        file = (path / LOCK).open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ScanRunning(
                f"Another process scans into {path}. Wait for it, or choose another --output."
            ) from None
        yield


def _check(path: Path, earlier: ScanRecord, wanted: ScanRecord) -> None:
    """Check that a scan can be continued.

    Raises:
        ScanDiffers: Its rows would not be consistent with the new ones, or would be deleted.
    """
    differences = [
        *_model_differences(earlier.model, wanted.model),
        *_limit_differences(earlier.limits, wanted.limits),
    ]
    if not differences and dict(earlier.roles) != dict(wanted.roles):
        differences = [f"the labels {_roles(earlier)} in place of {_roles(wanted)} now"]
    if differences:
        raise ScanDiffers(
            f"{path} was scanned with {'; '.join(differences)}. Use the same settings to "
            "continue, or choose another --output."
        )
    missing = [source for source in earlier.sources if source not in wanted.sources]
    if missing:
        raise ScanDiffers(
            f"{path} is also the scan of {', '.join(missing)}. Name the same sources to continue, "
            "with patterns in quotes, or choose another --output."
        )


def _model_differences(earlier: ModelIdentity, wanted: ModelIdentity) -> Sequence[str]:
    names = {
        "model": "the model",
        "revision": "revision",
        "weights_sha256": "weights of SHA-256",
        "backend": "backend",
    }
    return [
        f"{text} {getattr(earlier, name)} in place of {getattr(wanted, name)} now"
        for name, text in names.items()
        if getattr(earlier, name) != getattr(wanted, name)
    ]


def _limit_differences(earlier: Limits, wanted: Limits) -> Sequence[str]:
    names = {
        "max_bytes": "at most {:,} bytes (NSFW_MAX_FILE_MB)",
        "max_pixels": "at most {:,} pixels (NSFW_MAX_PIXELS)",
        "max_frames": "at most {:,} frames (NSFW_MAX_FRAMES)",
    }
    return [
        f"{text.format(getattr(earlier, name))} in place of {getattr(wanted, name):,} now"
        for name, text in names.items()
        if getattr(earlier, name) != getattr(wanted, name)
    ]


def _roles(record: ScanRecord) -> str:
    return ", ".join(f"{label} ({role})" for label, role in record.roles.items())
