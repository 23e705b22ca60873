"""Migrations of the database schema; steps are only ever appended.

- Scores are stored, verdicts are not.
- Decisions are append-only, which triggers enforce. An undo is a row without a label that refers
  to the row it undoes.
- The view `correction_log` has the columns of the log. `undone` is true of a decision that was
  undone, or replaced by a later one of the same reviewer about the same prediction.
- Each migration is one transaction, except that rows of older databases are derived in batches, so
  that a killed upgrade continues where it was.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

from sqlite_utils import Database, Migrations

from nsfw_app import __version__
from nsfw_app.errors import DatabaseTooNew
from nsfw_app.store.migrations import derived_rows
from nsfw_app.store.migrations.account_tables import ACCOUNT_TABLES
from nsfw_app.store.migrations.arrival_table import ARRIVAL_TABLE
from nsfw_app.store.migrations.calibration_table import CALIBRATION_TABLE
from nsfw_app.store.migrations.decision_categories import DECISION_CATEGORIES
from nsfw_app.store.migrations.decision_context import DECISION_CONTEXT
from nsfw_app.store.migrations.detail_tables import DETAIL_TABLES
from nsfw_app.store.migrations.explanation_table import EXPLANATION_TABLE
from nsfw_app.store.migrations.hub_tables import HUB_TABLES
from nsfw_app.store.migrations.hub_users import HUB_USERS
from nsfw_app.store.migrations.monitoring_indexes import MONITORING_INDEXES
from nsfw_app.store.migrations.queue_tables import QUEUE_TABLES
from nsfw_app.store.migrations.reference_index import REFERENCE_INDEX
from nsfw_app.store.migrations.review_tables import TABLES
from nsfw_app.store.migrations.reviewers_first import prefer_reviewers
from nsfw_app.store.migrations.single_sign_on import SINGLE_SIGN_ON
from nsfw_app.store.migrations.submission_tables import SUBMISSION_TABLES
from nsfw_app.store.migrations.team_tables import TEAM_TABLES
from nsfw_app.store.migrations.undone_audience import hide_undone
from nsfw_app.store.migrations.unstored_labels import UNSTORED_LABELS
from nsfw_app.store.migrations.upload_columns import QUEUEING_UPLOADS
from nsfw_app.store.migrations.waiting_audience import hide_from_undecided
from nsfw_app.store.migrations.warning_columns import WARNING_COLUMNS
from nsfw_app.store.migrations.webhook_events import WEBHOOK_EVENTS
from nsfw_app.store.migrations.withdrawn_labels import allow_withdrawals

log = logging.getLogger(__name__)
migrations = Migrations("nsfw_review")


@migrations()
def create_review_tables(db: Database) -> None:
    """Images, predictions, uploads, policies, decisions and the log."""
    for statement in TABLES:
        db.execute(statement)


@migrations()
def create_queue(db: Database) -> None:
    """The queue and its skips, training labels, perceptual hashes, times of decisions."""
    for statement in QUEUE_TABLES:
        db.execute(statement)


@migrations()
def create_accounts(db: Database) -> None:
    """Users, their sessions, API keys, and the audit."""
    for statement in ACCOUNT_TABLES:
        db.execute(statement)


@migrations()
def create_submissions(db: Database) -> None:
    """Submissions by programs, and messages to their webhooks."""
    for statement in SUBMISSION_TABLES:
        db.execute(statement)


@migrations()
def report_states(db: Database) -> None:
    """Webhook messages that follow the state of the image."""
    for statement in WEBHOOK_EVENTS:
        db.execute(statement)


@migrations()
def mark_queueing_uploads(db: Database) -> None:
    """Whether the owner of an upload may put images into the queue."""
    for statement in QUEUEING_UPLOADS:
        db.execute(statement)


@migrations()
def add_warnings(db: Database) -> None:
    """Warnings about images, missing pixels, and the background of transparent ones."""
    for statement in WARNING_COLUMNS:
        db.execute(statement)


@migrations()
def name_local_models(db: Database) -> None:
    """Rename models in a directory from its path to its name."""
    for table in ("predictions", "policies"):
        paths = [path for (path,) in db.execute(f"select distinct model from {table}").fetchall()]
        for path in paths:
            if Path(path).is_absolute() and (name := Path(path).name):
                change = f"update or ignore {table} set model = ? where model = ?"
                db.execute(change, [name, path])


@migrations()
def keep_standing_decisions(db: Database) -> None:
    """Tables of standing decisions, outcomes and counts, kept current by triggers."""
    derived_rows.start(db)
    while derived_rows.derive_batch(db, _log_progress):
        pass
    derived_rows.finish(db)


@migrations()
def store_circumstances(db: Database) -> None:
    """Circumstances of decisions, views of previews, restricted images."""
    for statement in DECISION_CONTEXT:
        db.execute(statement)


@migrations()
def add_team_tables(db: Database) -> None:
    """Escalations, viewing defaults, admins who do not review, and indexes."""
    for statement in TEAM_TABLES:
        db.execute(statement)


@migrations()
def withdraw_training_labels(db: Database) -> None:
    """Training labels that are undone."""
    allow_withdrawals(db)


@migrations()
def hide_waiting_decisions(db: Database) -> None:
    """Decisions about an image that waits are hidden from those who have not decided."""
    hide_from_undecided(db)


@migrations()
def add_arrivals(db: Database) -> None:
    """Images as they arrive, and the probability with which each is drawn."""
    for statement in ARRIVAL_TABLE:
        db.execute(statement)


@migrations()
def add_calibrations(db: Database) -> None:
    """Versions of calibrations."""
    for statement in CALIBRATION_TABLE:
        db.execute(statement)


@migrations()
def index_references(db: Database) -> None:
    """An index of accepted references."""
    for statement in REFERENCE_INDEX:
        db.execute(statement)


@migrations()
def settle_by_reviewers(db: Database) -> None:
    """Outcomes in which imported labels count only where no reviewer decided."""
    prefer_reviewers(db)


@migrations()
def add_unstored_labels(db: Database) -> None:
    """Imported labels of images that are not stored."""
    for statement in UNSTORED_LABELS:
        db.execute(statement)


@migrations()
def add_single_sign_on(db: Database) -> None:
    """Identities of users, the last use of sessions and keys, the expiry of keys."""
    for statement in SINGLE_SIGN_ON:
        db.execute(statement)


@migrations()
def hide_undone_decisions(db: Database) -> None:
    """Undone decisions about an image that waits are hidden from those who have not decided."""
    hide_undone(db)


@migrations()
def note_changes_for_hub(db: Database) -> None:
    """Rows that changed since they were last saved in a dataset repository."""
    for statement in HUB_TABLES:
        db.execute(statement)


@migrations()
def index_for_monitoring(db: Database) -> None:
    """Indexes of messages that are not delivered."""
    for statement in MONITORING_INDEXES:
        db.execute(statement)


@migrations()
def add_detail_predictions(db: Database) -> None:
    """Predictions of the detail model, and rules of categories in policies."""
    for statement in DETAIL_TABLES:
        db.execute(statement)


@migrations()
def add_explanations(db: Database) -> None:
    """Explanations of scores."""
    for statement in EXPLANATION_TABLE:
        db.execute(statement)


@migrations()
def add_decision_categories(db: Database) -> None:
    """Categories that reviewers name in decisions."""
    for statement in DECISION_CATEGORIES:
        db.execute(statement)


@migrations()
def note_users_for_hub(db: Database) -> None:
    """Users that changed since they were last saved in a dataset repository."""
    for statement in HUB_USERS:
        db.execute(statement)


def applied_steps(db: Database) -> list[str]:
    """Names of the migrations that a database has, in order."""
    return [step.name for step in migrations.applied(db)]


def unknown_steps(db: Database) -> list[str]:
    """Names of a database's migrations that this version does not have."""
    with closing(Database(memory=True)) as empty:
        known = {step.name for step in migrations.pending(empty)}
    return [name for name in applied_steps(db) if name not in known]


def upgrade(writing: Callable[[], AbstractContextManager[Database]]) -> None:
    """Create the schema, or apply the migrations that are pending.

    Several processes may upgrade one database: each takes the next batch.

    Args:
        writing: Opens a transaction that holds the write lock, and commits it.

    Raises:
        DatabaseTooNew: It has migrations that this version does not know. Nothing was changed.
    """
    derived = keep_standing_decisions.__name__
    with writing() as db:
        if unknown := unknown_steps(db):
            raise DatabaseTooNew(
                f"The database was upgraded by a newer version of NSFW Review: this version, "
                f"{__version__}, does not know {', '.join(unknown)}. Install the version that ran "
                "last, or a later one; or restore a backup from before the upgrade into another "
                "NSFW_DATA_DIR."
            )
        if derived not in applied_steps(db):
            migrations.apply(db, stop_before=derived)
            derived_rows.start(db)
    more = True
    while more:
        with writing() as db:
            more = derived_rows.derive_batch(db, _log_progress)
    with writing() as db:
        migrations.apply(db)


def _log_progress(done: int, total: int) -> None:
    log.warning("Upgrading the database: %d of %d rows.", done, total)
