"""Images of a scan for people to review: chosen near the threshold or drawn, then queued.

- They do not arrive: the images of a data set say nothing about those that do, so no estimate of
  the evidence has them. Their decisions count as all others do for training and `--decisions`.
- A draw depends on the seed and on hashes alone, so that it can be repeated. Its probability is
  stored with the queue entry; an image near the threshold has none, because nothing was drawn.
"""

import hashlib
import heapq
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nsfw_app.dataset_errors import ScanFilterError
from nsfw_app.datasets.entries import Entry
from nsfw_app.datasets.filtering import RowFilter, is_incomplete
from nsfw_app.datasets.locations import name_of
from nsfw_app.datasets.part_files import Row
from nsfw_app.datasets.reading import Reader
from nsfw_app.datasets.scanned_parts import ScannedParts
from nsfw_app.errors import ImageError
from nsfw_app.imaging import decode
from nsfw_app.imaging import previews as renderings
from nsfw_app.imaging.decode import Limits
from nsfw_app.imaging.image_warnings import without_background
from nsfw_app.records import (
    Background,
    Detail,
    ImageInfo,
    ImageWarning,
    JudgedImage,
    ModelIdentity,
    Prediction,
    Retain,
    Upload,
    WarningCode,
)
from nsfw_app.review.previews import describe, rendered_frame
from nsfw_app.rules.queue import Admission, QueueReason
from nsfw_app.store import Store
from nsfw_app.store.audit import AuditAction

SOURCE = "scan"  # of the uploads


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
            rows: Keeps one of the images with the same bytes.
            count: Most images to choose.
            seed: Of the draw.
            threshold: Score to which the nearest images are chosen.

        Raises:
            ScanError: A part file cannot be read.
            StorageError: An image cannot be stored; those before it are.

        The nearest are chosen among images that neither wait nor are settled, so that each batch
        has new ones. A draw is among all, so that its probability and its repetition hold.

        The audit records who queued how many images of which scan, and why.
        """
        is_nearest = self._choice is Choice.NEAREST
        known = self._known(parts.record.model) if is_nearest else frozenset[str]()
        heap: list[tuple[float, str, Entry, Row]] = []
        candidates = left_out = 0
        for entries, table in parts.with_entries():
            numbers, kept = rows.kept(table)
            for number, row in zip(numbers, kept.to_pylist(), strict=True):
                if row["sha256"] in known:
                    left_out += 1
                    continue
                candidates += 1
                # The heap has the largest number first to go: the lowest ranks stay.
                rank = self.rank(row, seed=seed, threshold=threshold)
                item = (-rank, row["sha256"], entries[number], row)
                if len(heap) < count:
                    heapq.heappush(heap, item)
                else:
                    heapq.heappushpop(heap, item)
        probability = min(1.0, count / candidates) if candidates else 0.0
        admission = Admission(self._choice.reason, probability, is_chosen=is_nearest)
        chosen = [
            (entry, judged_image(row))
            for _, _, entry, row in sorted(heap, key=lambda item: (-item[0], item[1]))
        ]
        new = [(entry, image) for entry, image in chosen if not self._has_entered(image)]
        # Before the first image: an interrupted batch is in the audit, too.
        self._store.audit.add(
            self._owner,
            AuditAction.QUEUE,
            self._name,
            images=len(new),
            reason=self._choice.reason,
            scan=str(parts.directory.resolve()),
        )
        with Reader(self._limits) as reader:
            queued = sum(self._add(entry, image, reader, admission) for entry, image in new)
        return Queued(candidates, queued, left_out + len(chosen) - len(new), len(new) - queued)

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

    def _has_entered(self, image: JudgedImage) -> bool:
        """Whether it is in the queue, or was settled there."""
        stored = self._store.catalog.find(image.info.sha256, image.prediction.identity)
        return stored is not None and self._store.queue.has_entered(stored.prediction_id)

    def _add(self, entry: Entry, image: JudgedImage, reader: Reader, admission: Admission) -> bool:
        """Queue an image; False where the bytes that were scanned cannot be read."""
        stored = self._store.catalog.find(image.info.sha256, image.prediction.identity)
        name = name_of(entry.member if entry.place else entry.uri)
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


def judged_image(row: Mapping[str, Any]) -> JudgedImage:
    """The image and the prediction of a row that has one, as they were scanned.

    A row names the background of the prediction only where the image shows something else on
    another one; else white is taken.
    """
    background, warnings = Background.WHITE, []
    for each in row["warnings"] or ():
        warning = ImageWarning(WarningCode(each["code"]), each["message"])
        if warning.code is WarningCode.TRANSPARENCY:
            warning, background = without_background(warning)
        if warning.code is not WarningCode.EXTENSION:
            warnings.append(warning)
    info = ImageInfo(
        sha256=row["sha256"],
        format=row["format"],
        width=row["width"],
        height=row["height"],
        size_bytes=row["size_bytes"],
        frames=row["frames"],
        warnings=tuple(warnings),
        incomplete=is_incomplete(row["warnings"]),
    )
    identity = ModelIdentity(row["model"], row["revision"], row["weights_sha256"], row["backend"])
    prediction = Prediction(
        row["sha256"], identity, row["probabilities"], row["nsfw_score"], row["frame"], background
    )
    return JudgedImage(info, prediction, detail=_detail(row))


def _detail(row: Mapping[str, Any]) -> Detail | None:
    """What the detail model computed; None where it was not asked, or failed."""
    if not row.get("detail_probabilities"):
        return None
    names = ("model", "revision", "weights_sha256", "backend")
    identity = ModelIdentity(*(row[f"detail_{name}"] for name in names))
    return Detail(identity.model, identity, json.loads(row["detail_probabilities"]))
