"""Who is who: passwords, sessions and API keys checked, and limits on trying.

What always holds: a password is kept as an Argon2 hash, a session's token and an API key as their
SHA-256, so that none can be read from the database; whoever was disabled, or lost a role, feels it
with the next request; an unknown name takes as long to refuse as a wrong password.
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
from nsfw_app.records import utc
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
FAILURES = RateLimit(5)  # per name and address
ATTEMPTS_FROM_ADDRESS = RateLimit(50)  # many names tried from one place
TRIALS = RateLimit(30)  # per address; more than anyone looks at
TRIALS_IN_ALL = RateLimit(120)  # 40 % of what two cores can judge: 5 images a second
IPV6_SITE_BITS = 64  # what one subscriber gets at least; RFC 6177
HASHES_AT_ONCE = 2  # each takes 64 MiB and all of a core
KEY_PREFIX = "nsfw_"
TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class NewKey:
    """An API key, and the secret that its webhook's messages are signed with, as shown once."""

    name: str
    key: str
    webhook_secret: str | None = None


class Accounts:
    """Users, sessions and keys over a store.

    Args:
        store: Where they are kept.
        hub_roles: Roles of people and organisations of Hugging Face, by name.
    """

    def __init__(self, store: Store, *, hub_roles: Mapping[str, UserRole] | None = None) -> None:
        self._rows = store.accounts
        self._keys = store.keys
        self._audit = store.audit
        self._hub_roles = {name.lower(): role for name, role in (hub_roles or {}).items()}
        self._hasher = PasswordHasher()  # RFC 9106, second recommended option
        self._hashing = threading.BoundedSemaphore(HASHES_AT_ONCE)
        self._dummy_hash = self._hash(
            secrets.token_hex()
        )  # what an unknown name is checked against
        self._limiter = RateLimiter()

    @property
    def has_users(self) -> bool:
        """Whether anyone has an account; from then on everyone signs in, whoever is disabled."""
        return self._rows.has_users()

    def add_user(self, name: str, password: str, role: UserRole, *, actor: str) -> None:
        """Make an account.

        Raises:
            AccountError: The name is taken or no name, or the password is too short.
        """
        _check_name(name)
        self._rows.add_user(name, self._hash(_checked(password)), role, actor=actor)

    def set_password(self, name: str, password: str, *, actor: str) -> None:
        """Give a user a new password; every browser must sign in again.

        Raises:
            AccountError: No such user, or the password is too short.
        """
        self._rows.change_user(name, password_hash=self._hash(_checked(password)), actor=actor)

    def sign_in(self, name: str, password: str, *, address: str) -> str:
        """Check a password, and remember the browser that sent it.

        Returns:
            The token that the browser is to keep.

        Raises:
            NotSignedIn: Name and password do not fit.
            TooManyRequests: Five failures within a minute for this name from this address.
        """
        site = _site(address)
        self._count(FAILURES, name.casefold(), site, what="failed attempts to sign in")
        self.count_attempt(address)
        if len(password) > MAX_PASSWORD_CHARACTERS or not self._verify(name, password):
            self._audit.add(name[:64], AuditAction.SIGN_IN_FAILED, address)
            raise NotSignedIn("Name and password do not fit.")
        self._limiter.clear(FAILURES, name.casefold(), site)
        user = self._rows.user(name)
        if user is None:
            raise NotSignedIn("Name and password do not fit.")
        return self._create_session(Session(f"user:{user.name}", user.name, ()))

    def sign_in_from_hub(self, name: str, organisations: Sequence[str]) -> str:
        """Remember the browser of someone whom Hugging Face has signed in; see `sign_in`.

        Raises:
            NotSignedIn: Neither they nor one of their organisations has a role here.
        """
        session = Session(f"hf:{name}", name, tuple(organisations))
        if self._hub_role(session) is None:
            self._audit.add(name[:64], AuditAction.SIGN_IN_FAILED, session.owner)
            raise NotSignedIn(
                f"{name} has no role on this page. Whoever runs it can give one with "
                "NSFW_HUB_ROLES."
            )
        return self._create_session(session)

    def sign_out(self, token: str) -> None:
        """Forget a browser."""
        self._rows.end_session(_sha256(token))

    def session_caller(self, token: str) -> Caller | None:
        """Who a browser's token belongs to, with the role they have now."""
        session = self._rows.session(_sha256(token))
        if session is None:
            return None
        if session.owner.startswith("hf:"):
            role = self._hub_role(session)
            return hub_caller(session.name, role) if role else None
        user = self._rows.user(session.name)
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
        """Make an API key. This is the only time that it is known.

        Raises:
            AccountError: The name is taken or no name, a scope is not one of a key's, or the
                webhook's address is neither http nor https.
        """
        _check_name(name)
        if not scopes or (wrong := set(scopes) - set(KEY_SCOPES)):
            raise AccountError(
                f"A key needs scopes out of {', '.join(KEY_SCOPES)}"
                + (f"; {', '.join(sorted(wrong))} is none." if scopes else ".")
            )
        webhook = _webhook(webhook_url) if webhook_url else None
        key = KEY_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        self._keys.add(
            name, _sha256(key), scopes, per_minute=per_minute, webhook=webhook, actor=actor
        )
        return NewKey(name, key, webhook.secret if webhook else None)

    def keys(self) -> list[ApiKey]:
        """Every key that was ever made, without what opens."""
        return self._keys.all()

    def key_caller(self, key: str) -> Caller:
        """Whose API key this is; the request counts against its limit.

        Raises:
            NotSignedIn: Nobody's, or it was revoked.
            TooManyRequests: It has used up its requests of this minute.
        """
        known = self._keys.find(_sha256(key))
        if known is None:
            raise NotSignedIn("This API key is not known here, or it was revoked.")
        limit = RateLimit(known.per_minute)
        self._count(limit, "key", known.name, what=f"requests of the key {known.name}")
        return key_caller(known.name, known.scopes)

    def count_attempt(self, address: str) -> None:
        """Count an attempt to sign in from this address.

        Raises:
            TooManyRequests: There were too many within a minute.
        """
        self._count(ATTEMPTS_FROM_ADDRESS, _site(address), what="attempts to sign in")

    def count_demo(self, address: str) -> None:
        """Count an image that is tried at this address without signing in.

        Raises:
            TooManyRequests: There were too many within a minute, from this address or in all.
        """
        what = "images tried without signing in"
        self._count(TRIALS, "demo", _site(address), what=f"{what} from one address")
        self._count(TRIALS_IN_ALL, "demo", what=f"{what} by all visitors together")

    def _count(self, limit: RateLimit, *whose: str, what: str) -> None:
        """Count one more; the count forgets what is older than a minute."""
        if wait_s := self._limiter.hit(limit, *whose):
            seconds = math.ceil(wait_s)
            raise TooManyRequests(
                f"More than {limit.amount} {what} within a minute. Try again in {seconds} seconds.",
                retry_after_s=seconds,
            )

    def _verify(self, name: str, password: str) -> bool:
        stored = self._rows.password_hash(name)
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
        self._rows.add_session(_sha256(token), session, expires_at=expires_at)
        return token

    def _hub_role(self, session: Session) -> UserRole | None:
        """The highest role of a person's own name and of their organisations."""
        names = {name.lower() for name in (session.name, *session.organisations)}
        roles = {self._hub_roles[name] for name in names if name in self._hub_roles}
        return max(roles, key=list(UserRole).index, default=None)


