"""The directory of a scan: its record, its part files, and the lock of the process that scans.

- It is new or empty when a scan starts, so that no file of anyone else is read or deleted.
- One process scans into it at a time. The lock ends with the process, however it ends.
- Rows of images that are gone are deleted when all others are written, not before, and never many
  of a source without being asked.
"""

import fcntl
import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Self

from nsfw_app.dataset_errors import ScanDiffers, ScanError, ScanRunning, SourceError
from nsfw_app.datasets import output_file
from nsfw_app.datasets.gone_images import MAX_NAMED, GoneImages, find_gone
from nsfw_app.datasets.left_out import LeftOut, LeftOutFiles
from nsfw_app.datasets.locations import absolute
from nsfw_app.datasets.named_members import uri_of
from nsfw_app.datasets.part_files import FOLDER, PartFiles, read_footer
from nsfw_app.datasets.scan_record import FILE, ScanCounts, ScanDetail, ScanRecord
from nsfw_app.datasets.units import parted
from nsfw_app.imaging.decode import Limits
from nsfw_app.records import ModelIdentity

LOCK = ".lock"
VOLUME = "lost+found"  # in the top directory of a disk


class Emptied(StrEnum):
    """What happens to rows of a source that is not named any more, or has lost most images."""

    KEEP = "keep"  # an error: it may be left out by mistake, or its disk may not be mounted
    DELETE = "delete"


class ScanDirectory:
    """A directory that this process scans into.

    `record` is that of the scan: of an earlier run, if there was one. It has all sources of both
    until the scan is finished.
    """

    def __init__(
        self, path: Path, record: ScanRecord, *, named: Collection[str], emptied: Emptied
    ) -> None:
        self.path = path
        self.record = record
        self._named = frozenset(named)
        self._emptied = emptied
        self.parts = PartFiles(path, tuple(record.roles))

    @classmethod
    @contextmanager
    def opened(
        cls, path: Path, wanted: ScanRecord, *, emptied: Emptied = Emptied.KEEP
    ) -> Iterator[Self]:
        """Open or create the directory of a scan, locked until the block ends.

        Args:
            path: The directory.
            wanted: The record of a new scan. One that is continued keeps its own, with the sources
                of both.
            emptied: What happens to rows of a source that it lacks, or that has lost most images.

        Raises:
            ScanError: It cannot be read, written or locked, or it has other files and no scan.
            ScanDiffers: It has a scan of other sources whose rows are kept, or with another model
                or other limits.
            ScanRunning: Another process scans into it.
        """
        check_unused(path)
        output_file.make_directory(path)
        named = wanted.sources
        with _locked(path):
            earlier = ScanRecord.find(path)
            if earlier is not None:
                _check(path, earlier, wanted)
                _check_sources(path, earlier, wanted, emptied)
                wanted = replace(
                    earlier,
                    sources=tuple(dict.fromkeys((*earlier.sources, *wanted.sources))),
                    finished_at=None,
                )
            directory = cls(path, wanted, named=named, emptied=emptied)
            output_file.remove_partial(path)
            wanted.write(path)  # first: without it, part files are not continued
            directory.parts.create()
            yield directory

    @property
    def sources(self) -> Sequence[str]:
        """The sources to scan: those of the record that were named, in its order."""
        return [source for source in self.record.sources if source in self._named]

    def finish(
        self,
        keys: set[str],
        *,
        left_out: LeftOutFiles,
        unopened: Sequence[str],
        finished_at: str,
    ) -> GoneImages:
        """Record that all images have a row, and delete the rows of images that are gone.

        Args:
            keys: All parts of the sources.
            left_out: What the listing left out.
            unopened: Containers that cannot be read; the earlier rows of their images are kept.
            finished_at: ISO 8601 in UTC.

        Returns:
            What was deleted and kept.

        Raises:
            ScanError: Rows would be deleted of images that may still be there: a source has lost
                more than half of them, or a directory could not be read. Or a part file is
                missing, or cannot be written.
        """
        if missing := keys - self.parts.keys():
            raise ScanError(
                f"{len(missing):,} part files in {self.parts.directory} were deleted during the "
                "scan. Run the same command again: it scans their images."
            )
        unnamed = [source for source in self.record.sources if source not in self._named]
        sources = [*self.sources, *unnamed]
        gone = find_gone(self.parts, keys, sources=sources, unopened=unopened)
        gone.unnamed = unnamed
        if gone.parts and not left_out.is_complete:
            raise ScanError(
                f"{', '.join(left_out.names[LeftOut.UNREADABLE])} cannot be read, so the scan is "
                "not finished, and no earlier row is deleted. Make it readable or remove it, then "
                "run the same command again."
            )
        if gone.emptied and self._emptied is Emptied.KEEP:
            lost = [
                f"{name} has lost {gone.by_source[name]:,} of its {gone.earlier[name]:,} images"
                for name in gone.emptied[:MAX_NAMED]
            ]
            raise ScanError(
                f"{'; '.join(lost)}. Is a disk not mounted? Their rows in {self.path} are kept, "
                "and the scan is not finished. If the images are meant to be gone, run the same "
                "command with --delete-gone."
            )
        self.parts.remove(gone.parts)
        images, errors, count = 0, Counter[str](), 0
        for path in self.parts.paths():
            footer = read_footer(path)
            images, count = images + footer.rows, count + 1
            errors.update(footer.errors)
        self.record = replace(
            self.record,
            sources=tuple(self.sources),
            finished_at=finished_at,
            counts=ScanCounts(images, count, dict(errors)),
            left_out={str(reason): count for reason, count in left_out.counts.items()},
        )
        self.parts.remove_unfinished()
        output_file.remove_partial(self.parts.directory)  # of workers of a cluster that were lost
        self.record.write(self.path)
        return gone


