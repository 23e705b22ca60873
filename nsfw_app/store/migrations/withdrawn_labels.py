"""Training labels can be withdrawn: the image then has none again."""

from sqlite_utils import Database

COLUMN = "alter table training_labels add column withdrawn integer not null default 0"
LATEST = "coalesce(t.label, '')"
LATEST_IN_FORCE = "iif(t.withdrawn, null, coalesce(t.label, ''))"


def allow_withdrawals(db: Database) -> None:
    """Add the column, and have the view of outcomes read it."""
    db.execute(COLUMN)
    view = "select sql from sqlite_master where name = 'computed_outcomes'"
    statement: str = db.execute(view).fetchone()[0]
    db.execute("drop view computed_outcomes")
    db.execute(statement.replace(LATEST, LATEST_IN_FORCE))
