"""Images, their predictions and their uploads."""

import json
import sqlite3
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from sqlite_utils import Database

from nsfw_app.errors import NotFound
from nsfw_app.models.categories import BY_CARD, CategoryMap
from nsfw_app.records import (
    Background,
    Detail,
    ImageInfo,
    ImageWarning,
    JudgedImage,
    ModelIdentity,
    Prediction,
    Preview,
    Retain,
    Upload,
    WarningCode,
)
from nsfw_app.rules.permissions import Caller
from nsfw_app.rules.queue import Admission
from nsfw_app.store.arrivals import Arrival, add_arrival
from nsfw_app.store.connections import Connections, now
from nsfw_app.store.detail_rows import DETAIL
from nsfw_app.store.previews import PreviewFiles
from nsfw_app.store.queue_entries import ReviewQueue
from nsfw_app.store.submissions import Submissions
from nsfw_app.store.visibility import Visibility

FIRST_UPLOAD = """
select * from uploads where image_sha256 = :sha256 order by queues desc, id limit 1
"""

# These are run for each image that arrives. `Table.insert` of sqlite-utils would run three times as
# many statements in the transaction for which all other writers wait.
ADD_IMAGE = """
insert into images (sha256, format, width, height, size_bytes, frames, placeholder,
  perceptual_hash, first_seen_at, warnings, incomplete)
values (:sha256, :format, :width, :height, :size_bytes, :frames, :placeholder,
  :perceptual_hash, :first_seen_at, :warnings, :incomplete)
on conflict (sha256) do update set warnings = excluded.warnings, incomplete = excluded.incomplete
  where (warnings, incomplete) is not (excluded.warnings, excluded.incomplete)
"""
ADD_PREDICTION = """
insert into predictions (image_sha256, model, revision, backend, weights_sha256, probabilities,
  nsfw_score, frame, "ground", predicted_at)
values (:image_sha256, :model, :revision, :backend, :weights_sha256, :probabilities,
  :nsfw_score, :frame, :background, :predicted_at)
on conflict (image_sha256, model, revision, backend) do nothing returning id
"""
PREDICTION_ID = """
select id from predictions where image_sha256 = :image_sha256 and model = :model
  and revision = :revision and backend = :backend
"""
ARRIVED = "exists (select 1 from arrivals a where a.prediction_id = p.id)"
# A detail model's prediction is not the latest of its frame.
SUPERSEDED = """
id < (
  select max(id) from detail_predictions where image_sha256 = :image_sha256 and frame = :frame
    and background = :background
)
"""
# A prediction, its image, and what the detail model computed last for the same frame.
STORED = f"""
select i.*, p.*, {ARRIVED} as arrived, d.id as detail_id, d.model as detail_model,
  d.revision as detail_revision, d.backend as detail_backend,
  d.weights_sha256 as detail_weights_sha256, d.probabilities as detail_probabilities
from predictions p join images i on i.sha256 = p.image_sha256
  left {DETAIL}
"""


