"""The store: all SQL, and the preview files next to the database.

- Each thread has its own connection.
- What a method reports as written is committed.
- Decisions are idempotent: the same nonce is one row, however often it is sent.
- Counts and standing decisions are kept in tables derived by triggers; see
  `migrations.derived_tables`.
"""

import sqlite3
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from nsfw_app.errors import SettingsError, StorageError
from nsfw_app.models.categories import BY_CARD, CategoryMap
from nsfw_app.rules.decisions import DecisionRules
from nsfw_app.rules.queue import QueueRules
from nsfw_app.rules.retention import Retention
from nsfw_app.store.arrivals import Arrivals
from nsfw_app.store.audit import Audit
from nsfw_app.store.calibrations import Calibrations
from nsfw_app.store.catalog import Catalog
from nsfw_app.store.connections import Connections
from nsfw_app.store.consistency import Consistency
from nsfw_app.store.database_copies import DatabaseCopies
from nsfw_app.store.decision_rows import DecisionRows
from nsfw_app.store.deliveries import Deliveries
from nsfw_app.store.encryption import SecretCipher
from nsfw_app.store.explanations import Explanations
from nsfw_app.store.galleries import Galleries
from nsfw_app.store.hub_changes import HubChanges
from nsfw_app.store.hub_restore import HubRestore
from nsfw_app.store.identities import Identities
from nsfw_app.store.image_labels import LabeledImages
from nsfw_app.store.judged_categories import JudgedCategories
from nsfw_app.store.keys import ApiKeys
from nsfw_app.store.label_imports import LabelImports
from nsfw_app.store.leases import Leases
from nsfw_app.store.log import CorrectionLog
from nsfw_app.store.period_counts import PeriodCounts
from nsfw_app.store.personal_data import PersonalData
from nsfw_app.store.policies import Policies
from nsfw_app.store.policy_effects import PolicyEffects
from nsfw_app.store.preview_rows import PreviewRows
from nsfw_app.store.preview_views import PreviewViews
from nsfw_app.store.previews import PreviewFiles
from nsfw_app.store.purges import Purges
from nsfw_app.store.queue_entries import ReviewQueue
from nsfw_app.store.references import References
from nsfw_app.store.restrictions import Restrictions
from nsfw_app.store.scan_batches import ScanBatches
from nsfw_app.store.scan_draws import ScanDraws
from nsfw_app.store.second_opinions import SecondOpinions
from nsfw_app.store.sessions import Sessions
from nsfw_app.store.settled_labels import SettledLabels
from nsfw_app.store.standing_decisions import StandingDecisions
from nsfw_app.store.submissions import Submissions
from nsfw_app.store.team import Team
from nsfw_app.store.training import TrainingLabels
from nsfw_app.store.usage import StorageUsage
from nsfw_app.store.users import Users
from nsfw_app.store.visibility import Visibility

__all__ = ["Store"]

BATCH_LOCK = "scan-batch.lock"  # next to the database
DEFAULT_RULES = QueueRules()
DEFAULT_DECISION_RULES = DecisionRules()
DEFAULT_RETENTION = Retention()


