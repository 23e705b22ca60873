"""Counts of a period: images that arrived, predictions, decisions, and how reviewers agreed.

A period is from one time up to, but without, another, both as `utc` writes them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from nsfw_app.models.categories import BY_CARD, CategoryMap
from nsfw_app.records import Category, Label, ModelIdentity
from nsfw_app.store.connections import Connections
from nsfw_app.store.detail_rows import DETAIL, JUDGED, judged_categories
from nsfw_app.store.label_imports import IMPORTED
from nsfw_app.store.standing_decisions import LabelCount

HAS_RULES = "select 1 from policies where category_rules <> '[]' limit 1"


@dataclass(frozen=True, slots=True)
class Period:
    """From `since` up to, but without, `until`."""

    since: str
    until: str


class ArrivedScore(NamedTuple):
    """An image that arrived: what its action is computed from; no categories without rules."""

    model: str
    source: str
    policy_version: int
    nsfw_score: float
    incomplete: bool
    is_detailed: bool  # whether a detail model judged it
    categories: Mapping[Category, float]


@dataclass(frozen=True, slots=True)
class ModelUse:
    """Predictions of a model in a period."""

    identity: ModelIdentity
    predictions: int
    first_at: str
    last_at: str


@dataclass(frozen=True, slots=True)
class EntryCount:
    """Queue entries of a reason that entered in a period, and what they settled on until now."""

    reason: str
    entered: int
    settled_nsfw: int
    settled_normal: int
    settled_unsure: int
    withdrawn: int
    waiting: int


class PeriodCounts:
    """Counts what happened in a period.

    Args:
        connections: The database.
        detail_categories: Which labels of the detail model belong to which categories.
    """

    def __init__(self, connections: Connections, detail_categories: CategoryMap = BY_CARD) -> None:
        self._connections = connections
        self._detail_categories = detail_categories

    def arrivals(self, period: Period) -> Iterator[ArrivedScore]:
        """The images that arrived, in order of arrival."""
        rows = self._connections.db.execute(
            f"""
            select {JUDGED}, a.source, a.policy_version, p.nsfw_score, i.incomplete
            from arrivals a join predictions p on p.id = a.prediction_id
              join images i on i.sha256 = p.image_sha256 left {DETAIL}
            where a.arrived_at >= ? and a.arrived_at < ? order by a.id
            """,
            (period.since, period.until),
        )
        has_rules = self._connections.row(HAS_RULES) is not None
        for row in rows:
            yield ArrivedScore(
                row["model"],
                row["source"],
                row["policy_version"],
                row["nsfw_score"],
                bool(row["incomplete"]),
                row["detail_model"] is not None,
                judged_categories(row, self._detail_categories) if has_rules else {},
            )

    def models(self, period: Period) -> list[ModelUse]:
        """The models that made predictions, the one with the most first."""
        rows = self._connections.db.execute(
            """
            select model, revision, weights_sha256, backend, count(*) as predictions,
              min(predicted_at), max(predicted_at)
            from predictions where predicted_at >= ? and predicted_at < ?
            group by 1, 2, 3, 4 order by predictions desc, 1, 2, 3, 4
            """,
            (period.since, period.until),
        )
        return [ModelUse(ModelIdentity(*row[:4]), *row[4:]) for row in rows]

    def decisions(self, period: Period) -> dict[str, dict[Label, int]]:
        """The standing decisions made in it, by reviewer and label."""
        found: dict[str, dict[Label, int]] = {}
        rows = self._connections.db.execute(
            f"""
            select reviewer, label, count(*) from standing_decisions d
            where decided_at >= ? and decided_at < ? and not {IMPORTED.format(row="d")}
            group by 1, 2 order by 1, 2
            """,
            (period.since, period.until),
        )
        for reviewer, label, count in rows:
            found.setdefault(reviewer, dict.fromkeys(Label, 0))[Label(label)] = count
        return found

    def imported(self, period: Period) -> int:
        """How many labels were imported in it that stand; no other count of decisions has them."""
        row = self._connections.row(
            f"""
            select count(*) from standing_decisions d
            where decided_at >= ? and decided_at < ? and {IMPORTED.format(row="d")}
            """,
            (period.since, period.until),
        )
        return int(row[0])

    def shared(self, period: Period) -> list[LabelCount]:
        """How many images have which numbers of decisions made in it, two or more in all."""
        rows = self._connections.db.execute(
            f"""
            select normal, nsfw, unsure, count(*) from (
              select sum(label = 'normal') as normal, sum(label = 'nsfw') as nsfw,
                sum(label = 'unsure') as unsure
              from (
                select p.image_sha256, s.reviewer, s.label, row_number() over (
                  partition by p.image_sha256, s.reviewer order by s.decision_id desc
                ) as number
                from standing_decisions s join predictions p on p.id = s.prediction_id
                where s.decided_at >= ? and s.decided_at < ? and not {IMPORTED.format(row="s")}
              )
              where number = 1 group by image_sha256 having count(*) > 1
            ) group by 1, 2, 3 order by 1, 2, 3
            """,
            (period.since, period.until),
        )
        return [LabelCount(*row) for row in rows]

    def entries(self, period: Period) -> list[EntryCount]:
        """Queue entries that entered in it, by reason."""
        rows = self._connections.db.execute(
            f"""
            select reason, count(*),
              sum(settled_at is not null and settled_label = '{Label.NSFW}'),
              sum(settled_at is not null and settled_label = '{Label.NORMAL}'),
              sum(settled_at is not null and settled_label = '{Label.UNSURE}'),
              sum(settled_at is not null and settled_label is null),
              sum(settled_at is null)
            from queue where entered_at >= ? and entered_at < ? group by 1 order by 1
            """,
            (period.since, period.until),
        )
        return [EntryCount(row[0], *(number or 0 for number in row[1:])) for row in rows]
