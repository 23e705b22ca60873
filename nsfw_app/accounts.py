"""User accounts, sessions and API keys: authentication and rate limits.

- Passwords are stored as Argon2 hashes, session tokens and API keys as SHA-256.
- Role changes and deactivation take effect on the next request.
- A sign-in with an unknown name takes as long to fail as one with a wrong password.
"""

import base64
import hashlib
import math
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from urllib.parse import urlsplit

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from nsfw_app.errors import AccountError, Forbidden, NotSignedIn, TooManyRequests
from nsfw_app.last_use import LastUse
from nsfw_app.rate_limits import RateLimit, RateLimiter
from nsfw_app.records import utc
from nsfw_app.rules.identities import Identity
from nsfw_app.rules.permissions import (
    KEY_SCOPES,
    Caller,
    Permission,
    UserRole,
    key_caller,
    user_caller,
)
from nsfw_app.rules.user_names import check_name
from nsfw_app.single_sign_on import SingleSignOn
from nsfw_app.store import Store
from nsfw_app.store.audit import AuditAction
from nsfw_app.store.keys import ApiKey, Webhook
from nsfw_app.store.sessions import ID_CHARACTERS, ListedSession, Session

SESSION = timedelta(hours=12)
MIN_PASSWORD_CHARACTERS = 8  # OWASP ASVS 5.0, 6.2.1
MAX_PASSWORD_CHARACTERS = 1_000  # long enough for any sentence, short enough to hash
FAILURES = RateLimit(5)  # failed sign-ins, per name and address
ATTEMPTS_FROM_ADDRESS = RateLimit(50)  # sign-ins with any names, per address
DEMO_FROM_ADDRESS = RateLimit(30)  # images without signing in, per address
DEMO_IN_ALL = RateLimit(120)  # of all addresses; 40 % of what two cores classify: 5 images a second
IPV6_PREFIX_BITS = 64  # the smallest network of one subscriber; RFC 6177
MAX_CONCURRENT_HASHES = 2  # each takes 64 MiB and a CPU core
KEY_PREFIX = "nsfw_"
INCORRECT = "Incorrect username or password."
TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class NewKey:
    """A new API key and the signing secret of its webhook in clear text, both shown only once."""

    name: str
    key: str
    webhook_secret: str | None = None