class Catalog:
    """Reads and adds images, predictions and uploads.

    Args:
        connections: The database.
        files: The preview files.
        visibility: Which callers may see an image.
        queue: Where images enter the queue.
        submissions: Where submissions of programs are added.
        detail_categories: Which labels of the detail model belong to which categories.
    """

    def __init__(
        self,
        connections: Connections,
        files: PreviewFiles,
        *,
        visibility: Visibility,
        queue: ReviewQueue,
        submissions: Submissions,
        detail_categories: CategoryMap = BY_CARD,
    ) -> None:
        self._connections = connections
        self._files = files
        self._visibility = visibility
        self._queue = queue
        self._submissions = submissions
        self._detail_categories = detail_categories

    def find(
        self,
        image_sha256: str,
        identity: ModelIdentity,
        *,
        backends: frozenset[str] = frozenset(),
    ) -> JudgedImage | None:
        """The stored prediction of an image by a model.

        Args:
            image_sha256: The image.
            identity: The model, its revision and its backend.
            backends: Other backends whose predictions count as the same. Of several predictions
                one with decisions comes first, then the oldest.
        """
        row = self._connections.row(
            f"""
            {STORED}
            where p.image_sha256 = :sha256 and p.model = :model and p.revision = :revision
              and p.backend in (select value from json_each(:backends))
            order by exists (select 1 from decisions d where d.prediction_id = p.id) desc, p.id
            limit 1
            """,
            {
                "sha256": image_sha256,
                "model": identity.model,
                "revision": identity.revision,
                "backends": json.dumps([identity.backend, *backends]),
            },
        )
        return row and self._stored(row)

    def get(self, prediction_id: int) -> JudgedImage:
        """A prediction and its image.

        Raises:
            NotFound: There is none.
        """
        row = self._connections.row(f"{STORED} where p.id = ?", (prediction_id,))
        if row is None:
            raise NotFound(f"There is no prediction {prediction_id}.")
        return self._stored(row)

    def has_other_frame(self, prediction: Prediction) -> bool:
        """Whether the image has a prediction of another frame, or on another background."""
        return bool(
            self._connections.row(
                """
                select 1 from predictions
                where image_sha256 = ? and (frame <> ? or "ground" <> ?) limit 1
                """,
                (prediction.image_sha256, prediction.frame, prediction.background),
            )
        )

    def find_detail(
        self, prediction: Prediction, identity: ModelIdentity, *, backends: frozenset[str]
    ) -> Detail | None:
        """What a detail model computed for the frame of a prediction, the latest of it.

        Where another model judged the frame since, it has no `row_id`: `record` stores it again,
        as the latest, which is the one that counts.

        Args:
            prediction: That of the first model.
            identity: The detail model, its revision and its backend.
            backends: Other backends whose predictions count as the same.
        """
        row = self._connections.row(
            """
            select model as detail_model, revision as detail_revision,
              backend as detail_backend, weights_sha256 as detail_weights_sha256,
              probabilities as detail_probabilities,
              iif(id = (
                select max(id) from detail_predictions same
                where same.image_sha256 = found.image_sha256 and same.frame = found.frame
                  and same.background = found.background
              ), id, 0) as detail_id
            from detail_predictions found
            where image_sha256 = :sha256 and frame = :frame and background = :background
              and model = :model and revision = :revision
              and backend in (select value from json_each(:backends))
            order by id desc limit 1
            """,
            {
                "sha256": prediction.image_sha256,
                "frame": prediction.frame,
                "background": prediction.background,
                "model": identity.model,
                "revision": identity.revision,
                "backends": json.dumps([identity.backend, *backends]),
            },
        )
        return row and self._detail(row)

    def name(self, image_sha256: str) -> str:
        """An image's name for reviewers who did not upload it; its hash without any upload.

        It is the name of the first upload by a caller who may put images into the queue. Later
        uploads of the same bytes, by anyone and under any name, do not change it.
        """
        row = self._connections.row(FIRST_UPLOAD, {"sha256": image_sha256})
        return str(row["name"]) if row else image_sha256

    def record(
        self,
        image: JudgedImage,
        upload: Upload | None = None,
        *,
        jpeg: bytes | None = None,
        arrival: Arrival | None = None,
        admission: Admission | None = None,
    ) -> JudgedImage:
        """Store what is kept of an image, in one transaction: rows and preview file, or nothing.

        Args:
            image: Without a `prediction_id`, its facts and prediction are stored first. Those
                stored before stay, except warnings: those of the latest decoding count.
                The same is true of the prediction of the detail model.
            upload: Added as a row; None adds none.
            jpeg: The preview file, stored with the placeholder unless one is there; None for none.
            arrival: How the image arrives, stored the first time; None where it may not enter the
                queue as one that arrives.
            admission: Why an image enters the queue that does not arrive, such as one of a data
                set: it is no part of what is estimated about those that do.

        Returns:
            The image with its prediction id, and its submission id where the upload is one.

        Raises:
            StorageError: Nothing was stored.
        """
        sha256, submission_id, added = image.info.sha256, None, False
        with self._files.staged(sha256, jpeg) if jpeg is not None else nullcontext() as place:
            try:
                with self._connections.writing(background=True) as db:
                    prediction_id = image.prediction_id or _add_prediction(db, image)
                    detail = _added_detail(db, image)
                    if upload is not None:
                        _add_upload(db, sha256, upload)
                    if place is not None:
                        _set_preview(db, sha256, image.preview)
                    if place is not None and not self._files.has(sha256):
                        place()  # before the commit, so that no row lacks its preview
                        added = True
                    if arrival is not None:
                        add_arrival(db, prediction_id, arrival)
                        admission = arrival.admission
                    if admission is not None and admission.reason is not None:
                        self._queue.enter(db, prediction_id, admission)
                        if upload is not None and upload.retain is Retain.SUBMISSION:
                            submission_id = self._submissions.add(db, prediction_id, upload)
            except BaseException:
                if added:
                    self._files.remove(sha256)
                raise
        return replace(
            image, prediction_id=prediction_id, submission_id=submission_id, detail=detail
        )

    def preview(self, image_sha256: str) -> Preview:
        """The preview record of an image.

        Raises:
            NotFound: There is no such image.
        """
        row = self._connections.row(
            "select placeholder, perceptual_hash from images where sha256 = ?", (image_sha256,)
        )
        if row is None:
            raise NotFound(f"There is no image {image_sha256}.")
        return Preview(bytes(row["placeholder"]), row["perceptual_hash"])

    def upload(
        self, image_sha256: str, caller: Caller, name: str = "", batch_id: str = ""
    ) -> sqlite3.Row | None:
        """The row of an upload of this image, or None where the caller may not see any.

        It is one of the caller's own, or the one that names the image for reviewers, see `name`.
        Preferred are uploads of that name, then their own, then of that batch, then the latest.
        """
        if not self._visibility.is_visible(image_sha256, caller):
            return None
        row: sqlite3.Row | None = self._connections.row(
            f"""
            select * from uploads where image_sha256 = :sha256
              and (owner is :owner or id = (select id from ({FIRST_UPLOAD})))
            order by name = :name desc, owner is :owner desc, batch_id = :batch_id desc, id desc
            limit 1
            """,
            {
                "sha256": image_sha256,
                "owner": caller.owner,
                "name": name,
                "batch_id": batch_id,
            },
        )
        return row

    def owns(self, image_sha256: str, caller: Caller) -> bool:
        """Whether this caller uploaded an image."""
        row = self._connections.row(
            "select 1 from uploads where image_sha256 = ? and owner = ? limit 1",
            (image_sha256, caller.owner),
        )
        return row is not None

    def _stored(self, row: Any) -> JudgedImage:
        info = ImageInfo(
            sha256=row["sha256"],
            format=row["format"],
            width=row["width"],
            height=row["height"],
            size_bytes=row["size_bytes"],
            frames=row["frames"],
            warnings=tuple(
                ImageWarning(WarningCode(code), message)
                for code, message in json.loads(row["warnings"])
            ),
            incomplete=bool(row["incomplete"]),
        )
        probabilities = json.loads(row["probabilities"])
        prediction = Prediction(
            row["image_sha256"],
            _identity(row),
            probabilities,
            row["nsfw_score"],
            row["frame"],
            Background(row["ground"]),
            BY_CARD.judge(row["model"], probabilities),
        )
        preview = Preview(bytes(row["placeholder"]), row["perceptual_hash"])
        return JudgedImage(
            info,
            prediction,
            preview,
            row["id"],
            arrived=bool(row["arrived"]),
            detail=None if row["detail_id"] is None else self._detail(row),
        )

    def _detail(self, row: Any) -> Detail:
        """What the detail model computed, from columns as `STORED` has them."""
        probabilities = json.loads(row["detail_probabilities"])
        return Detail(
            row["detail_model"],
            _identity(row, "detail_"),
            probabilities,
            self._detail_categories.judge(row["detail_model"], probabilities),
            row_id=row["detail_id"],
        )


