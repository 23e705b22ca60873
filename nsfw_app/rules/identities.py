"""Identities that a provider or a proxy vouches for, and the roles of their groups.

- An identity is its issuer and subject. Its name is what decisions are recorded under; another
  identity may use the same name.
- An identity without a mapped group has no role.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nsfw_app.rules.permissions import UserRole

PROXY_ISSUER = "proxy"  # of identities that an authenticating proxy names; no URL of a provider


@dataclass(frozen=True, slots=True)
class Identity:
    """A user as an identity provider or an authenticating proxy describes them.

    Attributes:
        issuer: The provider's issuer, or `PROXY_ISSUER`.
        subject: What the issuer identifies the user by; it is never given to another user.
        name: The name under which decisions are recorded.
        groups: The values that roles are mapped from.
        owner_prefix: First part of the owner of uploads: `hf` of Hugging Face, else `user`.
    """

    issuer: str
    subject: str
    name: str
    groups: tuple[str, ...] = ()
    owner_prefix: str = "user"


def mapped_role(groups: Iterable[str], roles: Mapping[str, UserRole]) -> UserRole | None:
    """The highest role of these groups, ignoring case; None if none of them has one."""
    by_name = {group.casefold(): role for group, role in roles.items()}
    found = {by_name[name] for group in groups if (name := group.casefold()) in by_name}
    return max(found, key=list(UserRole).index, default=None)
