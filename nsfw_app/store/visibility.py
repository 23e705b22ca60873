"""Visibility: which callers may see an image and its preview."""

from nsfw_app.rules.permissions import Caller, Permission
from nsfw_app.store.connections import Connections
from nsfw_app.store.label_imports import IMPORTED
from nsfw_app.store.restrictions import RESTRICTED

IMAGE_VISIBLE = f"""
select :manages or not {RESTRICTED.format(image=":sha256")} and (
  exists (select 1 from uploads where image_sha256 = :sha256 and owner = :owner)
  or (:reviews and exists (
    select 1 from predictions p where p.image_sha256 = :sha256 and (
      exists (select 1 from queue q where q.prediction_id = p.id and q.settled_at is null)
      or exists (
        select 1 from standing_answers a
        where a.prediction_id = p.id and (
          a.reviewer = :reviewer
          or a.label not in ('unsure', a.model_label) and not {IMPORTED.format(row="a")}
        )
      )
    )
  ))
)
"""


class Visibility:
    """Decides which callers may see which images."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def is_visible(self, image_sha256: str, caller: Caller) -> bool:
        """Whether this caller may see an image and its preview.

        - Its owners and administrators may.
        - Reviewers may while it waits in the queue, after their own decision, and when any
          standing decision of a reviewer about it is a disagreement.
        - A restricted image is for administrators only.
        """
        row = self._connections.row(
            IMAGE_VISIBLE,
            {
                "sha256": image_sha256,
                "owner": caller.owner,
                "reviewer": caller.name,
                "reviews": caller.may(Permission.REVIEW),
                "manages": caller.may(Permission.MANAGE),
            },
        )
        return bool(row[0])