class Accounts:
    """Users, sessions and API keys.

    Args:
        store: Stores them.
        roles_by_group: Roles of users who sign in with a provider or through a proxy.
        issuer: Of that provider or proxy; sessions of users of another end. None: any counts.
    """

    def __init__(
        self,
        store: Store,
        *,
        roles_by_group: Mapping[str, UserRole] | None = None,
        issuer: str | None = None,
    ) -> None:
        self.last_use = LastUse(store)
        self._single_sign_on = SingleSignOn(store, roles_by_group or {})
        self._issuer = issuer
        self._users = store.users
        self._sessions = store.sessions
        self._keys = store.keys
        self._audit = store.audit
        self._team = store.team
        self._hasher = PasswordHasher()  # RFC 9106, second recommended option
        self._hashing = threading.BoundedSemaphore(MAX_CONCURRENT_HASHES)
        self._dummy_hash = self._hash(secrets.token_hex())  # verified for unknown names
        self._limiter = RateLimiter()

    @property
    def has_users(self) -> bool:
        """Whether there is a user, enabled or disabled; if so, everyone must sign in."""
        return self._users.has_users()

    @property
    def has_passwords(self) -> bool:
        """Whether any user signs in with a password."""
        return self._users.has_passwords()

    def reviews(self, name: str) -> bool:
        """Whether an administrator reviews; see `Team.reviews`."""
        return self._team.reviews(name)

    def add_user(self, name: str, password: str, role: UserRole, *, actor: str) -> None:
        """Add a user.

        Raises:
            AccountError: The name is taken or invalid, or the password is too short or too long.
        """
        check_name(name)
        self._users.add_user(name, self._hash(_valid_password(password)), role, actor=actor)

    def set_password(self, name: str, password: str, *, actor: str) -> None:
        """Change a user's password and end all of their sessions.

        Raises:
            AccountError: There is no such user, or the password is too short or too long.
        """
        self._users.change_user(
            name, password_hash=self._hash(_valid_password(password)), actor=actor
        )

    def sign_in(self, name: str, password: str, *, address: str) -> str:
        """Check a password and create a session.

        Returns:
            The session token, for the browser's cookie.

        Raises:
            NotSignedIn: The username or password is incorrect.
            TooManyRequests: Five failures within a minute for this name from this address.
        """
        network = _network(address)
        self._count(FAILURES, name.casefold(), network, what="failed attempts to sign in")
        self.count_attempt(address)
        if len(password) > MAX_PASSWORD_CHARACTERS or not self._verify(name, password):
            self._audit.add(name[:64], AuditAction.SIGN_IN_FAILED, address)
            raise NotSignedIn(INCORRECT)
        self._limiter.clear(FAILURES, name.casefold(), network)
        user = self._users.user(name)
        if user is None:
            raise NotSignedIn(INCORRECT)
        return self._create_session(Session(f"user:{user.name}", user.name, ()))

    def sign_in_identity(
        self, identity: Identity, *, lasts: timedelta | None = None, id_token: str | None = None
    ) -> str:
        """Create a session for a user whom a provider has authenticated; see `sign_in`.

        Args:
            identity: Who the provider says it is.
            lasts: How long the session lasts; by default as one with a password.
            id_token: What the provider needs to end its own session at the sign-out.

        Raises:
            NotSignedIn: None of their groups has a role, they are disabled, or their name is
                invalid or belongs to another account.
        """
        try:
            user = self._single_sign_on.open_account(identity)
        except AccountError as error:
            subject = f"{identity.owner_prefix}:{identity.name}"
            self._audit.add(identity.name[:64], AuditAction.SIGN_IN_FAILED, subject[:200])
            raise NotSignedIn(str(error)) from error
        session = Session(f"{identity.owner_prefix}:{user.name}", user.name, identity.groups)
        return self._create_session(session, lasts=lasts, id_token=id_token)

    def proxy_caller(self, identity: Identity) -> Caller:
        """The caller whom an authenticating proxy names.

        Raises:
            Forbidden: None of their groups has a role, they are disabled, or their name is invalid
                or belongs to another account.
        """
        try:
            return self._single_sign_on.proxy_caller(identity)
        except AccountError as error:
            raise Forbidden(str(error)) from error

    def sign_out(self, token: str) -> str | None:
        """End a session; returns the ID token that it began with, if any."""
        return self._sessions.end(_sha256(token))

    def session_caller(self, token: str) -> Caller | None:
        """The caller of a session token, with their current role; None if it is not valid."""
        token_sha256 = _sha256(token)
        session = self._sessions.find(token_sha256)
        user = self._users.user(session.name) if session else None
        if session is None or user is None or user.disabled_at is not None:
            return None
        is_linked = user.issuer is not None
        if is_linked and self._issuer is not None and user.issuer != self._issuer:
            return None  # the groups of another provider have no roles here
        role = self._single_sign_on.role(session.organisations) if is_linked else user.role
        if role is None:
            return None
        self.last_use.session(token_sha256)
        return user_caller(user.name, role, owner=session.owner)

    def sessions(self, name: str | None = None) -> list[ListedSession]:
        """The sessions of a user, or of all, the latest sign-in first."""
        return self._sessions.listed(name)

    def session_id(self, token: str) -> str:
        """The id under which a session is listed."""
        return _sha256(token)[:ID_CHARACTERS]

    def revoke_session(self, session_id: str, *, name: str | None, actor: str) -> None:
        """End a session by its id; see `Sessions.revoke`.

        Raises:
            AccountError: There is no such session, or it is not one of that user.
        """
        self._sessions.revoke(session_id, name=name, actor=actor)

    def add_key(
        self,
        name: str,
        scopes: Sequence[Permission],
        *,
        per_minute: int,
        actor: str,
        webhook_url: str | None = None,
        days: int | None = None,
    ) -> NewKey:
        """Create an API key. Only its hash is stored.

        Args:
            name: Its name; names are used once.
            scopes: What it may do.
            per_minute: Its rate limit, in requests.
            actor: The name of the operator.
            webhook_url: The URL that gets messages about what it submits.
            days: After how many days it expires; None for never.

        Raises:
            AccountError: The name is taken or invalid, a scope is not one for keys, or the URL of
                the webhook is neither http nor https.
        """
        check_name(name)
        if not scopes or (wrong := set(scopes) - set(KEY_SCOPES)):
            raise AccountError(
                f"A key needs scopes out of {', '.join(KEY_SCOPES)}"
                + (f", not {', '.join(sorted(wrong))}." if scopes else ".")
            )
        webhook = _webhook(webhook_url) if webhook_url else None
        key = KEY_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        self._keys.add(
            name,
            _sha256(key),
            scopes,
            per_minute=per_minute,
            webhook=webhook,
            expires_at=_later(timedelta(days=days)) if days else None,
            actor=actor,
        )
        return NewKey(name, key, webhook.secret if webhook else None)

    def keys(self) -> list[ApiKey]:
        """All keys, revoked ones too, without their secrets."""
        return self._keys.all()

    def active_keys(self) -> list[ApiKey]:
        """The keys that are not revoked, expired ones too."""
        return [key for key in self._keys.all() if key.revoked_at is None]

    def revoke_key(self, name: str, *, actor: str) -> None:
        """Revoke a key; see `ApiKeys.revoke`.

        Raises:
            AccountError: There is no such key, or it is revoked already.
        """
        self._keys.revoke(name, actor=actor)

    def key_caller(self, key: str) -> Caller:
        """The caller of an API key. Counts one request against the key's rate limit.

        Raises:
            NotSignedIn: The key is unknown, revoked or expired.
            TooManyRequests: The key's rate limit is exceeded.
        """
        stored = self._keys.find(_sha256(key))
        if stored is None:
            raise NotSignedIn("This API key is unknown or revoked.")
        if stored.has_expired:
            raise NotSignedIn(
                f"The API key {stored.name} expired at {stored.expires_at}. Ask the operator for a "
                "new one."
            )
        limit = RateLimit(stored.per_minute)
        self._count(limit, "key", stored.name, what=f"requests of the key {stored.name}")
        self.last_use.key(stored.name)
        return key_caller(stored.name, stored.scopes)

    def count_attempt(self, address: str) -> None:
        """Count a sign-in from this address.

        Raises:
            TooManyRequests: The rate limit of the address is exceeded.
        """
        self._count(ATTEMPTS_FROM_ADDRESS, _network(address), what="attempts to sign in")

    def count_demo(self, address: str) -> None:
        """Count an image that is classified without signing in.

        Raises:
            TooManyRequests: The rate limit of this address, or of all together, is exceeded.
        """
        what = "images tried without signing in"
        self._count(DEMO_FROM_ADDRESS, "demo", _network(address), what=f"{what} from one address")
        self._count(DEMO_IN_ALL, "demo", what=f"{what} by all visitors together")

    def _count(self, limit: RateLimit, *key: str, what: str) -> None:
        """Count one event for a key. Events older than a minute do not count."""
        if wait_s := self._limiter.hit(limit, *key):
            seconds = math.ceil(wait_s)
            raise TooManyRequests(
                f"More than {limit.amount} {what} within a minute. Try again in {seconds} seconds.",
                retry_after_s=seconds,
            )

    def _verify(self, name: str, password: str) -> bool:
        stored = self._users.password_hash(name)
        with self._hashing:
            try:
                self._hasher.verify(stored or self._dummy_hash, password)
            except VerifyMismatchError:
                return False
        return stored is not None

    def _hash(self, password: str) -> str:
        with self._hashing:
            return self._hasher.hash(password)

    def _create_session(
        self, session: Session, *, lasts: timedelta | None = None, id_token: str | None = None
    ) -> str:
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._sessions.add(
            _sha256(token),
            session,
            expires_at=_later(SESSION if lasts is None else lasts),
            id_token=id_token,
        )
        return token


