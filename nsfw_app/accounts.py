"""User accounts, sessions and API keys: authentication and rate limits.

- Passwords are stored as Argon2 hashes, session tokens and API keys as SHA-256.
- Role changes and deactivation take effect on the next request.
- A sign-in with an unknown name takes as long to fail as one with a wrong password.
"""

import base64
import hashlib
import math
import re
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from urllib.parse import urlsplit

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from nsfw_app.errors import AccountError, NotSignedIn, TooManyRequests
from nsfw_app.rate_limits import RateLimit, RateLimiter
from nsfw_app.records import IMPORT_PREFIX, is_import_source, utc
from nsfw_app.rules.permissions import (
    KEY_SCOPES,
    Caller,
    Permission,
    UserRole,
    hub_caller,
    key_caller,
    user_caller,
)
from nsfw_app.store import Store
from nsfw_app.store.audit import AuditAction
from nsfw_app.store.keys import ApiKey, Webhook
from nsfw_app.store.users import Session

SESSION = timedelta(hours=12)
MIN_PASSWORD_CHARACTERS = 8  # OWASP ASVS 5.0, 6.2.1
MAX_PASSWORD_CHARACTERS = 1_000  # long enough for any sentence, short enough to hash
NAME = re.compile(r"\w[\w.@-]{0,63}")  # letters of any script; no space, colon or slash
RESERVED = frozenset({"anonymous", "key", "local"})
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
        hub_roles: Roles by name of a Hugging Face user or organization.
    """

    def __init__(self, store: Store, *, hub_roles: Mapping[str, UserRole] | None = None) -> None:
        self._users = store.users
        self._keys = store.keys
        self._audit = store.audit
        self._team = store.team
        self._hub_roles = {name.lower(): role for name, role in (hub_roles or {}).items()}
        self._hasher = PasswordHasher()  # RFC 9106, second recommended option
        self._hashing = threading.BoundedSemaphore(MAX_CONCURRENT_HASHES)
        self._dummy_hash = self._hash(secrets.token_hex())  # verified for unknown names
        self._limiter = RateLimiter()

    @property
    def has_users(self) -> bool:
        """Whether there is a user, enabled or disabled; if so, everyone must sign in."""
        return self._users.has_users()

    def reviews(self, name: str) -> bool:
        """Whether an administrator reviews; see `Team.reviews`."""
        return self._team.reviews(name)

    def add_user(self, name: str, password: str, role: UserRole, *, actor: str) -> None:
        """Add a user.

        Raises:
            AccountError: The name is taken or invalid, or the password is too short or too long.
        """
        _check_name(name)
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

    def sign_in_from_hub(self, name: str, organizations: Sequence[str]) -> str:
        """Create a session for a user whom Hugging Face has authenticated; see `sign_in`.

        Raises:
            NotSignedIn: Neither the user nor one of their organizations has a role, or the name is
                that of imported labels.
        """
        session = Session(f"hf:{name}", name, tuple(organizations))
        if is_import_source(name):
            self._audit.add(name[:64], AuditAction.SIGN_IN_FAILED, session.owner)
            raise NotSignedIn(
                f"{name} cannot sign in: decisions under a name that begins with {IMPORT_PREFIX} "
                "are imported labels."
            )
        if self._hub_role(session) is None:
            self._audit.add(name[:64], AuditAction.SIGN_IN_FAILED, session.owner)
            raise NotSignedIn(
                f"{name} has no role on this page. Its operator can assign one with NSFW_HUB_ROLES."
            )
        return self._create_session(session)

    def sign_out(self, token: str) -> None:
        """End a session."""
        self._users.end_session(_sha256(token))

    def session_caller(self, token: str) -> Caller | None:
        """The caller of a session token, with their current role; None if it is not valid."""
        session = self._users.session(_sha256(token))
        if session is None:
            return None
        if session.owner.startswith("hf:"):
            role = self._hub_role(session)
            return hub_caller(session.name, role) if role else None
        user = self._users.user(session.name)
        return user_caller(user.name, user.role) if user and user.disabled_at is None else None

    def add_key(
        self,
        name: str,
        scopes: Sequence[Permission],
        *,
        per_minute: int,
        actor: str,
        webhook_url: str | None = None,
    ) -> NewKey:
        """Create an API key. Only its hash is stored.

        Raises:
            AccountError: The name is taken or invalid, a scope is not one for keys, or the URL of
                the webhook is neither http nor https.
        """
        _check_name(name)
        if not scopes or (wrong := set(scopes) - set(KEY_SCOPES)):
            raise AccountError(
                f"A key needs scopes out of {', '.join(KEY_SCOPES)}"
                + (f", not {', '.join(sorted(wrong))}." if scopes else ".")
            )
        webhook = _webhook(webhook_url) if webhook_url else None
        key = KEY_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        self._keys.add(
            name, _sha256(key), scopes, per_minute=per_minute, webhook=webhook, actor=actor
        )
        return NewKey(name, key, webhook.secret if webhook else None)

    def keys(self) -> list[ApiKey]:
        """All keys, revoked ones too, without their secrets."""
        return self._keys.all()

    def key_caller(self, key: str) -> Caller:
        """The caller of an API key. Counts one request against the key's rate limit.

        Raises:
            NotSignedIn: The key is unknown or revoked.
            TooManyRequests: The key's rate limit is exceeded.
        """
        stored = self._keys.find(_sha256(key))
        if stored is None:
            raise NotSignedIn("This API key is unknown or revoked.")
        limit = RateLimit(stored.per_minute)
        self._count(limit, "key", stored.name, what=f"requests of the key {stored.name}")
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

    def _create_session(self, session: Session) -> str:
        token = secrets.token_urlsafe(TOKEN_BYTES)
        expires_at = utc((datetime.now(UTC) + SESSION).isoformat())
        self._users.add_session(_sha256(token), session, expires_at=expires_at)
        return token

    def _hub_role(self, session: Session) -> UserRole | None:
        """The highest role of a user's own name and of their organizations."""
        names = {name.lower() for name in (session.name, *session.organisations)}
        roles = {self._hub_roles[name] for name in names if name in self._hub_roles}
        return max(roles, key=list(UserRole).index, default=None)


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


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name) or name.casefold() in RESERVED:
        raise AccountError(
            f"'{name}' is not a valid name. A name has up to 64 letters, digits and . @ - _ and "
            f"begins with a letter or digit; {', '.join(sorted(RESERVED))} are reserved."
        )


def _valid_password(password: str) -> str:
    if not MIN_PASSWORD_CHARACTERS <= len(password) <= MAX_PASSWORD_CHARACTERS:
        raise AccountError(
            f"The password has {len(password)} characters; it needs {MIN_PASSWORD_CHARACTERS} to "
            f"{MAX_PASSWORD_CHARACTERS}."
        )
    return password


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
