"""Columns of predictions of both models, from which the categories of an image are computed."""

import json
from typing import Any

from nsfw_app.models.categories import BY_CARD, CategoryMap
from nsfw_app.records import Category

# The latest prediction `d` of the detail model for the frame of a prediction `p`.
DETAIL = """
join detail_predictions d on d.id = (
  select max(id) from detail_predictions same where same.image_sha256 = p.image_sha256
    and same.frame = p.frame and same.background = p."ground"
)
"""
JUDGED = """
p.model, p.probabilities, d.model as detail_model, d.probabilities as detail_probabilities
"""


def judged_categories(row: Any, detail_categories: CategoryMap) -> dict[Category, float]:
    """The categories that the models of a row judged; where both did, the detail model's value.

    Args:
        row: Has the columns `JUDGED`.
        detail_categories: Which labels of the detail model belong to which categories.
    """
    found = BY_CARD.judge(row["model"], json.loads(row["probabilities"]))
    if row["detail_model"] is not None:
        probabilities = json.loads(row["detail_probabilities"])
        found |= detail_categories.judge(row["detail_model"], probabilities)
    return {category: found[category] for category in Category if category in found}