def check_unused(path: Path) -> None:
    """Check that a directory without a scan has no files that may be someone else's.

    Hidden files and an empty directory of part files may be there, as a start that was killed has
    them.

    Raises:
        ScanError: It has some, or cannot be read.
    """
    try:
        with os.scandir(path) as found:
            names = {entry.name for entry in found}
        if FOLDER in names:
            with os.scandir(path / FOLDER) as found:
                names -= {FOLDER} if next(found, None) is None else set()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ScanError(f"{path} cannot be read: {error.strerror}.") from error
    others = sorted(name for name in names if not name.startswith(".") and name != VOLUME)
    if FILE in names or not others:
        return
    parts = PartFiles(path, ())
    if parts.unfinished_paths() or (FOLDER in names and parts.paths()):
        raise ScanError(
            f"{path} has part files of a scan but no {FILE}, which names their model. Put it back "
            "to continue, or choose another --output."
        )
    raise ScanError(
        f"{path} has {others[0]} and no {FILE}: it is not the output of a scan. Choose a new or "
        "an empty directory as --output."
    )


def source_name(source: str) -> str:
    """The name of a source in the record: the same in each working directory, without secrets."""
    mark, location = parted(source)
    return f"{mark}{uri_of(absolute(location))}"


def named_sources(sources: Sequence[str]) -> dict[str, str]:
    """Sources by their names; see `source_name`.

    Raises:
        SourceError: Two that differ have the same name.
    """
    named: dict[str, str] = {}
    for source in sources:
        name = source_name(source)
        earlier = named.setdefault(name, source)
        if absolute(parted(earlier)[1]) != absolute(parted(source)[1]):
            raise SourceError(
                f"{name} is named twice with other credentials, which are not stored. Name it "
                "once, or use two scans."
            )
    return named


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with output_file.writing(path):
        file = (path / LOCK).open("a")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ScanRunning(
                f"Another process scans into {path}. Wait for it, or choose another --output."
            ) from None
        except OSError as error:
            raise ScanError(
                f"{path} cannot be locked: {error.strerror}. Two scans at once would damage it. "
                "Mount its file system with support for flock (Lustre: -o flock), or choose "
                "another --output."
            ) from error
        yield


def _check(path: Path, earlier: ScanRecord, wanted: ScanRecord) -> None:
    """Check that a scan can be continued with this model and these limits.

    Raises:
        ScanDiffers: Its rows would not be consistent with the new ones.
    """
    differences = [
        *_model_differences(earlier.model, wanted.model),
        *_limit_differences(earlier.limits, wanted.limits),
    ]
    if not differences and dict(earlier.roles) != dict(wanted.roles):
        differences = [f"the labels {_roles(earlier)} in place of {_roles(wanted)} now"]
    if earlier.detail != wanted.detail:
        texts = _detail_text(earlier.detail), _detail_text(wanted.detail)
        differences.append(f"{texts[0]} in place of {texts[1]} now")
    if differences:
        raise ScanDiffers(
            f"{path} was scanned with {'; '.join(differences)}. Use the same settings to "
            "continue, or choose another --output."
        )


def _check_sources(path: Path, earlier: ScanRecord, wanted: ScanRecord, emptied: Emptied) -> None:
    """Check that the sources of a scan are named again, or that their rows are to be deleted.

    Raises:
        ScanDiffers: Some are not. Where all are others, it is another scan, and none is deleted.
    """
    unnamed = [source for source in earlier.sources if source not in wanted.sources]
    is_other = len(unnamed) == len(earlier.sources)
    if not unnamed or (emptied is Emptied.DELETE and not is_other):
        return
    shown = ", ".join([*unnamed[:MAX_NAMED], *(["..."] if len(unnamed) > MAX_NAMED else [])])
    advice = "" if is_other else " If they are meant to be gone, --delete-gone deletes their rows."
    raise ScanDiffers(
        f"{path} is also the scan of {shown}. Name the same sources to continue, with patterns in "
        f"quotes, or choose another --output.{advice}"
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


def _detail_text(detail: ScanDetail | None) -> str:
    """The detail model with all that rows depend on."""
    if detail is None:
        return "no detail model"
    model = detail.model
    labels = "; ".join(
        f"{label}: {', '.join(categories)}" for label, categories in detail.categories.items()
    )
    return (
        f"the detail model {model.model} (revision {model.revision}, {model.backend}, "
        f"NSFW_DETAIL_WHEN={detail.when}, {labels or 'no categories'})"
    )


def _roles(record: ScanRecord) -> str:
    return ", ".join(f"{label} ({role})" for label, role in record.roles.items())
