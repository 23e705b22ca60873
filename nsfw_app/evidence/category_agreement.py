"""Categories that reviewers name: how they agree with each other, and with the models.

- Only decisions that were asked about categories count. One that was not asked says nothing: it is
  no decision for none of them.
- Of several decisions of a reviewer about an image the latest counts, if it was asked.
- A model is compared with the categories that more than half of an image's reviewers name. That is
  a count of decided images, unweighted: people chose many of them, and a detail model that is asked
  about flagged images only has judged no others.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nsfw_app.evidence.decisions import NOT_ASKED, Decisions, bit_of
from nsfw_app.evidence.metrics import Confusion, Share, confusion
from nsfw_app.evidence.reviewer_agreement import (
    ReviewerAgreement,
    SharedImages,
    latest_decisions,
)
from nsfw_app.records import Category, CategoryRule

# The probability of each category that models judged, by the id of a prediction.
Judged = Mapping[int, Mapping[Category, float]]


@dataclass(frozen=True, slots=True)
class CategoryComparison:
    """The models' probabilities of a category at its rule's threshold, against reviewers.

    The category is the positive class. Images whose probability no model judged are left out.
    """

    rule: CategoryRule
    confusion: Confusion


@dataclass(frozen=True, slots=True)
class CategoryRecord:
    """Agreement about one category.

    - `named` is how many decisions name it, of those that count.
    - `comparison` is None where the policy has no rule of this category.
    """

    category: Category
    named: Share
    agreement: ReviewerAgreement
    comparison: CategoryComparison | None


@dataclass(frozen=True, slots=True)
class CategoryAgreement:
    """Agreement about each category, over the decisions that were asked.

    - `decisions` count, about `images`; `not_asked` decisions do not.
    """

    decisions: int
    not_asked: int
    images: int
    categories: list[CategoryRecord]


def category_agreement(
    found: Decisions,
    rules: Iterable[CategoryRule],
    judged: Callable[[list[int]], Judged],
    *,
    reviewer: str | None = None,
) -> CategoryAgreement:
    """Agreement of reviewers with each other and with the models, by category.

    Args:
        found: Decisions of all reviewers.
        rules: Those of the policy in force.
        judged: The categories of predictions, by their ids.
        reviewer: Whose pairs are listed; None for all.
    """
    latest = latest_decisions(found)
    asked = latest[found.categories[latest] != NOT_ASKED]
    bits = found.categories[asked]
    names, first, places, reviewers = np.unique(
        found.images[asked], return_index=True, return_inverse=True, return_counts=True
    )
    rule_of = {rule.category: rule for rule in rules}
    ids = found.prediction_ids[asked[first]].tolist()
    known = judged(ids) if rule_of and ids else {}
    shared = SharedImages(found, asked)
    records = []
    for category in Category:
        named = (bits & bit_of(category)) > 0
        rule, votes = rule_of.get(category), np.bincount(places[named], minlength=len(names))
        records.append(
            CategoryRecord(
                category,
                Share(int(named.sum()), len(asked)),
                shared.agreement(named, size=2, reviewer=reviewer),
                None if rule is None else _compared(rule, ids, 2 * votes > reviewers, known),
            )
        )
    return CategoryAgreement(len(asked), len(latest) - len(asked), len(names), records)


def _compared(
    rule: CategoryRule, ids: list[int], settled: NDArray[np.bool_], judged: Judged
) -> CategoryComparison:
    """Compare one category; `ids` and `settled` are of the images."""
    scores = [judged.get(each, {}).get(rule.category) for each in ids]
    chosen = np.array([score is not None for score in scores], bool)
    values = np.array([score for score in scores if score is not None])
    return CategoryComparison(rule, confusion(settled[chosen], values, threshold=rule.threshold))
