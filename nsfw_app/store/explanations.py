"""Explanations of scores, one for each prediction.

- They are kept as long as the preview of the image, and never for a restricted one.
- They are not saved in a dataset repository: they can be computed again.
"""

import json
from collections.abc import Mapping
from typing import Any

from nsfw_app.store.connections import Connections, Durability, now
from nsfw_app.store.restrictions import RESTRICTED

# SQL condition: the explanations of the images in the JSON list :images.
OF_IMAGES = """
prediction_id in (
  select id from predictions where image_sha256 in (select value from json_each(:images))
)
"""
KEEP = f"""
insert or replace into explanations
select p.id, :version, :explanation, :moment
from predictions p join images i on i.sha256 = p.image_sha256
where p.id = :prediction_id and i.placeholder <> x''
  and not {RESTRICTED.format(image="i.sha256")}
"""


class Explanations:
    """Finds and adds explanations.

    Args:
        connections: The database.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def find(self, prediction_id: int, *, version: int) -> dict[str, Any] | None:
        """The explanation of a prediction by this version of the methods, or None."""
        row = self._connections.row(
            "select explanation from explanations where prediction_id = ? and version = ?",
            (prediction_id, version),
        )
        found: dict[str, Any] | None = row and json.loads(row["explanation"])
        return found

    def add(self, prediction_id: int, explanation: Mapping[str, Any], *, version: int) -> None:
        """Keep an explanation, unless no preview of its image is kept or it is restricted.

        Raises:
            StorageError: It was not stored.
        """
        with self._connections.writing(Durability.CRASH) as db:
            db.execute(
                KEEP,
                {
                    "prediction_id": prediction_id,
                    "version": version,
                    "explanation": json.dumps(explanation),
                    "moment": now(),
                },
            )
