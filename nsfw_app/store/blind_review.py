"""Blind review: which decisions and scores a reviewer may know of, and how many are hidden.

Hidden are decisions of others about a prediction that waits for one of this reviewer's own. Their
number does not depend on any filter: it would reveal what the hidden decisions say.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass

from nsfw_app.rules.permissions import Caller, Permission
from nsfw_app.rules.queue import EntryReason
from nsfw_app.store.connections import Connections

# `audience` holds who may see a group's decisions: `*` for everyone, or the reviewers who decided
# already on the open entry, as hex digits of their names, each followed by a slash.
DECISION_VISIBLE = """
(g.audience = '*' or g.reviewer = :blind_to
  or instr('/' || g.audience, '/' || hex(:blind_to) || '/'))
"""
COUNTED_ROWS = 2_000  # in about 8 ms; of more, the images are not counted
HIDDEN = f"""
select {{columns}} from log_groups g
where g.entries > 0 and not {DECISION_VISIBLE} and {{condition}}
"""


@dataclass(frozen=True, slots=True)
class Hidden:
    """How many decisions are hidden, and about how many images; None where those are too many."""

    decisions: int = 0
    images: int | None = 0


def count_hidden(
    connections: Connections, reviewer: str | None, *, condition: str = "true"
) -> Hidden:
    """Count what is hidden from a reviewer; nothing from a caller who does not review.

    Args:
        connections: The database.
        reviewer: The reviewer's name, or None.
        condition: SQL over a row `g` of `log_groups`.
    """
    if reviewer is None:
        return Hidden()
    values = {"blind_to": reviewer}
    total = HIDDEN.format(columns="coalesce(sum(g.entries), 0)", condition=condition)
    decisions: int = connections.row(total, values)[0]
    if decisions > COUNTED_ROWS or not decisions:
        return Hidden(decisions, None if decisions else 0)
    images = connections.row(
        f"""
        select count(distinct p.image_sha256) from log_rows r
        join decisions d on d.id = r.decision_id join predictions p on p.id = d.prediction_id
        where r.group_id in ({HIDDEN.format(columns="g.id", condition=condition)})
        """,
        values,
    )[0]
    return Hidden(decisions, images)


SCORE_HIDDEN = """
select exists (
  select 1 from queue q join predictions p on p.id = q.prediction_id
  where q.settled_at is null and p.image_sha256 = (
      select image_sha256 from predictions where id = :prediction_id
    )
    and (q.reason in (select value from json_each(:reasons))
      or q.priority in (select value from json_each(:priorities)))
    and not exists (
      select 1 from standing_decisions s
      where s.prediction_id = q.prediction_id and s.reviewer = :reviewer
    )
    and (q.leased_by = :reviewer or not exists (
      select 1 from uploads u where u.image_sha256 = p.image_sha256 and u.owner = :owner
    ))
)
"""


def hides_score(
    connections: Connections, prediction_id: int, caller: Caller, reasons: Collection[EntryReason]
) -> bool:
    """Whether the score of a prediction is hidden from a reviewer until their decision.

    It is while the image waits for one of the blind reasons, for any prediction of it, and the
    reviewer has not decided on it.
    Reviewers who uploaded the image know its score, unless they claimed the image from the queue.

    Args:
        connections: The database.
        prediction_id: The prediction.
        caller: The caller; from one who does not review nothing is hidden.
        reasons: The blind reasons, see `QueueRules`.
    """
    if not caller.may(Permission.REVIEW):
        return False
    row = connections.row(
        SCORE_HIDDEN,
        {
            "reviewer": caller.name,
            "prediction_id": prediction_id,
            "owner": caller.owner,
            "reasons": json.dumps(sorted(reasons)),
            "priorities": json.dumps(sorted(reason.priority for reason in reasons)),
        },
    )
    return bool(row[0])
