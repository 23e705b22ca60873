"""Imported labels settle an image only while no reviewer has decided on the same prediction."""

from sqlite_utils import Database

ALL = "from standing_decisions s where s.prediction_id = p.id\n           having"
# Of reviewers; or of all, where there is none of a reviewer.
REVIEWERS_FIRST = """from standing_decisions s where s.prediction_id = p.id
             and (s.reviewer not glob 'import:*' or not exists (
               select 1 from standing_decisions r
               where r.prediction_id = p.id and r.reviewer not glob 'import:*'
             ))
           having"""
CHANGED = """
update outcomes set (label, error) = (
  select c.label, c.error from computed_outcomes c where c.prediction_id = outcomes.prediction_id
)
where prediction_id in (
  select prediction_id from standing_decisions where reviewer glob 'import:*'
)
"""


def prefer_reviewers(db: Database) -> None:
    """Have the view of outcomes leave out imported labels, and recompute where there are some."""
    view = "select sql from sqlite_master where name = 'computed_outcomes'"
    statement: str = db.execute(view).fetchone()[0]
    db.execute("drop view computed_outcomes")
    db.execute(statement.replace(ALL, REVIEWERS_FIRST))
    db.execute(CHANGED)
