"""Settled categories of an image: those that more than half of its reviewers name.

- A reviewer counts with the latest standing decision about the image, if that one was asked for
  categories. Imported labels never are.
- Where no reviewer was asked the categories are None: nothing is known of them. An empty tuple says
  that no category has a majority.
"""

import json
from collections import Counter
from collections.abc import Sequence

from sqlite_utils import Database

from nsfw_app.records import Category

# The lists that the reviewers of an image named, as one JSON list; `image` is an SQL expression.
NAMED = """
select json_group_array(json(d.categories)) from image_labels_all l
  join standing_decisions s on s.prediction_id = l.prediction_id and s.reviewer = l.reviewer
  join decisions d on d.id = s.decision_id
where l.image_sha256 = {image} and d.categories is not null
"""
OF_PREDICTION = NAMED.format(image="(select image_sha256 from predictions where id = ?)")


def settled_categories(named: Sequence[Sequence[str]]) -> tuple[Category, ...] | None:
    """The settled categories, in the order of `Category`.

    Args:
        named: The list of each reviewer that was asked.
    """
    counts = Counter(name for names in named for name in names)
    return tuple(each for each in Category if 2 * counts[each] > len(named)) if named else None


def categories_of(db: Database, prediction_id: int) -> tuple[Category, ...] | None:
    """The settled categories of a prediction's image."""
    return settled_categories(json.loads(db.execute(OF_PREDICTION, (prediction_id,)).fetchone()[0]))
