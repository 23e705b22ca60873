"""The scan loop: units of sources become part files.

- One stream of images runs over the borders of parts, so that the model never waits for a part to
  be written. A part is written when its last row is there, whole.
- Only the rows of parts in flight are in memory.
- A part whose file exists is left as it is, unless `Redo` says otherwise.
- An image never has rows in two part files; see `earlier_parts`.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from nsfw_app.concurrency import map_ordered, read_ahead
from nsfw_app.dataset_errors import PartDamaged
from nsfw_app.datasets import image_table
from nsfw_app.datasets.earlier_parts import EarlierParts
from nsfw_app.datasets.entries import Entry, Part, Unit
from nsfw_app.datasets.image_table import error_of
from nsfw_app.datasets.known_images import KnownImages
from nsfw_app.datasets.left_out import LeftOutFiles
from nsfw_app.datasets.part_files import PartFiles, PartFooter, Row, read_table
from nsfw_app.datasets.reading import Reader
from nsfw_app.datasets.scan_progress import ScanProgress
from nsfw_app.datasets.units import parts_of
from nsfw_app.errors import ImageError, ImageFailed, NSFWReviewError, TryLater
from nsfw_app.imaging import decode
from nsfw_app.imaging.decode import Limits
from nsfw_app.models.classifier import Classifier
from nsfw_app.records import Policy
from nsfw_app.review.detail import DetailModel
from nsfw_app.review.unstored import review, unavailable

log = logging.getLogger(__name__)

REMOTE = 4  # times as many images in flight: a request takes longer than the model
PARTS_AHEAD = 2  # listed while images of others are classified


class Redo(StrEnum):
    """Which rows of existing part files are made again."""

    ERRORS = "errors"  # those with an error
    CHANGED = "changed"  # those whose file has other bytes now; all files are read for that
    LOST = "lost"  # those whose file is gone, also where it is most of a group; see `EarlierParts`


@dataclass(frozen=True, slots=True)
class DonePart:
    """A part whose file is there. `is_new` is whether this run wrote it."""

    key: str
    footer: PartFooter
    is_new: bool


@dataclass(slots=True)
class _OpenPart:
    """A part whose rows are being made.

    Attributes:
        part: Its entries.
        rows: Of its entries; those of an earlier run until they are made again.
        numbers: Of the entries to scan, in order.
        footer: Of its file; None where it has none.
        is_changed: Whether a row is not that of the file.
    """

    part: Part
    rows: list[Row | None]
    numbers: Sequence[int]
    footer: PartFooter | None = None
    is_changed: bool = False


class Scanner:
    """Scans units with one model, and writes their part files.

    It knows neither terminals nor the store, so that it runs on other machines, too. `left_out`
    counts members of containers that are not images; `unopened` are containers that could not be
    listed, each of which has one row with an error.

    Args:
        output: Where part files are written.
        classifier: The model.
        policy: Decides labels and actions.
        limits: Largest input accepted.
        redo: Which rows of existing part files are made again.
        concurrency: Images in flight; None for as many as keep the model busy. Remote files take
            more, because most of them wait for the network.
        known_files: Part files whose images are not inferred again; None for all of the output.
        earlier: The part files of earlier runs; None for all of the output.
        detail: The detail model; None where it is not asked.
    """

    def __init__(
        self,
        output: PartFiles,
        *,
        classifier: Classifier,
        policy: Policy,
        limits: Limits,
        redo: frozenset[Redo] = frozenset(),
        concurrency: int | None = None,
        known_files: Sequence[Path] | None = None,
        earlier: EarlierParts | None = None,
        detail: DetailModel | None = None,
    ) -> None:
        self.progress = ScanProgress()
        self.left_out = LeftOutFiles()
        self.unopened: list[str] = []
        self._output = output
        self._classifier = classifier
        self._policy = policy
        self._detail = detail
        self._limits = limits
        self._redo = redo
        self._concurrency = concurrency or classifier.max_in_flight
        self._known_files = known_files
        self._earlier = earlier or EarlierParts(output)
        self._current: set[str] = set()  # keys of the parts that are listed
        # A part must not be found complete while another one takes the rows of its images.
        self._listing = threading.Lock()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Take no further image; `scan` ends when those in flight are done."""
        self._stopped.set()

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    def scan(self, units: Iterable[Unit]) -> Iterator[DonePart]:
        """Scan units; the rows of a part are on disk when it is returned.

        After `stop`, the rows of a part that is not complete are kept as unfinished, so that
        its images are not inferred again.

        Raises:
            ScanError: A part cannot be written.
            ImagesLost: Most images of a part are gone, and `Redo.LOST` is not asked for.
            StorageError: The disk of temporary files is full.
        """
        done: deque[DonePart] = deque()
        opened: _OpenPart | None = None
        writing: Future[DonePart] | None = None
        with (
            Reader(self._limits) as reader,
            KnownImages() as known,
            # While a part is written, the images of the next one are handed out.
            ThreadPoolExecutor(1, thread_name_prefix="part-writer") as writer,
        ):

            def act(item: tuple[_OpenPart, int]) -> tuple[_OpenPart, int, Row, bool]:
                part, number = item
                entry, earlier = part.part.entries[number], part.rows[number]
                return part, number, *self._row(entry, earlier, reader, known)

            parts = (part for unit in units for part in parts_of(unit, left_out=self.left_out))
            with (
                closing(read_ahead(parts, count=PARTS_AHEAD)) as ahead,
                closing(
                    map_ordered(
                        act, self._images(ahead, known, done), concurrency=self._concurrency
                    )
                ) as results,
            ):
                for opened, number, row, is_known in results:
                    self._add(opened, number, row, is_known=is_known)
                    if number == opened.numbers[-1]:
                        if writing is not None:
                            done.append(writing.result())
                        writing, opened = writer.submit(self._written, opened, known), None
                    while done:
                        yield done.popleft()
            if writing is not None:
                done.append(writing.result())
        yield from done
        if not self.is_stopped:
            self.progress.complete()
        if opened is not None:
            self._keep(opened)

    def _images(
        self, parts: Iterable[Part], known: KnownImages, done: deque[DonePart]
    ) -> Iterator[tuple[_OpenPart, int]]:
        """The images to scan; parts that need nothing are added to `done`."""
        is_loaded = False
        for part in parts:
            if part.key in self._current:  # the same files were named twice
                continue
            self.unopened += [e.uri for e in part.entries if e.problem and e.uri == part.container]
            with self._listing:
                self._current.add(part.key)
                opened = self._opened(part, done)
            if opened is None:
                continue
            if not is_loaded:
                known.load(self._files_of_known())
                is_loaded = True
            for number in opened.numbers:
                if self.is_stopped:
                    return
                yield opened, number
            if self.is_stopped:
                return

    def _files_of_known(self) -> Sequence[Path]:
        if self._known_files is not None:
            return self._known_files
        return [*self._output.paths(), *self._output.unfinished_paths()]

    def _opened(self, part: Part, done: deque[DonePart]) -> _OpenPart | None:
        """A part with entries to scan; None where its file has all rows."""
        entries = part.entries
        footer, rows = self._earlier_rows(part)
        if footer is None:
            return _OpenPart(part, [None] * len(entries), range(len(entries)))
        numbers = [
            number
            for number, row in enumerate(rows)
            if Redo.CHANGED in self._redo or error_of(row) is not None
        ]
        scanned = set(numbers)
        kept = [each.progress_bytes for n, each in enumerate(entries) if n not in scanned]
        self.progress.kept += len(kept)
        self.progress.kept_bytes += sum(kept)
        if not numbers:
            self.progress.errors.update(footer.errors)
            done.append(DonePart(part.key, footer, is_new=False))
            return None
        return _OpenPart(part, [*rows], numbers, footer)

    def _earlier_rows(self, part: Part) -> tuple[PartFooter | None, Sequence[Row]]:
        """The footer of a part's file, and its rows if some may be made again."""
        footer = self._output.complete(part)
        if footer is None:
            return None, ()
        if Redo.CHANGED not in self._redo and not (Redo.ERRORS in self._redo and footer.errors):
            return footer, ()
        try:
            return footer, read_table(self._output.path(part.key)).to_pylist()
        except PartDamaged as error:  # the footer is whole, the rows are not
            log.warning("%s", error)
            return None, ()

    def _row(
        self, entry: Entry, earlier: Row | None, reader: Reader, known: KnownImages
    ) -> tuple[Row, bool]:
        """The row of an image, and whether its bytes were known. Called in several threads."""
        try:
            data = reader.read(entry)
            sha256 = decode.sha256(data)
            if earlier is not None and self._is_valid(earlier, sha256):
                return earlier, False
            row, is_known = known.row(sha256, lambda: self._inferred(entry, data, sha256))
        except ImageError as error:
            return self._error_row(entry, error), False
        except TryLater:
            raise
        except Exception as error:  # one image must not end a scan of millions
            log.exception("%s failed.", entry.uri)
            message = f"{entry.name} could not be processed: {type(error).__name__}. See the log."
            return self._error_row(entry, ImageFailed(message)), False
        return (image_table.copied(row, entry) if is_known else row), is_known

    def _inferred(self, entry: Entry, data: bytes, sha256: str) -> Row:
        result = review(
            data,
            entry.name,
            classifier=self._classifier,
            policy=self._policy,
            limits=self._limits,
            sha256=sha256,
            detail=self._detail,
        )
        return image_table.row(entry, result, size_bytes=len(data))

    def _error_row(self, entry: Entry, error: NSFWReviewError) -> Row:
        return image_table.row(entry, unavailable(entry.name, self._policy, error), size_bytes=None)

    def _is_valid(self, row: Row, sha256: str) -> bool:
        """Whether a row of an earlier run is that of an image with this hash."""
        is_tried_again = error_of(row) is not None and Redo.ERRORS in self._redo
        return bool(row["sha256"] == sha256) and not is_tried_again

    def _add(self, opened: _OpenPart, number: int, row: Row, *, is_known: bool) -> None:
        """Add a row to its part and to the counts."""
        progress, earlier = self.progress, opened.rows[number]
        progress.scanned += 1
        progress.scanned_bytes += opened.part.entries[number].progress_bytes
        progress.duplicates += is_known
        if (kind := error_of(row)) is not None:
            progress.errors[kind] += 1
        if row is not earlier:
            opened.rows[number] = row
            opened.is_changed = True
            progress.changed += earlier is not None and earlier["sha256"] != row["sha256"]

    def _written(self, opened: _OpenPart, known: KnownImages) -> DonePart:
        key = opened.part.key
        if opened.footer is not None and not opened.is_changed:
            return DonePart(key, opened.footer, is_new=False)
        rows = [row for row in opened.rows if row is not None]
        footer = self._replaced(opened.part, rows, known)
        known.written(self._output.path(key), rows)
        return DonePart(key, footer, is_new=True)

    def _replaced(self, part: Part, rows: Sequence[Row], known: KnownImages) -> PartFooter:
        """Write the file of a part, when earlier parts have lost the rows of its images."""
        with self._listing:
            replaced = self._earlier.with_same_images(part, self._current)
            if Redo.LOST not in self._redo:
                self._earlier.check(part, replaced)
            if replaced:
                # Killed in between, the rows are not lost, and no image has two.
                footer = self._output.write_unfinished(part.key, rows, part.container)
                known.load(self._earlier.drop(part, replaced))
                self._output.finish(part.key)
                return footer
        return self._output.write(part.key, rows, part.container)

    def _keep(self, opened: _OpenPart) -> None:
        """Keep the rows of a part that is interrupted."""
        part, rows = opened.part, [row for row in opened.rows if row is not None]
        if opened.footer is None:
            self._output.write_unfinished(part.key, rows, part.container)
        elif opened.is_changed:  # those that are not made again yet stay
            self._output.write(part.key, rows, part.container)
