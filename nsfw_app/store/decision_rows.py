"""Decisions of reviewers as plain rows, to be counted in memory, and which of them are not counted.

What a row holds never changes, because decisions are append-only. Whether it stands, and whether
its image waits for another decision, does. Imported labels are not among them.
"""

from collections.abc import Iterator
from typing import NamedTuple

from nsfw_app.store.connections import Connections
from nsfw_app.store.label_imports import IMPORTED

CHUNK = 20_000  # rows in memory at a time
HASH_DIGITS = 15  # of SHA-256, as many as fit a 64-bit integer


class DecisionRow(NamedTuple):
    """A decision; `identity` is a key of `Arrivals.identities`, `image` the end of its hash.

    `reasons` and `categories` are JSON lists, the latter None where the reviewer was not asked.
    `decided_at` is in UTC.
    """

    decision_id: int
    prediction_id: int
    identity: int
    image: str
    decided_at: str
    reviewer: str
    label: str
    model_label: str
    source: str
    reasons: str
    elapsed_ms: int | None
    categories: str | None


class DecisionRows:
    """Reads decisions."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def after(self, decision_id: int) -> Iterator[list[DecisionRow]]:
        """The decisions after one, in order, in chunks; all after 0. Undos are not among them."""
        cursor = self._connections.db.execute(
            f"""
            select d.id, d.prediction_id, i.id, substr(p.image_sha256, -{HASH_DIGITS}),
              substr(d.decided_at, 1, 19), d.reviewer, d.label, d.model_label, d.source, d.reasons,
              d.elapsed_ms, d.categories
            from decisions d join predictions p on p.id = d.prediction_id
              join model_identities i on i.model = p.model and i.revision = p.revision
                and i.weights_sha256 = p.weights_sha256 and i.backend = p.backend
            where d.id > ? and d.label is not null and not {IMPORTED.format(row="d")}
            order by d.id
            """,
            (decision_id,),
        )
        while rows := cursor.fetchmany(CHUNK):
            yield list(map(DecisionRow._make, rows))

    def newest_time(self) -> str | None:
        """When the newest decision or undo was made, ISO 8601 in UTC; None without any."""
        row = self._connections.row("select decided_at from decisions order by id desc limit 1")
        return row and str(row["decided_at"])

    def left_out(self) -> tuple[list[int], list[int]]:
        """The ids of decisions that do not stand, and of those whose image waits for another."""
        rows = self._connections.db.execute(
            f"""
            select g.undone, r.decision_id
            from log_groups g cross join log_rows r on r.group_id = g.id
            where (g.undone or g.audience <> '*') and not {IMPORTED.format(row="g")}
            """
        ).fetchall()
        return (
            [decision_id for undone, decision_id in rows if undone],
            [decision_id for undone, decision_id in rows if not undone],
        )