def _later(span: timedelta) -> str:
    return utc((datetime.now(UTC) + span).isoformat())


def _network(address: str) -> str:
    """The key of a rate limit: an IPv4 address, or the network of an IPv6 address."""
    try:
        return str(ip_network(f"{address}/{IPV6_PREFIX_BITS}", strict=False))
    except ValueError:  # IPv4, which has fewer bits
        return address


def _webhook(url: str) -> Webhook:
    """A webhook with a new secret in the format of the Standard Webhooks specification."""
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in {"http", "https"} and bool((parts.hostname or "").encode("idna"))
    except ValueError:  # includes UnicodeError
        is_valid = False
    if not is_valid:
        raise AccountError(f"'{url}' is not a webhook URL: use http:// or https:// and a host.")
    secret = base64.b64encode(secrets.token_bytes(TOKEN_BYTES)).decode()
    return Webhook(url, f"whsec_{secret}")


def _valid_password(password: str) -> str:
    if not MIN_PASSWORD_CHARACTERS <= len(password) <= MAX_PASSWORD_CHARACTERS:
        raise AccountError(
            f"The password has {len(password)} characters; it needs {MIN_PASSWORD_CHARACTERS} to "
            f"{MAX_PASSWORD_CHARACTERS}."
        )
    return password


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
