"""The derived rows of an older database: filled in batches at its upgrade."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from sqlite_utils import Database

from nsfw_app.store.migrations.derived_tables import (
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


def create_derived_tables(db: Database, progress: Callable[[int, int], None]) -> None:
    """Create the tables, derive the rows of an older database, then add indexes and triggers.

    Args:
        db: Where a transaction is open: what is killed leaves nothing behind and starts again.
        progress: Called with the number of rows done and of all rows, after each batch.
    """
    cache = db.execute("pragma cache_size").fetchone()[0]
    db.execute(f"pragma cache_size = -{CACHE_KB}")
    for statement in (*TABLES, *VIEWS):
        db.execute(statement)
    last = {
        table: db.execute(f"select coalesce(max(id), 0) from {table}").fetchone()[0]
        for table in ("predictions", "decisions", "queue")
    }
    steps = [last[table] if table else 0 for table in FILLS.values()]
    done, total = 0, sum(steps)
    for (statement, table), rows in zip(FILLS.items(), steps, strict=True):
        if table is None:
            db.execute(statement)
            continue
        for after in range(0, rows, BATCH_SIZE):
            up_to = min(after + BATCH_SIZE, rows)
            db.execute(statement, {"after": after, "up_to": up_to})
            progress(done + up_to, total)
        done += rows
    for statement in (*INDEXES, *TRIGGERS):
        db.execute(statement)
    db.execute(f"pragma cache_size = {cache}")
