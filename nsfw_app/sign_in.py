"""Sign-in that the page needs before it is served to other machines."""

from nsfw_app.accounts import Accounts
from nsfw_app.errors import SettingsError
from nsfw_app.settings import Settings


def check_sign_in(chosen: Settings, accounts: Accounts) -> None:
    """Require users before the page is served to other machines or through a reverse proxy.

    Raises:
        SettingsError: There are no users, or none who can sign in; the message says what to do.
    """
    proxied = chosen.forwarded_allow_ips or chosen.root_path
    if chosen.single_sign_on or accounts.has_passwords:
        return
    if accounts.has_users:
        raise SettingsError(
            "No user has a password. All others sign in with a provider or through a proxy, and "
            "neither is configured. Set NSFW_OIDC_ISSUER or NSFW_AUTH_HEADER, or a password: "
            "'python -m nsfw_app users password NAME', or 'users add NAME --role admin'."
        )
    if chosen.local_only and not proxied:
        return
    if chosen.on_space:
        raise SettingsError(
            "This Space has no sign-in. Add 'hf_oauth: true' to the front matter of its "
            "README.md, and name users in NSFW_HUB_ROLES."
        )
    if chosen.local_only:
        raise SettingsError(
            "FORWARDED_ALLOW_IPS or NSFW_ROOT_PATH is set, so a reverse proxy serves the page to "
            "others, but there are no users. Add one first, "
            "'python -m nsfw_app users add NAME --role admin', or unset both."
        )
    raise SettingsError(
        f"NSFW_HOST={chosen.host!r} can be reached from other machines, but there are no users, so "
        "anyone could use the page. Add a user first, "
        "'python -m nsfw_app users add NAME --role admin', or leave NSFW_HOST at 127.0.0.1."
    )
