"""Users. Only hashes of passwords are stored."""

import sqlite3
from dataclasses import dataclass

from sqlite_utils import Database

from nsfw_app.errors import AccountError
from nsfw_app.rules.permissions import UserRole
from nsfw_app.store.audit import AuditAction, note
from nsfw_app.store.connections import Connections, now


@dataclass(frozen=True, slots=True)
class User:
    """A user account. `disabled_at` is None while the user may sign in.

    `issuer` is None for a user with a password, and `FREE` while the next identity of that name
    may take the account; see `Identities`.
    """

    name: str
    role: UserRole
    created_at: str
    disabled_at: str | None
    issuer: str | None


FREE = ""
USER_COLUMNS = "name, role, created_at, disabled_at, issuer"


class Users:
    """Reads and writes users. Each change is audited."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def all(self) -> list[User]:
        """Every user, in order of name."""
        rows = self._connections.db.execute(f"select {USER_COLUMNS} from users order by name")
        return [user_of(row) for row in rows]

    def user(self, name: str) -> User | None:
        """The user of this name, ignoring case."""
        row = self._connections.row(f"select {USER_COLUMNS} from users where name = ?", (name,))
        return row and user_of(row)

    def password_hash(self, name: str) -> str | None:
        """The hash of a user's password; None for one who has none, is unknown or disabled."""
        row = self._connections.row(
            "select password_hash from users "
            "where name = ? and disabled_at is null and issuer is null",
            (name,),
        )
        return str(row["password_hash"]) if row else None

    def has_users(self) -> bool:
        """Whether any user exists, disabled ones included."""
        return self._connections.row("select 1 from users limit 1") is not None

    def has_passwords(self) -> bool:
        """Whether any user has a password, disabled ones included."""
        found = "select 1 from users where issuer is null and password_hash <> '' limit 1"
        return self._connections.row(found) is not None

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
            AccountError: There is no such user, or it is a password or role of one who signs in
                without a password.
        """
        with self._connections.writing() as db:
            if password_hash or role:
                _check_not_linked(db, name)
            row = db.execute(
                """
                update users set password_hash = coalesce(:password_hash, password_hash),
                  role = coalesce(:role, role),
                  issuer = case when :password_hash is null then issuer end,
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
                db.execute("delete from sessions where name = ? collate nocase", (name,))


def user_of(row: sqlite3.Row) -> User:
    """The user of a row with `USER_COLUMNS`."""
    return User(row[0], UserRole(row[1]), row[2], row[3], row[4])


def _check_not_linked(db: Database, name: str) -> None:
    row = db.execute("select issuer from users where name = ?", (name,)).fetchone()
    if row is not None and row["issuer"]:
        raise AccountError(
            f"{name} signs in without a password here, and the groups of that sign-in decide the "
            "role. Change the groups, or NSFW_OIDC_ROLES, NSFW_HUB_ROLES or NSFW_AUTH_ROLES."
        )
