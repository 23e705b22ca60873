"""The derived rows of an older database, filled in batches at its upgrade.

- The position is stored with each batch: an upgrade that was killed continues from there.
- Until the last batch, triggers refuse every change of the rows that others derive from.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from sqlite_utils import Database

from nsfw_app.store.migrations.derived_tables import (
    COMPUTED_VIEWS,
    DECIDED_BY,
    INDEXES,
    OUTCOME_COLUMNS,
    TABLES,
    VIEWS,
)
from nsfw_app.store.migrations.derived_triggers import TRIGGERS

BATCH_SIZE = 100_000  # predictions or decisions that are derived between two reports of progress
CACHE_KB = 65_536  # while indexes are built

# Statements that derive the rows of an older database, in order: each uses the ones before.
# With a range, a statement is executed in batches of that column's values.
FILLS: Mapping[str, str | None] = MappingProxyType(
    {
        """
        insert or ignore into model_identities (model, revision, weights_sha256, backend)
        select distinct model, revision, weights_sha256, backend from predictions
        """: None,
        """
        insert into standing_decisions select * from computed_standing_decisions
        where prediction_id > :after and prediction_id <= :up_to order by prediction_id, reviewer
        """: "predictions",
        f"""
        update queue set
          nsfw_score = (select p.nsfw_score from predictions p where p.id = prediction_id),
          decided_by = {DECIDED_BY.format(prediction="queue.prediction_id")}
        where id > :after and id <= :up_to
        """: "queue",
        """
        update standing_decisions as s set audience = q.decided_by
        from queue q
        where q.settled_at is null and q.answers_wanted > 1 and q.prediction_id = s.prediction_id
          and q.id > :after and q.id <= :up_to
        """: "queue",
        f"""
        insert into outcomes
        select prediction_id, {", ".join(OUTCOME_COLUMNS)} from computed_outcomes
        where prediction_id > :after and prediction_id <= :up_to order by prediction_id
        """: "predictions",
        "insert into pair_tallies select * from computed_pair_tallies": None,
        "insert into label_tallies select * from computed_label_tallies": None,
        "insert into queue_counts select * from computed_queue_counts": None,
        """
        insert or ignore into log_groups (reviewer, model, label, agrees, undone, audience)
        select distinct reviewer, model, label, agrees, undone, audience from computed_log_rows
        where decision_id > :after and decision_id <= :up_to
        """: "decisions",
        """
        insert into log_rows
        select c.decision_id, g.id from computed_log_rows c join log_groups g
          on g.reviewer = c.reviewer and g.model = c.model and g.label = c.label
            and g.agrees = c.agrees and g.undone = c.undone and g.audience = c.audience
        where c.decision_id > :after and c.decision_id <= :up_to order by c.decision_id
        """: "decisions",
        "insert into log_days select * from computed_log_days": None,
        "insert into log_tallies select * from computed_log_tallies": None,
        """
        update log_groups set entries = (
          select coalesce(sum(t.entries), 0) from log_tallies t where t.group_id = log_groups.id
        )
        """: None,
    }
)


# Rows may not change while others derive from them, also not by a server of an older version.
GUARDED = (
    "insert on predictions",
    "insert on decisions",
    "insert on training_labels",
    "insert on queue",
    "delete on queue",
    "update of prediction_id, priority, answers_wanted, settled_at, settled_label on queue",
)
GUARD = """
create trigger upgrading_{number} before {change} begin
  select raise(abort, 'The database is being upgraded. Start the newer version again.');
end
"""


def start(db: Database) -> None:
    """Create the tables and the position in `FILLS`, unless an interrupted upgrade did."""
    if "upgrade_progress" in db.table_names():
        return
    for statement in (*TABLES, *COMPUTED_VIEWS):
        db.execute(statement)
    for number, change in enumerate(GUARDED):
        db.execute(GUARD.format(number=number, change=change))
    db.execute("create table upgrade_progress (step integer not null, done_up_to integer not null)")
    db.execute("insert into upgrade_progress values (0, 0)")


def derive_batch(db: Database, progress: Callable[[int, int], None]) -> bool:
    """Derive the next rows and store how far they are, in the transaction that is open.

    Args:
        db: Where `start` was called.
        progress: Called with the number of rows done and of all rows.

    Returns:
        Whether there was a batch left, or False also when the upgrade is finished.
    """
    if "upgrade_progress" not in db.table_names():
        return False
    step, after = db.execute("select step, done_up_to from upgrade_progress").fetchone()
    if step == len(FILLS):
        return False
    sizes = [_last_id(db, table) if table else 0 for table in FILLS.values()]
    up_to = min(after + BATCH_SIZE, sizes[step])
    statement, table = list(FILLS.items())[step]
    with _large_cache(db):
        if table is None:
            db.execute(statement)
        elif up_to > after:
            db.execute(statement, {"after": after, "up_to": up_to})
            progress(sum(sizes[:step]) + up_to, sum(sizes))
    following = (step, up_to) if up_to < sizes[step] else (step + 1, 0)
    db.execute("update upgrade_progress set step = ?, done_up_to = ?", following)
    return True


def finish(db: Database) -> None:
    """Add indexes, triggers and the views that read the derived rows."""
    db.execute("drop table upgrade_progress")
    for number in range(len(GUARDED)):
        db.execute(f"drop trigger upgrading_{number}")
    with _large_cache(db):
        for statement in (*VIEWS, *INDEXES, *TRIGGERS):
            db.execute(statement)


def _last_id(db: Database, table: str) -> int:
    last: int = db.execute(f"select coalesce(max(id), 0) from {table}").fetchone()[0]
    return last


@contextmanager
def _large_cache(db: Database) -> Iterator[None]:
    size = db.execute("pragma cache_size").fetchone()[0]
    db.execute(f"pragma cache_size = -{CACHE_KB}")
    try:
        yield
    finally:
        db.execute(f"pragma cache_size = {size}")
