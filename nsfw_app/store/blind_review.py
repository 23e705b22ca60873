"""Blind review: which decisions a reviewer may know of, and how many are hidden from them.

Hidden are decisions of others about a prediction that waits for one of this reviewer's own. Their
number does not depend on any filter: it would reveal what the hidden decisions say.
"""

from dataclasses import dataclass

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
