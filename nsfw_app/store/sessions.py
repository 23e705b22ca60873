"""Sessions of signed-in browsers. Only hashes of their tokens are stored."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from sqlite_utils import Database

from nsfw_app.errors import AccountError, SecretError
from nsfw_app.store.audit import AuditAction, note
from nsfw_app.store.connections import Connections, Durability, now
from nsfw_app.store.encryption import SecretCipher

log = logging.getLogger(__name__)

ID_CHARACTERS = 16  # of a hash; they identify a session and cannot be used as one


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in browser. `organisations` are the groups of the user's identity."""

    owner: str
    name: str
    organisations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListedSession:
    """A session as it is listed. `last_seen_at` is exact to a minute; None before the first."""

    id: str
    name: str
    created_at: str
    last_seen_at: str | None
    expires_at: str


class Sessions:
    """Adds, finds, lists and ends sessions. Sign-ins and ends are audited.

    Args:
        connections: The database.
        cipher: Encrypts ID tokens.
    """

    def __init__(self, connections: Connections, cipher: SecretCipher) -> None:
        self._connections = connections
        self._cipher = cipher

    def add(
        self,
        token_sha256: str,
        session: Session,
        *,
        expires_at: str,
        id_token: str | None = None,
    ) -> None:
        """Add a session; delete expired ones. Its groups apply to all sessions of the user."""
        with self._connections.writing() as db:
            db.execute("delete from sessions where expires_at <= ?", (now(),))
            groups = json.dumps(session.organisations)
            db.execute(
                "update sessions set organisations = ? where owner = ?", (groups, session.owner)
            )
            db.execute(
                """
                insert into sessions (token_sha256, owner, name, organisations, created_at,
                  expires_at, id_token)
                values (?, ?, ?, ?, ?, ?, ?)
                """,
                (
                    token_sha256,
                    session.owner,
                    session.name,
                    groups,
                    now(),
                    expires_at,
                    id_token and self._cipher.encrypt(id_token),
                ),
            )
            note(db, session.name, AuditAction.SIGN_IN, session.owner)

    def find(self, token_sha256: str) -> Session | None:
        """The session with this token, unless it has expired."""
        row = self._connections.row(
            "select owner, name, organisations from sessions "
            "where token_sha256 = ? and expires_at > ?",
            (token_sha256, now()),
        )
        return row and Session(row[0], row[1], tuple(json.loads(row[2])))

    def listed(self, name: str | None = None) -> list[ListedSession]:
        """The sessions of a user, or of all, that have not expired; the latest sign-in first."""
        rows = self._connections.db.execute(
            f"""
            select substr(token_sha256, 1, {ID_CHARACTERS}), name, created_at, last_seen_at,
              expires_at
            from sessions
            where expires_at > :now and (:name is null or name = :name collate nocase)
            order by created_at desc, token_sha256
            """,
            {"now": now(), "name": name},
        )
        return [ListedSession(*row) for row in rows]

    def end(self, token_sha256: str) -> str | None:
        """Delete a session.

        Returns:
            The ID token that it began with, where the provider gave one to end its own session.
        """
        with self._connections.writing() as db:
            row = db.execute(
                "delete from sessions where token_sha256 = ? returning owner, name, id_token",
                (token_sha256,),
            ).fetchone()
            if row is None:
                return None
            note(db, row["name"], AuditAction.SIGN_OUT, row["owner"])
        return self._id_token(row["id_token"])

    def revoke(self, session_id: str, *, name: str | None, actor: str) -> None:
        """Delete a session by its listed id.

        Args:
            session_id: See `ListedSession.id`.
            name: The user whose session it must be; None for any user.
            actor: The name of the caller.

        Raises:
            AccountError: There is no such session of this user.
        """
        with self._connections.writing() as db:
            row = db.execute(
                f"""
                delete from sessions where substr(token_sha256, 1, {ID_CHARACTERS}) = :id
                  and (:name is null or name = :name collate nocase) returning owner, name
                """,
                {"id": session_id, "name": name},
            ).fetchone()
            if row is None:
                raise AccountError("This session has ended already.")
            if actor == row["name"]:
                note(db, actor, AuditAction.SIGN_OUT, row["owner"])
            else:
                note(db, actor, AuditAction.USER, row["name"], sessions_ended=1)

    def end_all(self, name: str, *, actor: str) -> int:
        """Delete all sessions of a user; returns their number."""
        with self._connections.writing() as db:
            rows = db.execute(
                "delete from sessions where name = ? collate nocase returning owner", (name,)
            ).fetchall()
            note(db, actor, AuditAction.USER, name, sessions_ended=len(rows))
            return len(rows)

    def end_of_everyone(self, *, actor: str) -> int:
        """Delete the sessions of all users; returns their number."""
        with self._connections.writing() as db:
            return end_sessions(db, actor=actor)

    def set_last_seen(self, times: Mapping[str, str]) -> None:
        """Store when sessions were last seen, by the hash of their token."""
        with self._connections.writing(Durability.CRASH) as db:
            for token_sha256, at in times.items():
                db.execute(
                    "update sessions set last_seen_at = ? where token_sha256 = ?",
                    (at, token_sha256),
                )

    def _id_token(self, encrypted: str | None) -> str | None:
        try:
            return self._cipher.decrypt(encrypted) if encrypted else None
        except SecretError as error:  # the sign-out of this page must not depend on it
            log.warning("The provider's session is not ended: %s", error)
            return None


def end_sessions(db: Database, *, actor: str) -> int:
    """Delete the sessions of all users, within an open transaction; returns their number."""
    rows = db.execute("delete from sessions returning owner").fetchall()
    if rows:
        note(db, actor, AuditAction.USER, "all", sessions_ended=len(rows))
    return len(rows)