def _add_prediction(db: Database, image: JudgedImage) -> int:
    """Insert an image and its prediction where they are missing; the prediction's id."""
    info, prediction, identity = image.info, image.prediction, image.prediction.identity
    db.execute(
        ADD_IMAGE,
        {
            "sha256": info.sha256,
            "format": info.format,
            "width": info.width,
            "height": info.height,
            "size_bytes": info.size_bytes,
            "frames": info.frames,
            "placeholder": image.preview.placeholder,
            "perceptual_hash": image.preview.perceptual_hash,
            "first_seen_at": now(),
            "warnings": json.dumps([[warning.code, warning.message] for warning in info.warnings]),
            "incomplete": info.incomplete,
        },
    )
    values = {
        "image_sha256": prediction.image_sha256,
        "model": identity.model,
        "revision": identity.revision,
        "backend": identity.backend,
        "weights_sha256": identity.weights_sha256,
        "probabilities": json.dumps(dict(prediction.probabilities)),
        "nsfw_score": prediction.nsfw_score,
        "frame": prediction.frame,
        "background": prediction.background,
        "predicted_at": now(),
    }
    added = db.execute(ADD_PREDICTION, values).fetchone()
    return int((added or db.execute(PREDICTION_ID, values).fetchone())["id"])


def _added_detail(db: Database, image: JudgedImage) -> Detail | None:
    """What the detail model computed, with the id of its row, which is the latest of the frame."""
    prediction, detail = image.prediction, image.detail
    if detail is None or detail.identity is None or detail.row_id:
        return detail
    identity = detail.identity
    values = {
        "image_sha256": prediction.image_sha256,
        "frame": prediction.frame,
        "background": prediction.background,
        "model": identity.model,
        "revision": identity.revision,
        "backend": identity.backend,
    }
    computed = {
        "weights_sha256": identity.weights_sha256,
        "probabilities": json.dumps(dict(detail.probabilities)),
        "predicted_at": now(),
    }
    condition = " and ".join(f"{name} = :{name}" for name in values)
    db.execute(f"delete from detail_predictions where {condition} and {SUPERSEDED}", values)
    db.table("detail_predictions").insert(values | computed, ignore=True)
    row = db.execute(f"select id from detail_predictions where {condition}", values).fetchone()
    return replace(detail, row_id=int(row["id"]))


def _add_upload(db: Database, image_sha256: str, upload: Upload) -> None:
    db.execute(
        """
        insert into uploads (image_sha256, owner, name, source, batch_id, uploaded_at, queues)
        values (?, ?, ?, ?, ?, ?, ?)
        """,
        (
            image_sha256,
            upload.owner,
            upload.name.encode("utf-8", "replace").decode(),
            upload.source,
            upload.batch_id,
            now(),
            upload.retain.queues,
        ),
    )


def _set_preview(db: Database, image_sha256: str, preview: Preview) -> None:
    db.execute(
        "update images set placeholder = ?, perceptual_hash = ? where sha256 = ?",
        (preview.placeholder, preview.perceptual_hash, image_sha256),
    )


def _identity(row: Any, prefix: str = "") -> ModelIdentity:
    names = ("model", "revision", "weights_sha256", "backend")
    return ModelIdentity(*(row[prefix + name] for name in names))
