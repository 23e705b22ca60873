"""Images of a scan for people to review: chosen near the threshold or drawn, then queued.

- They do not arrive: the images of a data set say nothing about those that do, so no estimate of
  the evidence has them. Their decisions count as all others do for training and `--decisions`.
- A draw depends on the seed and on hashes alone, so that it can be repeated. Its probability is
  stored with the queue entry, also of images that an earlier, smaller draw had from the same
  choice; an image near the threshold has none, because nothing was drawn.
"""

import hashlib
import heapq
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from nsfw_app.dataset_errors import ScanFilterError
from nsfw_app.datasets.entries import Entry
from nsfw_app.datasets.filtering import RowFilter
from nsfw_app.datasets.judged_rows import identity_of, judged_image
from nsfw_app.datasets.part_files import Row
from nsfw_app.datasets.reading import Reader
from nsfw_app.datasets.scanned_parts import ScannedParts
from nsfw_app.errors import ImageError
from nsfw_app.imaging import decode
from nsfw_app.imaging import previews as renderings
from nsfw_app.imaging.decode import Limits
from nsfw_app.records import JudgedImage, ModelIdentity, Retain, Upload
from nsfw_app.review.previews import describe, rendered_frame
from nsfw_app.rules.queue import Admission, QueueReason
from nsfw_app.store import Store
from nsfw_app.store.audit import AuditAction
from nsfw_app.store.scan_draws import SOURCE

NEXT = 10_000  # most images that are chosen at once after some could not be read
Copy = tuple[str, str]  # URI and hash of an image


class Choice(StrEnum):
    """Which images people review."""

    NEAREST = "nearest"  # to the threshold
    SAMPLE = "sample"  # random

    @property
    def reason(self) -> QueueReason:
        """Why they wait; of a sample, score and verdict are hidden as of an audit."""
        return QueueReason.AUDIT if self is Choice.SAMPLE else QueueReason.REVIEW


@dataclass(frozen=True, slots=True)
class Queued:
    """What became of the chosen images.

    - `candidates` is from how many they were chosen.
    - `known` wait or are settled already: images that a draw has again, and those that the choice
      of the nearest leaves out.
    - `unreadable` is how many files were tried that changed or cannot be read.
    """

    candidates: int
    queued: int
    known: int
    unreadable: int


