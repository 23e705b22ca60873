"""Undone decisions about an image that waits are hidden like those that stand.

`waiting_audience` left out images of which every decision was undone.
"""

from sqlite_utils import Database

from nsfw_app.store.migrations.waiting_audience import recompute_audience

WAITING_WITH_UNDONE = """
select distinct q.prediction_id from queue q join decisions d on d.prediction_id = q.prediction_id
where q.settled_at is null and not exists (
  select 1 from standing_decisions s where s.prediction_id = q.prediction_id
)
"""


def hide_undone(db: Database) -> None:
    """Recompute who may see them."""
    for (prediction_id,) in db.execute(WAITING_WITH_UNDONE).fetchall():
        recompute_audience(db, prediction_id)
