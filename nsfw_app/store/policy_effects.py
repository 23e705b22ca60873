"""What a policy changes: how many images move between actions, and which entries it excludes.

- An image counts once: with its prediction by the model's revision and backend that run now.
- An entry is outside the new review band when it entered for review, no reviewer has decided on it,
  and the policy's action is another one. It can be withdrawn, which makes no decision.
- A withdrawal can be repeated: it affects the entries that are outside then.
- Where rules of categories count, images whose categories were judged are read one by one.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from nsfw_app.models.categories import BY_CARD, CategoryMap
from nsfw_app.records import Action, ModelIdentity, Policy
from nsfw_app.rules.policy import judge
from nsfw_app.rules.queue import PRIORITIES, QueueReason
from nsfw_app.store.audit import AuditAction, note
from nsfw_app.store.connections import Connections, now
from nsfw_app.store.detail_rows import DETAIL, JUDGED, judged_categories
from nsfw_app.store.states import webhooks_on_state_change

NOT_DETAILED = """
not exists (
  select 1 from detail_predictions d where d.image_sha256 = p.image_sha256
    and d.frame = p.frame and d.background = p."ground"
)
"""
# As `rules.policy.judge`, for the columns of a prediction; an image with missing pixels is never
# allowed, and neither is one that the detail model did not judge where the policy overrules that.
ACTION = f"""
case when p.nsfw_score >= :{{name}}_to then '{Action.BLOCK}'
  when p.nsfw_score >= :{{name}}_from or p.image_sha256 in incomplete
    or :{{name}}_overrules_allow and {NOT_DETAILED} then '{Action.REVIEW}'
  else '{Action.ALLOW}' end
"""
# The first condition is the cheapest; it leaves only scores that can move.
MOVES = f"""
with incomplete as (select sha256 from images where incomplete)
select {ACTION.format(name="old")} as before, {ACTION.format(name="new")} as after,
  count(*) as images
from predictions p
where (
    (p.nsfw_score >= :old_from) <> (p.nsfw_score >= :new_from)
    or (p.nsfw_score >= :old_to) <> (p.nsfw_score >= :new_to)
  )
  and p.model = :model and p.revision = :revision and p.backend = :backend
  and {{counted}}
group by 1, 2 having before <> after order by 3 desc, 1, 2
"""
ALL = "true"
# The columns of a prediction from which a policy judges it.
COLUMNS = f"""
{JUDGED}, p.nsfw_score,
  exists (select 1 from images i where i.sha256 = p.image_sha256 and i.incomplete) as incomplete
"""
WAITING = f"""
from queue q join predictions p on p.id = q.prediction_id
{{joined}}
where q.settled_at is null and q.decided_by = '' and q.reason = '{QueueReason.REVIEW}'
  and q.priority = {PRIORITIES[QueueReason.REVIEW]} and p.model = :model
"""
OUTSIDE = f"""
{WAITING.format(joined="")}
  and (q.nsfw_score >= :new_to or q.nsfw_score < :new_from
    and not exists (select 1 from images i where i.sha256 = p.image_sha256 and i.incomplete))