class Store:
    """Images, policies, the correction log, the queue, training labels, users.

    Args:
        database: The SQLite file; created and migrated when needed.
        previews_dir: The directory of previews, by hash.
        journal_mode: `wal` on a local disk, `delete` on a network mount.
        rules: Which images enter the queue, and how many decisions each needs. Where retention
            keeps no previews, none enters, because reviewers could not see it.
        retention: Which previews are kept, and for how long.
        decision_rules: Which decisions are refused.
        detail_categories: Which labels of the detail model belong to which categories.

    Raises:
        StorageError: The data directory cannot be read or written.
        SettingsError: The file is a database of another program.
        DatabaseTooNew: A newer version has changed the database.
    """

    def __init__(
        self,
        database: Path,
        *,
        previews_dir: Path,
        journal_mode: str,
        rules: QueueRules = DEFAULT_RULES,
        retention: Retention = DEFAULT_RETENTION,
        decision_rules: DecisionRules = DEFAULT_DECISION_RULES,
        detail_categories: CategoryMap = BY_CARD,
    ) -> None:
        try:
            connections = Connections(database, journal_mode=journal_mode)
            self.previews = PreviewFiles(previews_dir)
        except StorageError as error:
            where = f"NSFW_DATA_DIR={str(database.parent)!r}"
            raise StorageError(error.reason, where=where) from error
        except sqlite3.DatabaseError as error:
            raise SettingsError(
                f"NSFW_DATA_DIR={str(database.parent)!r} cannot hold the data: {error}."
            ) from error
        self._connections = connections
        key_file = database.with_name(f"{database.name}.key")
        cipher = SecretCipher(key_file)
        self.copies = DatabaseCopies(connections, database, key_file=key_file)
        self.usage = StorageUsage(database, previews_dir)
        cipher = SecretCipher(database.with_name(f"{database.name}.key"))
        self.policies = Policies(connections)
        self.policy_effects = PolicyEffects(connections, detail_categories)
        self.arrivals = Arrivals(connections)
        self.scan_batches = ScanBatches(connections, database.with_name(BATCH_LOCK))
        self.scan_draws = ScanDraws(connections)
        self.second_opinions = SecondOpinions(connections)
        if not retention.keeps_any:
            rules = QueueRules(frozenset())
        rules = replace(rules, secret=self.arrivals.draw_secret())
        self.submissions = Submissions(connections)
        self.deliveries = Deliveries(connections, cipher)
        self.queue = ReviewQueue(connections, self.previews, rules=rules)
        self.visibility = Visibility(connections)
        self.catalog = Catalog(
            connections,
            self.previews,
            visibility=self.visibility,
            queue=self.queue,
            submissions=self.submissions,
            detail_categories=detail_categories,
        )
        self.judged_categories = JudgedCategories(connections, detail_categories)
        self.calibrations = Calibrations(connections)
        self.references = References(connections)
        self.leases = Leases(connections)
        self.galleries = Galleries(connections)
        self.views = PreviewViews(connections)
        self.preview_rows = PreviewRows(connections)
        self.restrictions = Restrictions(connections)
        self.explanations = Explanations(connections)
        self.log = CorrectionLog(
            connections,
            catalog=self.catalog,
            queue=self.queue,
            previews=self.previews,
            rules=decision_rules,
            keeps_previews=retention.keeps_any,
        )
        self.training = TrainingLabels(connections, self.previews, decision_rules)
        self.standing_decisions = StandingDecisions(connections)
        self.decision_rows = DecisionRows(connections)
        self.period_counts = PeriodCounts(connections, detail_categories)
        self.settled_labels = SettledLabels(connections)
        self.label_imports = LabelImports(connections)
        self.labeled_images = LabeledImages(connections)
        self.team = Team(connections)
        self.users = Users(connections)
        self.identities = Identities(connections)
        self.sessions = Sessions(connections, cipher)
        self.keys = ApiKeys(connections, cipher)
        self.keys.encrypt_secrets()
        self.audit = Audit(connections)
        self.personal_data = PersonalData(connections)
        self.consistency = Consistency(connections)
        self.hub_changes = HubChanges(connections, self.previews)
        self.hub_restore = HubRestore(connections, self.previews)
        self.purges = Purges(connections, self.previews, retention=retention)

    def close(self) -> None:
        """Close this thread's connection, after moving the write-ahead log into the database."""
        self._connections.overwrite_log()
        self._connections.close()

    def reading(self) -> AbstractContextManager[object]:
        """A transaction for all reads of this thread: one state, and fewer checks of files."""
        return self._connections.reading()

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database, so that no decision has to wait for that."""
        self._connections.checkpoint()

    def check_writable(self) -> None:
        """Commit a transaction and write a file, as an upload does.

        Raises:
            StorageError: One of them failed.
        """
        with self._connections.writing() as db:
            db.execute("pragma user_version = 0")  # writes the first page, also where it is 0
        self.previews.check_writable()
