"""Decisions of a period, counted for the Insights tab: `GET /desk/insights/decisions`."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query

from nsfw_app.evidence.category_agreement import (
    CategoryAgreement,
    CategoryComparison,
    category_agreement,
)
from nsfw_app.evidence.decision_counts import count_decisions, count_people
from nsfw_app.evidence.metrics import Share, wilson_interval
from nsfw_app.evidence.reviewer_agreement import ReviewerAgreement, agreement
from nsfw_app.evidence.summaries import Summaries
from nsfw_app.review.engine import Engine
from nsfw_app.web.auth.callers import Reader
from nsfw_app.web.page.evidence import DecisionParameters


def decision_count_routes(engine: Engine, summaries: Summaries) -> APIRouter:
    """`GET /desk/insights/decisions`."""
    router = APIRouter()

    @router.get("/insights/decisions")
    def counted(_: Reader, query: Annotated[DecisionParameters, Query()]) -> dict[str, Any]:
        """Counts against the model's label, by reviewer and by week.

        - `agreement` of reviewers with each other; with a reviewer, the pairs of this one.
        - `categories`: the same for each category, over the decisions that were asked for them, and
          the models at the thresholds of the policy in force against the categories of reviewers.
        - `reviewers`: all whose decisions count, in any period.
        - What waits for another decision is hidden from some reviewers, and is counted for none.
        """
        classifier = engine.status.classifier
        identity = summaries.identity(
            query.model, loaded=classifier.identity if classifier else None
        )
        since = None if query.days is None else datetime.now(UTC) - timedelta(days=query.days)
        of_all = summaries.decisions(identity, since=since, source=query.source)
        found = (
            of_all
            if query.reviewer is None
            else summaries.decisions(
                identity, since=since, source=query.source, reviewer=query.reviewer
            )
        )
        people = count_people(found)
        return {
            "counts": asdict(count_decisions(found)),
            "people": [
                {**asdict(each), "with_others": _share_json(each.with_others)}
                for each in people.reviewers
            ],
            "weeks": [
                {**asdict(each), "with_others": _share_json(each.with_others)}
                for each in people.weeks
            ],
            "agreement": _agreement_json(agreement(of_all, reviewer=query.reviewer)),
            "categories": _categories_json(
                category_agreement(
                    of_all,
                    engine.policies.of(identity.model).category_rules,
                    summaries.judged_categories,
                    reviewer=query.reviewer,
                )
            ),
            "reviewers": summaries.reviewers(),
        }

    return router


def _share_json(share: Share) -> dict[str, Any]:
    return {"part": share.part, "whole": share.whole, "interval": wilson_interval(share)}


def _agreement_json(found: ReviewerAgreement) -> dict[str, Any]:
    return {
        "alpha": asdict(found.alpha),
        "pairs": [
            {"reviewers": [pair.first, pair.second], "kappa": asdict(pair.kappa)}
            for pair in found.pairs
        ],
        "all_pairs": found.all_pairs,
    }


def _categories_json(found: CategoryAgreement) -> dict[str, Any]:
    return {
        "decisions": found.decisions,
        "not_asked": found.not_asked,
        "images": found.images,
        "categories": [
            {
                "category": each.category,
                "named": _share_json(each.named),
                **_agreement_json(each.agreement),
                "comparison": each.comparison and _comparison_json(each.comparison),
            }
            for each in found.categories
        ],
    }


def _comparison_json(found: CategoryComparison) -> dict[str, Any]:
    counts = asdict(found.confusion)
    return {
        "threshold": found.rule.threshold,
        "action": found.rule.action,
        "judged": sum(counts.values()),
        "confusion": counts,
        "precision": _share_json(found.confusion.precision),
        "recall": _share_json(found.confusion.recall),
    }
