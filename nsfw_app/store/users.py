"""Users and sessions. Only hashes of passwords and tokens are stored."""

import json
import sqlite3
from dataclasses import dataclass

from nsfw_app.errors import AccountError
from nsfw_app.rules.permissions import UserRole
from nsfw_app.store.audit import AuditAction, note
from nsfw_app.store.connections import Connections, now


@dataclass(frozen=True, slots=True)
class User:
    """A user account. `disabled_at` is None while the user may sign in."""

    name: str
    role: UserRole
    created_at: str
    disabled_at: str | None


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in browser. `organisations` are those of the Hugging Face account."""

    owner: str
    name: str
    organisations: tuple[str, ...]


class Users:
    """Reads and writes users and sessions. Each change of a user is audited."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def all(self) -> list[User]:
        """Every user, in order of name."""
        rows = self._connections.db.execute(
            "select name, role, created_at, disabled_at from users order by name"
        )
        return [User(row[0], UserRole(row[1]), row[2], row[3]) for row in rows]

    def user(self, name: str) -> User | None:
        """The user of this name, ignoring case."""
        row = self._connections.row(
            "select name, role, created_at, disabled_at from users where name = ?", (name,)
        )
        return row and User(row[0], UserRole(row[1]), row[2], row[3])

    def password_hash(self, name: str) -> str | None:
        """The hash of a user's password; None for an unknown or disabled user."""
        row = self._connections.row(
            "select password_hash from users where name = ? and disabled_at is null", (name,)
        )
        return str(row["password_hash"]) if row else None

    def has_users(self) -> bool:
        """Whether any user exists, disabled ones included."""
        return self._connections.row("select 1 from users limit 1") is not None

    def add_user(self, name: str, password_hash: str, role: UserRole, *, actor: str) -> None:
        """Add a user.

        Raises:
            AccountError: The name is taken.
        """
        with self._connections.writing() as db:
            try:
                db.execute(
                    "insert into users (name, password_hash, role, created_at) values (?, ?, ?, ?)",
                    (name, password_hash, role, now()),
                )
            except sqlite3.IntegrityError:
                raise AccountError(f"There is a user '{name}' already.") from None
            note(db, actor, AuditAction.USER, name, change="added", role=role)

    def change_user(
        self,
        name: str,
        *,
        actor: str,
        password_hash: str | None = None,
        role: UserRole | None = None,
        disabled: bool | None = None,
    ) -> None:
        """Change the given values. A new password or disabling the user ends all sessions.

        Raises:
            AccountError: There is no such user.
        """
        with self._connections.writing() as db:
            row = db.execute(
                """
                update users set password_hash = coalesce(:password_hash, password_hash),
                  role = coalesce(:role, role),
                  disabled_at = case when :disabled is null then disabled_at
                    when :disabled then coalesce(disabled_at, :now) end
                where name = :name returning name
                """,
                {
                    "name": name,
                    "password_hash": password_hash,
                    "role": role,
                    "disabled": disabled,
                    "now": now(),
                },
            ).fetchone()
            if row is None:
                raise AccountError(f"There is no user '{name}'.")
            changes = {"role": role, "disabled": disabled, "password": bool(password_hash) or None}
            note(
                db,
                actor,
                AuditAction.USER,
                row["name"],
                **{key: value for key, value in changes.items() if value is not None},
            )
            if password_hash or disabled:
                db.execute("delete from sessions where owner = ?", (f"user:{row['name']}",))

    def add_session(self, token_sha256: str, session: Session, *, expires_at: str) -> None:
        """Add a session; delete expired ones."""
        with self._connections.writing() as db:
            db.execute("delete from sessions where expires_at <= ?", (now(),))
            db.execute(
                "insert into sessions values (?, ?, ?, ?, ?, ?)",
                (
                    token_sha256,
                    session.owner,
                    session.name,
                    json.dumps(session.organisations),
                    now(),
                    expires_at,
                ),
            )
            note(db, session.name, AuditAction.SIGN_IN, session.owner)

    def session(self, token_sha256: str) -> Session | None:
        """The session with this token, unless it has expired."""
        row = self._connections.row(
            "select owner, name, organisations from sessions "
            "where token_sha256 = ? and expires_at > ?",
            (token_sha256, now()),
        )
        return row and Session(row[0], row[1], tuple(json.loads(row[2])))

    def end_session(self, token_sha256: str) -> None:
        """Delete a session."""
        with self._connections.writing() as db:
            row = db.execute(
                "delete from sessions where token_sha256 = ? returning owner, name",
                (token_sha256,),
            ).fetchone()
            if row:
                note(db, row["name"], AuditAction.SIGN_OUT, row["owner"])

    def end_sessions(self, name: str, *, actor: str) -> int:
        """Delete all sessions of a user; returns their number."""
        with self._connections.writing() as db:
            rows = db.execute(
                "delete from sessions where name = ? collate nocase returning owner", (name,)
            ).fetchall()
            note(db, actor, AuditAction.USER, name, sessions_ended=len(rows))
            return len(rows)

    def end_all_sessions(self, *, actor: str) -> int:
        """Delete the sessions of all users; returns their number."""
        with self._connections.writing() as db:
            rows = db.execute("delete from sessions returning owner").fetchall()
            note(db, actor, AuditAction.USER, "all", sessions_ended=len(rows))
            return len(rows)