def _site(address: str) -> str:
    """What a limit counts by: an IPv4 address, or the network that an IPv6 client can choose in."""
    try:
        network = ip_network(f"{address}/{IPV6_SITE_BITS}", strict=False)
    except ValueError:  # IPv4, which has fewer bits
        return address
    return str(network)


def _webhook(url: str) -> Webhook:
    """A webhook with a new secret, written as the Standard Webhooks specification does."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in {"http", "https"} and bool((parts.hostname or "").encode("idna"))
    except ValueError:  # of which UnicodeError is one
        known = False
    if not known:
        raise AccountError(f"'{url}' is no address of a webhook: it begins with http or https.")
    secret = base64.b64encode(secrets.token_bytes(TOKEN_BYTES)).decode()
    return Webhook(url, f"whsec_{secret}")


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name) or name.casefold() in RESERVED:
        raise AccountError(
            f"'{name}' cannot be a name. A name has up to 64 letters, digits and . @ - _ and "
            f"begins with a letter or digit; {', '.join(sorted(RESERVED))} are taken."
        )


def _checked(password: str) -> str:
    if not MIN_PASSWORD_CHARACTERS <= len(password) <= MAX_PASSWORD_CHARACTERS:
        raise AccountError(
            f"The password has {len(password)} characters; it needs {MIN_PASSWORD_CHARACTERS} to "
            f"{MAX_PASSWORD_CHARACTERS}."
        )
    return password


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
