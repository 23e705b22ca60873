"""Images, what models said of them, who brought them, and the pictures kept for people."""

import json
import sqlite3
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nsfw_app.access import Caller, Permission
from nsfw_app.errors import NotFound
from nsfw_app.records import ImageInfo, ModelIdentity, Prediction, Upload
from nsfw_app.store.connections import Connections, now

VISIBLE = """
select :manages
  or exists (select 1 from uploads where image_sha256 = :sha256 and owner = :owner)
  or (:reviews and exists (
    select 1 from predictions p where p.image_sha256 = :sha256 and (
      exists (select 1 from queue q where q.prediction_id = p.id and q.settled_at is null)
      or exists (
        select 1 from standing_answers a
        where a.prediction_id = p.id and (a.reviewer = :reviewer or a.label <> a.model_label)
      )
    )
  ))
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """An image that was judged before."""

    info: ImageInfo
    prediction: Prediction
    prediction_id: int


class Catalog:
    """Images by their hash.

    Args:
        connections: The database.
        pictures_dir: Where pictures lie, by hash.
    """

    def __init__(self, connections: Connections, *, pictures_dir: Path) -> None:
        self._connections = connections
        self._pictures = pictures_dir
        pictures_dir.mkdir(parents=True, exist_ok=True, mode=0o700)

    def find(self, image_sha256: str, identity: ModelIdentity) -> Stored | None:
        """What this model said of this image earlier, if it did."""
        row = self._connections.row(
            """
            select i.*, p.* from predictions p join images i on i.sha256 = p.image_sha256
            where p.image_sha256 = ? and p.model = ? and p.revision = ? and p.backend = ?
            """,
            (image_sha256, identity.model, identity.revision, identity.backend),
        )
        return row and _stored(row)

    def get(self, prediction_id: int) -> Stored:
        """A prediction and its image.

        Raises:
            NotFound: There is none.
        """
        row = self._connections.row(
            "select i.*, p.* from predictions p join images i on i.sha256 = p.image_sha256 "
            "where p.id = ?",
            (prediction_id,),
        )
        if row is None:
            raise NotFound(f"No prediction {prediction_id} is known.")
        return _stored(row)

    def name(self, image_sha256: str) -> str:
        """What an image was called when it was uploaded last; its hash when it never was."""
        row = self._connections.row(
            "select name from uploads where image_sha256 = ? order by id desc limit 1",
            (image_sha256,),
        )
        return str(row["name"]) if row else image_sha256

    def add_prediction(
        self,
        info: ImageInfo,
        prediction: Prediction,
        *,
        placeholder: bytes,
        perceptual_hash: str = "",
    ) -> None:
        """Keep an image's facts and what a model said of it; what is there already stays."""
        with self._connections.writing() as db:
            db.table("images").insert(
                {
                    "sha256": info.sha256,
                    "format": info.format,
                    "width": info.width,
                    "height": info.height,
                    "size_bytes": info.size_bytes,
                    "frames": info.frames,
                    "placeholder": placeholder,
                    "perceptual_hash": perceptual_hash or None,
                    "first_seen_at": now(),
                },
                ignore=True,
            )
            db.table("predictions").insert(
                {
                    "image_sha256": prediction.image_sha256,
                    "model": prediction.identity.model,
                    "revision": prediction.identity.revision,
                    "backend": prediction.identity.backend,
                    "weights_sha256": prediction.identity.weights_sha256,
                    "probabilities": json.dumps(dict(prediction.probabilities)),
                    "nsfw_score": prediction.nsfw_score,
                    "frame": prediction.frame,
                    "predicted_at": now(),
                },
                ignore=True,
            )

    def add_upload(self, image_sha256: str, upload: Upload) -> None:
        """Remember who brought an image, and under which name."""
        with self._connections.writing() as db:
            db.table("uploads").insert(
                {
                    "image_sha256": image_sha256,
                    "owner": upload.owner,
                    "name": upload.name.encode("utf-8", "replace").decode(),
                    "source": upload.source,
                    "batch_id": upload.batch_id,
                    "uploaded_at": now(),
                }
            )

    def shows(self, image_sha256: str, caller: Caller) -> bool:
        """Whether this caller may see an image.

        Its owner may, whoever manages, and a reviewer while it waits in the queue, after they
        answered it, and when somebody disagreed with the model about it.
        """
        row = self._connections.row(
            VISIBLE,
            {
                "sha256": image_sha256,
                "owner": caller.owner,
                "reviewer": caller.name,
                "reviews": caller.may(Permission.REVIEW),
                "manages": caller.may(Permission.MANAGE),
            },
        )
        return bool(row[0])

    def placeholder(self, image_sha256: str) -> bytes:
        """The 24-pixel WebP of an image.

        Raises:
            NotFound: The image is not known.
        """
        row = self._connections.row(
            "select placeholder from images where sha256 = ?", (image_sha256,)
        )
        if row is None:
            raise NotFound(f"No image {image_sha256} is known.")
        return bytes(row["placeholder"])

    def perceptual_hash(self, image_sha256: str) -> str | None:
        """The hash of how an image looks; None for one judged before there was such a hash."""
        row = self._connections.row(
            "select perceptual_hash from images where sha256 = ?", (image_sha256,)
        )
        return str(row["perceptual_hash"]) if row and row["perceptual_hash"] else None

    def has_picture(self, image_sha256: str) -> bool:
        """Whether a picture is kept."""
        return self._picture_path(image_sha256).is_file()

    def add_picture(self, image_sha256: str, jpeg: bytes) -> None:
        """Keep a picture, whole or not at all."""
        path = self._picture_path(image_sha256)
        path.parent.mkdir(exist_ok=True, mode=0o700)
        part = path.with_suffix(f".{uuid.uuid4().hex}")
        try:
            part.write_bytes(jpeg)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def picture(self, image_sha256: str) -> bytes:
        """A kept picture, JPEG.

        Raises:
            NotFound: None is kept.
        """
        try:
            return self._picture_path(image_sha256).read_bytes()
        except FileNotFoundError:
            raise NotFound(f"No picture of {image_sha256} is kept.") from None

    def upload(
        self, image_sha256: str, caller: Caller, name: str = "", batch_id: str = ""
    ) -> sqlite3.Row | None:
        """The row of an upload of this image, or None where the caller may not see any.

        Of several one of the caller's own, then one of that name, of that batch, the latest.
        """
        if not self.shows(image_sha256, caller):
            return None
        row: sqlite3.Row | None = self._connections.row(
            """
            select * from uploads where image_sha256 = ?
            order by owner is ? desc, name = ? desc, batch_id = ? desc, id desc limit 1
            """,
            (image_sha256, caller.owner, name, batch_id),
        )
        return row

    def _picture_path(self, image_sha256: str) -> Path:
        if len(image_sha256) != 64 or not image_sha256.isalnum():
            raise NotFound("No such image.")
        return self._pictures / image_sha256[:2] / f"{image_sha256}.jpg"


def _stored(row: Any) -> Stored:
    info = ImageInfo(
        sha256=row["sha256"],
        format=row["format"],
        width=row["width"],
        height=row["height"],
        size_bytes=row["size_bytes"],
        frames=row["frames"],
    )
    prediction = Prediction(
        row["image_sha256"],
        ModelIdentity(row["model"], row["revision"], row["weights_sha256"], row["backend"]),
        json.loads(row["probabilities"]),
        row["nsfw_score"],
        row["frame"],
    )
    return Stored(info, prediction, row["id"])
