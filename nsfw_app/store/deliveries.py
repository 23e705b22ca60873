"""Webhook messages and their due times. `states` writes them, `review/webhooks.py` sends them.

- A message is taken before it is sent, so that two servers do not send it at once, and it is sent
  again after a server was killed.
- The messages about a submission are sent in their order: a later one waits for an earlier one.
"""

import json
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlite_utils import Database

from nsfw_app.records import utc
from nsfw_app.store.audit import AuditAction, note
from nsfw_app.store.connections import Connections, now
from nsfw_app.store.encryption import SecretCipher
from nsfw_app.store.states import WebhookEvent

LONGEST_WAIT = timedelta(days=1)  # a later due time was written before the clock was set back


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message to send.

    - `label` and `categories` are those of the settled image; None in other events, the categories
      also where no reviewer was asked for them.
    - `attempts` includes this one.
    """

    delivery_id: str
    event: WebhookEvent
    submission_id: str
    name: str
    image_sha256: str
    label: str | None
    created_at: str
    attempts: int
    url: str
    encrypted_secret: str
    categories: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """Delivery state. Without `delivered_at` and `given_up_at` the message is retried."""

    created_at: str
    attempts: int
    delivered_at: str | None
    given_up_at: str | None
    last_status: int | None
    last_error: str | None
    type: str
    label: str | None
    categories: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class DeliveryBacklog:
    """Messages that are not delivered. `oldest_at` is when the oldest pending one was written."""

    pending: int
    oldest_at: str | None
    given_up: int


DUE = """
select d.id from deliveries d
join submissions s on s.id = d.submission_id
join api_keys k on k.name = s.key_name
where d.delivered_at is null and d.given_up_at is null
  and (d.next_at <= :now or d.next_at > :latest)
  and k.webhook_url not in (select value from json_each(:busy))
  and not exists (
    select 1 from deliveries earlier where earlier.submission_id = d.submission_id
      and earlier.rowid < d.rowid
      and earlier.delivered_at is null and earlier.given_up_at is null
  )
order by d.next_at, d.rowid limit 1
"""


class Deliveries:
    """Takes messages for delivery, and records results.

    Args:
        connections: The database.
        cipher: Decrypts the secrets of webhooks.
    """

    def __init__(self, connections: Connections, cipher: SecretCipher) -> None:
        self._connections = connections
        self._cipher = cipher

    def take(self, *, again_after: timedelta, busy: Collection[str] = ()) -> Delivery | None:
        """Take the message that has been due longest, for one attempt.

        Args:
            again_after: When it is due again, unless a result is recorded.
            busy: URLs that get no message now.
        """
        moment = datetime.now(UTC)
        values = {
            "now": utc(moment.isoformat()),
            "latest": utc((moment + LONGEST_WAIT).isoformat()),
            "busy": json.dumps(sorted(busy)),
        }
        if self._connections.row(DUE, values) is None:  # without the write lock
            return None
        with self._connections.writing() as db:
            row = db.execute(
                f"update deliveries set attempts = attempts + 1, next_at = :again "
                f"where id = ({DUE}) returning *",
                values | {"again": utc((moment + again_after).isoformat())},
            ).fetchone()
            return row and _delivery(db, row)

    def signing_secret(self, delivery: Delivery) -> str:
        """The secret that signs a message.

        Raises:
            SecretError: It cannot be decrypted.
        """
        return self._cipher.decrypt(delivery.encrypted_secret)

    def delivered(self, delivery_id: str, *, status: int) -> None:
        """Record a delivery."""
        self._record(delivery_id, status=status, error=None, next_at=None, delivered=True)

    def failed(
        self, delivery_id: str, *, status: int | None, error: str, again_after: timedelta | None
    ) -> None:
        """Record a failed attempt, and when to retry; None gives up."""
        again = None
        if again_after is not None:
            again = utc((datetime.now(UTC) + again_after).isoformat())
        self._record(delivery_id, status=status, error=error, next_at=again, delivered=False)

    def gone(self, delivery: Delivery, *, status: int) -> None:
        """Record that a webhook is gone: no more messages are written or sent for it."""
        with self._connections.writing() as db:
            db.execute(
                "update deliveries set last_status = ? where id = ?",
                (status, delivery.delivery_id),
            )
            keys = db.execute(
                "update api_keys set webhook_gone_at = ? "
                "where webhook_url = ? and webhook_gone_at is null returning name",
                (now(), delivery.url),
            ).fetchall()
            for key in keys:
                give_up_pending(db, key["name"], f"The webhook responded with status {status}.")
                note(db, "webhooks", AuditAction.KEY, key["name"], change="webhook gone")

    def of(self, submission_id: str) -> list[DeliveryRecord]:
        """Every message about a submission, oldest first."""
        rows = self._connections.db.execute(
            "select created_at, attempts, delivered_at, given_up_at, last_status, last_error, "
            "event as type, label, categories "
            "from deliveries where submission_id = ? order by rowid",
            (submission_id,),
        )
        return [DeliveryRecord(**{**dict(row), "categories": _categories(row)}) for row in rows]

    def backlog(self) -> DeliveryBacklog:
        """Count the messages that are not delivered."""
        with self._connections.reading():
            pending = self._connections.row(
                "select count(*), min(created_at) from deliveries "
                "where delivered_at is null and given_up_at is null"
            )
            given_up = self._connections.row(
                "select count(*) from deliveries where given_up_at is not null"
            )
        return DeliveryBacklog(pending[0], pending[1], given_up[0])

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
                  given_up_at = case
                    when not :delivered and :next_at is null then coalesce(given_up_at, :now)
                    when not :delivered then given_up_at end
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


def give_up_pending(db: Database, key_name: str, reason: str) -> None:
    """Drop the pending messages of a key, within an open transaction.

    Args:
        db: Where the transaction is open.
        key_name: The key.
        reason: Why, for `GET /v1/images/ID`.
    """
    db.execute(
        """
        update deliveries set given_up_at = ?, last_error = ?
        where delivered_at is null and given_up_at is null
          and submission_id in (select id from submissions where key_name = ? collate nocase)
        """,
        (now(), reason, key_name),
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
        WebhookEvent(row["event"]),
        row["submission_id"],
        about["name"],
        about["image_sha256"],
        row["label"],
        row["created_at"],
        row["attempts"],
        about["webhook_url"],
        about["webhook_secret"],
        _categories(row),
    )


def _categories(row: sqlite3.Row) -> tuple[str, ...] | None:
    return None if row["categories"] is None else tuple(json.loads(row["categories"]))
