"""Start of the server: who must be able to sign in, what it prints, and times of last use."""

import re

import pytest

from nsfw_app import server
from nsfw_app.accounts import Accounts
from nsfw_app.errors import SettingsError, StorageError, StorageErrorKind
from nsfw_app.rules.identities import Identity
from nsfw_app.rules.permissions import UserRole
from nsfw_app.settings import Settings, load
from nsfw_app.sign_in import check_sign_in
from nsfw_app.store import Store

EVERYWHERE = {"host": "0.0.0.0"}
OIDC = {
    "oidc_issuer": "https://login.example.org",
    "oidc_client_id": "review",
    "oidc_roles": {"moderators": "reviewer"},
}
HEADER = {
    "auth_header": "X-Forwarded-User",
    "auth_header_from": ("127.0.0.1",),
    "auth_roles": {"ann": "admin"},
}
SPACE = {
    "SPACE_ID": "me/review",
    "OAUTH_CLIENT_ID": "id",
    "OAUTH_CLIENT_SECRET": "secret",
    "hub_roles": {"ann": "admin"},
}


def banner(chosen: Settings, accounts: Accounts, capsys: pytest.CaptureFixture[str]) -> str:
    """How users sign in, as the start prints it."""
    check_sign_in(chosen, accounts)
    server.print_banner(chosen, accounts, port=1)
    (line,) = re.findall(r"^Users: (.*)$", capsys.readouterr().out, re.MULTILINE)
    return str(line)


def test_the_start_says_how_users_sign_in(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """A provider or a proxy is enough, without any user."""
    accounts = Accounts(store)
    assert banner(load(), accounts, capsys).startswith("none; no sign-in")
    assert "login.example.org with a role" in banner(load(**EVERYWHERE, **OIDC), accounts, capsys)
    assert "names in X-Forwarded-User" in banner(load(**EVERYWHERE, **HEADER), accounts, capsys)
    assert "Hugging Face accounts: ann" in banner(load(**SPACE), accounts, capsys)
    accounts.add_user("root", "a long password", UserRole.ADMIN, actor="test")
    assert banner(load(**EVERYWHERE), accounts, capsys) == "everyone must sign in."


def test_users_without_a_way_to_sign_in_stop_the_start(store: Store) -> None:
    """Where the provider is not configured any more, the page is neither open nor closed to all."""
    with pytest.raises(SettingsError, match="no users, so anyone could use the page"):
        check_sign_in(load(**EVERYWHERE), Accounts(store))
    store.identities.sign_in(Identity("https://login.test", "1", "ann"), UserRole.ADMIN)
    for chosen in ({}, EVERYWHERE):
        with pytest.raises(SettingsError, match="neither is configured"):
            check_sign_in(load(**chosen), Accounts(store))


def test_a_lost_last_use_is_logged(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk does not end the task that writes it."""
    accounts = Accounts(store)

    def full(_: object) -> None:
        raise StorageError(StorageErrorKind.FULL)

    monkeypatch.setattr(store.keys, "set_last_used", full)
    accounts.last_use.key("uploads")
    server.write_last_use(accounts.last_use)
    assert "last use of sessions and keys is lost: The disk" in caplog.text
    caplog.clear()
    server.write_last_use(accounts.last_use)
    assert caplog.text == ""