"""


@dataclass(frozen=True, slots=True)
class Move:
    """How many images move from one action to another."""

    before: Action
    after: Action
    images: int


@dataclass(frozen=True, slots=True)
class PolicyEffect:
    """The moves, the most images first, and how many waiting images are outside of the band."""

    moves: tuple[Move, ...]
    outside: int


class PolicyEffects:
    """Computes effects, and withdraws entries outside of the band.

    Args:
        connections: The database.
        detail_categories: Which labels of the detail model belong to which categories.
    """

    def __init__(self, connections: Connections, detail_categories: CategoryMap = BY_CARD) -> None:
        self._connections = connections
        self._detail_categories = detail_categories

    def effect(self, identity: ModelIdentity, *, old: Policy, new: Policy) -> PolicyEffect:
        """What changes when one policy replaces another. Reads every prediction of the model."""
        values = {
            "model": identity.model,
            "revision": identity.revision,
            "backend": identity.backend,
            **_band("old", old),
            **_band("new", new),
        }
        with self._connections.reading() as db:
            moves = self._moves(db, values, old, new)
            outside = len(self._outside(db, identity.model, new))
        ordered = sorted(moves.items(), key=lambda item: (-item[1], *item[0]))
        return PolicyEffect(
            tuple(Move(before, after, images) for (before, after), images in ordered), outside
        )

    def withdraw_outside_band(self, model: str, policy: Policy, *, actor: str) -> int:
        """Withdraw the entries outside of a policy's band, and audit it; return their number."""
        with self._connections.writing() as db, webhooks_on_state_change(db) as watch:
            entries = self._outside(db, model, policy)
            moment = now()
            for entry_id, prediction_id in entries:
                watch(prediction_id)
                db.execute(
                    "update queue set settled_at = ?, settled_label = null, leased_by = null "
                    "where id = ?",
                    (moment, entry_id),
                )
            note(
                db,
                actor,
                AuditAction.RELEASE,
                model,
                policy_version=policy.version,
                entries=len(entries),
            )
        return len(entries)

    def _moves(
        self, db: Database, values: dict[str, Any], old: Policy, new: Policy
    ) -> Counter[tuple[Action, Action]]:
        """The number of images by their actions before and after."""
        moves: Counter[tuple[Action, Action]] = Counter()
        counted = ALL
        if old.category_rules or new.category_rules:
            counted, judged = self._judged_one_by_one(db, values)
            for row in judged:
                before, after = self._action(row, old), self._action(row, new)
                moves[before, after] += before is not after
        for row in db.execute(MOVES.format(counted=counted), values):
            moves[Action(row["before"]), Action(row["after"])] += row["images"]
        return +moves

    def _judged_one_by_one(self, db: Database, values: dict[str, Any]) -> tuple[str, Iterator[Any]]:
        """The rows with categories, and the condition of those that SQL counts."""
        of_model = "p.model = :model and p.revision = :revision and p.backend = :backend"
        first = db.execute(f"select * from predictions p where {of_model} limit 1", values)
        row = first.fetchone()
        has_own = row is not None and bool(
            BY_CARD.of(row["model"], json.loads(row["probabilities"]))
        )
        joined = f"left {DETAIL}" if has_own else DETAIL
        rows = db.execute(f"select {COLUMNS} from predictions p {joined} where {of_model}", values)
        return ("false" if has_own else NOT_DETAILED), iter(rows)

    def _outside(self, db: Database, model: str, policy: Policy) -> list[tuple[int, int]]:
        """The entries outside of the band: their ids, and those of their predictions."""
        values = {"model": model, **_band("new", policy)}
        if not (policy.category_rules or policy.overrules_allow):
            rows = db.execute(f"select q.id, q.prediction_id {OUTSIDE}", values).fetchall()
            return [(row["id"], row["prediction_id"]) for row in rows]
        waiting = WAITING.format(joined=f"left {DETAIL}")
        rows = db.execute(f"select q.id, q.prediction_id, {COLUMNS} {waiting}", values).fetchall()
        return [
            (row["id"], row["prediction_id"])
            for row in rows
            if self._action(row, policy) is not Action.REVIEW
        ]

    def _action(self, row: Any, policy: Policy) -> Action:
        return judge(
            row["nsfw_score"],
            policy,
            incomplete=bool(row["incomplete"]),
            is_unjudged=row["detail_model"] is None,
            categories=judged_categories(row, self._detail_categories),
        ).action


def _band(name: str, policy: Policy) -> dict[str, Any]:
    return {
        f"{name}_from": policy.review_from,
        f"{name}_to": policy.review_to,
        f"{name}_overrules_allow": policy.overrules_allow,
    }
