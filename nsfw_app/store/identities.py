"""Accounts of identities: users who sign in with a provider or a proxy.

- An account is bound to issuer and subject. A name alone never opens it, neither that of a user
  with a password nor that of another identity.
- An operator can free an account, so that the next identity of its name takes it.
"""

from nsfw_app.errors import AccountError
from nsfw_app.rules.identities import PROXY_ISSUER, Identity
from nsfw_app.rules.permissions import UserRole
from nsfw_app.store.audit import AuditAction, note
from nsfw_app.store.connections import Connections, now
from nsfw_app.store.users import FREE, USER_COLUMNS, User, user_of

NO_PASSWORD = ""  # no hash, so no password verifies


class Identities:
    """Finds, adds and frees accounts of identities. Each change is audited."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def find(self, issuer: str, subject: str) -> User | None:
        """The user that an identity is bound to."""
        row = self._connections.row(
            f"select {USER_COLUMNS} from users where issuer = ? and subject = ?", (issuer, subject)
        )
        return row and user_of(row)

    def sign_in(self, identity: Identity, role: UserRole) -> User:
        """The user of an identity, added at its first sign-in, with the role of its groups.

        Raises:
            AccountError: Its name is that of another account.
        """
        with self._connections.writing() as db:
            key = (identity.issuer, identity.subject)
            row = db.execute(
                "update users set role = ? where issuer = ? and subject = ? and role <> ? "
                "returning name",
                (role, *key, role),
            ).fetchone()
            if row:
                note(db, row["name"], AuditAction.USER, row["name"], role=role)
            found = db.execute(
                f"select {USER_COLUMNS} from users where issuer = ? and subject = ?", key
            ).fetchone()
            if found is None:
                found = db.execute(
                    f"""
                    insert into users (name, password_hash, role, created_at, issuer, subject)
                    values (?, ?, ?, ?, ?, ?)
                    on conflict (name) do update set role = excluded.role,
                      issuer = excluded.issuer, subject = excluded.subject
                    where issuer = '{FREE}'
                    returning {USER_COLUMNS}
                    """,
                    (identity.name, NO_PASSWORD, role, now(), *key),
                ).fetchone()
                if found is None:
                    raise AccountError(
                        f"The name {identity.name} belongs to another account of this page. Its "
                        f"operator can hand it over with 'users link {identity.name}'."
                    )
                note(
                    db,
                    found["name"],
                    AuditAction.USER,
                    found["name"],
                    change="linked",
                    role=role,
                    issuer=identity.issuer,
                )
        return user_of(found)

    def free(self, name: str, *, actor: str) -> None:
        """Let the next identity of this name take the account.

        Its password is removed and its sessions end. Its decisions stay.

        Raises:
            AccountError: There is no such user.
        """
        with self._connections.writing() as db:
            row = db.execute(
                "update users set issuer = ?, subject = null, password_hash = ? where name = ? "
                "returning name",
                (FREE, NO_PASSWORD, name),
            ).fetchone()
            if row is None:
                raise AccountError(f"There is no user '{name}'.")
            db.execute("delete from sessions where name = ? collate nocase", (name,))
            note(db, actor, AuditAction.USER, row["name"], change="freed")


def describe_issuer(issuer: str) -> str:
    """Where a user without a password signs in, as a phrase."""
    if issuer == FREE:
        return "at their next single sign-on"
    return "through a proxy" if issuer == PROXY_ISSUER else f"at {issuer}"
