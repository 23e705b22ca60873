"""API keys. Only hashes of keys are stored."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nsfw_app.errors import AccountError
from nsfw_app.rules.permissions import Permission
from nsfw_app.store.audit import AuditAction, note
from nsfw_app.store.connections import Connections, Durability, now
from nsfw_app.store.deliveries import give_up_pending
from nsfw_app.store.encryption import SecretCipher


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key with its scopes and its limit of requests per minute.

    `webhook_gone_at` is when its webhook responded with 410 Gone, or was stopped.
    `last_used_at` is exact to a minute; None before the first use.
    """

    name: str
    scopes: frozenset[Permission]
    per_minute: int
    created_at: str
    revoked_at: str | None
    webhook_url: str | None
    webhook_gone_at: str | None
    expires_at: str | None
    last_used_at: str | None

    @property
    def has_expired(self) -> bool:
        """Whether it authenticates no request any more because of its age."""
        return self.expires_at is not None and self.expires_at <= now()


@dataclass(frozen=True, slots=True)
class Webhook:
    """The URL that gets a key's messages, and the secret that signs them."""

    url: str
    secret: str


CLEAR_SECRETS = """
select name, webhook_secret from api_keys where substr(webhook_secret, 1, 6) = 'whsec_'
"""


class ApiKeys:
    """Adds, finds and revokes keys. Each change is audited.

    Args:
        connections: The database.
        cipher: Encrypts the secrets of webhooks.
    """

    def __init__(self, connections: Connections, cipher: SecretCipher) -> None:
        self._connections = connections
        self._cipher = cipher

    def all(self) -> list[ApiKey]:
        """Every key, in order of name."""
        rows = self._connections.db.execute("select * from api_keys order by name")
        return [_key(row) for row in rows]

    def find(self, key_sha256: str) -> ApiKey | None:
        """The key with this hash, unless it was revoked; also one that has expired."""
        row = self._connections.row(
            "select * from api_keys where key_sha256 = ? and revoked_at is null", (key_sha256,)
        )
        return row and _key(row)

    def add(
        self,
        name: str,
        key_sha256: str,
        scopes: Sequence[Permission],
        *,
        per_minute: int,
        webhook: Webhook | None,
        expires_at: str | None,
        actor: str,
    ) -> None:
        """Add a key.

        Raises:
            AccountError: The name is or was used.
        """
        with self._connections.writing() as db:
            try:
                db.execute(
                    """
                    insert into api_keys (name, key_sha256, scopes, per_minute, created_at,
                      webhook_url, webhook_secret, expires_at)
                    values (?, ?, ?, ?, ?, ?, ?, ?)
                    """,
                    (
                        name,
                        key_sha256,
                        json.dumps(sorted(scopes)),
                        per_minute,
                        now(),
                        webhook and webhook.url,
                        webhook and self._cipher.encrypt(webhook.secret),
                        expires_at,
                    ),
                )
            except sqlite3.IntegrityError:
                raise AccountError(
                    f"There is or was a key '{name}'. Names of keys are used once."
                ) from None
            details: dict[str, Any] = {"scopes": sorted(scopes), "per_minute": per_minute}
            if webhook:
                details["webhook_url"] = webhook.url
            if expires_at:
                details["expires_at"] = expires_at
            note(db, actor, AuditAction.KEY, name, change="added", **details)

    def encrypt_secrets(self) -> None:
        """Encrypt secrets that an earlier version stored in clear text, and overwrite those."""
        if self._connections.row(CLEAR_SECRETS) is None:
            return
        with self._connections.writing() as db:
            for row in db.execute(CLEAR_SECRETS).fetchall():
                db.execute(
                    "update api_keys set webhook_secret = ? where name = ?",
                    (self._cipher.encrypt(row["webhook_secret"]), row["name"]),
                )
        self._connections.overwrite_log()

    def undecryptable(self) -> list[str]:
        """Names of the keys in force whose webhook secret cannot be decrypted."""
        rows = self._connections.db.execute(
            "select name, webhook_secret from api_keys "
            "where webhook_secret is not null and revoked_at is null order by name"
        )
        return [name for name, secret in rows if not self._cipher.can_decrypt(secret)]

    def revoke(self, name: str, *, actor: str) -> None:
        """Revoke a key, and drop the pending messages to its webhook.

        Raises:
            AccountError: There is no such key, or it is revoked already.
        """
        with self._connections.writing() as db:
            row = db.execute(
                "update api_keys set revoked_at = ? where name = ? and revoked_at is null "
                "returning name",
                (now(), name),
            ).fetchone()
            if row is None:
                raise AccountError(f"There is no key '{name}' that could be revoked.")
            give_up_pending(db, row["name"], "The key was revoked.")
            note(db, actor, AuditAction.KEY, row["name"], change="revoked")

    def set_last_used(self, times: Mapping[str, str]) -> None:
        """Store when keys were last used, by their names."""
        with self._connections.writing(Durability.CRASH) as db:
            for name, at in times.items():
                db.execute("update api_keys set last_used_at = ? where name = ?", (at, name))

    def stop_webhooks(self, *, actor: str) -> int:
        """Stop all webhooks: pending messages are given up, and no more are written.

        Returns:
            How many are stopped now.
        """
        with self._connections.writing() as db:
            stopped = db.execute(
                "update api_keys set webhook_gone_at = ? where webhook_url is not null "
                "and webhook_gone_at is null and revoked_at is null returning name",
                (now(),),
            ).fetchall()
            for row in stopped:
                give_up_pending(db, row["name"], "The webhook was stopped.")
                note(db, actor, AuditAction.KEY, row["name"], change="webhook stopped")
            return len(stopped)

    def restart_webhook(self, name: str, *, actor: str) -> None:
        """Resume messages to a webhook that had responded with 410 Gone, or was stopped.

        Raises:
            AccountError: There is no such key, or its webhook is not stopped.
        """
        with self._connections.writing() as db:
            row = db.execute(
                "update api_keys set webhook_gone_at = null where name = ? "
                "and webhook_gone_at is not null and revoked_at is null returning name",
                (name,),
            ).fetchone()
            if row is None:
                raise AccountError(f"There is no key '{name}' whose webhook is stopped.")
            note(db, actor, AuditAction.KEY, row["name"], change="webhook restarted")


def _key(row: sqlite3.Row) -> ApiKey:
    scopes = frozenset(Permission(scope) for scope in json.loads(row["scopes"]))
    return ApiKey(
        row["name"],
        scopes,
        row["per_minute"],
        row["created_at"],
        row["revoked_at"],
        row["webhook_url"],
        row["webhook_gone_at"],
        row["expires_at"],
        row["last_used_at"],
    )
