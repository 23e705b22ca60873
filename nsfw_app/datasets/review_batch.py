"""Images of a scan for people to review: chosen near the threshold or drawn, then queued.

- They do not arrive: the images of a data set say nothing about those that do, so no estimate of
  the evidence has them. Their decisions count as all others do for training and `--decisions`.
- A batch is continued: what it has in the queue already, open or settled, counts toward its size.
- A draw depends on the seed and on hashes alone, so that it can be repeated. Its probability is
  stored with the queue entry, also of images that an earlier, smaller draw had from the same
  choice; an image near the threshold has none, because nothing was drawn.
- Images are drawn in the order of their ranks, which says nothing of them: what an interrupted draw
  has queued is a smaller sample, and with what is drawn for the rest it is one of the whole size.
"""

import hashlib
import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from nsfw_app.dataset_errors import ScanFilterError
from nsfw_app.datasets.entries import Entry
from nsfw_app.datasets.filtering import Criteria, FilterCounts, RowFilter
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

    - `before` is how many images of the batch were in the queue already, `missing` how many more it
      was to have; with none missing, none was chosen.
    - `candidates` is from how many the others were chosen, `queued` how many of these were added.
    - `known` wait or are settled already, not in the batch: images that a draw has again, and those
      that the choice of the nearest leaves out.
    - `unreadable` is how many files were tried that changed or cannot be read.
    - `counts` is what became of the rows.
    """

    before: int
    missing: int = 0
    candidates: int = 0
    queued: int = 0
    known: int = 0
    unreadable: int = 0
    counts: FilterCounts = field(default_factory=FilterCounts)


class ReviewBatch:
    """Puts images of a scan into the review queue, with previews.

    Args:
        store: Where to.
        name: Of the batch.
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

    def fill(self, parts: ScannedParts, criteria: Criteria, *, count: int, seed: int) -> Queued:
        """Choose among the images that are kept, and queue them, until the batch has enough.

        Args:
            parts: Of the scan.
            criteria: Which images are kept, one of those with the same bytes. The nearest are so
                to the threshold of their policy.
            count: Most images of the batch, with those that it has in the queue already.
            seed: Of the draw.

        Raises:
            ScanFilterError: Another process fills a batch.
            ScanError: A part file cannot be read.
            SourceError: No source exists any more, or one cannot be listed.
            StorageError: An image cannot be stored; those before it are.

        - The nearest are chosen among images that neither wait nor are settled, so that each batch
          has new ones. Where some cannot be read, the next ones take their places.
        - A draw is among all, so that its probability and its repetition hold. An image that cannot
          be read is replaced by a copy with the same bytes only.
        - The audit records who queued how many images of which scan, and why.
        """
        with self._store.scan_batches.filling() as is_alone:
            if not is_alone:
                raise ScanFilterError(
                    "Another command puts images of a scan into the review queue. Wait until it "
                    "has ended, then start this one again."
                )
            before = self._store.scan_batches.images(self._name)
            if len(before) >= count:
                return Queued(len(before))
            threshold = criteria.policy.threshold
            chooser = _Chooser(
                parts, lambda row: self.rank(row, seed=seed, threshold=threshold), before
            )
            fill = self._fill_nearest if self._choice is Choice.NEAREST else self._fill_sample
            return fill(chooser, criteria, count)

    def _fill_nearest(self, chooser: "_Chooser", criteria: Criteria, count: int) -> Queued:
        chooser.known |= chooser.before | self._known(chooser.parts.record.model)
        admission = Admission(self._choice.reason, 0.0, is_chosen=True)
        with RowFilter(criteria) as rows:
            found = chooser.choose(rows, count - len(chooser.before))
            return self._add_all(chooser, rows, found, count, admission)

    def _fill_sample(self, chooser: "_Chooser", criteria: Criteria, count: int) -> Queued:
        """Draw what makes the batch a sample of this size from what is kept.

        What it has from this choice is a part of that, also where a label drops it by now. What it
        has from another choice is none, and takes places of the batch only.
        """
        parts, before = chooser.parts, chooser.before
        model, scan = parts.record.model, str(parts.directory.resolve())
        stored = {draw.image_sha256 for draw in self._store.scan_draws.of(scan, model)}
        with RowFilter(replace(criteria, drawn=frozenset(stored))) as rows:
            found = chooser.choose(rows, count)
            drawn = {sha256 for sha256, number in rows.counts.drawn.items() if number > 0}
            own = before & stored & (drawn | found.own)
            dropped = own - found.own  # for its label
            size = count - len(before - own)
            probability = min(1.0, size / max(1, found.candidates + len(dropped)))
            if found.candidates:
                self._store.scan_draws.raise_probabilities(drawn, model, probability)
            found = replace(found, images=found.images[: size - len(dropped)])
            chooser.wanted = frozenset(row["sha256"] for _, row in found.images)
            admission = Admission(self._choice.reason, probability)
            return self._add_all(chooser, rows, found, count, admission)

    def _add_all(
        self,
        chooser: "_Chooser",
        rows: RowFilter,
        found: "_Found",
        count: int,
        admission: Admission,
    ) -> Queued:
        """Queue images until the batch has enough, and in place of unreadable ones what follows."""
        before, candidates, known, added = chooser.before, found.candidates, found.known, 0
        missing = count - len(before)
        with Reader(self._limits) as reader:
            while found.images:
                others = [each for each in found.images if each[1]["sha256"] not in before]
                new = [each for each in others if not self._has_entered(each[1])]
                known += len(others) - len(new)
                # Before the first image: an interrupted batch is in the audit, too.
                self._store.audit.add(
                    self._owner,
                    AuditAction.QUEUE,
                    self._name,
                    images=min(missing - added, len(new)),
                    reason=self._choice.reason,
                    scan=str(chooser.parts.directory.resolve()),
                )
                chooser.known.update(row["sha256"] for _, row in found.images)
                for entry, row in new:
                    if added == missing:
                        break
                    if self._add(entry, judged_image(row), reader, admission):
                        added += 1
                    else:
                        chooser.give_up(row)
                if added == missing or not chooser.tried:
                    break
                with RowFilter(rows.criteria) as again:
                    found = chooser.choose(again, max(missing - added, NEXT))
        unreadable = len(chooser.tried)
        return Queued(len(before), missing, candidates, added, known, unreadable, rows.counts)

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
    """Chosen images, and among which they were chosen.

    - `images` has the lowest rank first, `candidates` is from how many they were chosen.
    - `own` are those of the candidates that the batch has already.
    - `known` is how many images of other batches were left out.
    """

    images: Sequence[tuple[Entry, Row]]
    candidates: int
    own: frozenset[str]
    known: int


