"""Start of the server: who must be able to sign in, what it prints, and times of last use."""

import re
from dataclasses import replace

import pytest

from nsfw_app import server
from nsfw_app.accounts import Accounts
from nsfw_app.errors import SettingsError, StorageError, StorageErrorKind
from nsfw_app.hub_sync.restoring import Restored
from nsfw_app.rules.identities import Identity
from nsfw_app.rules.permissions import UserRole
from nsfw_app.settings import Settings, load
from nsfw_app.sign_in import check_sign_in
from nsfw_app.store import Store
from nsfw_app.store.identities import NO_PASSWORD

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


def test_the_start_names_users_whose_password_was_not_saved(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a restore from a dataset repository; the others sign in as before."""
    found = Restored("history", {"decisions": 3, "images": 2}, 0, 0, ["dee", "eli"], 0, 0)
    monkeypatch.setattr(server, "restore_from_hub", lambda _: found)
    server.report_restored(load())
    assert "Users without a password until one is set" in (text := capsys.readouterr().out)
    assert "dee, eli. 'python -m nsfw_app users password NAME' sets it." in text
    monkeypatch.setattr(server, "restore_from_hub", lambda _: replace(found, without_password=[]))
    server.report_restored(load())
    assert "password" not in capsys.readouterr().out


def test_restored_users_without_a_password_stop_the_start(store: Store) -> None:
    """Until one has a password again, or a provider is configured."""
    store.users.add_user("dee", NO_PASSWORD, UserRole.ADMIN, actor="root")
    with pytest.raises(SettingsError, match="users password NAME"):
        server.check_sign_in(load(), Accounts(store))
    server.check_sign_in(load(**OIDC), Accounts(store))
    Accounts(store).set_password("dee", "a long password", actor="root")
    server.check_sign_in(load(), Accounts(store))
