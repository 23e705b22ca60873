"""Messages to the webhooks of those who submitted an image: what is due, and how it went.

What always holds: a message is written in the transaction that settles its image; it is taken
before it is sent, so that two servers do not send it at once and a killed one sends it again.
"""

import json
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlite_utils import Database

from nsfw_app.records import utc
from nsfw_app.store.connections import Connections, now


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message to send. `label` is None where nobody settled the image; `attempts` counts this."""

    delivery_id: str
    submission_id: str
    name: str
    image_sha256: str
    label: str | None
    created_at: str
    attempts: int
    url: str
    secret: str


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """How a message fared. Without `delivered_at` and `given_up_at` it is tried again."""

    created_at: str
    attempts: int
    delivered_at: str | None
    given_up_at: str | None
    last_status: int | None
    last_error: str | None


class Deliveries:
    """The table of messages."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def take(self, *, again_after: timedelta, busy: Collection[str] = ()) -> Delivery | None:
        """The message that is due longest, taken for an attempt.

        Args:
            again_after: When it is due again should nothing be heard of the attempt.
            busy: Addresses that are to get no message now.
        """
        moment = datetime.now(UTC)
        with self._connections.writing() as db:
            row = db.execute(
                """
                update deliveries set attempts = attempts + 1, next_at = :again
                where id = (
                  select d.id from deliveries d
                  join submissions s on s.id = d.submission_id
                  join api_keys k on k.name = s.key_name
                  where d.delivered_at is null and d.given_up_at is null and d.next_at <= :now
                    and k.webhook_url not in (select value from json_each(:busy))
                  order by d.next_at limit 1
                )
                returning *
                """,
                {
                    "now": utc(moment.isoformat()),
                    "busy": json.dumps(sorted(busy)),
                    "again": utc((moment + again_after).isoformat()),
                },
            ).fetchone()
            return row and _delivery(db, row)

    def delivered(self, delivery_id: str, *, status: int) -> None:
        """Record that a message arrived."""
        self._record(delivery_id, status=status, error=None, next_at=None, delivered=True)

    def failed(
        self, delivery_id: str, *, status: int | None, error: str, again_after: timedelta | None
    ) -> None:
        """Record that it did not, and when to try again; None gives up."""
        again = None
        if again_after is not None:
            again = utc((datetime.now(UTC) + again_after).isoformat())
        self._record(delivery_id, status=status, error=error, next_at=again, delivered=False)

    def of(self, submission_id: str) -> list[DeliveryRecord]:
        """Every message about a submission, oldest first."""
        rows = self._connections.db.execute(
            "select created_at, attempts, delivered_at, given_up_at, last_status, last_error "
            "from deliveries where submission_id = ? order by created_at, rowid",
            (submission_id,),
        )
        return [DeliveryRecord(*row) for row in rows]

    def _record(
        self,
        delivery_id: str,
        *,
        status: int | None,
        error: str | None,
        next_at: str | None,
        delivered: bool,
    ) -> None:
        with self._connections.writing() as db:
            db.execute(
                """
                update deliveries set last_status = :status, last_error = :error,
                  next_at = coalesce(:next_at, next_at),
                  delivered_at = case when :delivered then :now end,
                  given_up_at = case when not :delivered and :next_at is null then :now end
                where id = :id
                """,
                {
                    "id": delivery_id,
                    "status": status,
                    "error": error,
                    "next_at": next_at,
                    "delivered": delivered,
                    "now": now(),
                },
            )


def deliver_at_once(db: Database, submission_id: str) -> None:
    """Put a message beside a submission whose image is settled already, in an open transaction."""
    db.execute(
        """
        insert into deliveries (id, submission_id, label, created_at, next_at)
        select lower(hex(randomblob(16))), s.id, q.settled_label, :now, :now
        from submissions s
        join api_keys k on k.name = s.key_name and k.webhook_url is not null
        join queue q on q.id = (
          select max(latest.id) from queue latest where latest.prediction_id = s.prediction_id
        )
        where s.id = :id and q.settled_at is not null
        """,
        {"id": submission_id, "now": now()},
    )


def _delivery(db: Database, row: sqlite3.Row) -> Delivery:
    about = db.execute(
        """
        select s.name, p.image_sha256, k.webhook_url, k.webhook_secret
        from submissions s join predictions p on p.id = s.prediction_id
        join api_keys k on k.name = s.key_name
        where s.id = ?
        """,
        (row["submission_id"],),
    ).fetchone()
    return Delivery(
        row["id"],
        row["submission_id"],
        about["name"],
        about["image_sha256"],
        row["label"],
        row["created_at"],
        row["attempts"],
        about["webhook_url"],
        about["webhook_secret"],
    )