class _Chooser:
    """Chooses images of the lowest ranks, again where some of these cannot be read.

    Args:
        parts: Of the scan.
        rank: Of a row.
        before: The images that the batch has already.
    """

    def __init__(
        self, parts: ScannedParts, rank: Callable[[Row], float], before: frozenset[str]
    ) -> None:
        self.parts, self.before = parts, before
        self.known: set[str] = set()  # hashes that are left out
        self.wanted: frozenset[str] | None = None  # hashes that may be chosen; None for all
        self.tried: set[Copy] = set()  # that cannot be read
        self._rank = rank

    def give_up(self, row: Row) -> None:
        """Choose another image, or a copy with the same bytes, in place of one."""
        self.known.discard(row["sha256"])
        self.tried.add(_copy(row))

    def choose(self, rows: RowFilter, size: int) -> _Found:
        """Choose among the images that are kept, one of those with the same bytes.

        Args:
            rows: Filters and counts the rows.
            size: Most images to choose.
        """
        heap: list[tuple[float, str, Entry, Row]] = []
        own: set[str] = set()
        candidates = left_out = 0
        for entries, table in self.parts.with_entries():
            numbers, kept = rows.kept(table)
            for number, row in zip(numbers, kept.to_pylist(), strict=True):
                sha256 = row["sha256"]
                if _copy(row) in self.tried or not (self.wanted is None or sha256 in self.wanted):
                    continue
                if drop := rows.claim([row])[0]:
                    rows.drop_kept(drop, row)
                elif sha256 in self.known:
                    left_out += sha256 not in self.before
                else:
                    candidates += 1
                    own.update(self.before & {sha256})
                    # The heap has the largest number first to go: the lowest ranks stay.
                    item = (-self._rank(row), sha256, entries[number], row)
                    if len(heap) < size:
                        heapq.heappush(heap, item)
                    else:
                        heapq.heappushpop(heap, item)
        in_order = sorted(heap, key=lambda item: (-item[0], item[1]))
        images = [(entry, row) for _, _, entry, row in in_order]
        return _Found(images, candidates, frozenset(own), left_out)


def _copy(row: Row) -> Copy:
    return row["uri"], row["sha256"]
