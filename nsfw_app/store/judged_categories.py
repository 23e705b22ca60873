"""Categories of stored predictions: what the labels of both models say about them now.

- Probabilities of labels are stored, those of categories are not: another mapping of labels to
  categories changes these, without a model that runs again.
- Where both models judge a category, the detail model's probability counts.
"""

import json
from collections.abc import Sequence
from typing import Any

from nsfw_app.decision import Decision
from nsfw_app.models.categories import BY_CARD, CategoryMap
from nsfw_app.records import Category
from nsfw_app.store.connections import Connections
from nsfw_app.store.detail_rows import DETAIL

PREDICTIONS = f"""
select p.id, p.image_sha256, p.model, p.revision, p.backend, p.probabilities,
  d.model as detail_model, d.probabilities as detail_probabilities
from predictions p left {DETAIL}
"""
OF_IMAGES = f"""
{PREDICTIONS} where p.image_sha256 in (select value from json_each(?))
"""
OF_IDS = f"{PREDICTIONS} where p.id in (select value from json_each(?))"


class JudgedCategories:
    """Reads categories.

    Args:
        connections: The database.
        detail_categories: Which labels of the detail model belong to which categories.
    """

    def __init__(self, connections: Connections, detail_categories: CategoryMap) -> None:
        self._connections = connections
        self._detail_categories = detail_categories

    def of(self, prediction_ids: Sequence[int]) -> dict[int, dict[Category, float]]:
        """The categories of predictions, by their ids; empty where no model judged any."""
        rows = self._connections.db.execute(OF_IDS, (json.dumps(list(prediction_ids)),))
        return {row["id"]: self._judged(row) for row in rows}

    def of_decisions(self, decisions: Sequence[Decision]) -> list[dict[Category, float] | None]:
        """The categories of the predictions that decisions are about; None without any."""
        images = json.dumps([decision.image_sha256 for decision in decisions])
        rows = self._connections.db.execute(OF_IMAGES, (images,))
        found = {_key(row): self._judged(row) for row in rows}
        return [
            found.get((made.image_sha256, made.model, made.revision, made.backend)) or None
            for made in decisions
        ]

    def _judged(self, row: Any) -> dict[Category, float]:
        found = BY_CARD.judge(row["model"], json.loads(row["probabilities"]))
        if row["detail_model"] is not None:
            probabilities = json.loads(row["detail_probabilities"])
            found |= self._detail_categories.judge(row["detail_model"], probabilities)
        return {category: found[category] for category in Category if category in found}


def _key(row: Any) -> tuple[str, str, str, str]:
    return row["image_sha256"], row["model"], row["revision"], row["backend"]
