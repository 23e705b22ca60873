"""Compares derived tables with their source rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from nsfw_app.store.connections import Connections

GROUP_COLUMNS = "reviewer, model, label, agrees, undone, audience"

# Each table as it is, and as its rows derive from others; zeros in tallies mean nothing.
DERIVED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "model_identities": (
            "select model, revision, weights_sha256, backend from model_identities",
            "select distinct model, revision, weights_sha256, backend from predictions",
        ),
        "standing_decisions": (
            "select * from standing_decisions",
            "select * from computed_standing_decisions",
        ),
        "queue": (
            "select id, nsfw_score, decided_by from queue",
            "select * from computed_queue",
        ),
        "queue_counts": (
            "select * from queue_counts",
            "select * from computed_queue_counts",
        ),
        "outcomes": (
            """
            select prediction_id, identity_id, nsfw_score, label, model_label, answers,
              last_decision_id, waiting, audience, rivals, error, confirmed from outcomes
            """,
            """
            select prediction_id, identity_id, nsfw_score, label, model_label, answers,
              last_decision_id, waiting, audience, rivals, error, confirmed
            from computed_outcomes
            """,
        ),
        "pair_tallies": (
            "select * from pair_tallies where images <> 0",
            "select * from computed_pair_tallies",
        ),
        "label_tallies": (
            "select * from label_tallies where images <> 0",
            "select * from computed_label_tallies",
        ),
        "log_rows": (
            f"select decision_id, {GROUP_COLUMNS} from log_rows r "
            "join log_groups g on g.id = r.group_id",
            f"select decision_id, {GROUP_COLUMNS} from computed_log_rows",
        ),
        "log_groups": (
            "select id, entries from log_groups where entries <> 0",
            "select group_id, count(*) from log_rows group by group_id",
        ),
        "log_tallies": (
            "select * from log_tallies where entries <> 0",
            "select * from computed_log_tallies",
        ),
        "log_days": (
            "select * from log_days",
            "select * from computed_log_days",
        ),
        "restricted_images": (
            "select image_sha256, decision_id from restricted_images",
            "select * from computed_restricted_images",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Difference:
    """A derived table that does not match: rows that it lacks, and rows that it should not have."""

    table: str
    missing: int
    surplus: int


class Consistency:
    """Checks of the database.

    Args:
        connections: The database.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def check(self) -> list[Difference]:
        """Recompute every derived row and compare it with the stored one.

        Returns:
            The tables that differ; none in a sound database. They are read in one transaction,
            so that concurrent decisions are no differences.
        """
        found = []
        with self._connections.reading() as db:
            for table, (stored, derived) in DERIVED.items():
                missing, surplus = (
                    db.execute(f"select count(*) from ({first} except {second})").fetchone()[0]
                    for first, second in ((derived, stored), (stored, derived))
                )
                if missing or surplus:
                    found.append(Difference(table, missing, surplus))
        return found
