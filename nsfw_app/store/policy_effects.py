"""What a policy changes: how many images move between actions, and which entries it excludes.

- An image counts once: with its prediction by the model's revision and backend that run now.
- An entry is outside the new review band when it entered for review, no reviewer has decided on it,
  and its score is not in the policy's band. It can be withdrawn, which makes no decision.
- A withdrawal can be repeated: it affects the entries that are outside then.
"""

from dataclasses import dataclass
from typing import Any

from nsfw_app.records import Action, ModelIdentity, Policy
from nsfw_app.rules.queue import PRIORITIES, QueueReason
from nsfw_app.store.audit import AuditAction, note
from nsfw_app.store.connections import Connections, now
from nsfw_app.store.states import webhooks_on_state_change

# As `rules.policy.judge`, for the columns of a prediction; an image with missing pixels is never
# allowed.
ACTION = f"""
case when p.nsfw_score >= :{{name}}_to then '{Action.BLOCK}'
  when p.nsfw_score >= :{{name}}_from or p.image_sha256 in incomplete then '{Action.REVIEW}'
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
group by 1, 2 having before <> after order by 3 desc, 1, 2
"""
OUTSIDE = f"""
from queue q join predictions p on p.id = q.prediction_id
where q.settled_at is null and q.decided_by = '' and q.reason = '{QueueReason.REVIEW}'
  and q.priority = {PRIORITIES[QueueReason.REVIEW]} and p.model = :model
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
    """Computes effects, and withdraws entries outside of the band."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

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
            moves = tuple(
                Move(Action(row["before"]), Action(row["after"]), row["images"])
                for row in db.execute(MOVES, values)
            )
            outside = db.execute(f"select count(*) as n {OUTSIDE}", values).fetchone()["n"]
        return PolicyEffect(moves, outside)

    def withdraw_outside_band(self, model: str, policy: Policy, *, actor: str) -> int:
        """Withdraw the entries outside of a policy's band, and audit it; return their number."""
        with self._connections.writing() as db, webhooks_on_state_change(db) as watch:
            entries = db.execute(
                f"select q.id, q.prediction_id {OUTSIDE}", {"model": model, **_band("new", policy)}
            ).fetchall()
            moment = now()
            for entry in entries:
                watch(entry["prediction_id"])
                db.execute(
                    "update queue set settled_at = ?, settled_label = null, leased_by = null "
                    "where id = ?",
                    (moment, entry["id"]),
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


def _band(name: str, policy: Policy) -> dict[str, Any]:
    return {f"{name}_from": policy.review_from, f"{name}_to": policy.review_to}
