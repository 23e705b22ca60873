"""The database's shape, as steps that are only ever added.

Scores are stored, verdicts are not. Decisions are append-only, which triggers enforce; an undo is
a row without a label that names the row it undoes. The view `correction_log` is the log, column by
column; in it, `undone` means that the answer was taken back or that the same reviewer answered
again about the same prediction.
"""

import logging
from pathlib import Path

from sqlite_utils import Database, Migrations

from nsfw_app.store.migrations.account_tables import ACCOUNT_TABLES
from nsfw_app.store.migrations.derived_tables import create_derived_tables
from nsfw_app.store.migrations.queue_tables import QUEUE_TABLES
from nsfw_app.store.migrations.review_tables import TABLES
from nsfw_app.store.migrations.submission_tables import SUBMISSION_TABLES
from nsfw_app.store.migrations.upload_columns import QUEUEING_UPLOADS
from nsfw_app.store.migrations.warning_columns import WARNING_COLUMNS
from nsfw_app.store.migrations.webhook_events import WEBHOOK_EVENTS

log = logging.getLogger(__name__)
migrations = Migrations("nsfw_review")


@migrations()
def create_review_tables(db: Database) -> None:
    """Images, predictions, uploads, policies, decisions and the log."""
    for statement in TABLES:
        db.execute(statement)


@migrations()
def create_queue(db: Database) -> None:
    """The queue and its skips, training labels, perceptual hashes, time taken by an answer."""
    for statement in QUEUE_TABLES:
        db.execute(statement)


@migrations()
def create_accounts(db: Database) -> None:
    """Users, their sessions, API keys, and the audit."""
    for statement in ACCOUNT_TABLES:
        db.execute(statement)


@migrations()
def create_submissions(db: Database) -> None:
    """What programs put into the queue, and what they are told of it."""
    for statement in SUBMISSION_TABLES:
        db.execute(statement)


@migrations()
def report_states(db: Database) -> None:
    """Webhook messages by the state of the image."""
    for statement in WEBHOOK_EVENTS:
        db.execute(statement)


@migrations()
def mark_queueing_uploads(db: Database) -> None:
    """Whether an upload's owner may put images into the queue."""
    for statement in QUEUEING_UPLOADS:
        db.execute(statement)


@migrations()
def add_warnings(db: Database) -> None:
    """Warnings about images, missing pixels, and the ground behind transparent ones."""
    for statement in WARNING_COLUMNS:
        db.execute(statement)


@migrations()
def name_local_models(db: Database) -> None:
    """A model in a directory is named by the directory, where it was named by its path."""
    for table in ("predictions", "policies"):
        paths = [path for (path,) in db.execute(f"select distinct model from {table}").fetchall()]
        for path in paths:
            if Path(path).is_absolute() and (name := Path(path).name):
                change = f"update or ignore {table} set model = ? where model = ?"
                db.execute(change, [name, path])


@migrations()
def keep_standing_decisions(db: Database) -> None:
    """Tables of standing decisions, outcomes and counts, kept current by triggers."""
    create_derived_tables(db, _log_progress)


def _log_progress(done: int, total: int) -> None:
    log.warning("Upgrading the database: %d of %d rows.", done, total)
