"""Galleries: uploads of one owner under one batch id."""

from dataclasses import dataclass

from nsfw_app.store.connections import Connections

BATCHES = """
select batch_id, max(id) as last_id, min(id) as first_id from uploads
where owner = :owner and batch_id <> '' group by batch_id order by last_id desc limit :limit
"""
GALLERIES = f"""
select b.batch_id,
  (select name from uploads where id = b.first_id) as name,
  count(distinct u.image_sha256) as images,
  count(distinct case when i.placeholder <> x'' then u.image_sha256 end) as kept,
  min(u.uploaded_at) as first_at, max(u.uploaded_at) as last_at
from ({BATCHES}) b cross join uploads u on u.owner = :owner and u.batch_id = b.batch_id
  join images i on i.sha256 = u.image_sha256
group by b.batch_id order by b.last_id desc
"""
# Each image once, under the name it first had there, with the prediction of the wanted model where
# there is one, else with the latest.
IMAGES = """
select u.image_sha256, u.name, (
  select p.id from predictions p where p.image_sha256 = u.image_sha256
  order by p.model = :model and p.revision = :revision and p.backend = :backend desc, p.id desc
  limit 1
) as prediction_id
from uploads u where u.id in (
  select min(id) from uploads where owner = :owner and batch_id = :batch_id and batch_id <> ''
  group by image_sha256
)
order by u.id
"""


@dataclass(frozen=True, slots=True)
class Gallery:
    """Images that were uploaded together.

    - `name` is that of the first file.
    - `kept` is how many of the images have a preview.
    """

    batch_id: str
    name: str
    images: int
    kept: int
    first_at: str
    last_at: str


@dataclass(frozen=True, slots=True)
class GalleryImage:
    """An image of a gallery, and its prediction."""

    image_sha256: str
    name: str
    prediction_id: int


class Galleries:
    """Lists an owner's galleries and their images."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def latest(self, owner: str, *, limit: int) -> list[Gallery]:
        """An owner's galleries, the one with the latest upload first."""
        rows = self._connections.db.execute(GALLERIES, {"owner": owner, "limit": limit})
        return [Gallery(*row) for row in rows]

    def images(
        self, owner: str, batch_id: str, *, model: str, revision: str, backend: str
    ) -> list[GalleryImage]:
        """The images of a gallery in the order of their upload; none where it is not the owner's.

        Args:
            owner: Who uploaded them.
            batch_id: The gallery.
            model: The model whose prediction is preferred, with its revision and backend.
            revision: See `model`.
            backend: See `model`.
        """
        rows = self._connections.db.execute(
            IMAGES,
            {
                "owner": owner,
                "batch_id": batch_id,
                "model": model,
                "revision": revision,
                "backend": backend,
            },
        )
        return [GalleryImage(*row) for row in rows]
