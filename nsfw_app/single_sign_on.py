"""Users whom a provider or a proxy vouches for: their accounts and roles.

- Without a mapped role no account is made, and none is opened.
- A user who is disabled here stays out, with any groups.
"""

from collections.abc import Mapping

from nsfw_app.errors import AccountError
from nsfw_app.rules.identities import PROXY_ISSUER, Identity, mapped_role
from nsfw_app.rules.permissions import Caller, UserRole, user_caller
from nsfw_app.rules.user_names import check_name
from nsfw_app.store import Store
from nsfw_app.store.users import User


class SingleSignOn:
    """Opens the accounts of identities.

    Args:
        store: Stores the accounts.
        roles: Roles by group.
    """

    def __init__(self, store: Store, roles: Mapping[str, UserRole]) -> None:
        self._identities = store.identities
        self._roles = roles

    def role(self, groups: tuple[str, ...]) -> UserRole | None:
        """The role of a user with these groups."""
        return mapped_role(groups, self._roles)

    def open_account(self, identity: Identity) -> User:
        """The account of an identity, made at its first sign-in, with the role of its groups.

        Raises:
            AccountError: It has no role, is disabled, or its name cannot be used.
        """
        check_name(identity.name)
        role = self.role(identity.groups)
        if role is None:
            raise AccountError(
                f"{identity.name} has no role on this page. Its operator can assign one with "
                f"{_setting(identity)}."
            )
        user = self._identities.sign_in(identity, role)
        if user.disabled_at is not None:
            raise AccountError(f"{user.name} is disabled on this page. Ask its operator.")
        return user

    def proxy_caller(self, identity: Identity) -> Caller:
        """The caller whom an authenticating proxy names. Writes only what has changed.

        Raises:
            AccountError: See `open_account`.
        """
        role = self.role(identity.groups)
        user = self._identities.find(identity.issuer, identity.subject)
        if role is None or user is None or user.role is not role or user.disabled_at is not None:
            user = self.open_account(identity)
        return user_caller(user.name, user.role)


def _setting(identity: Identity) -> str:
    if identity.issuer == PROXY_ISSUER:
        return "NSFW_AUTH_ROLES"
    return "NSFW_HUB_ROLES" if identity.owner_prefix == "hf" else "NSFW_OIDC_ROLES"
