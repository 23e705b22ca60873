"""Decisions about an image that waits are hidden from reviewers who have not decided on it.

Before, that held only for entries that want several decisions. An unsure decision leaves an entry
open that wants a single one, and was shown to the next reviewer.
"""

from sqlite_utils import Database

from nsfw_app.store.migrations.derived_triggers import audience_statements

SEVERAL_WANTED = (
    " and q.answers_wanted > 1",
    " and old.answers_wanted > 1",
    " and new.answers_wanted > 1",
)
WAITING_WITH_DECISIONS = """
select distinct q.prediction_id from queue q
join standing_decisions s on s.prediction_id = q.prediction_id
where q.settled_at is null and q.answers_wanted = 1
"""


def hide_from_undecided(db: Database) -> None:
    """Let the audience of every open entry be those who decided, and recompute it."""
    defined = db.execute("select type, name, sql from sqlite_master where sql is not null")
    for kind, name, sql in defined.fetchall():
        if (changed := _of_every_open_entry(sql)) != sql:
            db.execute(f"drop {kind} {name}")
            db.execute(changed)
    for (prediction_id,) in db.execute(WAITING_WITH_DECISIONS).fetchall():
        recompute_audience(db, prediction_id)


def recompute_audience(db: Database, prediction_id: int) -> None:
    """Recompute who may see the decisions about a prediction, and its outcome."""
    for statement in audience_statements(str(prediction_id)):
        db.execute(_of_every_open_entry(statement))


def _of_every_open_entry(sql: str) -> str:
    for condition in SEVERAL_WANTED:
        sql = sql.replace(condition, "")
    return sql
