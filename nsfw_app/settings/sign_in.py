"""Settings of sign-in: an OpenID Connect provider, or a proxy that authenticates users.

- Hugging Face on a Space is a preset of the same client.
- A provider or proxy without roles is refused at start, because no one could sign in.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import Annotated, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import NoDecode

from nsfw_app.rules.identities import PROXY_ISSUER
from nsfw_app.rules.permissions import UserRole
from nsfw_app.settings.network import ANY_PROXY, ROOT_PATH, NetworkSettings
from nsfw_app.settings.values import split_items, split_pairs

HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")  # RFC 9110, a token
# Headers with another meaning to this server or to HTTP itself.
TAKEN_HEADERS = frozenset(
    """authorization connection content-length content-type cookie forwarded host origin referer
    transfer-encoding x-api-key x-forwarded-for x-forwarded-host x-forwarded-prefix
    x-forwarded-proto""".split()
)
OPENID = "openid"  # the scope without which a provider sends no ID token
MAX_SESSION_HOURS = 720
HUB_LABEL = "Hugging Face"
HUB_SCOPES = ("openid", "profile")  # username and organizations; no email address, no API access


@dataclass(frozen=True, slots=True)
class OpenIdClient:
    """This page as a client of an OpenID Connect provider.

    Attributes:
        issuer: The provider's issuer, exactly as it calls itself.
        client_id: The id under which the provider knows this page.
        client_secret: Its secret; empty for a public client.
        scopes: What is requested.
        name_claim: The claim with the name under which decisions are recorded.
        roles_claims: The claims whose values are mapped to roles; `a.b` is `b` inside of `a`.
        session: How long a session lasts.
        label: What the sign-in page calls the provider.
        owner_prefix: See `Identity.owner_prefix`.
        takes_passwords: Whether users with a password may sign in, too.
    """

    issuer: str
    client_id: str
    client_secret: str
    scopes: tuple[str, ...]
    name_claim: str
    roles_claims: tuple[str, ...]
    session: timedelta
    label: str
    owner_prefix: str = "user"
    takes_passwords: bool = True


class SignInSettings(NetworkSettings):
    """Single sign-on: the provider or the proxy, and the roles of its groups."""

    public_url: str = Field(
        "",
        description="Address of the page as browsers see it, such as "
        "`https://example.org/review`. Default: the request's, as trusted proxies forward it.",
    )
    oidc_issuer: str = Field(
        "",
        description="Issuer of the OpenID Connect provider that users sign in with, such as "
        "`https://login.example.org/realms/main`.",
    )
    oidc_client_id: str = Field("", description="Client id of this page at the provider.")
    oidc_client_secret: str = Field(
        "", repr=False, description="Client secret of this page; empty for a public client."
    )
    oidc_scopes: Annotated[tuple[str, ...], NoDecode] = Field(
        ("openid", "profile"),
        description="Scopes that are requested, separated by spaces or commas; `openid` is needed.",
    )
    oidc_name_claim: str = Field(
        "preferred_username",
        min_length=1,
        description="Claim with the name under which decisions are recorded, such as "
        "`preferred_username` or `email`.",
    )
    oidc_roles_claim: Annotated[tuple[str, ...], NoDecode] = Field(
        ("groups",),
        min_length=1,
        description="Claims whose values are mapped to roles, separated by commas, such as "
        "`groups` or `realm_access.roles`.",
    )
    oidc_roles: Annotated[dict[str, UserRole], NoDecode] = Field(
        {},
        description="Roles by value of these claims, such as "
        "`moderators=reviewer,ts-leads=admin`. Users without one are refused.",
    )
    oidc_session_hours: float = Field(
        12,
        gt=0,
        le=MAX_SESSION_HOURS,
        allow_inf_nan=False,
        description="Hours after which a user who signed in with the provider signs in again.",
    )
    auth_header: str = Field(
        "",
        description="Header in which an authenticating proxy sends the user's name, such as "
        "`X-Forwarded-User`.",
    )
    auth_header_from: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="IP addresses and networks of that proxy, separated by commas. From other "
        "peers the header is refused.",
    )
    auth_groups_header: str = Field(
        "",
        description="Header in which the proxy sends the user's groups, separated by commas, such "
        "as `X-Forwarded-Groups`.",
    )
    auth_roles: Annotated[dict[str, UserRole], NoDecode] = Field(
        {},
        description="Roles by group of that header, such as `moderators=reviewer,ts-leads=admin`; "
        "by user name where no header has groups. Users without one are refused.",
    )

    @field_validator("oidc_roles", "auth_roles", mode="before")
    @classmethod
    def _role_pairs(cls, value: object) -> object:
        if isinstance(value, str):
            names = [item.partition("=")[0].strip() for item in value.split(",") if item.strip()]
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise PydanticCustomError("roles", f"{', '.join(twice)} has more than one role")
        return split_pairs(value)

    @field_validator("oidc_scopes", mode="before")
    @classmethod
    def _scopes(cls, value: object) -> object:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("oidc_scopes")
    @classmethod
    def _has_openid(cls, scopes: tuple[str, ...]) -> tuple[str, ...]:
        if OPENID not in scopes:
            raise PydanticCustomError("scopes", f"'{OPENID}' is not among the scopes")
        return scopes

    @field_validator("oidc_roles_claim", "auth_header_from", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return split_items(value)

    @field_validator("auth_header_from")
    @classmethod
    def _named_proxies(cls, peers: tuple[str, ...]) -> tuple[str, ...]:
        for peer in peers:
            if peer == ANY_PROXY or ip_network(peer).prefixlen == 0:
                raise PydanticCustomError("peers", "Every peer could sign in as anyone")
        return peers

    @field_validator("oidc_issuer")
    @classmethod
    def _issuer(cls, value: str) -> str:
        if value and not is_secure_url(value):
            raise PydanticCustomError(
                "issuer", "It is not an https:// URL (or http:// of loopback)"
            )
        return value

    @field_validator("public_url")
    @classmethod
    def _public_address(cls, value: str) -> str:
        parts = _split(value.rstrip("/"))
        if value and not (
            parts
            and parts.scheme in {"http", "https"}
            and parts.hostname
            and re.fullmatch(ROOT_PATH, parts.path)
            and not (parts.query or parts.fragment or "@" in parts.netloc)
        ):
            raise PydanticCustomError("public_url", "It is not a URL of the form https://host/path")
        return value.rstrip("/")

    @field_validator("auth_header", "auth_groups_header")
    @classmethod
    def _header(cls, value: str) -> str:
        name = value.lower()
        if value and (not HEADER_NAME.fullmatch(value) or name in TAKEN_HEADERS):
            raise PydanticCustomError("header", "It is no header that can name a user or groups")
        return name

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for names, values in (
            (
                ("NSFW_OIDC_ISSUER", "NSFW_OIDC_CLIENT_ID", "NSFW_OIDC_ROLES"),
                (self.oidc_issuer, self.oidc_client_id, self.oidc_roles),
            ),
            (
                ("NSFW_AUTH_HEADER", "NSFW_AUTH_HEADER_FROM", "NSFW_AUTH_ROLES"),
                (self.auth_header, self.auth_header_from, self.auth_roles),
            ),
        ):
            missing = [name for name, value in zip(names, values, strict=True) if not value]
            if missing and len(missing) < len(names):
                raise ValueError(
                    f"{', '.join(names)} belong together; {', '.join(missing)} is not set."
                )
        if self.auth_groups_header and not self.auth_header:
            raise ValueError("NSFW_AUTH_GROUPS_HEADER needs NSFW_AUTH_HEADER, which is not set.")
        if self.auth_header and self.auth_header == self.auth_groups_header:
            raise ValueError("NSFW_AUTH_HEADER and NSFW_AUTH_GROUPS_HEADER name the same header.")
        if self.auth_header and self.oidc_issuer:
            raise ValueError(
                "NSFW_AUTH_HEADER and NSFW_OIDC_ISSUER exclude each other: set the one that signs "
                "users in."
            )
        return self

    @property
    def openid(self) -> OpenIdClient | None:
        """The provider that users sign in with; on a Space by default Hugging Face."""
        if self.oidc_issuer:
            return OpenIdClient(
                issuer=self.oidc_issuer,
                client_id=self.oidc_client_id,
                client_secret=self.oidc_client_secret,
                scopes=self.oidc_scopes,
                name_claim=self.oidc_name_claim,
                roles_claims=self.oidc_roles_claim,
                session=timedelta(hours=self.oidc_session_hours),
                label=urlsplit(self.oidc_issuer).hostname or self.oidc_issuer,
            )
        if not (self.on_space and self.oauth_client_id and self.oauth_client_secret):
            return None
        return OpenIdClient(
            issuer=self.oauth_provider_url.rstrip("/"),
            client_id=self.oauth_client_id,
            client_secret=self.oauth_client_secret,
            scopes=HUB_SCOPES,
            name_claim="preferred_username",
            roles_claims=("preferred_username", "orgs"),
            session=timedelta(hours=self.oidc_session_hours),
            label=HUB_LABEL,
            owner_prefix="hf",
            takes_passwords=False,
        )

    @property
    def single_sign_on(self) -> bool:
        """Whether a provider or a proxy signs users in."""
        return self.openid is not None or bool(self.auth_header)

    @property
    def identity_issuer(self) -> str:
        """The issuer of the identities that have roles; empty without single sign-on."""
        if self.openid is not None:
            return self.openid.issuer
        return PROXY_ISSUER if self.auth_header else ""

    @property
    def roles_by_group(self) -> Mapping[str, UserRole]:
        """Roles by group of the provider or proxy that signs users in."""
        return self.auth_roles or self.oidc_roles or self.hub_roles


def is_secure_url(url: str) -> bool:
    """Whether a URL is https, or http on this machine's loopback interface."""
    parts = _split(url)
    if parts is None or not parts.hostname or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname))


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for one that is no number
    except ValueError:
        return None
    return parts


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # another name
        return False