class ReviewBatch:
    """Puts images of a scan into the review queue, with previews.

    Args:
        store: Where to.
        name: Batch of the uploads.
        owner: Of the uploads.
        choice: Which images.
        limits: Largest image that is read.

    Raises:
        ScanFilterError: The queue rule for them is not in use, or no previews are kept.
    """

    def __init__(
        self, store: Store, *, name: str, owner: str, choice: Choice, limits: Limits
    ) -> None:
        if choice.reason not in store.queue.rules.reasons:
            raise ScanFilterError(
                f"Images cannot be reviewed for the reason {choice.reason}: add it to "
                "NSFW_QUEUE_RULES, and let NSFW_KEEP_IMAGES keep previews."
            )
        self._store, self._choice, self._limits = store, choice, limits
        self._name, self._owner = name, owner

    def fill(
        self, parts: ScannedParts, rows: RowFilter, *, count: int, seed: int, threshold: float
    ) -> Queued:
        """Choose among the images that are kept, and queue them.

        Args:
            parts: Of the scan.
            rows: Keeps one of the images with the same bytes. For a draw, their criteria name the
                images that were drawn from this scan before.
            count: Most images to choose.
            seed: Of the draw.
            threshold: Score to which the nearest images are chosen.

        Raises:
            ScanError: A part file cannot be read.
            SourceError: No source exists any more, or one cannot be listed.
            StorageError: An image cannot be stored; those before it are.

        - The nearest are chosen among images that neither wait nor are settled, so that each batch
          has new ones. Where some cannot be read, the next ones take their places.
        - A draw is among all, so that its probability and its repetition hold. An image that cannot
          be read is replaced by a copy with the same bytes only.
        - The audit records who queued how many images of which scan, and why.
        """
        is_nearest = self._choice is Choice.NEAREST
        known = set(self._known(parts.record.model)) if is_nearest else set[str]()
        tried: set[Copy] = set()  # that cannot be read

        def rank(row: Row) -> float:
            return self.rank(row, seed=seed, threshold=threshold)

        found = _choose(parts, rows, size=count, rank=rank, known=known, tried=tried)
        candidates, entered, queued = found.candidates, found.known, 0
        probability = min(1.0, count / candidates) if candidates else 0.0
        admission = Admission(self._choice.reason, probability, is_chosen=is_nearest)
        wanted = None if is_nearest else {row["sha256"] for _, row in found.images}
        if not is_nearest and candidates:
            drawn = [sha256 for sha256, n in rows.counts.drawn.items() if n > 0]
            self._store.scan_draws.raise_probabilities(drawn, parts.record.model, probability)
        with Reader(self._limits) as reader:
            while found.images:
                new = [(e, row) for e, row in found.images if not self._has_entered(row)]
                entered += len(found.images) - len(new)
                missing = count - queued
                # Before the first image: an interrupted batch is in the audit, too.
                self._store.audit.add(
                    self._owner,
                    AuditAction.QUEUE,
                    self._name,
                    images=min(missing, len(new)),
                    reason=self._choice.reason,
                    scan=str(parts.directory.resolve()),
                )
                known.update(row["sha256"] for _, row in found.images)
                for entry, row in new:
                    if queued == count:
                        break
                    if self._add(entry, judged_image(row), reader, admission):
                        queued += 1
                    else:
                        known.discard(row["sha256"])  # a copy may be readable
                        tried.add(_copy(row))
                if queued == count or not tried:
                    break
                with RowFilter(rows.criteria) as again:
                    found = _choose(
                        parts,
                        again,
                        size=max(count - queued, NEXT),
                        rank=rank,
                        known=known,
                        tried=tried,
                        wanted=wanted,
                    )
        return Queued(candidates, queued, entered, len(tried))

    def rank(self, row: Row, *, seed: int, threshold: float) -> float:
        """Images of the lowest ranks are chosen."""
        if self._choice is Choice.NEAREST:
            return abs(float(row["nsfw_score"]) - threshold)
        digest = hashlib.sha256(f"{seed} {row['sha256']}".encode()).digest()
        return int.from_bytes(digest) / (1 << 256)

    def _known(self, model: ModelIdentity) -> frozenset[str]:
        """The hashes of images that wait or are settled."""
        settled = (each.image_sha256 for each in self._store.settled_labels.all())
        unstored = self._store.label_imports.unstored()
        return self._store.queue.entered(model).union(settled, unstored)

    def _has_entered(self, row: Row) -> bool:
        """Whether an image is in the queue, or was settled there."""
        stored = self._store.catalog.find(row["sha256"], identity_of(row))
        return stored is not None and self._store.queue.has_entered(stored.prediction_id)

    def _add(self, entry: Entry, image: JudgedImage, reader: Reader, admission: Admission) -> bool:
        """Queue an image; False where the bytes that were scanned cannot be read."""
        stored = self._store.catalog.find(image.info.sha256, image.prediction.identity)
        name = entry.file_name
        try:
            data = reader.read(entry)
            if decode.sha256(data) != image.info.sha256:
                return False
            with decode.memory_for(name):
                frame = rendered_frame(data, image.prediction, name=name, limits=self._limits)
                rendered = renderings.fitted(frame, renderings.PREVIEW_SIDE)
        except ImageError:
            return False
        described = JudgedImage(
            image.info,
            image.prediction,
            describe(rendered),
            stored.prediction_id if stored is not None else 0,
            detail=image.detail,
        )
        upload = Upload(name, SOURCE, self._owner, batch_id=self._name, retain=Retain.QUEUE)
        self._store.catalog.record(
            described, upload, jpeg=renderings.preview(rendered), admission=admission
        )
        return True


@dataclass(frozen=True, slots=True)
class _Found:
    """Chosen images, the lowest rank first; from how many, and how many known ones are left out."""

    images: Sequence[tuple[Entry, Row]]
    candidates: int
    known: int


def _choose(
    parts: ScannedParts,
    rows: RowFilter,
    *,
    size: int,
    rank: Callable[[Row], float],
    known: Collection[str],
    tried: Collection[Copy],
    wanted: Collection[str] | None = None,
) -> _Found:
    """Choose the kept images of the lowest ranks, one of those with the same bytes.

    Args:
        parts: Of the scan.
        rows: Filters and counts the rows.
        size: Most images to choose.
        rank: Of a row.
        known: Hashes that are left out, and counted.
        tried: Copies that are left out.
        wanted: Hashes that may be chosen; None for all.
    """
    heap: list[tuple[float, str, Entry, Row]] = []
    candidates = left_out = 0
    for entries, table in parts.with_entries():
        numbers, kept = rows.kept(table)
        for number, row in zip(numbers, kept.to_pylist(), strict=True):
            sha256 = row["sha256"]
            if _copy(row) in tried or (wanted is not None and sha256 not in wanted):
                continue
            if drop := rows.claim([row])[0]:
                rows.drop_kept(drop, row)
            elif sha256 in known:
                left_out += 1
            else:
                candidates += 1
                # The heap has the largest number first to go: the lowest ranks stay.
                item = (-rank(row), sha256, entries[number], row)
                if len(heap) < size:
                    heapq.heappush(heap, item)
                else:
                    heapq.heappushpop(heap, item)
    in_order = sorted(heap, key=lambda item: (-item[0], item[1]))
    return _Found([(entry, row) for _, _, entry, row in in_order], candidates, left_out)


def _copy(row: Row) -> Copy:
    return row["uri"], row["sha256"]
